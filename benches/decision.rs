//! What one decision costs: nanoseconds, instructions, allocations; and what one restricted user costs in memory.
//!
//! ```text
//! cargo bench --bench decision [-- --quick]
//! ```
//!
//! Prints Markdown. Times are medians of many short batches, with the 10th and the 90th percentile; the cases take turns,
//! so that a noisy moment meets all of them. Instructions are counted by valgrind, where it is installed, as the
//! difference between N and 2 N rounds, so that starting up does not count.

#[path = "decision/alloc.rs"]
mod alloc;
#[path = "decision/cases.rs"]
mod cases;
#[path = "decision/children.rs"]
mod children;
#[path = "decision/stats.rs"]
mod stats;
#[path = "decision/worth.rs"]
mod worth;

use std::hint::black_box;
use std::time::{Duration, Instant};

use mediagate::gate::Algorithm;
use mediagate::restrictions::{RestrictionSet, Subject};

use cases::{ALGORITHMS, Fixture, Seen, Stream, VerifyStream};
use children::{Counted, Filling};
use stats::{Samples, grouped};
use worth::{Remembering, Signatures};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// Sizes of the restriction set, in users.
const SIZES: [usize; 3] = [0, 1_000_000, 10_000_000];

/// Memory that filling the set may take at its peak, for each user: the events and two tables.
const FILLING_BYTES: usize = 400;

/// How long one timed batch is meant to take.
const BATCH: Duration = Duration::from_millis(2);

/// Users that are looked up in one batch, none of them twice.
const LOOKUPS: usize = 20_000;

fn main() {
    if children::run_if_child() {
        return;
    }
    let quick = std::env::args().any(|arg| arg == "--quick");
    let rounds = if quick { 30 } else { 200 };
    let sizes: Vec<usize> = SIZES.into_iter().filter(|size| !quick || *size <= 1_000_000).filter(fits).collect();

    let (pool, rsa_pool) = if quick { (4_000, 400) } else { (20_000, 2_000) };
    let fixture = Fixture::new(100_000, pool, rsa_pool);
    let sets: Vec<RestrictionSet> = sizes.iter().map(|size| cases::filled(*size, &fixture)).collect();
    println!("## The decision\n");
    println!(
        "{} cores, {rounds} batches of about {} ms for each figure, taken in turn; in brackets the 10th and the 90th \
         percentile.\n",
        std::thread::available_parallelism().map_or(1, usize::from),
        BATCH.as_millis(),
    );
    let (admitted, signatures) = time_admissions(&fixture, &sets, rounds);
    let verified = time_verification(&fixture, rounds);
    let lookups = time_lookups(&fixture, &sets, &sizes, rounds);
    let remembering = worth::time(&fixture, rounds.min(40));
    let instructions = children::Instructions::new(&fixture, quick);

    print_admissions(&fixture, &sizes, &sets, &admitted, &instructions);
    print_verification(&verified, &instructions);
    print_lookups(&sizes, &lookups, &instructions);
    let memory = print_memory(&sizes);
    print_worth(&remembering);
    print_targets(&fixture, &sizes, &admitted, &signatures, &lookups, &memory);
}

fn fits(size: &usize) -> bool {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = available.and_then(|rest| rest.trim().split(' ').next()).and_then(|kib| kib.parse::<usize>().ok());
    let fits = kib.is_none_or(|kib| size * FILLING_BYTES < kib * 1024);
    if !fits {
        println!("Not enough memory for {} restricted users: left out.\n", grouped(*size as u64));
    }
    fits
}

/// The samples of one kind of token at each size of the set.
struct Admitted {
    alg: Algorithm,
    seen: Seen,
    at: Vec<Samples>,
}

/// Also what checking nothing but their signatures takes, in the same rounds.
fn time_admissions(fixture: &Fixture, sets: &[RestrictionSet], rounds: usize) -> (Vec<Admitted>, Vec<Samples>) {
    let kinds = ALGORITHMS.into_iter().flat_map(|alg| Seen::of(alg).map(|seen| (alg, seen)));
    let mut bare = ALGORITHMS.map(|alg| (Signatures::new(fixture, alg), Samples::default()));
    let mut streams: Vec<(Admitted, Vec<Stream<'_>>)> = kinds
        .map(|(alg, seen)| {
            let streams = sets.iter().map(|set| Stream::new(fixture, alg, seen, set)).collect();
            (Admitted { alg, seen, at: vec![Samples::default(); sets.len()] }, streams)
        })
        .collect();
    for round in 0..=rounds {
        for (admitted, streams) in &mut streams {
            for (at, stream) in streams.iter_mut().enumerate() {
                let sample = stream.batch();
                // The first round finds out how large a batch is.
                if round == 0 {
                    stream.fit(sample, BATCH);
                } else {
                    admitted.at[at].push(sample);
                }
            }
        }
        for (signatures, samples) in &mut bare {
            let sample = signatures.batch();
            if round == 0 {
                signatures.fit(sample, BATCH);
            } else {
                samples.push(sample);
            }
        }
    }
    (streams.into_iter().map(|(admitted, _)| admitted).collect(), bare.map(|(_, samples)| samples).into())
}

/// Verifying alone: ours, and jsonwebtoken's `decode` with validation of `exp`.
struct Verified {
    alg: Algorithm,
    ours: Samples,
    theirs: Samples,
}

fn time_verification(fixture: &Fixture, rounds: usize) -> Vec<Verified> {
    let mut streams: Vec<_> = ALGORITHMS
        .into_iter()
        .map(|alg| {
            let verified = Verified { alg, ours: Samples::default(), theirs: Samples::default() };
            (verified, VerifyStream::ours(fixture, alg), VerifyStream::theirs(fixture, alg))
        })
        .collect();
    for round in 0..=rounds {
        for (verified, ours, theirs) in &mut streams {
            for (stream, samples) in [(ours, &mut verified.ours), (theirs, &mut verified.theirs)] {
                let sample = stream.batch();
                if round == 0 {
                    stream.fit(sample, BATCH);
                } else {
                    samples.push(sample);
                }
            }
        }
    }
    streams.into_iter().map(|(verified, ..)| verified).collect()
}

/// Looking one user up, at each size of the set.
struct Lookups {
    hash: Samples,
    miss: Vec<Samples>,
    hit: Vec<Samples>,
}

fn time_lookups(fixture: &Fixture, sets: &[RestrictionSet], sizes: &[usize], rounds: usize) -> Lookups {
    let none = || vec![Samples::default(); sets.len()];
    let mut lookups = Lookups { hash: Samples::default(), miss: none(), hit: none() };
    let subjects = |set: &RestrictionSet, uids: &mut dyn Iterator<Item = String>| -> Vec<Subject> {
        uids.map(|uid| set.subject(cases::APP, &uid, None, None, None)).collect()
    };
    let missed: Vec<_> = sets.iter().map(|set| subjects(set, &mut (0..LOOKUPS).map(cases::active_uid))).collect();
    let found: Vec<_> = sets
        .iter()
        .zip(sizes)
        .map(|(set, size)| {
            // All over the set, in no order that the set knows.
            let uids = (0..LOOKUPS.min(*size)).map(|n| cases::restricted_uid(n * 7_919_777 % size));
            subjects(set, &mut uids.into_iter())
        })
        .collect();
    let uids: Vec<String> = (0..LOOKUPS).map(cases::active_uid).collect();
    for _ in 0..rounds.min(100) {
        lookups.hash.push(cases::time(LOOKUPS, |n| {
            black_box(sets[0].subject(cases::APP, black_box(&uids[n]), None, None, None));
        }));
        for (at, set) in sets.iter().enumerate() {
            for (subjects, samples) in [(&missed[at], &mut lookups.miss[at]), (&found[at], &mut lookups.hit[at])] {
                if !subjects.is_empty() {
                    samples.push(cases::time(subjects.len(), |n| {
                        let _ = black_box(set.check(black_box(&subjects[n])));
                    }));
                }
            }
        }
    }
    assert!(fixture.is_clean(&sets[sets.len() - 1]), "the users of the tokens are not restricted");
    lookups
}

fn size_headers(sizes: &[usize]) -> String {
    sizes.iter().map(|size| format!(" {} restricted |", grouped(*size as u64))).collect()
}

fn print_admissions(
    fixture: &Fixture,
    sizes: &[usize],
    sets: &[RestrictionSet],
    admitted: &[Admitted],
    instructions: &children::Instructions,
) {
    println!("### `Gate::admit`: extract, verify, authorize, resolve\n");
    println!("| token | ns:{} instructions | allocations | bytes |", size_headers(sizes));
    println!("| --- |{} ---: | ---: | ---: |", " ---: |".repeat(sizes.len()));
    for kind in admitted {
        let name = format!("{}, {}", kind.alg, kind.seen.label());
        let times: String = kind.at.iter().map(|samples| format!(" {samples} |")).collect();
        let counted = instructions.count(Counted::Admit(kind.alg, kind.seen));
        let (calls, bytes) = Stream::new(fixture, kind.alg, kind.seen, &sets[0]).allocations();
        println!("| {name} |{times} {counted} | {calls:.1} | {} |", grouped(bytes.round() as u64));
    }
    let pool = |alg| grouped(fixture.pool(alg) as u64);
    println!("\nAll tokens in turn: {} distinct ones. Seen before: 64 in turn.", pool(Algorithm::HS256));
    println!(
        "Never seen: {} distinct ones ({} for RS256), and whatever remembers them is thrown away in between.",
        pool(Algorithm::ES256),
        pool(Algorithm::RS256)
    );
    println!(
        "An admitted request allocates its URL and the object's name for log and transfer; growing and shrinking count."
    );
    println!("{}\n", children::NOTE);
}

fn print_verification(verified: &[Verified], instructions: &children::Instructions) {
    println!("### Verifying a token that was never seen\n");
    println!("| | mediagate ns | jsonwebtoken ns | ratio | mediagate instructions | jsonwebtoken instructions |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for Verified { alg, ours, theirs } in verified {
        let ratio = theirs.median() / ours.median();
        let (counted, their_counted) =
            (instructions.count(Counted::Verify(*alg)), instructions.count(Counted::JsonWebToken(*alg)));
        println!("| {alg} | {ours} | {theirs} | {ratio:.2} | {counted} | {their_counted} |");
    }
    println!("\njsonwebtoken decodes into owned claims and validates `exp` only; mediagate checks its whole profile,");
    println!("and for everything but HMAC also remembers the claims.\n");
}

fn print_lookups(sizes: &[usize], lookups: &Lookups, instructions: &children::Instructions) {
    println!("### Looking a user up in the restriction set\n");
    println!("| | ns:{} instructions |", size_headers(sizes));
    println!("| --- |{} ---: |", " ---: |".repeat(sizes.len()));
    let row = |name: &str, all: &[Samples], counted: String| {
        let times: String = all.iter().map(|samples| format!(" {samples} |")).collect();
        println!("| {name} |{times} {counted} |");
    };
    row("not restricted", &lookups.miss, instructions.count(Counted::Miss));
    row("restricted", &lookups.hit, instructions.count(Counted::Hit));
    row("hashing app and user first", &vec![lookups.hash.clone(); sizes.len()], instructions.count(Counted::Hash));
    println!("\n{} users in turn. Instructions: 10,000 restricted.\n", grouped(LOOKUPS as u64));
}

/// Returns, for each size that could be measured, the bytes that a user takes.
fn print_memory(sizes: &[usize]) -> Vec<(usize, f64)> {
    println!("### Memory of the restriction set, bytes for each restricted user\n");
    println!("| restricted users | allocated | resident | resident after loading a state | peak while loading it |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let mut measured = Vec::new();
    for size in sizes.iter().copied().filter(|size| *size > 0) {
        let (changes, snapshot) = (children::memory(size, Filling::Changes), children::memory(size, Filling::Snapshot));
        let size_text = grouped(size as u64);
        match changes.zip(snapshot) {
            Some(([allocated, resident, _], [_, after, peak])) => {
                measured.push((size, allocated.max(resident).max(after)));
                println!("| {size_text} | {allocated:.1} | {resident:.1} | {after:.1} | {peak:.0} |");
            }
            None => println!("| {size_text} | n/a | n/a | n/a | n/a |"),
        }
    }
    println!(
        "\nEach in a process of its own, filled change by change, then with a state in parts, as feeds deliver it.\n"
    );
    measured
}

fn print_worth(remembering: &[Remembering]) {
    println!("### Whether remembering a verified token is worth it\n");
    println!("| | tokens | looking one up, ns | checking its signature again, ns | saved, ns | remembered |");
    println!("| --- | ---: | ---: | ---: | ---: | --- |");
    for Remembering { alg, tokens, lookup, check } in remembering {
        let saved = check.median() - lookup.median();
        let used = if alg.is_hmac() { "no" } else { "yes" };
        println!("| {alg} | {} | {lookup} | {check} | {saved:.0} | {used} |", grouped(*tokens as u64));
    }
    println!("\nTokens in an order that no cache of the processor foresees; the look-up compares the whole token.\n");
}

fn print_targets(
    fixture: &Fixture,
    sizes: &[usize],
    admitted: &[Admitted],
    signatures: &[Samples],
    lookups: &Lookups,
    memory: &[(usize, f64)],
) {
    let verdict = |met: bool| if met { "met" } else { "**not met**" };
    println!("### Targets\n\n| target | measured | |\n| --- | ---: | --- |");
    let of = |alg, seen| {
        let found = admitted.iter().find(|kind| kind.alg == alg && kind.seen == seen);
        &found.expect("it is measured").at
    };
    let at_most = |target: String, found: f64, most: f64, unit: &str| {
        println!("| {target} ≤ {most}{unit} | {found:.2}{unit} | {} |", verdict(found <= most));
    };
    let many = grouped(fixture.pool(Algorithm::HS256) as u64);
    at_most("HS256, one token".into(), of(Algorithm::HS256, Seen::One)[0].median() / 1e3, 1.5, " µs");
    let in_turn = of(Algorithm::HS256, Seen::InTurn);
    at_most(format!("HS256, {many} tokens in turn"), in_turn[0].median() / 1e3, 2.2, " µs");
    for (alg, signatures) in ALGORITHMS.into_iter().zip(signatures).filter(|(alg, _)| !alg.is_hmac()) {
        let never = of(alg, Seen::Never)[0].median() / signatures.median();
        at_most(format!("{alg}, never seen ÷ its signature alone ({signatures} ns)"), never, 1.2, "");
        at_most(format!("{alg}, seen before"), of(alg, Seen::Before)[0].median() / 1e3, 1.0, " µs");
    }
    let largest = grouped(sizes[sizes.len() - 1] as u64);
    let ratio = in_turn[sizes.len() - 1].median() / in_turn[0].median();
    at_most(format!("HS256 in turn, {largest} restricted users ÷ none"), ratio, 1.2, "");
    let added = lookups.miss[sizes.len() - 1].median() - lookups.miss[0].median();
    println!("| the look-up alone adds, at {largest} | {added:.0} ns | |");
    for (size, worst) in memory {
        println!("| ≤ 40 bytes a user at {} | {worst:.1} | {} |", grouped(*size as u64), verdict(*worst <= 40.0));
    }
}

/// Reads the monotonic clock around `work`; returns nanoseconds.
fn nanoseconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_nanos() as f64
}

//! What is measured in a process of its own: instructions, under valgrind, and memory.

use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use mediagate::gate::Algorithm;

use crate::alloc;
use crate::cases::{self, ALGORITHMS, Fixture, Seen, Stream, Tokens, VerifyStream};
use crate::stats::grouped;

/// What the counts are.
pub(crate) const NOTE: &str = "Instructions are valgrind's, with an empty set. It has no SHA instructions, so that a \
    processor that has them executes fewer.";

/// The first argument of a process that the bench starts.
const COUNT: &str = "--count";
const MEMORY: &str = "--memory";

/// Restricted users of the set whose look-ups are counted.
const COUNTED_USERS: usize = 10_000;

/// What a process under valgrind does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Admit(Algorithm, Seen),
    Verify(Algorithm),
    JsonWebToken(Algorithm),
    Miss,
    Hit,
    Hash,
}

impl Counted {
    fn name(self) -> String {
        match self {
            Counted::Admit(alg, seen) => format!("admit-{seen:?}-{alg}"),
            Counted::Verify(alg) => format!("verify-{alg}"),
            Counted::JsonWebToken(alg) => format!("jsonwebtoken-{alg}"),
            Counted::Miss => "miss".into(),
            Counted::Hit => "hit".into(),
            Counted::Hash => "hash".into(),
        }
    }

    fn all() -> impl Iterator<Item = Counted> {
        let of = |alg| {
            Seen::of(alg)
                .map(|seen| Counted::Admit(alg, seen))
                .into_iter()
                .chain([Counted::Verify(alg), Counted::JsonWebToken(alg)])
        };
        ALGORITHMS.into_iter().flat_map(of).chain([Counted::Miss, Counted::Hit, Counted::Hash])
    }

    /// How often: enough that what differs from one run to the next does not show.
    fn rounds(self) -> usize {
        match self {
            Counted::Admit(Algorithm::HS256, _) | Counted::Admit(_, Seen::Before) => 500,
            Counted::Verify(Algorithm::HS256) | Counted::JsonWebToken(Algorithm::HS256) => 500,
            Counted::Admit(..) | Counted::Verify(_) | Counted::JsonWebToken(_) => 50,
            Counted::Miss | Counted::Hit | Counted::Hash => 5_000,
        }
    }
}

/// Counts instructions, where valgrind is there.
pub(crate) struct Instructions {
    file: Option<PathBuf>,
    quick: bool,
}

impl Instructions {
    /// Writes tokens to a file, because making keys under valgrind takes minutes.
    pub(crate) fn new(fixture: &Fixture, quick: bool) -> Instructions {
        let installed = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !installed.is_ok_and(|status| status.success()) {
            return Instructions { file: None, quick };
        }
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("decision-{}", std::process::id()));
        let mut text = String::new();
        for alg in ALGORITHMS {
            let Tokens { pem, compact, .. } = fixture.tokens_of(alg);
            text.push_str(&format!("{alg}\n{}\n{}\n", pem.replace('\n', "|"), compact[..200].join(" ")));
        }
        std::fs::write(&file, text).expect("the build directory can be written to");
        Instructions { file: Some(file), quick }
    }

    /// Instructions of one round of `counted`.
    pub(crate) fn count(&self, counted: Counted) -> String {
        let Some(file) = &self.file else { return "n/a (install valgrind)".into() };
        let is_ours = !matches!(counted, Counted::JsonWebToken(_));
        let is_cheap = counted.rounds() > 50;
        if self.quick && !(is_ours && is_cheap) {
            return "n/a (--quick)".into();
        }
        let rounds = counted.rounds();
        let run = |rounds: usize| {
            let child = Command::new("valgrind")
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                .arg(std::env::current_exe().ok()?)
                .args([COUNT, &counted.name(), &rounds.to_string()])
                .arg(file)
                .stdin(Stdio::null())
                .output()
                .ok()?;
            let text = String::from_utf8_lossy(&child.stderr).into_owned();
            let collected = text.lines().find_map(|line| line.split_once("Collected :"))?;
            collected.1.trim().parse::<u64>().ok()
        };
        // Side by side: they do not disturb each other's counts.
        let (once, twice) = std::thread::scope(|scope| {
            let once = scope.spawn(|| run(rounds));
            (run(2 * rounds), once.join().expect("no panic"))
        });
        match (once, twice) {
            (Some(twice), Some(once)) => grouped(twice.abs_diff(once) / rounds as u64),
            _ => "n/a (valgrind failed)".into(),
        }
    }
}

impl Drop for Instructions {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// How a set is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Change by change.
    Changes,
    /// With a whole state, part by part.
    Snapshot,
}

/// Bytes for each of `users` restricted users: allocated, resident, and resident at the peak.
pub(crate) fn memory(users: usize, filling: Filling) -> Option<[f64; 3]> {
    let exe = std::env::current_exe().ok()?;
    let filling = if filling == Filling::Changes { "changes" } else { "snapshot" };
    let output = Command::new(exe).args([MEMORY, &users.to_string(), filling]).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().ok()
}

/// Does what a parent asked for; returns whether there is one.
pub(crate) fn run_if_child() -> bool {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, COUNT, name, rounds, file] => count(name, rounds.parse().expect("a number"), file),
        [_, MEMORY, users, filling] => measure_memory(users.parse().expect("a number"), filling),
        _ => return false,
    }
    true
}

fn count(name: &str, rounds: usize, file: &str) {
    let counted = Counted::all().find(|counted| counted.name() == name).expect("a case");
    let text = std::fs::read_to_string(file).expect("the parent's file");
    let lines: Vec<&str> = text.lines().collect();
    let tokens = lines.chunks_exact(3).map(|lines| Tokens {
        alg: lines[0].parse().expect("an algorithm"),
        pem: lines[1].replace('|', "\n"),
        compact: lines[2].split(' ').map(str::to_owned).collect(),
    });
    let fixture = Fixture::of(tokens.collect(), cases::now());
    let users = if matches!(counted, Counted::Miss | Counted::Hit) { COUNTED_USERS } else { 0 };
    let set = cases::filled(users, &fixture);
    match counted {
        Counted::Admit(alg, seen) => Stream::new(&fixture, alg, seen, &set).run(rounds),
        Counted::Verify(alg) => VerifyStream::ours(&fixture, alg).run(rounds),
        Counted::JsonWebToken(alg) => VerifyStream::theirs(&fixture, alg).run(rounds),
        Counted::Miss | Counted::Hit => {
            let uid = if counted == Counted::Hit { cases::restricted_uid(77) } else { cases::active_uid(77) };
            let subject = set.subject(cases::APP, &uid, None, None, None);
            for _ in 0..rounds {
                let _ = black_box(set.check(black_box(&subject)));
            }
        }
        Counted::Hash => {
            let uid = cases::active_uid(77);
            for _ in 0..rounds {
                black_box(set.subject(cases::APP, black_box(&uid), None, None, None));
            }
        }
    }
}

fn measure_memory(users: usize, filling: &str) {
    let before = status("VmRSS:");
    let mut set = None;
    let count = alloc::count(|| {
        set = Some(if filling == "changes" {
            cases::filled_by_changes(users, Instant::now())
        } else {
            cases::filled_at(users, Instant::now())
        });
    });
    let (after, peak) = (status("VmRSS:"), status("VmHWM:"));
    black_box(set);
    let each = |bytes: i64| bytes as f64 / users as f64;
    println!("{} {} {}", each(count.live), each(after - before), each(peak - before));
}

/// A figure of this process, in bytes.
fn status(name: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().split(' ').next().and_then(|kib| kib.parse::<i64>().ok()).unwrap_or_default() * 1024
}

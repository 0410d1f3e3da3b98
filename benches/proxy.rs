//! What a request costs: processor time of the whole proxy process, for the gate and for a bare Pingora proxy.
//!
//! ```text
//! cargo bench --bench proxy [-- --quick] [-- --only cache]
//! MEDIAGATE_BENCH_SECONDS=3 cargo bench --bench proxy
//! ```
//!
//! This binary runs itself again as the storage, as the gate and as the proxies that it is compared with; what is left is
//! the load generator. The proxies take turns in short runs, because a machine is never as quiet as one hopes: figures of
//! one round stand side by side, and the ratio is the median of the rounds' ratios. Prints Markdown.

#[path = "proxy/bare.rs"]
mod bare;
#[path = "proxy/buffered.rs"]
mod buffered;
#[path = "proxy/cached.rs"]
mod cached;
#[path = "proxy/children.rs"]
mod children;
#[path = "proxy/cpu.rs"]
mod cpu;
#[path = "proxy/gate.rs"]
mod gate;
#[path = "proxy/load.rs"]
mod load;
#[path = "proxy/origin.rs"]
mod origin;

use std::time::Duration;

use children::Child;
use load::{Load, Requests};

/// Most that a request through the gate may cost, in requests through a bare proxy.
const TARGET: f64 = 1.20;

/// Connections of the load generator.
const CONNECTIONS: usize = 50;

/// Everything that is measured and how.
struct Bench {
    seconds: Duration,
    rounds: usize,
    load: Load,
}

/// One proxy under one load: microseconds of processor time for a request, in each round.
struct Row {
    name: &'static str,
    micros: Vec<f64>,
    per_second: Vec<f64>,
}

fn main() {
    if children::run_if_child() {
        return;
    }
    let quick = std::env::args().any(|arg| arg == "--quick");
    let seconds = std::env::var("MEDIAGATE_BENCH_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let seconds = Duration::from_secs_f64(seconds.unwrap_or(if quick { 0.3 } else { 1.5 }));
    let bench = Bench { seconds, rounds: if quick { 3 } else { 12 }, load: Load::new(CONNECTIONS) };

    let origin = Child::start(&["origin"]);
    let upstream = origin.address.to_string();
    let only_cache = std::env::args().skip_while(|arg| arg != "--only").nth(1).is_some_and(|part| part == "cache");
    if only_cache {
        print_targets(&cached::measure(&bench, &upstream));
        return;
    }
    let bare = Child::start(&["bare", &upstream]);
    let service = Child::start(&["service", &upstream]);
    let gate = Child::start(&["gate", &upstream, "log"]);
    let quiet = Child::start(&["gate", &upstream, "quiet"]);

    println!("## The whole path\n");
    println!(
        "{} cores, {} worker threads for each proxy, {CONNECTIONS} connections that are kept, {} rounds of {:.1} s for each \
         figure, taken in turn. µs: processor time, user and system, of the proxy's process for one request; in brackets \
         the least and the most of all rounds.\n",
        children::threads(),
        children::threads(),
        bench.rounds,
        bench.seconds.as_secs_f64(),
    );
    let many = Requests::admitted(if quick { 10_000 } else { 100_000 }, "small");
    let ratio = bench.compare(
        &format!("1 KiB objects, {} tokens in turn", many.len()),
        &many,
        &[
            ("bare Pingora proxy, buffered as the gate is", &bare),
            ("gate, access log to /dev/null", &gate),
            ("gate, no access log", &quiet),
            ("bare Pingora, its own service and defaults", &service),
        ],
    );
    let few = Requests::admitted(1_000, "small");
    bench.compare(
        "1 KiB objects, 1,000 tokens in turn",
        &few,
        &[("bare Pingora proxy, buffered as the gate is", &bare), ("gate", &gate)],
    );
    let large = Requests::admitted(1_000, "large");
    bench.compare(
        "1 MiB objects, 1,000 tokens in turn",
        &large,
        &[("bare Pingora proxy, buffered as the gate is", &bare), ("gate", &gate)],
    );
    bench.compare("Refused: bad signature", &Requests::forged(10_000), &[("gate", &gate)]);
    bench.compare("Refused: deactivated user", &Requests::deactivated(10_000), &[("gate", &gate)]);

    let mut targets = cached::measure(&bench, &upstream);
    let verdict = if ratio <= TARGET { "met" } else { "**not met**" };
    targets.insert(
        0,
        format!("| gate ≤ {TARGET:.2} × bare proxy (1 KiB, distinct tokens, access log) | {ratio:.3} | {verdict} |"),
    );
    print_targets(&targets);
}

fn print_targets(lines: &[String]) {
    println!("### Targets\n\n| target | measured | |\n| --- | ---: | --- |\n{}", lines.join("\n"));
}

impl Bench {
    /// Measures `proxies` in turn and prints them; returns the second's ratio to the first, when there is one.
    fn compare(&self, title: &str, requests: &Requests, proxies: &[(&'static str, &Child)]) -> f64 {
        let row = |(name, _): &(&'static str, _)| Row { name, micros: Vec::new(), per_second: Vec::new() };
        let mut rows: Vec<Row> = proxies.iter().map(row).collect();
        for round in 0..=self.rounds {
            // There and back again, so that none has the same neighbour or always the first turn.
            let mut order: Vec<usize> = (0..proxies.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                // The first round only warms up.
                let seconds = if round == 0 { self.seconds / 3 } else { self.seconds };
                let (micros, per_second) = self.load.run(proxies[at].1, requests, seconds);
                if round > 0 {
                    rows[at].micros.push(micros);
                    rows[at].per_second.push(per_second);
                }
            }
        }
        println!("### {title}\n");
        println!("| | µs a request | × the first | requests/s |\n| --- | ---: | ---: | ---: |");
        let mut second = f64::NAN;
        for (at, row) in rows.iter().enumerate() {
            let ratios: Vec<f64> = row.micros.iter().zip(&rows[0].micros).map(|(row, first)| row / first).collect();
            if at == 1 {
                second = median(&ratios);
            }
            println!(
                "| {} | {} | {} | {:.0} |",
                row.name,
                spread(&row.micros, 1),
                spread(&ratios, 3),
                median(&row.per_second)
            );
        }
        println!();
        second
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// `31.2 (29.9–33.0)`.
fn spread(samples: &[f64], digits: usize) -> String {
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let most = samples.iter().copied().fold(0.0, f64::max);
    format!("{:.digits$} ({least:.digits$}–{most:.digits$})", median(samples))
}

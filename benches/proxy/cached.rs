//! What a hit costs: the same gate with copies and without, in one run.

use crate::Bench;
use crate::children::Child;
use crate::load::Requests;

/// Most that a hit may cost, in requests that the storage answers, by the size of the object.
const TARGETS: [(&str, &str, f64); 2] = [("small", "1 KiB", 0.60), ("large", "1 MiB", 0.70)];

/// Objects that are asked for in turn: all of them fit.
const OBJECTS: usize = 50;

/// Tokens that they are asked for with.
const TOKENS: usize = 1_000;

/// Measures and prints both sizes; returns the lines of the table of targets.
pub(crate) fn measure(bench: &Bench, upstream: &str) -> Vec<String> {
    let plain = Child::start(&["gate", upstream, "log"]);
    let cached = Child::start(&["cached", upstream, "log"]);
    let line = |(size, name, target): (&str, &str, f64)| {
        let requests = Requests::of_few(TOKENS, OBJECTS, size);
        let title = format!("{name} objects, {OBJECTS} of them in turn, {TOKENS} tokens");
        let ratio =
            bench.compare(&title, &requests, &[("gate", &plain), ("gate with copies, every request a hit", &cached)]);
        let verdict = if ratio <= target { "met" } else { "**not met**" };
        format!("| hit ≤ {target:.2} × the gate without copies ({name}) | {ratio:.3} | {verdict} |")
    };
    TARGETS.into_iter().map(line).collect()
}

//! Every rule of tokens, by its vectors and by its edges.

mod claims;
mod differential;
mod header;
mod jwks;
mod keys;
mod rfc;
mod shape;
mod signatures;
mod twilio;

use super::*;
use crate::gate::tests::keys::{self as fixture, KID};

/// The time of these tests.
const NOW: u64 = 1_700_000_000;

const RULES: TimeRules = TimeRules { leeway: Duration::ZERO, max_ttl: Duration::from_secs(86_400) };

/// A verifier with one key for `alg` that no other app has.
fn verifier(alg: Algorithm) -> Verifier {
    verifier_of(vec![(fixture::verifying_key(alg), Exclusive::Yes)])
}

fn verifier_of(keys: Vec<(VerifyingKey, Exclusive)>) -> Verifier {
    Verifier::new(keys, RULES, UidCase::Folded)
}

/// What `verifier` says of `compact` at [`NOW`]: the uid, or why not.
fn verdict(verifier: &Verifier, compact: &str) -> Result<String, VerifyError> {
    verdict_at(verifier, compact, Duration::from_secs(NOW))
}

fn verdict_at(verifier: &Verifier, compact: &str, now: Duration) -> Result<String, VerifyError> {
    let mut scratch = Scratch::default();
    verifier.verify(compact, &mut scratch, now).map(|claims| claims.uid().to_owned())
}

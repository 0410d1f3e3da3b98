//! The decision for those who fetch by themselves: modules in other people's proxies, and proxies that ask.

use http::request::Parts;

use super::Shared;
use crate::gate::{Admission, BadRequest, Decision, Denial, Now, Refusal};

/// Returns what was granted; `None` for `OPTIONS`.
///
/// # Errors
///
/// Besides every refusal, what only a gate that sees the storage's answer can let pass, and what only one that answers by
/// itself can answer.
pub(super) fn admit(shared: &Shared, request: &Parts, now: Now) -> Result<Option<Admission>, Refusal> {
    let refusal = |denial, trace| Err(Refusal { denial, trace: Box::new(trace) });
    match shared.gate.load().admit(request, &shared.restrictions, now) {
        Ok(Decision::Forward(admission)) if admission.modified_before.is_some() && admission.observed.is_none() => {
            refusal(Denial::TokenMissing, admission.trace)
        }
        Ok(Decision::Forward(admission)) => {
            shared.unknown_kids.note(&admission.trace, admission.observed);
            Ok(Some(admission))
        }
        Ok(Decision::Options) => Ok(None),
        Ok(Decision::HandOut(handout)) => refusal(Denial::BadRequest(BadRequest::PresignedUnavailable), handout.trace),
        Err(refusal) => {
            shared.unknown_kids.note(&refusal.trace, Some(refusal.denial));
            Err(refusal)
        }
    }
}

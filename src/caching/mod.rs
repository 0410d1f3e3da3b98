//! What may be kept of the storage's answers, for how long, and what a kept copy answers (RFC 9110, RFC 9111).
//!
//! Rules only: no I/O, no clock, no bytes of a body. Who may see an object is not decided here but by the gate, for
//! every request anew.

mod answer;
mod conditions;
mod directives;
mod key;
mod range;

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

pub use answer::{CopyAnswer, CopyHead};
pub use key::CopyKey;

use crate::gate::forward::{self, Asked, StorageAnswer, StorageFailure};
use directives::{Directives, number, single};

/// The longest that a copy may be fresh without the storage being asked: a day.
pub const MAX_CACHE_TTL: Duration = Duration::from_secs(86_400);

/// For how long nobody tries to keep an object whose storage has just answered with an error: each client asks by itself
/// then, as it would without copies.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// What is kept and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePolicy {
    /// For how long a copy is fresh at most, up to [`MAX_CACHE_TTL`].
    pub ttl: Duration,
    /// The largest object that is kept, in bytes.
    pub max_object_bytes: u64,
}

/// What becomes of the storage's answer to a plain `GET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept, and fresh for so long; zero: asked about before each use.
    Keep {
        /// What is known of it.
        head: Box<CopyHead>,
        /// For how long.
        fresh_for: Duration,
    },
    /// It is not kept, nor is it tried again for so long.
    Pass(Duration),
}

/// What becomes of a copy when the storage is asked whether it is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It is, for so long.
    Fresh(Duration),
    /// The answer is about another state of the object, or says that it must not be kept: it is fetched anew.
    FetchAnew,
    /// The storage has no such object any more, or another one: what came is judged by itself.
    Replaced,
    /// The storage failed: nothing is known, and each client asks by itself.
    Unknown,
}

impl CachePolicy {
    /// Returns what becomes of an answer with `status` and `fields` to a `GET` for a whole object. Only a 200 with a length
    /// is kept (RFC 9111 §3): never an error, a part, or what the storage wants nobody to keep.
    pub fn verdict(&self, status: u16, fields: &HeaderMap) -> Verdict {
        if forward::storage_answer(status, fields, Asked::default()) != StorageAnswer::Content {
            return Verdict::Pass(ERROR_PAUSE.min(self.ttl));
        }
        let pass = Verdict::Pass(self.ttl);
        let (Some(len), Some(fresh_for)) = (length(fields), self.fresh_for(fields)) else { return pass };
        if len > self.max_object_bytes || varies(fields) || fields.contains_key(header::CONTENT_RANGE) {
            return pass;
        }
        let head = Box::new(CopyHead::new(fields, len));
        if fresh_for.is_zero() && head.revalidation().is_none() {
            return pass;
        }
        Verdict::Keep { head, fresh_for }
    }

    /// Returns what an answer to [`CopyHead::revalidation`] says of the copy with `head` (RFC 9111 §4.3.3, §4.3.4).
    pub fn renewal(&self, head: &CopyHead, status: u16, fields: &HeaderMap) -> Renewal {
        use StorageFailure::NotFound;
        match status {
            304 if head.is_of(fields) => self.fresh_for(fields).map_or(Renewal::FetchAnew, Renewal::Fresh),
            304 => Renewal::FetchAnew,
            410 => Renewal::Replaced,
            _ => match forward::storage_answer(status, fields, Asked::default()) {
                StorageAnswer::Content | StorageAnswer::Failure(NotFound) => Renewal::Replaced,
                _ => Renewal::Unknown,
            },
        }
    }

    /// For how long an answer with `fields` is fresh: as the operator says, less where the storage does; `None` where it
    /// must not be kept by a cache that many share (RFC 9111 §4.2.1, §5.2.2).
    fn fresh_for(&self, fields: &HeaderMap) -> Option<Duration> {
        let directives = Directives::of(fields)?;
        let lifetime = match directives.max_age {
            Some(max_age) => Some(max_age),
            None if fields.contains_key(header::EXPIRES) => Some(until_expiry(fields)),
            None => None,
        };
        // Of several, or one that is no number, nothing is known: then it is as old as can be.
        let age = match fields.contains_key(header::AGE) {
            false => 0,
            true => single(fields, &header::AGE).map_or(u64::MAX, number),
        };
        let left = lifetime.map(|lifetime| Duration::from_secs(lifetime.saturating_sub(age)));
        Some(left.map_or(self.ttl, |left| left.min(self.ttl)))
    }
}

/// The length of a body that is sent as it is and says how long it is.
fn length(fields: &HeaderMap) -> Option<u64> {
    if fields.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let text = single(fields, &header::CONTENT_LENGTH)?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Whether the answer depends on a field that the gate passes on (RFC 9111 §4.1): then one copy is not everybody's.
fn varies(fields: &HeaderMap) -> bool {
    let is_passed_on = |name: &str| forward::passes_on(name.trim());
    fields.get_all(header::VARY).iter().any(|vary| {
        vary.to_str().map_or(true, |vary| vary.split(',').any(|name| name.trim() == "*" || is_passed_on(name)))
    })
}

/// Seconds from `Date` to `Expires`; 0 where one of them is no date (RFC 9111 §5.3).
fn until_expiry(fields: &HeaderMap) -> u64 {
    let date = |name| single(fields, &name).and_then(|date| httpdate::parse_http_date(date).ok());
    match (date(header::EXPIRES), date(header::DATE)) {
        (Some(expires), Some(now)) => expires.duration_since(now).map_or(0, |left| left.as_secs()),
        _ => 0,
    }
}

/// The condition under which the storage sends an object again.
pub type Revalidation = (HeaderName, HeaderValue);

#[cfg(test)]
mod tests;

//! The headers of a request that name a range or a condition (RFC 9110 §13, §14).

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName};
use s3s::dto::{Range, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};

use super::object::Object;

/// Headers that `s3s` would refuse in forms which HTTP allows (lists, several ranges): read here instead.
///
/// They are gone before the signature is verified, so it may not cover them; that of a presigned URL covers `host`.
const CONDITIONS: [HeaderName; 6] = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// The headers of a request that name a range or a condition.
#[derive(Clone, Default)]
pub(super) struct Conditions(HeaderMap);

impl Conditions {
    /// Takes them off a request.
    pub(super) fn take_from(request: &mut HeaderMap) -> Conditions {
        let mut conditions = HeaderMap::new();
        for name in CONDITIONS {
            for value in request.get_all(&name) {
                conditions.append(&name, value.clone());
            }
            request.remove(name);
        }
        Conditions(conditions)
    }

    /// Whether to send the object at all (RFC 9110 §13.2.2, in its order).
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        let modified = &object.last_modified;
        let since = |name| self.text(name).and_then(|s| Timestamp::parse(TimestampFormat::HttpDate, s).ok());
        if let Some(list) = self.list(IF_MATCH) {
            if !names(&list, &object.etag) {
                return Err(object.error(S3ErrorCode::PreconditionFailed));
            }
        } else if since(IF_UNMODIFIED_SINCE).is_some_and(|date| *modified > date) {
            return Err(object.error(S3ErrorCode::PreconditionFailed));
        }
        let unchanged = match self.list(IF_NONE_MATCH) {
            Some(list) => names(&list.replace("W/", ""), &object.etag),
            None => since(IF_MODIFIED_SINCE).is_some_and(|date| *modified <= date),
        };
        if unchanged { Err(object.error(S3ErrorCode::NotModified)) } else { Ok(()) }
    }

    /// The one range to send. `None`, the whole object, for several ranges, ranges that make no sense, and an
    /// `If-Range` that names another version (RFC 9110 §13.1.5, §14.2).
    pub(super) fn range(&self, object: &Object) -> Option<Range> {
        let current = |validator: &str| validator == object.etag || validator == object.last_modified_text();
        if self.0.contains_key(IF_RANGE) && !self.text(IF_RANGE).is_some_and(current) {
            return None;
        }
        Range::parse(self.text(RANGE)?).ok()
    }

    /// The value of a header that may be sent once.
    fn text(&self, name: HeaderName) -> Option<&str> {
        let mut values = self.0.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())?.to_str().ok()
    }

    /// The value of a header that is a list, its lines joined.
    fn list(&self, name: HeaderName) -> Option<String> {
        let lines: Vec<_> = self.0.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
        (!lines.is_empty()).then(|| lines.join(","))
    }
}

/// Whether the list of an `If-Match` or `If-None-Match` names `etag`; ours hold no comma.
fn names(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag)
}

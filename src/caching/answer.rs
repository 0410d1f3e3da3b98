//! A copy and a request → what the client gets: the whole object, a part, or no body at all.

use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::Revalidation;
use super::conditions::{Conditions, Outcome, Validators, date};
use super::range::{self, Wanted};
use crate::gate::forward;

/// What is known of a copy beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyHead {
    /// As a client may see them.
    fields: HeaderMap,
    len: u64,
    modified: Option<SystemTime>,
}

/// What a request gets of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyAnswer {
    /// 200 and all of it.
    Whole,
    /// 206 and these bytes, both included.
    Part {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client takes it for.
    PreconditionFailed,
    /// 416: it has no such bytes.
    RangeNotSatisfiable,
}

impl CopyAnswer {
    /// The status.
    pub const fn status(self) -> StatusCode {
        match self {
            CopyAnswer::Whole => StatusCode::OK,
            CopyAnswer::Part { .. } => StatusCode::PARTIAL_CONTENT,
            CopyAnswer::NotModified => StatusCode::NOT_MODIFIED,
            CopyAnswer::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            CopyAnswer::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }
}

impl CopyHead {
    /// Takes over what the storage's answer says of an object of `len` bytes.
    pub(super) fn new(storage: &HeaderMap, len: u64) -> CopyHead {
        let mut fields = forward::response_fields(storage);
        for value in fields.values_mut() {
            // In memory of its own: what came from a connection keeps all that was read with it.
            *value = HeaderValue::from_bytes(value.as_bytes()).expect("it was one before");
        }
        let modified = fields.get(header::LAST_MODIFIED).and_then(|value| date(value.to_str().ok()?));
        CopyHead { fields, len, modified }
    }

    /// The length of the object, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the object is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The fields of the whole object, as a client may see them.
    pub fn fields(&self) -> &HeaderMap {
        &self.fields
    }

    /// Bytes of memory that the fields hold, about.
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum()
    }

    /// The field that asks the storage whether the object has changed; `None` where nothing tells.
    pub fn revalidation(&self) -> Option<Revalidation> {
        let asks = |with, name| self.fields.get(name).map(|value| (with, value.clone()));
        asks(header::IF_NONE_MATCH, header::ETAG).or_else(|| asks(header::IF_MODIFIED_SINCE, header::LAST_MODIFIED))
    }

    /// Whether a 304 with `fields` is about this state of the object: its tag and its date are the same, where it says them.
    pub(super) fn is_of(&self, fields: &HeaderMap) -> bool {
        [header::ETAG, header::LAST_MODIFIED]
            .iter()
            .all(|name| fields.get_all(name).iter().all(|value| self.fields.get(name) == Some(value)))
    }

    /// Returns what a request with `method` and the client's fields gets (RFC 9110 §13.2.2, §14.2).
    pub fn answer(&self, method: &Method, request: &HeaderMap) -> CopyAnswer {
        let conditions = Conditions::of(request);
        let etag = self.fields.get(header::ETAG).and_then(|etag| etag.to_str().ok());
        let copy = Validators { etag, modified: self.modified };
        match conditions.outcome(copy) {
            Outcome::Failed => return CopyAnswer::PreconditionFailed,
            Outcome::NotModified => return CopyAnswer::NotModified,
            Outcome::Holds => {}
        }
        // Of `HEAD` there is no part.
        let range = conditions.range.filter(|_| method == Method::GET && conditions.allows_range(copy));
        match range.map(|value| range::wanted(value, self.len)) {
            None | Some(Wanted::Whole) => CopyAnswer::Whole,
            Some(Wanted::Part(first, last)) => CopyAnswer::Part { first, last },
            Some(Wanted::Nothing) => CopyAnswer::RangeNotSatisfiable,
        }
    }

    /// Returns the fields of an answer with the object or a part of it, or of a 304; of the others, which have a body of the
    /// gate's, those that only the copy knows.
    pub fn answer_fields(&self, answer: CopyAnswer) -> HeaderMap {
        let value = |text: String| HeaderValue::try_from(text).expect("digits and words");
        match answer {
            CopyAnswer::Whole => self.fields.clone(),
            CopyAnswer::Part { first, last } => {
                let mut fields = self.fields.clone();
                fields.insert(header::CONTENT_LENGTH, (last - first + 1).into());
                fields.insert(header::CONTENT_RANGE, value(format!("bytes {first}-{last}/{}", self.len)));
                fields
            }
            CopyAnswer::NotModified => {
                // RFC 9110 §15.4.5: what tells the states of an object apart.
                let told = [header::ETAG, header::LAST_MODIFIED];
                let told = told.into_iter().filter_map(|name| Some((self.fields.get(&name)?.clone(), name)));
                forward::response_fields(&told.map(|(value, name)| (name, value)).collect())
            }
            CopyAnswer::PreconditionFailed => HeaderMap::new(),
            CopyAnswer::RangeNotSatisfiable => {
                HeaderMap::from_iter([(header::CONTENT_RANGE, value(format!("bytes */{}", self.len)))])
            }
        }
    }
}

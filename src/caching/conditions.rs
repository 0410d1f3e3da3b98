//! Conditional requests (RFC 9110 §13): what a client has, or takes the object to be.

use std::time::SystemTime;

use http::header::{self, HeaderMap};

use crate::gate::forward;

/// The fields of a request that ask something of an object, as they would go to the storage.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conditions<'a> {
    if_match: Option<&'a str>,
    if_none_match: Option<&'a str>,
    if_modified_since: Option<&'a str>,
    if_unmodified_since: Option<&'a str>,
    if_range: Option<&'a str>,
    pub(super) range: Option<&'a str>,
}

/// What the conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The request is answered.
    Holds,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// What a copy can be told by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validators<'a> {
    pub(super) etag: Option<&'a str>,
    pub(super) modified: Option<SystemTime>,
}

impl<'a> Conditions<'a> {
    pub(super) fn of(request: &'a HeaderMap) -> Conditions<'a> {
        let mut conditions = Conditions::default();
        for (name, value) in forward::request_fields(request) {
            let Ok(value) = value.to_str() else { continue };
            let field = match *name {
                header::RANGE => &mut conditions.range,
                header::IF_RANGE => &mut conditions.if_range,
                header::IF_MATCH => &mut conditions.if_match,
                header::IF_NONE_MATCH => &mut conditions.if_none_match,
                header::IF_MODIFIED_SINCE => &mut conditions.if_modified_since,
                header::IF_UNMODIFIED_SINCE => &mut conditions.if_unmodified_since,
                _ => continue,
            };
            *field = Some(value);
        }
        conditions
    }

    /// In the order of RFC 9110 §13.2.2. A date that is none, or an object without one, asks nothing.
    pub(super) fn outcome(&self, copy: Validators<'_>) -> Outcome {
        let unmodified = |since: &str| Some(copy.modified? <= date(since)?);
        let holds = match (self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => names(tags, copy.etag, Comparison::Strong),
            (None, Some(since)) => unmodified(since).unwrap_or(true),
            (None, None) => true,
        };
        if !holds {
            return Outcome::Failed;
        }
        let has_it = match (self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => names(tags, copy.etag, Comparison::Weak),
            (None, Some(since)) => unmodified(since).unwrap_or(false),
            (None, None) => false,
        };
        if has_it { Outcome::NotModified } else { Outcome::Holds }
    }

    /// Whether a range may be taken of the copy (RFC 9110 §13.1.5).
    pub(super) fn allows_range(&self, copy: Validators<'_>) -> bool {
        let Some(validator) = self.if_range else { return true };
        if validator.contains('"') {
            return validator != "*" && names(validator, copy.etag, Comparison::Strong) && !validator.contains(',');
        }
        date(validator).is_some_and(|date| copy.modified == Some(date))
    }
}

/// How entity tags compare (RFC 9110 §8.8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags names `etag`; `*` names every object that is there.
fn names(list: &str, etag: Option<&str>, comparison: Comparison) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let Some((is_weak, opaque)) = etag.and_then(|etag| tag(etag).map(|(tag, _)| tag)) else { return false };
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some(((other_is_weak, other), behind)) = tag(rest) else { return false };
        let is_strong = !is_weak && !other_is_weak;
        if other == opaque && (is_strong || comparison == Comparison::Weak) {
            return true;
        }
        rest = behind;
    }
}

/// Takes an entity tag off the front: whether it is weak, what is between its quotes, and the rest.
fn tag(text: &str) -> Option<((bool, &str), &str)> {
    let (is_weak, quoted) = match text.strip_prefix("W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
    Some(((is_weak, opaque), rest))
}

pub(super) fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

//! What may cross the gate: header fields on their way in and out, and what the storage's answers mean.
//!
//! Both directions are allow-lists. What is not named here does not pass.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::content::is_passive;
pub use super::cors::{AllowOrigin, CorsOrigins};

/// Most ranges that are passed on; a request with more gets the whole object (RFC 9110 §14.2).
const MAX_RANGES: usize = 16;

/// Longest field of the client's that is passed on, in bytes.
const MAX_FIELD_BYTES: usize = 1024;

/// The client's fields that the storage sees.
static REQUEST_FIELDS: [HeaderName; 9] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
];

/// Those of them that choose between forms of one object.
static NEGOTIATED: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE];

/// The storage's fields that the client sees.
static RESPONSE_FIELDS: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// Returns the fields of `client` that go to the storage.
///
/// One that stands twice, is overlong or is not text is left out: without it the storage answers with the whole
/// object, which is always right.
pub fn request_fields(client: &HeaderMap) -> impl Iterator<Item = (&'static HeaderName, &HeaderValue)> {
    single(client, &REQUEST_FIELDS).filter(|(name, value)| {
        let is_short = |text: &str| {
            text.len() <= MAX_FIELD_BYTES && (*name != header::RANGE || text.split(',').count() <= MAX_RANGES)
        };
        value.to_str().is_ok_and(is_short)
    })
}

/// Whether the storage sees the client's field `name`, in any case.
pub fn passes_on(name: &str) -> bool {
    REQUEST_FIELDS.iter().any(|field| field.as_str().eq_ignore_ascii_case(name))
}

/// Returns those of `fields` that are among `names` and do not stand twice, in the order of `names`, from one pass.
fn single<'a, const N: usize>(
    fields: &'a HeaderMap,
    names: &'static [HeaderName; N],
) -> impl Iterator<Item = (&'static HeaderName, &'a HeaderValue)> {
    let all_differ = fields.keys_len() == fields.len();
    let mut found = [None; N];
    for (name, value) in fields {
        let at = names.iter().position(|wanted| wanted == name);
        if let Some(at) = at.filter(|_| all_differ || fields.get_all(name).iter().nth(1).is_none()) {
            found[at] = Some(value);
        }
    }
    names.iter().zip(found).filter_map(|(name, value)| Some((name, value?)))
}

/// What an answer of the storage means for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageAnswer {
    /// It is passed on with its body: 200 and 206.
    Content,
    /// It is passed on, and has no body that matters: 304.
    NotModified,
    /// 412, with our own body.
    PreconditionFailed,
    /// 416, with our own body.
    RangeNotSatisfiable,
    /// It is a failure of the storage, with our own body.
    Failure(StorageFailure),
}

/// How the storage can fail a client that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageFailure {
    /// No such object.
    NotFound,
    /// A server of somebody else's does not let this URL in.
    ForeignRefused,
    /// It does not accept the gate's signature: wrong credentials, clock or bucket policy.
    Refused,
    /// It asks for fewer requests, or says that it is overloaded.
    Busy,
    /// Any other answer, or one that cannot be understood.
    BadAnswer,
    /// No connection.
    Unreachable,
    /// No answer in time.
    TimedOut,
}

impl StorageFailure {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            StorageFailure::NotFound => 404,
            StorageFailure::ForeignRefused => 403,
            StorageFailure::Refused | StorageFailure::BadAnswer | StorageFailure::Unreachable => 502,
            StorageFailure::Busy => 503,
            StorageFailure::TimedOut => 504,
        }
    }

    /// The `code` of the error body.
    pub const fn code(self) -> &'static str {
        match self {
            StorageFailure::NotFound => "ERR_NOT_FOUND",
            StorageFailure::ForeignRefused => "ERR_MEDIA_REFUSED",
            StorageFailure::Refused => "ERR_STORAGE_REFUSED",
            StorageFailure::Busy => "ERR_STORAGE_BUSY",
            StorageFailure::BadAnswer => "ERR_STORAGE_ANSWER",
            StorageFailure::Unreachable => "ERR_STORAGE_UNREACHABLE",
            StorageFailure::TimedOut => "ERR_STORAGE_TIMEOUT",
        }
    }

    /// The metric label.
    pub const fn reason(self) -> &'static str {
        match self {
            StorageFailure::NotFound => "not_found",
            StorageFailure::ForeignRefused => "foreign_refused",
            StorageFailure::Refused => "storage_refused",
            StorageFailure::Busy => "storage_busy",
            StorageFailure::BadAnswer => "storage_answer",
            StorageFailure::Unreachable => "storage_unreachable",
            StorageFailure::TimedOut => "storage_timeout",
        }
    }

    /// What a person reads.
    pub const fn message(self) -> &'static str {
        match self {
            StorageFailure::NotFound => "There is no such object.",
            StorageFailure::ForeignRefused => "The media server does not let this URL in.",
            StorageFailure::Refused => "The storage does not accept the gate. The operator has to look at it.",
            StorageFailure::Busy => "The storage is busy. Try again shortly.",
            StorageFailure::BadAnswer => "The storage gave no usable answer. Try again shortly.",
            StorageFailure::Unreachable => "The storage cannot be reached. Try again shortly.",
            StorageFailure::TimedOut => "The storage did not answer in time. Try again shortly.",
        }
    }
}

/// What the request to the storage asked for: an answer to something else is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    range: bool,
    unless_modified: bool,
    precondition: bool,
    of_foreigner: bool,
}

impl Asked {
    /// The same of a server of somebody else's, whose refusal is meant for the client's own token.
    #[must_use]
    pub fn of_foreigner(self, of_foreigner: bool) -> Asked {
        Asked { of_foreigner, ..self }
    }

    /// Reads it from the fields that go to the storage.
    pub fn of(fields: &HeaderMap) -> Asked {
        let mut asked = Asked::default();
        for name in fields.keys() {
            asked.range |= *name == header::RANGE;
            asked.unless_modified |= *name == header::IF_NONE_MATCH || *name == header::IF_MODIFIED_SINCE;
            asked.precondition |= *name == header::IF_MATCH || *name == header::IF_UNMODIFIED_SINCE;
        }
        asked
    }
}

/// Returns what an answer with `status` and `fields` means. Redirects, cookies and errors of the storage never reach a
/// client, nor does a body that is coded for the way to the gate.
pub fn storage_answer(status: u16, fields: &HeaderMap, asked: Asked) -> StorageAnswer {
    match status {
        200 | 206 if !is_plain(fields) || !has_one_length(fields) => StorageAnswer::Failure(StorageFailure::BadAnswer),
        200 => StorageAnswer::Content,
        206 if asked.range => StorageAnswer::Content,
        304 if asked.unless_modified => StorageAnswer::NotModified,
        412 if asked.precondition || asked.unless_modified => StorageAnswer::PreconditionFailed,
        416 if asked.range => StorageAnswer::RangeNotSatisfiable,
        404 => StorageAnswer::Failure(StorageFailure::NotFound),
        401 | 403 if asked.of_foreigner => StorageAnswer::Failure(StorageFailure::ForeignRefused),
        401 | 403 => StorageAnswer::Failure(StorageFailure::Refused),
        429 | 503 => StorageAnswer::Failure(StorageFailure::Busy),
        _ => StorageAnswer::Failure(StorageFailure::BadAnswer),
    }
}

/// Whether the body is sent as it is: in chunks at most (RFC 9112 §6.1), in no coding that the gate would have to undo.
fn is_plain(fields: &HeaderMap) -> bool {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// Whether a length, where there is one, is a number as everybody writes it (RFC 9112 §6.3): readers differ about others.
fn has_one_length(fields: &HeaderMap) -> bool {
    fields.get_all(header::CONTENT_LENGTH).iter().all(|length| {
        let digits = length.as_bytes();
        digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || digits.first().is_some_and(|first| *first != b'0'))
    })
}

/// Returns the fields of the storage's answer that go to the client, and what the gate adds about its content.
///
/// A field that stands twice is left out: two lengths or two types cannot both be true.
pub fn response_fields(storage: &HeaderMap) -> HeaderMap {
    // With room for what every answer has, so that it does not grow.
    let mut fields = HeaderMap::with_capacity(2 * RESPONSE_FIELDS.len());
    let is_chunked = storage.contains_key(header::TRANSFER_ENCODING);
    for (name, value) in single(storage, &RESPONSE_FIELDS) {
        // RFC 9112 §6.3: with both, the length is not the body's.
        if !is_chunked || *name != header::CONTENT_LENGTH {
            fields.insert(name, value.clone());
        }
    }
    let safe = match fields.get(header::CONTENT_TYPE) {
        Some(value) => value.to_str().is_ok_and(is_passive),
        None => {
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            true
        }
    };
    if storage.contains_key(header::VARY)
        && let Some(vary) = varying(storage)
    {
        fields.insert(header::VARY, vary);
    }
    if !safe {
        fields.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
        let sandbox = HeaderValue::from_static("default-src 'none'; sandbox");
        fields.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    }
    fields
}

/// The client's fields that the answer may differ by, as far as the storage says so; what else it says is about fields
/// that it never sees.
fn varying(storage: &HeaderMap) -> Option<HeaderValue> {
    let said = storage.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let said: Vec<&str> = said.flat_map(|value| value.split(',')).map(str::trim).collect();
    let is_said = |name: &&HeaderName| said.iter().any(|said| name.as_str().eq_ignore_ascii_case(said));
    let names: Vec<&str> = NEGOTIATED.iter().filter(is_said).map(HeaderName::as_str).collect();
    (!names.is_empty()).then(|| HeaderValue::try_from(names.join(", ")).expect("names of fields"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        fields.iter().map(pair).collect()
    }

    #[test]
    fn only_named_request_fields_pass() {
        let client = map(&[
            ("range", "bytes=0-1"),
            ("if-none-match", "\"x\""),
            ("accept", "*/*"),
            ("authorization", "Bearer t"),
            ("fat", "t"),
            ("cookie", "fat=t"),
            ("referer", "https://h/?fat=t"),
            ("x-amz-date", "1"),
            ("x-amz-security-token", "1"),
            ("x-forwarded-host", "h"),
            ("x-http-method-override", "DELETE"),
            ("connection", "range"),
            ("te", "trailers"),
            ("expect", "100-continue"),
        ]);
        let passed: Vec<_> = request_fields(&client).map(|(name, _)| name.as_str()).collect();
        assert_eq!(passed, ["range", "if-none-match", "accept"]);
    }

    #[test]
    fn doubtful_ranges_are_left_out() {
        let passes = |fields: &[(&'static str, &str)]| request_fields(&map(fields)).next().is_some();
        let many = |n: usize| format!("bytes={}", vec!["0-0"; n].join(","));
        assert!(passes(&[("range", &many(MAX_RANGES))]));
        assert!(!passes(&[("range", &many(MAX_RANGES + 1))]));
        assert!(!passes(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]));
        assert!(!passes(&[("if-none-match", &"x".repeat(MAX_FIELD_BYTES + 1))]));
    }

    #[test]
    fn only_named_response_fields_pass() {
        let storage = map(&[
            ("content-type", "image/png"),
            ("content-length", "3"),
            ("etag", "\"x\""),
            ("x-amz-request-id", "r"),
            ("x-amz-meta-owner", "o"),
            ("server", "s"),
            ("set-cookie", "a=b"),
            ("location", "http://bucket"),
            ("cache-control", "public"),
            ("access-control-allow-origin", "*"),
        ]);
        let passed = response_fields(&storage);
        let names: Vec<_> = passed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["content-length", "content-type", "etag"]);
        let doubled = response_fields(&map(&[("content-length", "1"), ("content-length", "2")]));
        assert!(doubled.iter().all(|(name, _)| name != header::CONTENT_LENGTH));
    }

    #[test]
    fn active_content_is_downloaded_into_a_sandbox() {
        let check = |content_type: Option<&str>, inline: bool| {
            let fields: Vec<_> = content_type.into_iter().map(|value| ("content-type", value)).collect();
            let found = response_fields(&map(&fields));
            let attached = found.iter().any(|(name, _)| name == header::CONTENT_DISPOSITION);
            let sandboxed = found.iter().any(|(name, _)| name == header::CONTENT_SECURITY_POLICY);
            assert_eq!((attached, sandboxed), (!inline, !inline), "{content_type:?}");
            assert!(found.iter().any(|(name, _)| name == header::CONTENT_TYPE));
        };
        check(Some("image/png"), true);
        for active in ["text/html", "image/svg+xml", "image/png, text/html", "nonsense", ""] {
            check(Some(active), false);
        }
        check(None, true);
    }

    #[test]
    fn an_answer_varies_with_what_the_storage_has_seen() {
        let check = |said: &[&str], expected: Option<&str>| {
            let fields: Vec<_> = said.iter().map(|said| ("vary", *said)).collect();
            let found = response_fields(&map(&fields));
            assert_eq!(found.get(header::VARY).map(|value| value.to_str().unwrap()), expected, "{said:?}");
        };
        check(&[], None);
        check(&["Cookie, Authorization, x-amz-date"], None);
        check(&["Accept-Encoding"], Some("accept-encoding"));
        check(&["Origin, ACCEPT-ENCODING", "accept ,Cookie"], Some("accept, accept-encoding"));
        check(&["*"], None);
    }

    #[test]
    fn storage_errors_are_ours() {
        use StorageAnswer::*;
        let everything = Asked::of(&map(&[("range", "bytes=0-"), ("if-match", "*"), ("if-none-match", "x")]));
        for (status, answer) in [
            (200, Content),
            (206, Content),
            (304, NotModified),
            (416, RangeNotSatisfiable),
            (412, PreconditionFailed),
            (404, Failure(StorageFailure::NotFound)),
            (403, Failure(StorageFailure::Refused)),
            (503, Failure(StorageFailure::Busy)),
            (301, Failure(StorageFailure::BadAnswer)),
            (307, Failure(StorageFailure::BadAnswer)),
            (204, Failure(StorageFailure::BadAnswer)),
            (500, Failure(StorageFailure::BadAnswer)),
            (101, Failure(StorageFailure::BadAnswer)),
        ] {
            assert_eq!(storage_answer(status, &HeaderMap::new(), everything), answer, "{status}");
        }
        for (length, is_one) in [("5", true), ("0", true), ("5, 5", false), ("05", false), ("+5", false), ("", false)] {
            let answer = storage_answer(200, &map(&[("content-length", length)]), everything);
            assert_eq!(answer == Content, is_one, "{length}");
        }
        for status in [206, 304, 412, 416] {
            let unasked = storage_answer(status, &HeaderMap::new(), Asked::default());
            assert_eq!(unasked, Failure(StorageFailure::BadAnswer), "{status}");
        }
        for (coding, answer) in [
            ("chunked", Content),
            ("Chunked", Content),
            ("gzip", Failure(StorageFailure::BadAnswer)),
            ("gzip, chunked", Failure(StorageFailure::BadAnswer)),
            ("identity", Failure(StorageFailure::BadAnswer)),
        ] {
            let fields = map(&[("transfer-encoding", coding)]);
            assert_eq!(storage_answer(200, &fields, Asked::default()), answer, "{coding}");
        }
    }
}

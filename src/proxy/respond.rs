//! Answers that the gate gives by itself: a status, a code, a message, and the fields that every answer has.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{ErrorType, OrErr, Result};

use super::page;
use crate::gate::forward::{AllowOrigin, StorageFailure};
use crate::gate::{Advice, Connection, Denial, HandoutForm, Presigned};

/// What a script on another site may read of an answer.
const EXPOSED: &str =
    "accept-ranges, content-disposition, content-length, content-range, etag, last-modified, retry-after";

/// Fields that an answer has at most, so that no map grows.
const ROOM: usize = 16;

/// Bytes that a body of ours has at most, so that it does not grow.
const BODY_ROOM: usize = 256;

/// What a program reads.
#[derive(serde::Serialize)]
struct Envelope {
    error: Error,
}

#[derive(serde::Serialize)]
struct Error {
    code: &'static str,
    message: &'static str,
}

/// An answer with a body of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    pub(super) advice: Advice,
    challenge: Option<&'static str>,
    pub(super) connection: Connection,
}

impl From<Denial> for Answer {
    fn from(denial: Denial) -> Answer {
        Answer {
            status: denial.status(),
            code: denial.code(),
            message: denial.message(),
            advice: denial.advice(),
            challenge: denial.challenge(),
            connection: denial.connection(),
        }
    }
}

impl From<StorageFailure> for Answer {
    fn from(failure: StorageFailure) -> Answer {
        Answer {
            status: failure.status(),
            code: failure.code(),
            message: failure.message(),
            advice: failure.advice(),
            challenge: None,
            connection: Connection::Keep,
        }
    }
}

impl Answer {
    /// 416 and 412: the storage's verdict in our words.
    pub(super) const RANGE_NOT_SATISFIABLE: Answer = Answer {
        status: 416,
        code: "ERR_RANGE_NOT_SATISFIABLE",
        message: "The object has no such range.",
        advice: Advice::CHANGED,
        challenge: None,
        connection: Connection::Keep,
    };
    pub(super) const PRECONDITION_FAILED: Answer = Answer {
        status: 412,
        code: "ERR_PRECONDITION_FAILED",
        message: "The object is not in the state that the request asks for.",
        advice: Advice::CHANGED,
        challenge: None,
        connection: Connection::Keep,
    };
    pub(super) const INTERNAL: Answer = Answer {
        status: 500,
        code: "ERR_INTERNAL",
        message: "The gate could not answer. The operator has to look at it.",
        advice: Advice::BROKEN,
        challenge: None,
        connection: Connection::Close,
    };

    /// The body: HTML for a browser that asks for a page, JSON for everything else.
    pub(super) fn body(self, request: &HeaderMap) -> (&'static str, Bytes) {
        if page::is_asked_for(request) {
            return ("text/html; charset=utf-8", page::of(self));
        }
        let envelope = Envelope { error: Error { code: self.code, message: self.message } };
        let mut body = Vec::with_capacity(BODY_ROOM);
        // Writing text to memory does not fail.
        let _ = serde_json::to_writer(&mut body, &envelope);
        body.push(b'\n');
        ("application/json", body.into())
    }

    /// Head and body as HTTP/1.1 text, for a connection that no request was read from.
    pub(super) fn to_http_1(self, origin: &AllowOrigin) -> (Vec<u8>, Bytes) {
        let (content_type, body) = self.body(&HeaderMap::new());
        let mut fields = self.fields(content_type, body.len());
        common_fields(&mut fields, origin);
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let reason = self.status().canonical_reason().unwrap_or_default();
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", self.status).into_bytes();
        for (name, value) in &fields {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        (text, body)
    }

    pub(super) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status).expect("every answer here has a status from 400 to 599")
    }

    /// The fields, without anything about CORS.
    pub(super) fn fields(self, content_type: &'static str, body_len: usize) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(ROOM);
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        fields.insert(header::CONTENT_LENGTH, body_len.into());
        let mut insert = |name, value| fields.insert(name, HeaderValue::from_static(value));
        insert(header::CACHE_CONTROL, "no-store");
        if let Some(challenge) = self.challenge {
            insert(header::WWW_AUTHENTICATE, challenge);
        }
        if matches!(self.status, 502..=504) {
            insert(header::RETRY_AFTER, "5");
        }
        if self.status == 405 {
            insert(header::ALLOW, "GET, HEAD, OPTIONS");
        }
        if content_type.starts_with("text/html") {
            fields.insert(header::CONTENT_SECURITY_POLICY, page::policy());
        }
        fields
    }
}

/// Adds what every answer has.
pub(super) fn common_fields(fields: &mut HeaderMap, origin: &AllowOrigin) {
    let of = HeaderValue::from_static;
    if !fields.contains_key(header::CACHE_CONTROL) {
        // Asked for again each time it is shown: otherwise a browser shows what it has to a user who was deactivated since,
        // and what it fetched with one token header to a request with another or none.
        fields.insert(header::CACHE_CONTROL, of("private, no-cache"));
    }
    fields.insert(header::REFERRER_POLICY, of("no-referrer"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, of("nosniff"));
    match origin {
        AllowOrigin::Any => {
            fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, of("*"));
        }
        AllowOrigin::One(origin) => {
            fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            // A player's cookie comes along with its script's requests: only to sites that the operator names.
            fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, of("true"));
            fields.append(header::VARY, of("Origin"));
        }
        AllowOrigin::Nobody => {
            fields.append(header::VARY, of("Origin"));
        }
    }
    if *origin != AllowOrigin::Nobody {
        fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, of(EXPOSED));
    }
}

/// Returns a header made of parts: it does without Pingora's second map, which only keeps how names were spelt.
pub(super) fn response(status: StatusCode, fields: HeaderMap) -> ResponseHeader {
    let mut parts = http::Response::new(()).into_parts().0;
    parts.status = status;
    parts.headers = fields;
    parts.into()
}

/// Sends `answer` as the whole response.
pub(super) async fn respond(session: &mut Session, answer: Answer, origin: &AllowOrigin) -> Result<()> {
    respond_with(session, answer, origin, HeaderMap::new()).await
}

/// The same with `more` fields.
pub(super) async fn respond_with(
    session: &mut Session,
    answer: Answer,
    origin: &AllowOrigin,
    more: HeaderMap,
) -> Result<()> {
    let (content_type, body) = answer.body(&session.req_header().headers);
    let mut fields = answer.fields(content_type, body.len());
    fields.extend(more);
    common_fields(&mut fields, origin);
    if answer.connection == Connection::Close {
        session.set_keepalive(None);
    }
    let has_body = session.req_header().method != http::Method::HEAD;
    session.write_response_header(Box::new(response(answer.status(), fields)), !has_body).await?;
    if has_body {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Answers with a presigned URL, as the client wants it; returns the status.
pub(super) async fn respond_presigned(
    session: &mut Session,
    presigned: &Presigned,
    form: HandoutForm,
    origin: &AllowOrigin,
) -> Result<u16> {
    let mut fields = HeaderMap::with_capacity(ROOM);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (status, body) = match form {
        HandoutForm::Body => {
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (StatusCode::OK, format!("{}\n", serde_json::json!({ "data": presigned })).into())
        }
        HandoutForm::Redirect => {
            let location = HeaderValue::from_str(&presigned.url);
            fields.insert(header::LOCATION, location.explain_err(ErrorType::InvalidHTTPHeader, |_| "no location")?);
            (StatusCode::FOUND, Bytes::new())
        }
    };
    fields.insert(header::CONTENT_LENGTH, body.len().into());
    common_fields(&mut fields, origin);
    let has_body = session.req_header().method != http::Method::HEAD && !body.is_empty();
    session.write_response_header(Box::new(response(status, fields)), !has_body).await?;
    if has_body {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(status.as_u16())
}

/// Answers `OPTIONS`: a CORS preflight (Fetch standard), or a plain question for the methods.
pub(super) async fn respond_options(session: &mut Session, origin: &AllowOrigin) -> Result<()> {
    let mut fields = HeaderMap::with_capacity(ROOM);
    let mut insert = |name, value| fields.insert(name, HeaderValue::from_static(value));
    insert(header::ALLOW, "GET, HEAD, OPTIONS");
    insert(header::CACHE_CONTROL, "no-store");
    if *origin != AllowOrigin::Nobody {
        insert(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS");
        insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, fat, range, if-match, if-none-match, if-modified-since, if-range, if-unmodified-since",
        );
        insert(header::ACCESS_CONTROL_MAX_AGE, "7200");
    }
    common_fields(&mut fields, origin);
    // What players ask for needs no preflight; what does is never to come along with their cookies.
    fields.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    session.write_response_header(Box::new(response(StatusCode::NO_CONTENT, fields)), true).await
}

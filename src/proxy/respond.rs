//! Answers that the gate gives by itself: a status, a code, a message, and the fields that every answer has.

use bytes::Bytes;
use http::header::{self, HeaderMap};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::gate::forward::{AllowOrigin, StorageFailure};
use crate::gate::{Connection, Denial};

/// What a script on another site may read of an answer.
const EXPOSED: &str =
    "accept-ranges, content-disposition, content-length, content-range, etag, last-modified, retry-after";

/// An answer with a body of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    code: &'static str,
    message: &'static str,
    challenge: Option<&'static str>,
    pub(super) connection: Connection,
}

impl From<Denial> for Answer {
    fn from(denial: Denial) -> Answer {
        Answer {
            status: denial.status(),
            code: denial.code(),
            message: denial.message(),
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
        challenge: None,
        connection: Connection::Keep,
    };
    pub(super) const PRECONDITION_FAILED: Answer = Answer {
        status: 412,
        code: "ERR_PRECONDITION_FAILED",
        message: "The object is not in the state that the request asks for.",
        challenge: None,
        connection: Connection::Keep,
    };
    pub(super) const INTERNAL: Answer = Answer {
        status: 500,
        code: "ERR_INTERNAL",
        message: "The gate could not answer. The operator has to look at it.",
        challenge: None,
        connection: Connection::Close,
    };

    /// The body: HTML for a browser that asks for a page, JSON for everything else.
    pub(super) fn body(self, request: &HeaderMap) -> (&'static str, Bytes) {
        let (status, code, message) = (self.status, self.code, self.message);
        if asks_for_page(request) {
            // Only constants stand in here: nothing to escape.
            let page = format!(
                "<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
                 <title>{status}</title><body style=\"font:1.1rem/1.5 system-ui;margin:15vh auto;max-width:34rem;padding:1rem\">\
                 <h1>{status}</h1><p>{message}<p><small>{code}</small>\n"
            );
            return ("text/html; charset=utf-8", page.into());
        }
        let body = serde_json::json!({ "error": { "code": code, "message": message } });
        ("application/json", format!("{body}\n").into())
    }

    /// Head and body as HTTP/1.1 text, for a connection that no request was read from.
    pub(super) fn to_http_1(self, origin: &AllowOrigin) -> (Vec<u8>, Bytes) {
        let (content_type, body) = self.body(&HeaderMap::new());
        let header = self.header(content_type, body.len()).and_then(|mut header| {
            common_fields(&mut header, origin)?;
            header.insert_header(header::CONNECTION, "close")?;
            Ok(header)
        });
        let Ok(header) = header else { return (Vec::new(), Bytes::new()) };
        let reason = header.status.canonical_reason().unwrap_or_default();
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", header.status.as_u16()).into_bytes();
        for (name, value) in &header.headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        (text, body)
    }

    /// The header, without anything about CORS.
    pub(super) fn header(self, content_type: &str, body_len: usize) -> Result<ResponseHeader> {
        let mut response = ResponseHeader::build(self.status, Some(12))?;
        response.insert_header(header::CONTENT_TYPE, content_type)?;
        response.insert_header(header::CONTENT_LENGTH, body_len)?;
        response.insert_header(header::CACHE_CONTROL, "no-store")?;
        if let Some(challenge) = self.challenge {
            response.insert_header(header::WWW_AUTHENTICATE, challenge)?;
        }
        if matches!(self.status, 502..=504) {
            response.insert_header(header::RETRY_AFTER, "5")?;
        }
        if self.status == 405 {
            response.insert_header(header::ALLOW, "GET, HEAD, OPTIONS")?;
        }
        if content_type.starts_with("text/html") {
            response.insert_header(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")?;
        }
        Ok(response)
    }
}

/// Whether a browser is about to show the answer as a page.
fn asks_for_page(request: &HeaderMap) -> bool {
    let accepts_html = request
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")));
    // Images and scripts say what they are for (Fetch Metadata); older browsers say nothing.
    accepts_html && request.get("sec-fetch-dest").is_none_or(|dest| dest == "document" || dest == "iframe")
}

/// Adds what every answer has.
pub(super) fn common_fields(response: &mut ResponseHeader, origin: &AllowOrigin) -> Result<()> {
    if !response.headers.contains_key(header::CACHE_CONTROL) {
        response.insert_header(header::CACHE_CONTROL, "private")?;
    }
    response.insert_header(header::REFERRER_POLICY, "no-referrer")?;
    response.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    match origin {
        AllowOrigin::Any => response.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")?,
        AllowOrigin::One(origin) => {
            response.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)?;
            response.insert_header(header::VARY, "Origin")?;
        }
        AllowOrigin::Nobody => response.insert_header(header::VARY, "Origin")?,
    }
    if *origin != AllowOrigin::Nobody {
        response.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)?;
    }
    Ok(())
}

/// Sends `answer` as the whole response.
pub(super) async fn respond(session: &mut Session, answer: Answer, origin: &AllowOrigin) -> Result<()> {
    let (content_type, body) = answer.body(&session.req_header().headers);
    let mut response = answer.header(content_type, body.len())?;
    common_fields(&mut response, origin)?;
    if answer.connection == Connection::Close {
        session.set_keepalive(None);
    }
    let has_body = session.req_header().method != http::Method::HEAD;
    session.write_response_header(Box::new(response), !has_body).await?;
    if has_body {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Answers `OPTIONS`: a CORS preflight (Fetch standard), or a plain question for the methods.
pub(super) async fn respond_options(session: &mut Session, origin: &AllowOrigin) -> Result<()> {
    let mut response = ResponseHeader::build(204, Some(10))?;
    response.insert_header(header::ALLOW, "GET, HEAD, OPTIONS")?;
    response.insert_header(header::CACHE_CONTROL, "no-store")?;
    if *origin != AllowOrigin::Nobody {
        response.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS")?;
        response.insert_header(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, fat, range, if-match, if-none-match, if-modified-since, if-range, if-unmodified-since",
        )?;
        response.insert_header(header::ACCESS_CONTROL_MAX_AGE, "7200")?;
    }
    common_fields(&mut response, origin)?;
    session.write_response_header(Box::new(response), true).await
}

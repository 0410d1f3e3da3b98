//! What becomes of the storage's answer on its way to the client.

use http::header::{self, HeaderMap, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::exchange::{Exchange, Replacement};
use super::respond::{Answer, common_fields, response};
use crate::gate::forward;

/// Whether the end of the connection is the end of the body that is being sent: then a body that was broken off looks
/// whole unless the connection is reset.
pub(super) fn ends_with_connection(session: &Session) -> bool {
    let fields = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let framed = |response: &ResponseHeader| fields.iter().any(|field| response.headers.contains_key(field));
    !session.is_http2() && session.response_written().is_some_and(|response| !framed(response))
}

/// Returns what the client sees of the storage's answer, without what is the storage's own business.
pub(super) fn passed_fields(
    session: &Session,
    upstream: &ResponseHeader,
    exchange: &Exchange,
    has_body: bool,
) -> HeaderMap {
    let mut fields = forward::response_fields(&upstream.headers);
    // Without a length the body is chunked; for HTTP/1.0, which knows no chunks, it ends with the connection.
    let has_length = fields.contains_key(header::CONTENT_LENGTH);
    let is_chunked = has_body || upstream.headers.contains_key(header::TRANSFER_ENCODING);
    let knows_chunks = session.req_header().version == http::Version::HTTP_11;
    if !has_length && is_chunked && knows_chunks {
        fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    exchange.add_fields(&mut fields);
    fields
}

/// Puts `answer` in place of the storage's answer, on the storage's own stream so that its connection is kept.
pub(super) fn replace(
    session: &Session,
    upstream: &mut ResponseHeader,
    exchange: &mut Exchange,
    answer: Answer,
) -> Result<()> {
    let client = session.req_header();
    let (content_type, body) = answer.body(&client.headers);
    let is_head = client.method == http::Method::HEAD;
    let has_body = upstream.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length != "0");
    if !is_head && (!has_body || matches!(upstream.status.as_u16(), 101 | 204 | 304)) {
        return Error::e_explain(ErrorType::HTTPStatus(answer.status), "the storage's answer is not passed on");
    }
    let mut fields = answer.fields(content_type, body.len());
    if answer.status == 416
        && let Some(range) = upstream.headers.get(header::CONTENT_RANGE)
    {
        fields.insert(header::CONTENT_RANGE, range.clone());
    }
    common_fields(&mut fields, &exchange.origin);
    if !is_head {
        exchange.replacement = Replacement::Pending(body);
    }
    *upstream = response(answer.status(), fields);
    Ok(())
}

/// A label for the log: client text never is one.
pub(super) fn method_label(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::HEAD => "HEAD",
        http::Method::OPTIONS => "OPTIONS",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::DELETE => "DELETE",
        _ => "-",
    }
}

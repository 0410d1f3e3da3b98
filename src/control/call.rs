//! What every call says before its own rules apply: the app, and a bounded body that can only be JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::api_key::single;
use super::error::ApiError;
use crate::gate::{Gate, UidCase, normalized_uid};

/// The longest body that is read.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The app that a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    pub(super) id: String,
    uid_case: UidCase,
}

impl App {
    /// Returns the app that the `appId` header names; where there is one app only, the header may be missing.
    pub(super) fn of(headers: &HeaderMap, gate: &Gate) -> Result<App, ApiError> {
        let named = single(headers, "appid")?;
        let id = match named {
            Some(named) => std::str::from_utf8(named).map_err(|_| ApiError::AppUnknown)?,
            None if headers.contains_key("appid") => return Err(ApiError::AppMissing),
            None => {
                let mut apps = gate.apps();
                match (apps.next(), apps.next()) {
                    (Some(only), None) => only,
                    _ => return Err(ApiError::AppMissing),
                }
            }
        };
        let uid_case = gate.uid_case(id).ok_or(ApiError::AppUnknown)?;
        Ok(App { id: id.to_owned(), uid_case })
    }

    /// Returns `uid` in the form that tokens of this app are compared with, or `None` if it can be nobody's.
    pub(super) fn uid(&self, uid: &str) -> Option<String> {
        normalized_uid(self.uid_case, uid)
    }
}

/// Returns the app of a call and its body; `None` where it is empty.
pub(super) async fn read(request: Request, gate: &Arc<Gate>) -> Result<(App, Option<Bytes>), ApiError> {
    if request.uri().query().is_some_and(|query| !query.is_empty()) {
        return Err(ApiError::invalid("query", "This call has no query parameters."));
    }
    let (parts, body) = request.into_parts();
    let app = App::of(&parts.headers, gate)?;
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::MediaType("The body must not be compressed: leave out Content-Encoding."));
    }
    let body = collect(body, BODY_TIMEOUT).await?;
    if body.is_empty() {
        return Ok((app, None));
    }
    if !is_json(&parts.headers) {
        return Err(ApiError::MediaType("The body must be sent with Content-Type: application/json."));
    }
    Ok((app, Some(body)))
}

async fn collect(body: Body, limit: Duration) -> Result<Bytes, ApiError> {
    let body = tokio::time::timeout(limit, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    match body.map_err(|_| ApiError::BodySlow)? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::BodyTooLarge),
        Err(_) => Err(ApiError::invalid("body", "The body is incomplete or wrongly framed.")),
    }
}

/// Whether the headers declare JSON, in UTF-8 as JSON is (RFC 8259 §8.1).
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let parameters = parameters.trim();
    let utf8 = ["", "charset=utf-8", "charset=\"utf-8\""].iter().any(|known| parameters.eq_ignore_ascii_case(known));
    essence.trim().eq_ignore_ascii_case("application/json") && utf8
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::HeaderValue;

    use super::*;

    /// A body of which nothing ever comes.
    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    fn check(content_types: &[&str], expected: bool) {
        let mut headers = HeaderMap::new();
        for value in content_types {
            headers.append(header::CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(is_json(&headers), expected, "{content_types:?}");
    }

    #[tokio::test]
    async fn a_body_is_bounded_in_size_and_time() {
        let sized = |bytes: usize| Body::from(vec![b' '; bytes]);
        assert_eq!(collect(sized(MAX_BODY_BYTES), BODY_TIMEOUT).await.map(|body| body.len()), Ok(MAX_BODY_BYTES));
        assert_eq!(collect(sized(MAX_BODY_BYTES + 1), BODY_TIMEOUT).await, Err(ApiError::BodyTooLarge));
        assert_eq!(collect(Body::new(Silent), Duration::ZERO).await, Err(ApiError::BodySlow));
    }

    #[test]
    fn json_is_declared_once_and_in_utf_8() {
        check(&["application/json"], true);
        check(&["Application/JSON; Charset=UTF-8"], true);
        check(&["application/json;charset=\"utf-8\""], true);
        check(&["application/json;"], true);
        check(&[], false);
        check(&["application/json", "application/json"], false);
        for other in ["", "text/plain", "application/jsonp", "application/json, text/plain", "application/x-json"] {
            check(&[other], false);
        }
        check(&["application/json; charset=utf-16"], false);
        check(&["application/json; boundary=x"], false);
    }
}

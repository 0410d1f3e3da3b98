//! What every call says before its own rules apply: the app, and a bounded body that can only be JSON.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::api_key::{Caller, single};
use super::error::ApiError;
use crate::gate::{Gate, UidCase, normalized_uid};

/// The longest body that is read.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How long a body may take to come.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The app that a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    pub(super) id: String,
    uid_case: UidCase,
}

impl App {
    /// Returns the app that the `appId` header names; where there is one app only, or the caller's key is for one only,
    /// the header may be missing.
    pub(super) fn of(headers: &HeaderMap, gate: &Gate, caller: &Caller) -> Result<App, ApiError> {
        let own = caller.app.as_deref();
        let named = single(headers, "appid")?.or(own.map(str::as_bytes));
        let app = App::named(named, headers, gate)?;
        if own.is_some_and(|own| own != app.id) { Err(ApiError::AppUnknown) } else { Ok(app) }
    }

    /// The same for a user's call, which is made without a key.
    pub(super) fn of_client(headers: &HeaderMap, gate: &Gate) -> Result<App, ApiError> {
        App::named(single(headers, "appid")?, headers, gate)
    }

    /// Returns the app that a body names; where the `appId` header is there as well, it must say the same.
    pub(super) fn in_body(id: &str, headers: &HeaderMap, gate: &Gate, caller: &Caller) -> Result<App, ApiError> {
        let own = caller.app.as_deref();
        let unknown =
            || ApiError::invalid("app", "There is no such app, or the key or the appId header is for another.");
        let is_other = |said: Option<&[u8]>| said.is_some_and(|said| said != id.as_bytes());
        if is_other(single(headers, "appid")?) || is_other(own.map(str::as_bytes)) {
            return Err(unknown());
        }
        App::named(Some(id.as_bytes()), headers, gate).map_err(|_| unknown())
    }

    fn named(named: Option<&[u8]>, headers: &HeaderMap, gate: &Gate) -> Result<App, ApiError> {
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

    /// Returns the uid in the path of a call.
    pub(super) fn uid_in_path(&self, uid: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
        let uid = uid.ok().and_then(|Path(uid)| self.uid(&uid));
        uid.ok_or_else(|| ApiError::invalid("uid", "The uid must be 1 to 255 visible ASCII characters."))
    }
}

/// What every call says.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) app: App,
    /// How long it waits for receipts.
    pub(super) wait: Option<Duration>,
    /// Its body; `None` where it is empty.
    pub(super) json: Option<Bytes>,
}

impl Call {
    /// Refuses to wait, where there is nothing to wait for.
    pub(super) fn no_wait(&self) -> Result<(), ApiError> {
        match self.wait {
            None => Ok(()),
            Some(_) => Err(ApiError::invalid("query", "This call has no query parameters.")),
        }
    }
}

/// What a call says whose body names the app.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) headers: HeaderMap,
    pub(super) wait: Option<Duration>,
    pub(super) json: Option<Bytes>,
}

/// The longest that a call may wait for receipts.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Refuses a query, where a call has none.
pub(super) fn no_query(uri: &Uri) -> Result<(), ApiError> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(_) => Err(ApiError::invalid("query", "This call has no query parameters.")),
    }
}

/// Returns how long a call is to wait for receipts: `?wait=2s`, `?wait=500ms`, up to 30 seconds.
pub(super) fn wait(uri: &Uri) -> Result<Option<Duration>, ApiError> {
    let Some(query) = uri.query().filter(|query| !query.is_empty()) else { return Ok(None) };
    let Some(value) = query.strip_prefix("wait=") else {
        return Err(ApiError::invalid("query", "The only query parameter of this call is wait, as in wait=2s."));
    };
    let (number, unit) = value.split_at(value.bytes().take_while(u8::is_ascii_digit).count());
    let unit = [("ms", 1), ("s", 1000)].into_iter().find(|(name, _)| *name == unit).map(|(_, millis)| millis);
    let millis = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    match millis.map(Duration::from_millis).filter(|wait| *wait <= MAX_WAIT) {
        Some(wait) => Ok(Some(wait)),
        None => Err(ApiError::invalid("wait", "The wait must be 0 to 30 seconds, written like 2s or 500ms.")),
    }
}

/// Returns what a call with an API key says.
pub(super) async fn read(request: Request, gate: &Gate, caller: &Caller) -> Result<Call, ApiError> {
    let app = |headers: &HeaderMap| App::of(headers, gate, caller);
    read_as(request, app).await
}

/// Returns what a user's call says.
pub(super) async fn read_client(request: Request, gate: &Gate) -> Result<Call, ApiError> {
    read_as(request, |headers| App::of_client(headers, gate)).await
}

async fn read_as(request: Request, app: impl FnOnce(&HeaderMap) -> Result<App, ApiError>) -> Result<Call, ApiError> {
    let wait = wait(request.uri())?;
    let (parts, body) = request.into_parts();
    let app = app(&parts.headers)?;
    Ok(Call { app, wait, json: json(&parts.headers, body).await? })
}

/// Returns what a call with an API key says whose body names the app.
pub(super) async fn read_unnamed(request: Request) -> Result<Unnamed, ApiError> {
    let wait = wait(request.uri())?;
    let (parts, body) = request.into_parts();
    let json = json(&parts.headers, body).await?;
    Ok(Unnamed { headers: parts.headers, wait, json })
}

/// Returns the body of a call; `None` where it is empty.
async fn json(headers: &HeaderMap, body: Body) -> Result<Option<Bytes>, ApiError> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::MediaType("The body must not be compressed: leave out Content-Encoding."));
    }
    let body = collect(body, BODY_TIMEOUT).await?;
    if body.is_empty() {
        return Ok(None);
    }
    if !is_json(headers) {
        return Err(ApiError::MediaType("The body must be sent with Content-Type: application/json."));
    }
    Ok(Some(body))
}

/// Returns all of a body, which is bounded in size and time.
pub(super) async fn collect(body: Body, limit: Duration) -> Result<Bytes, ApiError> {
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
    fn a_call_waits_for_as_long_as_it_says_within_bounds() {
        let check = |query: &str, expected: Option<Option<u64>>| {
            let uri: Uri = format!("/v3/users{query}").parse().unwrap();
            assert_eq!(wait(&uri).ok(), expected.map(|millis| millis.map(Duration::from_millis)), "{query}");
        };
        check("", Some(None));
        check("?", Some(None));
        check("?wait=2s", Some(Some(2000)));
        check("?wait=500ms", Some(Some(500)));
        check("?wait=0s", Some(Some(0)));
        check("?wait=30s", Some(Some(30_000)));
        for bad in [
            "?wait",
            "?wait=",
            "?wait=2",
            "?wait=s",
            "?wait=31s",
            "?wait=-1s",
            "?wait=1.5s",
            "?wait=2s&wait=2s",
            "?a=1",
        ] {
            check(bad, None);
        }
        check("?wait=99999999999999999999s", None);
        check("?wait=18446744073709551615s", None);
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

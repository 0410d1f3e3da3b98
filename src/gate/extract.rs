//! Request head → what the client asks for, and what it shows for itself. Ambiguity is refused, never resolved.

mod credential;
mod wishes;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Version};
use memchr::{memchr, memrchr};

pub(crate) use credential::cookies;
#[cfg(feature = "proxy")]
pub(crate) use credential::other_cookies;
pub(super) use credential::{Credential, OWN_COOKIE, Place, Shown, reads_as, shown};
pub use credential::{CredentialKind, without_token_parameter};
pub use wishes::HandoutForm;

use super::denial::{BadRequest, Denial};
use super::object_key::ObjectPath;

/// Longest request target, in bytes.
pub const MAX_TARGET_BYTES: usize = 8192;

/// All header fields together, in bytes.
pub const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Most header fields.
pub const MAX_HEADER_FIELDS: usize = 100;

/// The methods of the media plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaMethod {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `OPTIONS`: CORS, answered by the gate.
    Options,
}

/// Returns the method, once the request's shape can mean only one thing.
///
/// # Errors
///
/// A method that does not exist here, a target or fields that are too long, a body, an upgrade.
pub(super) fn method(request: &Parts) -> Result<MediaMethod, Denial> {
    let target = request.uri.path().len() + request.uri.query().map_or(0, |query| query.len() + 1);
    if target > MAX_TARGET_BYTES {
        return Err(Denial::UriTooLong);
    }
    let (mut bytes, mut announces_body, mut upgrades) = (0, false, false);
    for (name, value) in &request.headers {
        bytes += name.as_str().len() + value.len() + 4;
        announces_body |= *name == TRANSFER_ENCODING || (*name == CONTENT_LENGTH && value != "0");
        upgrades |= *name == UPGRADE;
    }
    if bytes > MAX_HEADER_BYTES || request.headers.len() > MAX_HEADER_FIELDS {
        return Err(Denial::HeadersTooLarge);
    }
    let method = match request.method {
        Method::GET => MediaMethod::Get,
        Method::HEAD => MediaMethod::Head,
        Method::OPTIONS => MediaMethod::Options,
        _ => return Err(Denial::MethodNotAllowed),
    };
    if announces_body {
        return Err(Denial::BadRequest(BadRequest::Body));
    }
    if upgrades {
        return Err(Denial::BadRequest(BadRequest::Upgrade));
    }
    Ok(method)
}

/// Returns the host that the request is for, in the client's case, without its port; `None` from HTTP/1.0 without one.
///
/// # Errors
///
/// As [`authority`], or one that is not a host.
pub(super) fn host(request: &Parts) -> Result<Option<&str>, Denial> {
    let name = |authority| host_name(authority).ok_or(Denial::BadRequest(BadRequest::Host));
    authority(request)?.map(name).transpose()
}

/// Returns `host[:port]` as the client named it, to be looked at by [`host`] first.
///
/// # Errors
///
/// None where one is required, several, or two that differ (RFC 9112 §3.2).
pub(super) fn authority(request: &Parts) -> Result<Option<&str>, Denial> {
    const BAD: Denial = Denial::BadRequest(BadRequest::Host);
    let mut fields = request.headers.get_all(HOST).iter();
    let field = fields.next().map(|host| host.to_str().map_err(|_| BAD)).transpose()?;
    if fields.next().is_some() {
        return Err(BAD);
    }
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    match (authority, field) {
        (Some(authority), Some(field)) if !authority.eq_ignore_ascii_case(field) => Err(BAD),
        (Some(host), _) | (None, Some(host)) => Ok(Some(host)),
        (None, None) if request.version == Version::HTTP_10 => Ok(None),
        (None, None) => Err(BAD),
    }
}

/// Returns the name or address in `host[:port]` (RFC 9110 §7.2); `None` unless it is one.
pub(super) fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match memrchr(b':', host.as_bytes()) {
        Some(at) if !host[at..].contains(']') => (&host[..at], &host[at + 1..]),
        _ => (host, "0"),
    };
    if port.parse::<u16>().is_err() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_ipv6 = inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    (is_name || is_ipv6).then_some(name)
}

/// Returns the app and key that are asked for.
pub(super) fn object(request: &Parts) -> Result<ObjectPath, Denial> {
    ObjectPath::parse(request.uri.path()).map_err(Denial::Path)
}

/// Parts `text` at the first `separator`, an ASCII character.
pub(super) fn parted(text: &str, separator: u8) -> (&str, Option<&str>) {
    match memchr(separator, text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn request(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::builder().uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn a_request_for_media_has_one_shape() {
        let check = |method_name: &str, headers: &[(&str, &str)], expected: Result<MediaMethod, Denial>| {
            let mut request = request("/d/a", headers);
            request.method = method_name.parse().expect("a method");
            assert_eq!(method(&request), expected, "{method_name} {headers:?}");
        };
        let bad = |bad| Err(Denial::BadRequest(bad));
        check("GET", &[("content-length", "0")], Ok(MediaMethod::Get));
        check("HEAD", &[], Ok(MediaMethod::Head));
        check("OPTIONS", &[], Ok(MediaMethod::Options));
        for method in ["POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH", "get", "PURGE"] {
            check(method, &[], Err(Denial::MethodNotAllowed));
        }
        check("GET", &[("content-length", "1")], bad(BadRequest::Body));
        check("GET", &[("content-length", "+0")], bad(BadRequest::Body));
        check("GET", &[("content-length", "0"), ("content-length", "7")], bad(BadRequest::Body));
        check("GET", &[("transfer-encoding", "chunked")], bad(BadRequest::Body));
        check("OPTIONS", &[("transfer-encoding", "identity")], bad(BadRequest::Body));
        check("GET", &[("upgrade", "websocket")], bad(BadRequest::Upgrade));
        check("GET", &[("x", &"a".repeat(MAX_HEADER_BYTES))], Err(Denial::HeadersTooLarge));
        let long = request(&format!("/d/{}", "a".repeat(MAX_TARGET_BYTES)), &[]);
        assert_eq!(method(&long), Err(Denial::UriTooLong));
    }

    #[test]
    fn a_request_names_one_valid_host() {
        let check = |headers: &[(&str, &str)], expected: Result<Option<&str>, ()>| {
            let request = request("/d/a", headers);
            let found = host(&request);
            assert_eq!(found.map_err(|_| ()), expected, "{headers:?}");
        };
        check(&[("host", "Files.Example:8080")], Ok(Some("Files.Example")));
        check(&[("host", "127.0.0.1")], Ok(Some("127.0.0.1")));
        check(&[("host", "[::1]:80")], Ok(Some("[::1]")));
        check(&[], Err(()));
        for bad in ["", ":80", "a b", "a@b", "a/b", "a:b", "a:99999", "a:", "[::1", "a,b", "[x]", "a:+1"] {
            check(&[("host", bad)], Err(()));
        }
        check(&[("host", "a"), ("host", "a")], Err(()));
        let mut old = request("/d/a", &[]);
        old.version = Version::HTTP_10;
        assert_eq!(host(&old), Ok(None));
        let both = request("http://a.example/d/a", &[("host", "b.example")]);
        assert!(host(&both).is_err());
    }
}

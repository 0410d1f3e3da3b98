//! Request head → what the client asks for, and what it shows for itself. Ambiguity is refused, never resolved.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Version};
use memchr::{memchr, memrchr};

use super::denial::{BadRequest, Denial};
use super::object_key::{ObjectPath, escape};

/// Longest request target, in bytes.
pub const MAX_TARGET_BYTES: usize = 8192;

/// All header fields together, in bytes.
pub const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Most header fields.
pub const MAX_HEADER_FIELDS: usize = 100;

/// The name of the token's query parameter, header and cookie.
const FAT: &str = "fat";

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
/// None where one is required, several, two that differ, or one that is not a host (RFC 9112 §3.2).
pub(super) fn host(request: &Parts) -> Result<Option<&str>, Denial> {
    const BAD: Denial = Denial::BadRequest(BadRequest::Host);
    let mut fields = request.headers.get_all(HOST).iter();
    let field = fields.next().map(|host| host.to_str().map_err(|_| BAD)).transpose()?;
    if fields.next().is_some() {
        return Err(BAD);
    }
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    let host = match (authority, field) {
        (Some(authority), Some(field)) if !authority.eq_ignore_ascii_case(field) => return Err(BAD),
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) if request.version == Version::HTTP_10 => return Ok(None),
        (None, None) => return Err(BAD),
    };
    host_name(host).map(Some).ok_or(BAD)
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

/// Returns the one token of the request, if there is any.
///
/// # Errors
///
/// Several, equal or not, in one place or in different ones; or one under a name that only reads as `fat`.
pub(super) fn credential(request: &Parts) -> Result<Option<&str>, Denial> {
    let mut found = None;
    let mut take = |token| match found.replace(token) {
        None => Ok(()),
        Some(_) => Err(Denial::BadRequest(BadRequest::SeveralCredentials)),
    };
    let mut query = request.uri.query();
    while let Some(rest) = query {
        let (parameter, others) = parted(rest, b'&');
        let (name, value) = parted(parameter, b'=');
        let value = value.unwrap_or_default();
        query = others;
        if name == FAT {
            take(value)?;
        } else if reads_as(name, FAT) {
            return Err(Denial::BadRequest(BadRequest::MisspelledParameter));
        } else if name == "redirect" {
            return Err(Denial::BadRequest(BadRequest::PresignedUnavailable));
        }
    }
    let mut is_authorized = false;
    for (name, value) in &request.headers {
        if *name == AUTHORIZATION {
            if std::mem::replace(&mut is_authorized, true) {
                return Err(Denial::BadRequest(BadRequest::SeveralCredentials));
            }
            bearer(value.as_bytes()).map_or(Ok(()), &mut take)?;
        } else if *name == COOKIE {
            cookies(value).try_for_each(&mut take)?;
        } else if name.as_str() == FAT {
            // A value that is not text is still a credential, and no good one: the empty token is malformed.
            take(value.to_str().unwrap_or_default().trim())?;
        }
    }
    Ok(found)
}

/// Parts `text` at the first `separator`, an ASCII character.
pub(super) fn parted(text: &str, separator: u8) -> (&str, Option<&str>) {
    match memchr(separator, text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Returns path and query of `uri` without the token's parameter; `None` when it has none.
pub fn without_token_parameter(uri: &http::Uri) -> Option<String> {
    let query = uri.query()?;
    let is_token = |parameter: &&str| parameter.split('=').next() == Some(FAT);
    query.split('&').find(is_token)?;
    let kept: Vec<&str> = query.split('&').filter(|parameter| !is_token(parameter)).collect();
    let path = uri.path();
    Some(if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) })
}

/// The token of `Bearer <token>` (RFC 6750 §2.1; the scheme in any case, RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&str> {
    let scheme = value.get(..6)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return None;
    }
    match &value[6..] {
        [] => Some(""),
        [b' ', token @ ..] => Some(std::str::from_utf8(token).unwrap_or_default().trim()),
        _ => None,
    }
}

/// The values of cookies named `fat` in one field (RFC 6265 §5.4: pairs parted by `;`).
fn cookies(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.as_bytes().split(|byte| *byte == b';').filter_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(FAT.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?;
        Some(std::str::from_utf8(value).unwrap_or_default().trim())
    })
}

/// Whether a query parameter's name becomes `name` for a parser that decodes it or ignores its case.
fn reads_as(raw: &str, name: &str) -> bool {
    let mut bytes = raw.as_bytes();
    let mut expected = name.bytes();
    while let Some(&first) = bytes.first() {
        let (byte, len) = escape(bytes).map_or((first, 1), |byte| (byte, 3));
        if expected.next() != Some(byte.to_ascii_lowercase()) {
            return false;
        }
        bytes = &bytes[len..];
    }
    expected.next().is_none()
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

    fn check(target: &str, headers: &[(&str, &str)], expected: Result<Option<&str>, BadRequest>) {
        let request = request(target, headers);
        assert_eq!(credential(&request), expected.map_err(Denial::BadRequest), "{target} {headers:?}");
    }

    #[test]
    fn a_token_is_read_from_each_documented_place() {
        check("/d/a", &[], Ok(None));
        check("/d/a?fat=t", &[], Ok(Some("t")));
        check("/d/a?x=1&fat=t&y", &[], Ok(Some("t")));
        check("/d/a", &[("fat", "t")], Ok(Some("t")));
        check("/d/a", &[("FAT", "t")], Ok(Some("t")));
        check("/d/a", &[("authorization", "Bearer t")], Ok(Some("t")));
        check("/d/a", &[("authorization", "bEARER  t ")], Ok(Some("t")));
        check("/d/a", &[("cookie", "a=b; fat=t; c=d")], Ok(Some("t")));
        check("/d/a", &[("cookie", "a=b"), ("cookie", "fat=t")], Ok(Some("t")));
    }

    #[test]
    fn nothing_else_is_a_credential() {
        check("/d/a?fatx=t&xfat=t&f=at&token=t", &[], Ok(None));
        check("/d/a", &[("authorization", "Basic dDp0")], Ok(None));
        check("/d/a", &[("authorization", "Bearertoken")], Ok(None));
        check("/d/a", &[("x-fat", "t"), ("f-a-t", "t")], Ok(None));
        check("/d/a", &[("cookie", "FAT=t; xfat=t; fatx=t")], Ok(None));
        check("/d/a?a=1;fat=t", &[], Ok(None));
    }

    #[test]
    fn a_credential_without_a_token_is_still_one() {
        check("/d/a?fat", &[], Ok(Some("")));
        check("/d/a?fat=", &[], Ok(Some("")));
        check("/d/a", &[("authorization", "Bearer")], Ok(Some("")));
        check("/d/a", &[("cookie", "fat=")], Ok(Some("")));
        check("/d/a?fat=&fat=t", &[], Err(BadRequest::SeveralCredentials));
    }

    #[test]
    fn two_tokens_are_refused_even_when_equal() {
        use BadRequest::SeveralCredentials;
        check("/d/a?fat=t&fat=t", &[], Err(SeveralCredentials));
        check("/d/a?fat=t", &[("fat", "t")], Err(SeveralCredentials));
        check("/d/a?fat=t", &[("authorization", "Bearer t")], Err(SeveralCredentials));
        check("/d/a?fat=t", &[("cookie", "fat=t")], Err(SeveralCredentials));
        check("/d/a", &[("fat", "t"), ("fat", "t")], Err(SeveralCredentials));
        check("/d/a", &[("fat", "t"), ("authorization", "Bearer u")], Err(SeveralCredentials));
        check("/d/a", &[("authorization", "Bearer t"), ("authorization", "Basic x")], Err(SeveralCredentials));
        check("/d/a", &[("cookie", "fat=t; fat=t")], Err(SeveralCredentials));
        check("/d/a", &[("cookie", "fat=t"), ("cookie", "fat=u")], Err(SeveralCredentials));
    }

    #[test]
    fn other_spellings_of_the_parameter_are_refused() {
        for target in ["/d/a?FAT=t", "/d/a?%66at=t", "/d/a?f%61t=t", "/d/a?Fa%54", "/d/a?fat=t&fAt=t"] {
            check(target, &[], Err(BadRequest::MisspelledParameter));
        }
        check("/d/a?redirect=0", &[("fat", "t")], Err(BadRequest::PresignedUnavailable));
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

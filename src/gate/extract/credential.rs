//! What a request shows for itself, and what its query asks for.

use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use http::request::Parts;

use super::parted;
use super::wishes::Wishes;
use crate::gate::denial::{BadRequest, Denial};
use crate::gate::object_key::escape;

/// The name of the token's query parameter, header and cookie.
const FAT: &str = "fat";

/// The same as a header.
static FAT_FIELD: HeaderName = HeaderName::from_static(FAT);

/// The header of a service's API key.
static API_KEY_FIELD: HeaderName = HeaderName::from_static("apikey");

/// The query parameters that only a presigned URL has, in lower case.
const SIGNATURE: [&str; 2] = ["signature", "key-pair-id"];

/// What the gate ends the value of its own cookies with, and no token has (RFC 6265 §4.1.1 lets it stand there). By it a
/// cookie that came along by itself is told from one that somebody sends as a credential.
pub(in crate::gate) const OWN_COOKIE: char = '~';

/// What a request shows for itself.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(in crate::gate) enum Credential<'a> {
    /// A File Access Token, as it was sent.
    Fat(&'a str),
    /// The whole query of a URL that a gate signed, as it was sent.
    Presigned(&'a str),
    /// A service's API key, as it was sent.
    ApiKey(&'a str),
}

impl<'a> Credential<'a> {
    /// What makes it a secret.
    pub(in crate::gate) fn text(self) -> &'a str {
        match self {
            Credential::Fat(text) | Credential::Presigned(text) | Credential::ApiKey(text) => text,
        }
    }

    pub(in crate::gate) fn kind(self) -> CredentialKind {
        match self {
            Credential::Fat(_) => CredentialKind::Fat,
            Credential::Presigned(_) => CredentialKind::Presigned,
            Credential::ApiKey(_) => CredentialKind::ApiKey,
        }
    }
}

/// What a request shows for itself, for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// A File Access Token.
    Fat,
    /// A presigned URL.
    Presigned,
    /// A service's API key.
    ApiKey,
}

impl CredentialKind {
    /// The log field.
    pub const fn label(self) -> &'static str {
        match self {
            CredentialKind::Fat => "fat",
            CredentialKind::Presigned => "presigned",
            CredentialKind::ApiKey => "apikey",
        }
    }
}

/// Where a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gate) enum Place {
    /// In the query.
    Query,
    /// In a header field other than `Cookie`.
    Field,
    /// In a cookie.
    Cookie,
}

/// The credential of one request with its place, and what the request asks for.
#[derive(Default)]
pub(in crate::gate) struct Shown<'a> {
    pub(in crate::gate) credential: Option<(Credential<'a>, Place)>,
    pub(in crate::gate) wishes: Wishes<'a>,
}

/// Returns the one credential of the request, if there is any, and what it asks for.
///
/// A browser sends a cookie that the gate has set whether a page wants it or not, also beside the link that it was set
/// for. So such a cookie counts only where nothing else is shown; of several, set for folders in each other, the first,
/// which is that of the innermost (RFC 6265 §5.4). A `fat` cookie that somebody else made is a credential like another.
///
/// # Errors
///
/// Several credentials, equal or not, in one place or in different ones; a token under a name that only reads as `fat`;
/// a wish that is not clear.
pub(in crate::gate) fn shown(request: &Parts) -> Result<Shown<'_>, Denial> {
    let mut found = None;
    let mut take = |credential, place| match found.replace((credential, place)) {
        None => Ok(()),
        Some(_) => Err(Denial::BadRequest(BadRequest::SeveralCredentials)),
    };
    let (mut wishes, mut is_signed) = (Wishes::default(), false);
    let whole = request.uri.query().unwrap_or_default();
    let mut query = request.uri.query();
    while let Some(rest) = query {
        let (parameter, others) = parted(rest, b'&');
        let (name, value) = parted(parameter, b'=');
        let value = value.unwrap_or_default();
        query = others;
        if name == FAT {
            take(Credential::Fat(value), Place::Query)?;
        } else if reads_as(name, FAT) {
            return Err(Denial::BadRequest(BadRequest::MisspelledParameter));
        } else {
            wishes.take(name, value)?;
        }
        is_signed |= is_signature(name);
    }
    if is_signed {
        // Whatever else stands there is its business: see `presigned`.
        take(Credential::Presigned(whole), Place::Query)?;
    }
    let (mut is_authorized, mut own_cookie) = (false, None);
    for (name, value) in &request.headers {
        if *name == AUTHORIZATION {
            if std::mem::replace(&mut is_authorized, true) {
                return Err(Denial::BadRequest(BadRequest::SeveralCredentials));
            }
            bearer(value.as_bytes()).map_or(Ok(()), |token| take(Credential::Fat(token), Place::Field))?;
        } else if *name == COOKIE {
            cookies(value, FAT).try_for_each(|cookie| match cookie.strip_suffix(OWN_COOKIE) {
                Some(token) => {
                    own_cookie.get_or_insert((Credential::Fat(token), Place::Cookie));
                    Ok(())
                }
                None => take(Credential::Fat(cookie), Place::Cookie),
            })?;
        } else if *name == FAT_FIELD {
            // A value that is not text is still a credential, and no good one: the empty token is malformed.
            take(Credential::Fat(value.to_str().unwrap_or_default().trim()), Place::Field)?;
        } else if *name == API_KEY_FIELD {
            take(Credential::ApiKey(value.to_str().unwrap_or_default()), Place::Field)?;
        }
    }
    Ok(Shown { credential: found.or(own_cookie), wishes })
}

/// Whether a query parameter of this name makes a URL a presigned one, in any spelling.
fn is_signature(name: &str) -> bool {
    SIGNATURE.iter().any(|signature| reads_as(name, signature))
}

/// Returns path and query of `uri` without what was its credential; `None` when it has none.
pub fn without_token_parameter(uri: &http::Uri) -> Option<String> {
    let query = uri.query()?;
    if query.split('&').any(|parameter| is_signature(parted(parameter, b'=').0)) {
        // The credential is the query as a whole.
        return Some(uri.path().to_owned());
    }
    let is_token = |parameter: &&str| parted(parameter, b'=').0 == FAT;
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

/// The values of cookies named `name` in one field (RFC 6265 §5.4: pairs parted by `;`).
pub(crate) fn cookies<'a>(value: &'a HeaderValue, name: &str) -> impl Iterator<Item = &'a str> {
    value.as_bytes().split(|byte| *byte == b';').filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?;
        Some(std::str::from_utf8(value).unwrap_or_default().trim())
    })
}

/// The cookies of one field but for tokens, which are told to nobody; `None` where none is left.
#[cfg(any(feature = "proxy", test))]
pub(crate) fn other_cookies(value: &HeaderValue) -> Option<HeaderValue> {
    let is_other = |pair: &&[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        !name.eq_ignore_ascii_case(FAT.as_bytes())
    };
    let others: Vec<&[u8]> = value.as_bytes().split(|byte| *byte == b';').filter(is_other).collect();
    HeaderValue::from_bytes(&others.join(&b";"[..])).ok().filter(|others| !others.is_empty())
}

/// Whether a query parameter's name becomes `name` for a parser that decodes it or ignores its case.
pub(in crate::gate) fn reads_as(raw: &str, name: &str) -> bool {
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
        let found = shown(&request).map(|shown| shown.credential.map(|(credential, _)| credential));
        let expected = expected.map(|token| token.map(Credential::Fat)).map_err(Denial::BadRequest);
        assert_eq!(found, expected, "{target} {headers:?}");
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
    }

    #[test]
    fn a_cookie_of_the_gates_own_counts_where_nothing_else_is_shown() {
        check("/d/a", &[("cookie", "fat=t~")], Ok(Some("t")));
        check("/d/a", &[("cookie", "a=b; fat=t~; fat=u~")], Ok(Some("t")));
        check("/d/a", &[("cookie", "fat=t~"), ("cookie", "fat=u~")], Ok(Some("t")));
        check("/d/a", &[("cookie", "fat=~")], Ok(Some("")));
        for own in ["fat=t~", "fat=u~", "fat=~", "fat=u~; fat=v~"] {
            let own = ("cookie", own);
            check("/d/a?fat=t", &[own], Ok(Some("t")));
            check("/d/a?fat=", &[own], Ok(Some("")));
            check("/d/a", &[own, ("fat", "t")], Ok(Some("t")));
            check("/d/a", &[own, ("authorization", "Bearer t")], Ok(Some("t")));
            check("/d/a", &[own, ("cookie", "fat=t")], Ok(Some("t")));
            check("/d/a?fat=t", &[own, ("cookie", "fat=t")], Err(BadRequest::SeveralCredentials));
            check("/d/a?fat=t&fat=t", &[own], Err(BadRequest::SeveralCredentials));
        }
        // Twice the mark is a malformed token, not another kind of cookie.
        check("/d/a", &[("cookie", "fat=t~~")], Ok(Some("t~")));
    }

    #[test]
    fn a_credential_has_a_place() {
        let check = |target: &str, headers: &[(&str, &str)], expected| {
            let request = request(target, headers);
            let found = shown(&request).map(|shown| shown.credential.map(|(_, place)| place));
            assert_eq!(found, Ok(Some(expected)), "{target} {headers:?}");
        };
        check("/d/a?fat=t", &[("cookie", "fat=t~")], Place::Query);
        check("/d/a?Signature=t", &[], Place::Query);
        check("/d/a", &[("fat", "t")], Place::Field);
        check("/d/a", &[("authorization", "Bearer t")], Place::Field);
        check("/d/a", &[("cookie", "fat=t")], Place::Cookie);
        check("/d/a", &[("cookie", "fat=t~")], Place::Cookie);
    }

    #[test]
    fn an_api_key_is_a_credential_like_another() {
        let request_with = |headers: &[(&str, &str)]| {
            let request = request("/d/a", headers);
            shown(&request)
                .map(|shown| shown.credential.map(|(credential, _)| (credential.kind(), credential.text().to_owned())))
        };
        assert_eq!(request_with(&[("apiKey", "k")]), Ok(Some((CredentialKind::ApiKey, "k".to_owned()))));
        for other in [("apikey", "k"), ("fat", "t"), ("authorization", "Bearer t"), ("cookie", "fat=t")] {
            let expected = Err(Denial::BadRequest(BadRequest::SeveralCredentials));
            assert_eq!(request_with(&[("apikey", "k"), other]), expected, "{other:?}");
        }
    }

    #[test]
    fn what_was_the_credential_is_taken_off() {
        for (target, expected) in [
            ("/d/a?x=1&fat=t&y", Some("/d/a?x=1&y")),
            ("/d/a?fat=t", Some("/d/a")),
            ("/d/a?Expires=1&Signature=x&Uid=a", Some("/d/a")),
            ("/d/a?x=1&%73ignature", Some("/d/a")),
            ("/d/a?x=1", None),
            ("/d/a", None),
        ] {
            let uri = target.parse().expect("a URI");
            assert_eq!(without_token_parameter(&uri).as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn a_signature_is_a_credential_like_another() {
        let check = |query: &str, headers: &[(&str, &str)], expected: Result<(), BadRequest>| {
            let request = request(&format!("/d/a?{query}"), headers);
            let found = shown(&request).map(|shown| shown.credential.map(|(credential, _)| credential));
            let expected = expected.map(|()| Some(Credential::Presigned(query))).map_err(Denial::BadRequest);
            assert_eq!(found, expected, "{query} {headers:?}");
        };
        for query in ["Signature=x", "Expires=1&Signature=x&Uid=a", "signature", "%53ignature=", "KEY-PAIR-ID=x"] {
            check(query, &[], Ok(()));
            check(query, &[("fat", "t")], Err(BadRequest::SeveralCredentials));
            check(query, &[("authorization", "Bearer t")], Err(BadRequest::SeveralCredentials));
            check(query, &[("cookie", "fat=t")], Err(BadRequest::SeveralCredentials));
            check(&format!("{query}&fat=t"), &[], Err(BadRequest::SeveralCredentials));
        }
        check("Signature=x&Signature=x", &[], Ok(()));
    }

    #[test]
    fn others_are_told_of_cookies_but_not_of_tokens() {
        let others = |field: &'static str| {
            let value = other_cookies(&HeaderValue::from_static(field));
            value.map(|value| value.to_str().expect("text").to_owned())
        };
        assert_eq!(others("sid=a; fat=t~; other=1").as_deref(), Some("sid=a; other=1"));
        assert_eq!(others("sid=a; FAT =t; fatal=1").as_deref(), Some("sid=a; fatal=1"));
        assert_eq!(others("fat=t"), None);
    }
}

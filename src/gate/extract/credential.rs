//! What a request shows for itself, and whether it asks for a presigned URL.

use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use http::request::Parts;

use super::parted;
use crate::gate::denial::{BadRequest, Denial};
use crate::gate::object_key::escape;

/// The name of the token's query parameter, header and cookie.
const FAT: &str = "fat";

/// The same as a header.
static FAT_FIELD: HeaderName = HeaderName::from_static(FAT);

/// The header of a service's API key.
static API_KEY_FIELD: HeaderName = HeaderName::from_static("apikey");

/// The query parameter that asks for a presigned URL.
const REDIRECT: &str = "redirect";

/// The query parameters that only a presigned URL has, in lower case.
const SIGNATURE: [&str; 2] = ["signature", "key-pair-id"];

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

/// How a client wants its presigned URL: the value of `redirect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoutForm {
    /// `0`: in a JSON body.
    Body,
    /// `1`: as a redirect.
    Redirect,
}

/// The credential and the wish of one request.
#[derive(Default)]
pub(in crate::gate) struct Shown<'a> {
    pub(in crate::gate) credential: Option<Credential<'a>>,
    pub(in crate::gate) handout: Option<HandoutForm>,
}

/// Returns the one credential of the request, if there is any, and whether it asks for a presigned URL.
///
/// # Errors
///
/// Several credentials, equal or not, in one place or in different ones; a token under a name that only reads as `fat`;
/// a `redirect` that is not clear.
pub(in crate::gate) fn shown(request: &Parts) -> Result<Shown<'_>, Denial> {
    let mut found = None;
    let mut take = |credential| match found.replace(credential) {
        None => Ok(()),
        Some(_) => Err(Denial::BadRequest(BadRequest::SeveralCredentials)),
    };
    let (mut handout, mut is_signed) = (None, false);
    let whole = request.uri.query().unwrap_or_default();
    let mut query = request.uri.query();
    while let Some(rest) = query {
        let (parameter, others) = parted(rest, b'&');
        let (name, value) = parted(parameter, b'=');
        let value = value.unwrap_or_default();
        query = others;
        if name == FAT {
            take(Credential::Fat(value))?;
        } else if reads_as(name, FAT) {
            return Err(Denial::BadRequest(BadRequest::MisspelledParameter));
        } else if reads_as(name, REDIRECT) {
            let form = match (name, value) {
                (REDIRECT, "0") => HandoutForm::Body,
                (REDIRECT, "1") => HandoutForm::Redirect,
                _ => return Err(Denial::BadRequest(BadRequest::Redirect)),
            };
            if handout.replace(form).is_some() {
                return Err(Denial::BadRequest(BadRequest::Redirect));
            }
        }
        is_signed |= is_signature(name);
    }
    if is_signed {
        // Whatever else stands there is its business: see `presigned`.
        take(Credential::Presigned(whole))?;
    }
    let mut is_authorized = false;
    for (name, value) in &request.headers {
        if *name == AUTHORIZATION {
            if std::mem::replace(&mut is_authorized, true) {
                return Err(Denial::BadRequest(BadRequest::SeveralCredentials));
            }
            bearer(value.as_bytes()).map_or(Ok(()), |token| take(Credential::Fat(token)))?;
        } else if *name == COOKIE {
            cookies(value, FAT).try_for_each(|token| take(Credential::Fat(token)))?;
        } else if *name == FAT_FIELD {
            // A value that is not text is still a credential, and no good one: the empty token is malformed.
            take(Credential::Fat(value.to_str().unwrap_or_default().trim()))?;
        } else if *name == API_KEY_FIELD {
            take(Credential::ApiKey(value.to_str().unwrap_or_default()))?;
        }
    }
    Ok(Shown { credential: found, handout })
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
        let found = shown(&request).map(|shown| shown.credential);
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
    fn a_presigned_url_is_asked_for_once_and_clearly() {
        let check = |query: &str, expected: Result<Option<HandoutForm>, BadRequest>| {
            let request = request(&format!("/d/a{query}"), &[("fat", "t")]);
            let found = shown(&request).map(|shown| shown.handout);
            assert_eq!(found, expected.map_err(Denial::BadRequest), "{query}");
        };
        check("", Ok(None));
        check("?redirects=0&x=redirect", Ok(None));
        check("?redirect=0", Ok(Some(HandoutForm::Body)));
        check("?x=1&redirect=1", Ok(Some(HandoutForm::Redirect)));
        for query in ["redirect", "redirect=", "redirect=2", "redirect=00", "redirect=true", "redirect=%30"] {
            check(&format!("?{query}"), Err(BadRequest::Redirect));
        }
        for query in ["Redirect=0", "%72edirect=0", "redirect=0&redirect=0", "redirect=0&redirect=1"] {
            check(&format!("?{query}"), Err(BadRequest::Redirect));
        }
    }

    #[test]
    fn an_api_key_is_a_credential_like_another() {
        let request_with = |headers: &[(&str, &str)]| {
            let request = request("/d/a", headers);
            shown(&request)
                .map(|shown| shown.credential.map(|credential| (credential.kind(), credential.text().to_owned())))
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
            let found = shown(&request).map(|shown| shown.credential);
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
}

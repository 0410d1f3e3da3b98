//! Which request another proxy asks about. Each kind of proxy says it in its own way, and only one may speak: the fields of
//! the others come from whoever sent the request, who is not to say what is decided about.

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::{Method, Uri, Version};

use super::denial::{BadRequest, Denial};
use super::target::is_origin_form;

/// Where proxies ask; one that asks about a path in a path puts it behind this.
const FACE: &str = "/auth";

const UNCLEAR: Denial = Denial::BadRequest(BadRequest::Asked);

/// How a proxy says what it asks about, and what it does with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBy {
    /// `X-Original-URI` and `X-Original-Method`: nginx, which takes 401 and 403 for a refusal, and every other for a failure.
    Original,
    /// `X-Forwarded-Uri`, `X-Forwarded-Method` and, if it is there, `X-Forwarded-Host`: Traefik and Caddy, which pass a
    /// refusal on as it is.
    Forwarded,
    /// The path behind `/auth`, and the method of the question: Envoy, which passes a refusal on as it is.
    Path,
}

impl AskedBy {
    /// The status of an answer that refuses with `status`.
    pub const fn refusal(self, status: u16) -> u16 {
        match (self, status) {
            (AskedBy::Original, 400..=499) if status != 401 => 403,
            _ => status,
        }
    }
}

/// A request that another proxy has, as its client sent it.
#[derive(Debug)]
pub struct Asked {
    /// Who asks.
    pub by: AskedBy,
    /// Its head, for [`Gate::admit`](super::Gate::admit).
    pub request: Parts,
}

impl Asked {
    /// Reads the head of a proxy's question. Everything in it but method, target and host is taken for the client's.
    ///
    /// # Errors
    ///
    /// One that does not say which request it is about, or says it in two ways.
    pub fn of(question: &Parts) -> Result<Asked, Denial> {
        let field = |name| single(question, name);
        let original = (field("x-original-uri")?, field("x-original-method")?);
        let forwarded = (field("x-forwarded-uri")?, field("x-forwarded-method")?);
        let behind = behind_face(&question.uri);
        let (by, target, method, host) = match (original, forwarded, behind) {
            ((Some(target), Some(method)), (None, None), None) => (AskedBy::Original, target, method, None),
            ((None, None), (Some(target), Some(method)), None) => {
                (AskedBy::Forwarded, target, method, field("x-forwarded-host")?)
            }
            ((None, None), (None, None), Some(target)) => (AskedBy::Path, target, question.method.as_str(), None),
            _ => return Err(UNCLEAR),
        };
        if !target.starts_with('/') || !is_origin_form(target) {
            return Err(UNCLEAR);
        }
        let mut request = http::Request::new(()).into_parts().0;
        request.method = Method::from_bytes(method.as_bytes()).map_err(|_| UNCLEAR)?;
        request.uri = target.parse().map_err(|_| UNCLEAR)?;
        request.version = Version::HTTP_11;
        request.headers = question.headers.clone();
        if let Some(host) = host {
            request.headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| UNCLEAR)?);
        }
        Ok(Asked { by, request })
    }
}

/// The value of a field that may stand once.
fn single<'a>(question: &'a Parts, name: &str) -> Result<Option<&'a str>, Denial> {
    let mut values = question.headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str().map_err(|_| UNCLEAR)).transpose()?;
    if values.next().is_some() { Err(UNCLEAR) } else { Ok(value) }
}

/// Path and query behind the face's own path; `None` where nothing is behind it.
fn behind_face(uri: &Uri) -> Option<&str> {
    let whole = uri.path_and_query()?.as_str();
    whole.strip_prefix(FACE).filter(|behind| behind.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGINAL: [(&str, &str); 2] = [("x-original-uri", "/d/a?fat=t"), ("x-original-method", "GET")];
    const FORWARDED: [(&str, &str); 2] = [("x-forwarded-uri", "/d/a?fat=t"), ("x-forwarded-method", "HEAD")];

    fn asked(method: &str, target: &str, fields: &[(&str, &str)]) -> Result<Asked, Denial> {
        let mut builder = http::Request::builder().method(method).uri(target).header("host", "files.example");
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        Asked::of(&builder.body(()).expect("a request").into_parts().0)
    }

    #[track_caller]
    fn check(question: (&str, &str, &[(&str, &str)]), expected: (AskedBy, &str, &str, &str)) {
        let (method, target, fields) = question;
        let Asked { by, request } = asked(method, target, fields).expect("clear");
        let host = request.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let found = (by, request.method.as_str(), request.uri.to_string());
        assert_eq!((found.0, found.1, found.2.as_str(), host), expected);
    }

    #[test]
    fn each_kind_of_proxy_is_understood() {
        check(("GET", "/auth", &ORIGINAL), (AskedBy::Original, "GET", "/d/a?fat=t", "files.example"));
        check(("GET", "/auth", &FORWARDED), (AskedBy::Forwarded, "HEAD", "/d/a?fat=t", "files.example"));
        let [uri, method] = FORWARDED;
        let with_host = [uri, method, ("x-forwarded-host", "media.example"), ("x-forwarded-proto", "https")];
        check(("GET", "/auth", &with_host), (AskedBy::Forwarded, "HEAD", "/d/a?fat=t", "media.example"));
        check(("POST", "/auth/d/a?fat=t", &[]), (AskedBy::Path, "POST", "/d/a?fat=t", "files.example"));
        check(("GET", "/auth/auth/a", &[]), (AskedBy::Path, "GET", "/auth/a", "files.example"));
        // nginx and Envoy say who the client is in these, and nothing else.
        let [uri, method] = ORIGINAL;
        let with_others = [uri, method, ("x-forwarded-host", "evil.example"), ("x-forwarded-for", "::1")];
        check(("GET", "/auth", &with_others), (AskedBy::Original, "GET", "/d/a?fat=t", "files.example"));
    }

    #[test]
    fn a_question_that_is_not_clear_is_refused() {
        let refused = |method: &str, target: &str, fields: &[(&str, &str)]| {
            let found = asked(method, target, fields).map(|asked| asked.by);
            assert_eq!(found, Err(UNCLEAR), "{method} {target} {fields:?}");
        };
        refused("GET", "/auth", &[]);
        refused("GET", "/metrics", &[]);
        refused("GET", "/authx/d/a", &[]);
        let [uri, method] = ORIGINAL;
        let [forwarded_uri, forwarded_method] = FORWARDED;
        for halves in [&[uri][..], &[method], &[forwarded_uri], &[forwarded_method], &[uri, forwarded_method]] {
            refused("GET", "/auth", halves);
        }
        // Both at once, and one of them in a question of the third kind.
        refused("GET", "/auth", &[uri, method, forwarded_uri, forwarded_method]);
        for more in [forwarded_uri, forwarded_method] {
            refused("GET", "/auth", &[uri, method, more]);
        }
        for more in [uri, method, forwarded_uri, forwarded_method] {
            refused("GET", "/auth/d/a", &[more]);
        }
        refused("GET", "/auth", &[uri, uri, method]);
        refused("GET", "/auth", &[uri, method, method]);
        refused(
            "GET",
            "/auth",
            &[forwarded_uri, forwarded_method, ("x-forwarded-host", "a"), ("x-forwarded-host", "a")],
        );
        for target in ["", "*", "d/a", "http://files.example/d/a", "/d/a#b", "/d /a", "/d/a?\""] {
            refused("GET", "/auth", &[("x-original-uri", target), method]);
        }
        for name in ["", "G T", "GET, GET"] {
            refused("GET", "/auth", &[uri, ("x-original-method", name)]);
        }
    }

    proptest! {
        #[test]
        fn what_is_asked_about_is_what_was_said(target in "/[ -~]{0,20}|\\PC{0,20}", method in "[A-Z]{0,8}|[ -~]{0,8}") {
            let mut question = http::Request::get("/auth").body(()).expect("a request").into_parts().0;
            for (name, value) in [("x-original-uri", &target), ("x-original-method", &method)] {
                if let Ok(value) = HeaderValue::from_str(value) {
                    question.headers.insert(name, value);
                }
            }
            if let Ok(asked) = Asked::of(&question) {
                prop_assert_eq!(asked.request.uri.to_string(), target);
                prop_assert_eq!(asked.request.method.as_str(), method);
            }
        }
    }

    #[test]
    fn nginx_is_told_a_refusal_in_the_statuses_that_it_knows() {
        let all = [400, 401, 403, 404, 405, 414, 421, 431, 503];
        let for_nginx = all.map(|status| AskedBy::Original.refusal(status));
        assert_eq!(for_nginx, [403, 401, 403, 403, 403, 403, 403, 403, 503]);
        for by in [AskedBy::Forwarded, AskedBy::Path] {
            assert_eq!(all.map(|status| by.refusal(status)), all);
        }
    }
}

//! Whether a request was made by a page of the listener itself: what keeps other sites from using a visitor's browser.

use http::{HeaderMap, Uri, header};

use super::api_key::single;

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// HTTP. A proxy in front of it may still be spoken to with TLS.
    Plain,
    /// HTTPS.
    Tls,
}

/// Whether the browser says that one of the listener's own pages sends the request. What says nothing of it is none.
pub(crate) fn is_same_origin(headers: &HeaderMap, transport: Transport) -> bool {
    let header = |name| single(headers, name).map(|value| value.map(<[u8]>::to_vec));
    let (Ok(site), Ok(origin), Ok(host)) = (header("sec-fetch-site"), header("origin"), header("host")) else {
        return false;
    };
    let by_site = site.map(|site| site == b"same-origin");
    let by_origin = headers.contains_key(header::ORIGIN).then(|| {
        let origin = origin.and_then(|origin| Uri::try_from(origin).ok());
        let scheme = origin.as_ref().and_then(Uri::scheme_str).unwrap_or_default();
        let speaks = match transport {
            Transport::Plain => ["http", "https"].contains(&scheme),
            Transport::Tls => scheme == "https",
        };
        let authority = origin.as_ref().and_then(Uri::authority).map(|authority| authority.as_str().as_bytes());
        speaks && authority.is_some_and(|authority| Some(authority) == host.as_deref())
    });
    match (by_site, by_origin) {
        (None, None) => false,
        (by_site, by_origin) => by_site.unwrap_or(true) && by_origin.unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(transport: Transport, fields: &[(&'static str, &'static str)], expected: bool) {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("gate.example:8081"))]);
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(is_same_origin(&headers, transport), expected, "{fields:?}");
    }

    #[test]
    fn only_pages_of_the_listener_itself_are_its_own() {
        use Transport::{Plain, Tls};
        let own = ("origin", "http://gate.example:8081");
        let own_tls = ("origin", "https://gate.example:8081");
        check(Plain, &[own], true);
        check(Plain, &[own_tls], true);
        check(Tls, &[own_tls], true);
        check(Tls, &[own], false);
        check(Plain, &[("sec-fetch-site", "same-origin")], true);
        check(Plain, &[own, ("sec-fetch-site", "same-origin")], true);
        check(Plain, &[], false);
        check(Plain, &[("referer", "http://gate.example:8081/dashboard")], false);
        for site in ["cross-site", "same-site", "none", "", "Same-Origin"] {
            check(Plain, &[own, ("sec-fetch-site", site)], site.is_empty());
        }
        check(Plain, &[("sec-fetch-site", "none")], false);
        for origin in [
            "null",
            "",
            "http://gate.example",
            "http://gate.example:8082",
            "http://gate.example:8081.evil.example",
            "http://evil.example",
            "ftp://gate.example:8081",
            "gate.example:8081",
        ] {
            check(Plain, &[("origin", origin), ("sec-fetch-site", "same-origin")], false);
        }
        check(Plain, &[own, own], false);
        check(Plain, &[own, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], false);
    }
}

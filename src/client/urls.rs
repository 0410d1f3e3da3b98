//! Which URLs are of the secured media host, and what a token is put into. Nothing is ever compared as a substring:
//! whoever writes a message chooses its URLs, and would choose one that makes a token travel.

use url::{Host, Url};

/// The longest URL that is looked at, in bytes: the longest that the gate takes.
const MAX_URL_BYTES: usize = 8192;

/// Returns `text` as a URL that every HTTP library reads alike.
///
/// Browsers fold `\` into `/` and drop tabs and line breaks, others do not: of such a URL it cannot be said whose it is.
/// A user before the host is refused for its looks.
pub(super) fn parse(text: &str) -> Option<Url> {
    let is_plain = |byte: u8| byte > b' ' && byte != b'\\' && byte != 0x7f;
    if text.len() > MAX_URL_BYTES || !text.bytes().all(is_plain) {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if !is_web || authority.is_empty() || authority.contains(['@', '%']) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    url.as_str().parse::<http::Uri>().ok()?;
    Some(url)
}

/// The host that tokens are for, as logins tell it (`SECURED_MEDIA_HOST`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecuredHost {
    host: Host,
    /// `None`: any.
    port: Option<u16>,
}

impl SecuredHost {
    /// Reads `host` or `host:port`; `None` where it is neither.
    pub(super) fn parse(text: &str) -> Option<SecuredHost> {
        let bare = |scheme: &str| {
            let url = parse(&format!("{scheme}://{text}"))?;
            (!text.contains(['/', '?', '#'])).then_some(url)
        };
        // A port that goes without saying is dropped; of two schemes it is that of one only.
        let (http, https) = (bare("http")?, bare("https")?);
        Some(SecuredHost { host: http.host()?.to_owned(), port: http.port().or(https.port()) })
    }

    /// Whether `url` is one of this host's.
    pub(super) fn owns(&self, url: &Url) -> bool {
        let is_host = url.host().is_some_and(|host| host.to_owned() == self.host);
        is_host && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

/// Whether `url` opens its file, or is refused, for what it shows itself.
pub(super) fn has_credential(url: &Url) -> bool {
    url.query_pairs().any(|(name, _)| is_fat(&name) || is_signature(&name))
}

/// The URL of the object alone: without a token, a signature, a wish for a redirect, or a fragment.
pub(super) fn clean(url: &Url) -> Url {
    let mut clean = url.clone();
    clean.set_fragment(None);
    // A presigned URL is signed as a whole, so all of its query goes.
    let query = url.query().filter(|_| !url.query_pairs().any(|(name, _)| is_signature(&name)));
    let is_ours = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = url::form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| name).unwrap_or_default();
        !is_fat(&name) && !name.eq_ignore_ascii_case("redirect")
    };
    let rest = query.map(|query| query.split('&').filter(is_ours).collect::<Vec<_>>().join("&"));
    clean.set_query(rest.as_deref().filter(|query| !query.is_empty()));
    clean
}

/// `url` with one more parameter.
pub(super) fn with_parameter(url: &Url, name: &str, value: &str) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair(name, value);
    url
}

fn is_fat(name: &str) -> bool {
    name.eq_ignore_ascii_case("fat")
}

fn is_signature(name: &str) -> bool {
    name.eq_ignore_ascii_case("Signature")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(secured: &str, url: &str, expected: bool) {
        let secured = SecuredHost::parse(secured).expect("a host");
        assert_eq!(parse(url).is_some_and(|url| secured.owns(&url)), expected, "{secured:?} {url}");
    }

    const HOST: &str = "files.acme.example";

    #[test]
    fn the_host_is_compared_whole_and_in_any_scheme_and_case() {
        for url in [
            "https://files.acme.example/acme/media/a.jpg",
            "http://files.acme.example/acme/media/a.jpg",
            "https://FILES.Acme.Example/a",
            "HTTPS://files.acme.example",
            "https://files.acme.example?x=1",
            "https://files.acme.example#x",
            "https://files.acme.example:443/a",
            "https://files.acme.example:8443/a",
            "https://files.acme.example/a?u=https://evil.example/",
            "https://files.acme.example/a@evil.example/",
        ] {
            check(HOST, url, true);
        }
        for url in [
            "https://evil.example/?u=files.acme.example",
            "https://evil.example/files.acme.example",
            "https://evil.example/#files.acme.example",
            "https://evil.example#@files.acme.example/",
            "https://evil.example?@files.acme.example/",
            "https://files.acme.example.evil.example/a",
            "https://xfiles.acme.example/a",
            "https://x.files.acme.example/a",
            "https://acme.example/a",
            "https://files.acme.example./a",
            "https://files.acme.example@evil.example/a",
            "https://evil.example@files.acme.example/a",
            "https://@files.acme.example/a",
            "https://user:pass@files.acme.example/a",
            "https://files.acme.example:443@evil.example/a",
            "https://files.acme.example:pass@evil.example/a",
            "https://files.acme.example\\@evil.example/a",
            "https://evil.example\\@files.acme.example/a",
            "https:\\\\files.acme.example/a",
            "https://files%2eacme.example/a",
            "https://files.acme.example%2f.evil.example/a",
            "https://files.acme.example%00.evil.example/",
            "https://fi\tles.acme.example/a",
            "https://files.acme.example\n/a",
            " https://files.acme.example/a",
            "https:///files.acme.example/a",
            "https:files.acme.example/a",
            "//files.acme.example/a",
            "/files.acme.example/a",
            "files.acme.example/a",
            "ftp://files.acme.example/a",
            "javascript://files.acme.example/%0aalert(1)",
            "blob:https://files.acme.example/a",
            "https://files.acme.example:0x50/a",
            "https://files.acme.example:99999/a",
            "https://",
            "https://#files.acme.example",
            "",
        ] {
            check(HOST, url, false);
        }
        let long = format!("https://files.acme.example/{}", "a".repeat(MAX_URL_BYTES));
        check(HOST, &long, false);
        check(HOST, &long[..MAX_URL_BYTES], true);
    }

    #[test]
    fn a_port_is_compared_where_the_host_has_one() {
        for (secured, url, expected) in [
            ("files.example:8443", "https://files.example:8443/a", true),
            ("files.example:8443", "http://files.example:8443/a", true),
            ("files.example:8443", "https://files.example/a", false),
            ("files.example:8443", "https://files.example:84/a", false),
            ("files.example:8443", "https://files.example:84430/a", false),
            ("files.example:443", "https://files.example/a", true),
            ("files.example:443", "http://files.example/a", false),
            ("files.example:80", "http://files.example/a", true),
            ("files.example:80", "https://files.example/a", false),
            ("files.example:80", "https://files.example:80/a", true),
        ] {
            check(secured, url, expected);
        }
    }

    #[test]
    fn numbers_and_names_of_other_scripts_have_one_form() {
        for (secured, url, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/a", true),
            ("127.0.0.1:8080", "http://127.0.0.10:8080/a", false),
            ("127.0.0.1:8080", "http://127.0.0.1:8080.evil.example/a", false),
            ("127.0.0.1", "http://127.0.0.1.evil.example/a", false),
            ("[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080/a", true),
            ("[::1]:8080", "http://[::1]/a", false),
            ("[::1]", "http://[::2]/a", false),
            ("[::1]", "http://[::1].evil.example/a", false),
            ("[::1]", "http://[::1%25eth0]/a", false),
            ("xn--bcher-kva.example", "https://b\u{fc}cher.example/a", true),
            ("b\u{fc}cher.example", "https://XN--BCHER-KVA.example/a", true),
            ("bucher.example", "https://b\u{fc}cher.example/a", false),
            // Cyrillic letters that look alike.
            (HOST, "https://files.\u{430}cm\u{435}.example/a", false),
        ] {
            check(secured, url, expected);
        }
        for wrong in
            ["", " ", "/", "a/b", "a?b", "a#", "https://files.example", "u@files.example", "a b", "a:b", "a\\b"]
        {
            assert_eq!(SecuredHost::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_url_shows_itself_is_found_and_taken_off() {
        for (url, shows, bare) in [
            ("https://a.example/x", false, "https://a.example/x"),
            ("https://a.example/x?", false, "https://a.example/x"),
            ("https://a.example/x#fat=1", false, "https://a.example/x"),
            ("https://a.example/fat/fat.jpg?v=fat", false, "https://a.example/fat/fat.jpg?v=fat"),
            ("https://a.example/x?fat=t", true, "https://a.example/x"),
            ("https://a.example/x?a=%20b+c&fat=t&d=&e", true, "https://a.example/x?a=%20b+c&d=&e"),
            ("https://a.example/x?%66AT=t&v=1", true, "https://a.example/x?v=1"),
            ("https://a.example/x?redirect=1&v=1", false, "https://a.example/x?v=1"),
            ("https://a.example/x?Expires=1&Key-Pair-Id=2&Signature=3&Uid=4", true, "https://a.example/x"),
        ] {
            let parsed = parse(url).expect("a URL");
            assert_eq!((has_credential(&parsed), clean(&parsed).as_str()), (shows, bare), "{url}");
        }
    }

    #[test]
    fn a_parameter_goes_behind_the_others_and_before_the_fragment() {
        for (url, expected) in [
            ("https://a.example/x", "https://a.example/x?fat=t.-_"),
            ("https://a.example/x?", "https://a.example/x?fat=t.-_"),
            ("https://a.example/x?v=%20#f", "https://a.example/x?v=%20&fat=t.-_#f"),
        ] {
            assert_eq!(with_parameter(&parse(url).expect("a URL"), "fat", "t.-_").as_str(), expected);
        }
    }
}

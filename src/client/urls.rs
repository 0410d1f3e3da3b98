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
    use serde::Deserialize;

    use super::*;

    /// The table that the JavaScript client is held to, too.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Table {
        /// What a login names, a URL, and whether it is one of that host's.
        hosts: Vec<(String, String, bool)>,
        /// What a login cannot name.
        no_hosts: Vec<String>,
        /// A URL, whether it shows a credential, and what it is without.
        credentials: Vec<(String, bool, String)>,
    }

    fn table() -> Table {
        serde_json::from_str(include_str!("urls.json")).expect("the table")
    }

    #[track_caller]
    fn check(secured: &str, url: &str, expected: bool) {
        let secured = SecuredHost::parse(secured).expect("a host");
        assert_eq!(parse(url).is_some_and(|url| secured.owns(&url)), expected, "{secured:?} {url}");
    }

    #[test]
    fn hosts_are_compared_whole_in_any_scheme_and_case_and_with_the_port_where_there_is_one() {
        for (secured, url, expected) in table().hosts {
            check(&secured, &url, expected);
        }
        let long = format!("https://files.acme.example/{}", "a".repeat(MAX_URL_BYTES));
        check("files.acme.example", &long, false);
        check("files.acme.example", &long[..MAX_URL_BYTES], true);
        for wrong in table().no_hosts {
            assert_eq!(SecuredHost::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_url_shows_itself_is_found_and_taken_off() {
        for (url, shows, bare) in table().credentials {
            let parsed = parse(&url).expect("a URL");
            assert_eq!((has_credential(&parsed), clean(&parsed).as_str()), (shows, bare.as_str()), "{url}");
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

//! Without a session: who is sent to the login, and how the way back says nothing to whoever reads it.

use std::time::Duration;

use http::header::ACCEPT;
use http::request::Parts;
use url::Url;

use super::inner_url::InnerUrl;
use super::seal::Seal;
use crate::gate::decision::Now;
use crate::gate::denial::Denial;
use crate::gate::extract::parted;
use crate::secret::Secret;

/// For how long a way back is good: also for the ranges that a player asks for there.
const WAY_BACK: Duration = Duration::from_secs(3600);

/// The longest URL that a way back is made to: it goes through the URLs of the login.
const MAX_WAY_BACK_BYTES: usize = 4096;

/// Where ways back begin.
const CONTINUE: &str = "/.mediagate/continue/";

/// Where a session is had.
#[derive(Debug, Clone)]
pub struct LoginOptions {
    url: String,
    /// What ways back are sealed with: the same in all processes that serve one host.
    key: Secret,
}

/// Why a URL is no login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be https://HOST/PATH, http://HOST/PATH or a path of the own host like /login, without user or fragment")]
pub struct NotALogin;

impl LoginOptions {
    /// Takes a URL, or the path of one on the own host.
    ///
    /// # Errors
    ///
    /// What is neither.
    pub fn new(url: &str, key: Secret) -> Result<LoginOptions, NotALogin> {
        let is_path = url.starts_with('/');
        let whole = if is_path { format!("https://own.invalid{url}") } else { url.to_owned() };
        let parsed = Url::parse(&whole).map_err(|_| NotALogin)?;
        let is_plain = matches!(parsed.scheme(), "https" | "http") && !has_user(&parsed) && parsed.fragment().is_none();
        if !is_plain || parsed.as_str() != whole || (is_path && url.starts_with("//")) {
            return Err(NotALogin);
        }
        Ok(LoginOptions { url: url.to_owned(), key })
    }
}

/// The same with its key made.
pub(super) struct Login {
    url: String,
    seal: Seal,
}

impl Login {
    pub(super) fn new(LoginOptions { url, key }: LoginOptions) -> Login {
        Login { url, seal: Seal::new(key.expose(), "way back") }
    }

    /// Returns where a visitor logs in, and how the login sends them back: to a path of the own host that holds `target`
    /// and its token so that only this gate can read them.
    pub(super) fn location(&self, target: &InnerUrl, now: Now) -> String {
        if target.as_str().len() > MAX_WAY_BACK_BYTES {
            return self.url.clone();
        }
        let until = now.since_epoch().saturating_add(WAY_BACK).as_secs();
        let sealed = self.seal.close(target.as_str(), until);
        let joint = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{joint}return={}{sealed}", self.url, CONTINUE.replace('/', "%2F"))
    }

    /// Whether `url` is of the login's own origin, as browsers compare them: nobody is sent anywhere else.
    pub(super) fn is_at(&self, url: &str) -> bool {
        match (Url::parse(&self.url), Url::parse(url)) {
            (Ok(login), Ok(parsed)) => {
                parsed.as_str() == url && parsed.origin() == login.origin() && !has_user(&parsed)
            }
            _ => false,
        }
    }

    /// Returns the URL in a way back.
    ///
    /// # Errors
    ///
    /// One that was not made here, or too long ago.
    pub(super) fn open(&self, sealed: &str, now: Now) -> Result<String, Denial> {
        let (url, until) = self.seal.open(sealed).ok_or(Denial::UrlInvalid)?;
        if now.since_epoch().as_secs() >= until { Err(Denial::UrlExpired) } else { Ok(url) }
    }
}

/// A user in a URL makes it look like one of another host.
pub(super) fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Returns what is sealed in `target`, if that is a way back. What a login adds as a query is its own affair.
pub(super) fn way_back(target: &str) -> Option<&str> {
    target.strip_prefix(CONTINUE).map(|rest| parted(rest, b'?').0)
}

/// Whether `path` is a way back, and nothing else: no host, no query, no line end.
#[cfg(any(feature = "server", test))]
pub(crate) fn is_way_back(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    path.strip_prefix(CONTINUE).is_some_and(|sealed| !sealed.is_empty() && sealed.bytes().all(plain))
}

/// Whether a browser is about to show the answer as a page of its own (Fetch Metadata), not as part of another one: an
/// image, a frame, what a script fetches. An old browser says so by what it accepts.
pub(super) fn is_navigation(request: &Parts) -> bool {
    let field = |name: &str| request.headers.get(name).map(http::HeaderValue::as_bytes);
    match (field("sec-fetch-mode"), field("sec-fetch-dest")) {
        (None, None) => field(ACCEPT.as_str()).is_some_and(|accept| {
            std::str::from_utf8(accept).is_ok_and(|accept| accept.to_ascii_lowercase().contains("text/html"))
        }),
        (mode, dest) => mode.is_none_or(|mode| mode == b"navigate") && dest.is_none_or(|dest| dest == b"document"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::super::media_origin::{MediaOrigin, Serving};
    use super::*;

    const URL: &str = "https://files.example/app/a.jpg?fat=a.b.c";

    fn login(url: &str) -> Result<Login, NotALogin> {
        LoginOptions::new(url, Secret::new("0123456789abcdef0123456789abcdef")).map(Login::new)
    }

    fn at(secs: u64) -> Now {
        Now { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(secs), monotonic: Instant::now() }
    }

    fn target(url: &str) -> InnerUrl {
        let origin = MediaOrigin::parse("files.example", Serving::Own).expect("an origin");
        InnerUrl::read(url.to_owned(), &[origin]).expect("a URL")
    }

    #[test]
    fn the_way_back_stays_on_site_holds_no_token_and_ends() {
        for (url, begin) in [
            ("/login", "/login?return=%2F.mediagate%2Fcontinue%2F"),
            ("https://own.example/in?app=1", "https://own.example/in?app=1&return=%2F.mediagate%2Fcontinue%2F"),
        ] {
            let login = login(url).expect("a login");
            let location = login.location(&target(URL), at(1000));
            let sealed = location.strip_prefix(begin).unwrap_or_else(|| panic!("{location}"));
            assert!(!location.contains("a.b.c") && !location.contains("files"), "{location}");
            let back = format!("/.mediagate/continue/{sealed}");
            assert_eq!(way_back(&back), Some(sealed));
            assert_eq!(way_back(&format!("{back}?from=login")), Some(sealed));
            assert_eq!(login.open(sealed, at(4599)).as_deref(), Ok(URL));
            assert_eq!(login.open(sealed, at(4600)), Err(Denial::UrlExpired));
            assert_eq!(login.open("", at(1000)), Err(Denial::UrlInvalid));
            assert_eq!(login.open(&sealed[1..], at(1000)), Err(Denial::UrlInvalid));
        }
        for path in ["/.mediagate/continue/", "/.mediagate/continue/a/b", "/.mediagate/continue/a\r\n", "//evil/", "/a"]
        {
            assert!(!is_way_back(path), "{path}");
        }
        assert!(is_way_back("/.mediagate/continue/aB-_9"));
        assert_eq!(way_back("/.mediagate/other"), None);
        let long = format!("{URL}{}", "x".repeat(MAX_WAY_BACK_BYTES));
        assert_eq!(login("/login").expect("a login").location(&target(&long), at(1000)), "/login");
    }

    #[test]
    fn a_login_is_a_url_or_a_path_of_the_own_host() {
        for url in ["/login", "/login?a=b", "https://own.example/login", "http://own.lan:8000/"] {
            assert!(login(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "login",
            "//evil.example/login",
            "/\\evil.example",
            "https://u@own.example/",
            "https://own.example",
            "https://OWN.example/",
            "/login#a",
            "javascript:alert(1)",
            "/a\r\nb",
            "/../a",
        ] {
            assert!(login(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_what_is_of_the_logins_own_origin_is_passed_on() {
        let login = login("https://own.example/login").expect("a login");
        for url in ["https://own.example/", "https://own.example/sso?rd=%2F"] {
            assert!(login.is_at(url), "{url}");
        }
        for url in [
            "",
            "/login",
            "//own.example/",
            "http://own.example/",
            "https://own.example:8443/",
            "https://own.example.evil.example/",
            "https://own.example@evil.example/",
            "https://u@own.example/",
            "https://own.example\\@evil.example/",
            "https://own.example/\r\nSet-Cookie: a=b",
            " https://own.example/",
        ] {
            assert!(!login.is_at(url), "{url}");
        }
        assert!(!super::tests::login("/login").expect("a login").is_at("https://own.invalid/login"));
    }

    #[test]
    fn a_page_of_its_own_is_a_navigation_and_nothing_else_is() {
        let check = |fields: &[(&str, &str)], expected: bool| {
            let mut request = http::Request::get("/a");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let request = request.body(()).expect("a request").into_parts().0;
            assert_eq!(is_navigation(&request), expected, "{fields:?}");
        };
        const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        check(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], true);
        check(&[("sec-fetch-mode", "navigate")], true);
        check(&[("sec-fetch-dest", "document")], true);
        check(&[HTML], true);
        check(&[("accept", "TEXT/HTML")], true);
        check(&[], false);
        check(&[("accept", "image/avif,*/*")], false);
        // What they say is believed before what they accept.
        for (mode, dest) in [
            ("navigate", "iframe"),
            ("navigate", "embed"),
            ("no-cors", "image"),
            ("no-cors", "video"),
            ("cors", "empty"),
            ("cors", "document"),
        ] {
            check(&[("sec-fetch-mode", mode), ("sec-fetch-dest", dest), HTML], false);
        }
    }
}

//! The URL behind the own host: read by a standard parser, and refused unless that reads exactly what was written.
//!
//! A parser of URLs repairs: it folds IP addresses and dots, drops tabs and a scheme's own port, turns backslashes. What
//! another one would read otherwise is no URL here.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::OWN_FOLDER;
use super::login::has_user;
use super::media_origin::{MediaOrigin, Serving};
use crate::gate::denial::{BadRequest, Denial};
use crate::gate::extract::{parted, reads_as};
use crate::gate::object_key::{check_path, escape};
use crate::gate::resolve::Endpoint;
use crate::gate::target::is_origin_form;

const BAD: Denial = Denial::BadRequest(BadRequest::PrependedUrl);

/// The query parameter that may hold the URL in place of the path.
const PARAMETER: &str = "url";

/// A URL of a configured origin, in its one form. Holds a token, so its `Debug` does not show it.
pub(super) struct InnerUrl {
    text: String,
    origin: MediaOrigin,
}

impl std::fmt::Debug for InnerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InnerUrl").field("origin", &self.origin.text).finish_non_exhaustive()
    }
}

impl InnerUrl {
    /// Reads `text`.
    ///
    /// # Errors
    ///
    /// Anything but a canonical URL of one of `origins` with a path that can mean only one object.
    pub(super) fn read(text: String, origins: &[MediaOrigin]) -> Result<InnerUrl, Denial> {
        let url = Url::parse(&text).map_err(|_| BAD)?;
        if url.as_str() != text || has_user(&url) || url.fragment().is_some() {
            return Err(BAD);
        }
        let found = url.origin().ascii_serialization();
        // Written there as well: `blob:https://…` has the origin of what follows it.
        let is_meant = |origin: &&MediaOrigin| origin.text == found && text.starts_with(&origin.text);
        let origin = origins.iter().find(is_meant).ok_or(Denial::UnknownOrigin)?.clone();
        let path_and_query = &url[Position::BeforePath..];
        // One login is asked for, not one of another host for each URL that stands in a URL.
        if names_url(path_and_query) || !is_origin_form(path_and_query) {
            return Err(BAD);
        }
        check_path(url.path()).map_err(Denial::Path)?;
        Ok(InnerUrl { text, origin })
    }

    pub(super) fn serving(&self) -> Serving {
        self.origin.serving
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.origin.endpoint
    }

    pub(super) fn path_and_query(&self) -> &str {
        &self.text[self.origin.text.len()..]
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The same without its query, where a token may be.
    pub(super) fn without_query(&self) -> &str {
        parted(&self.text, b'?').0
    }
}

/// Whether a request for `path` may be one for prepend mode.
pub(super) fn is_likely(path: &str) -> bool {
    path == "/" || names_url(path) || path.strip_prefix('/').is_some_and(|path| path.starts_with(OWN_FOLDER))
}

/// Whether `target` is a URL behind a slash, in any spelling of the scheme.
fn names_url(target: &str) -> bool {
    let begins = |scheme: &str| target.get(1..=scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    begins("http:") || begins("https:")
}

/// Returns the URL that stands in `target`, a path with its query; `None` where none does.
///
/// # Errors
///
/// Something that was meant to be one and can be read in two ways.
pub(super) fn written(target: &str) -> Result<Option<String>, Denial> {
    let (path, query) = parted(target, b'?');
    match query {
        _ if names_url(target) => in_path(&target[1..]).map(Some),
        Some(query) if path == "/" => in_query(query),
        _ => Ok(None),
    }
}

/// Many clients fold `//` in a path: one slash behind the scheme is as good as two.
fn in_path(text: &str) -> Result<String, Denial> {
    let (scheme, rest) = text.split_once(":/").ok_or(BAD)?;
    Ok(format!("{scheme}://{}", rest.strip_prefix('/').unwrap_or(rest)))
}

/// The decoded value of `url`, which is the only parameter: a URL that was not encoded would end at its first `&`.
fn in_query(query: &str) -> Result<Option<String>, Denial> {
    let mut parameters = query.split('&').map(|parameter| parted(parameter, b'='));
    if !parameters.clone().any(|(name, _)| reads_as(name, PARAMETER)) {
        return Ok(None);
    }
    let (Some((PARAMETER, Some(value))), None) = (parameters.next(), parameters.next()) else { return Err(BAD) };
    let is_escape = |at: usize| escape(&value.as_bytes()[at..]).is_some();
    // Forms write a space as `+`, URLs write a plus so.
    if value.contains('+') || !value.match_indices('%').all(|(at, _)| is_escape(at)) {
        return Err(BAD);
    }
    Ok(Some(percent_decode_str(value).decode_utf8().map_err(|_| BAD)?.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Vec<MediaOrigin> {
        let origin = |text, serving| MediaOrigin::parse(text, serving).expect("an origin");
        vec![
            origin("files.example", Serving::Own),
            origin("http://files.lan:9000", Serving::Own),
            origin("http://10.0.0.7", Serving::Foreign),
            origin("xn--bcher-kva.example", Serving::Own),
            origin("http://[::1]:8080", Serving::Own),
        ]
    }

    fn find(target: &str) -> Result<Option<String>, Denial> {
        let Some(text) = written(target)? else { return Ok(None) };
        InnerUrl::read(text, &origins()).map(|url| Some(format!("{} {}", url.origin.text, url.path_and_query())))
    }

    #[test]
    fn a_url_stands_in_the_path_or_in_the_one_parameter() {
        let check = |target: &str, expected: &str| {
            assert!(is_likely(parted(target, b'?').0), "{target}");
            assert_eq!(find(target), Ok(Some(expected.to_owned())), "{target}");
        };
        check("/https://files.example/app/media/x.jpg?fat=t", "https://files.example /app/media/x.jpg?fat=t");
        check("/https:/files.example/app/media/x.jpg?fat=t&w=1", "https://files.example /app/media/x.jpg?fat=t&w=1");
        check("/http://files.lan:9000/app/a%20b", "http://files.lan:9000 /app/a%20b");
        check("/http://10.0.0.7/x.jpg", "http://10.0.0.7 /x.jpg");
        check("/https://xn--bcher-kva.example/app/a", "https://xn--bcher-kva.example /app/a");
        check("/http:/[::1]:8080/app/a+b", "http://[::1]:8080 /app/a+b");
        check(
            "/?url=https%3A%2F%2Ffiles.example%2Fapp%2Fx.jpg%3Ffat%3Dt%26w%3D1",
            "https://files.example /app/x.jpg?fat=t&w=1",
        );
        check("/?url=https://files.example/app/x.jpg?fat=t", "https://files.example /app/x.jpg?fat=t");
        check("/?url=https%3A//files.example/app/a%2Bb%2520c", "https://files.example /app/a+b%20c");
        // A query is the other server's own, whatever is in it.
        check(
            "/https://files.example/app/a?u=https://evil.example/",
            "https://files.example /app/a?u=https://evil.example/",
        );
    }

    #[test]
    fn other_requests_are_left_alone() {
        for target in
            ["/", "/?", "/?a=url", "/?urls=x", "/app/a?url=https://files.example/app/a", "/https", "/httpss://a/b"]
        {
            assert_eq!(find(target), Ok(None), "{target}");
        }
        for path in ["/app/a", "/https", "*", "", "/ä"] {
            assert!(!is_likely(path), "{path}");
        }
    }

    #[test]
    fn only_configured_origins_are_found() {
        for authority in [
            "evil.example",
            "files.example.evil.example",
            "evil.files.example",
            "files.example.",
            "files.example:8443",
            "files.example:80",
            "10.0.0.7",
            "127.0.0.1",
            "localhost",
            "[::1]:8080",
            "169.254.169.254",
            "%E2%80%A6",
        ] {
            for target in [format!("/https://{authority}/app/a"), format!("/?url=https://{authority}/app/a")] {
                let found = find(&target);
                assert!(matches!(found, Err(Denial::UnknownOrigin | BAD)), "{target}: {found:?}");
            }
        }
        // The scheme is a part of it.
        for target in ["/http://files.example/app/a", "/https://files.lan:9000/app/a", "/http://files.lan/app/a"] {
            assert_eq!(find(target), Err(Denial::UnknownOrigin), "{target}");
        }
        for url in [
            "ftp://files.example/app/a",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "data:,x",
            "blob:https://files.example/a",
        ] {
            assert_eq!(find(&format!("/?url={url}")), Err(Denial::UnknownOrigin), "{url}");
        }
    }

    #[test]
    fn what_a_parser_would_repair_is_refused() {
        for target in [
            // User information.
            "/https://user@files.example/app/a",
            "/https://user:pass@files.example/app/a",
            "/https://@files.example/app/a",
            "/https://files.example@evil.example/app/a",
            "/https://files.example%40evil.example/app/a",
            "/https://files.example:443@evil.example/app/a",
            // Ports in other spellings.
            "/https://files.example:443/app/a",
            "/https://files.example:/app/a",
            "/https://files.example:0443/app/a",
            "/http://files.lan:09000/app/a",
            "/http://files.lan:99999/app/a",
            "/http://files.lan:9000x/app/a",
            // Addresses in other spellings.
            "/http://10.7/app/a",
            "/http://0x0a.0.0.7/app/a",
            "/http://012.0.0.7/app/a",
            "/http://167772167/app/a",
            "/http://10.0.0.7./app/a",
            "/http://[0:0:0:0:0:0:0:1]:8080/app/a",
            "/http://[::0001]:8080/app/a",
            // Names in other spellings.
            "/https://FILES.example/app/a",
            "/https://files%2Eexample/app/a",
            "/https://bücher.example/app/a",
            "/https://XN--bcher-kva.example/app/a",
            "/https://ﬁles.example/app/a",
            // Slashes.
            "/https:///files.example/app/a",
            "/https:////files.example/app/a",
            "/https:files.example/app/a",
            "/https:\\\\files.example/app/a",
            "/https://files.example\\app\\a",
            "/https://files.example%2Fapp/a",
            "/https://files.example?fat=t",
            "/https://files.example",
            // Schemes in other spellings.
            "/HTTPS://files.example/app/a",
            "/Http://10.0.0.7/app/a",
            "/?url=HTTPS://files.example/app/a",
            "/?url=//files.example/app/a",
            "/?url=/app/a",
            "/?url=https:/files.example/app/a",
            "/?url=https%253A%252F%252Ffiles.example%252Fapp%252Fa",
            // Line ends, tabs, spaces, fragments.
            "/?url=https://files.example/app/a%0d%0aSet-Cookie:x",
            "/?url=https://files.example%0d%0a/app/a",
            "/?url=https://files%09.example/app/a",
            "/?url=%20https://files.example/app/a",
            "/?url=https://files.example/app/a%23x",
            "/?url=https://files.example/app/a%00",
            // Other characters that stand encoded.
            "/https://files.example/app/a\"b",
            "/https://files.example/app/ä",
            // Dots.
            "/https://files.example/app/../other/a",
            "/https://files.example/app/./a",
            "/https://files.example/app/%2e%2e/a",
            // A URL in the URL.
            "/https://files.example/https://files.example/app/a",
            "/https://files.example/https:/evil.example/a",
            "/https:/files.example/HTTP://evil.example/a",
            // More than one parameter, or another spelling.
            "/?url=https://files.example/app/a?fat=t&w=1",
            "/?url=https://files.example/app/a&url=https://files.example/app/b",
            "/?fat=t&url=https://files.example/app/a",
            "/?URL=https://files.example/app/a",
            "/?%75rl=https://files.example/app/a",
            "/?url=https://files.example/app/a+b",
            "/?url=https://files.example/app/%zz",
            "/?url=https://files.example/app/%ff",
            "/?url=",
            "/?url",
        ] {
            assert_eq!(find(target), Err(BAD), "{target}");
        }
    }

    #[test]
    fn a_path_means_one_object_at_whatever_server() {
        use crate::gate::PathError::*;
        for (path, error) in [
            ("app%2fa", EncodedSeparator),
            ("app/a%5Cb", EncodedSeparator),
            ("app/%252e%252e%252fa", EncodedSeparator),
            ("app//a", EmptySegment),
            ("app/", EmptySegment),
            ("app/a%0d%0ab", ForbiddenCharacter),
            ("app/a%00", ForbiddenCharacter),
            ("app/a;b", ForbiddenCharacter),
            ("app/%zz", MalformedEscape),
            ("app/%ff", NotUtf8),
            ("", NoObject),
        ] {
            for origin in ["https:/files.example", "http://10.0.0.7"] {
                assert_eq!(find(&format!("/{origin}/{path}")), Err(Denial::Path(error)), "{origin} {path}");
            }
        }
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
        assert_eq!(find(&format!("/http://10.0.0.7/{token}")), Err(Denial::Path(HoldsToken)));
    }

    #[test]
    fn no_url_is_printed() {
        let url = InnerUrl::read("https://files.example/a?fat=secret".to_owned(), &origins()).expect("a URL");
        assert!(!format!("{url:?}").contains("secret"));
    }

    proptest::proptest! {
        /// Whatever is found is exactly what was written, behind an origin that is configured.
        #[test]
        fn any_url_that_is_found_begins_with_a_configured_origin(text in "/(https?:/{1,3}|\\?url=https?://)(files\\.example|10\\.0\\.0\\.7|\\PC{0,12})[:/@?#%.\\\\]\\PC{0,24}") {
            if let Ok(Some(found)) = find(&text) {
                let (origin, path) = found.split_once(' ').expect("both");
                proptest::prop_assert!(origins().iter().any(|known| known.text == origin));
                proptest::prop_assert!(path.starts_with('/') && !path.starts_with("//"));
            }
        }
    }
}

//! Cookies for players: what a playlist names is asked for without the token that the playlist was asked for with.

use std::time::Duration;

use http::header::HeaderValue;
use http::request::Parts;
use http::uri::Scheme;

use super::extract::{Credential, OWN_COOKIE, Place, Shown};

/// The longest that a cookie may live: a day.
pub const MAX_COOKIE_AGE: Duration = Duration::from_secs(86_400);

/// Longest name and value that browsers keep (RFC 6265 §6.1).
const MAX_COOKIE_BYTES: usize = 4096;

/// How the names of playlists end: HLS and DASH.
const PLAYLISTS: [&str; 2] = [".m3u8", ".mpd"];

/// The path that the client's URL has, where the request is one of prepend mode.
#[derive(Debug, Clone)]
pub(super) struct OuterPath(pub(super) String);

/// How cookies for players are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerCookies {
    /// For how long one lives at most, up to [`MAX_COOKIE_AGE`]; its token may expire before.
    pub max_age: Duration,
    /// How clients come in: with `https`, whoever ends their TLS, cookies never travel without it.
    pub scheme: Scheme,
}

impl PlayerCookies {
    /// Returns the `Set-Cookie` for a request that was admitted with a token which expires at `until`, both since the UNIX
    /// epoch; `None` where there is nothing to set: the request asks neither for a playlist with its token in the query nor
    /// for a cookie, or browsers would not keep it.
    ///
    /// It is for the folder of the object, as the client has spelled it, because that is what a browser compares; it ends
    /// with its token at the latest, and no script can read it.
    pub(super) fn set(
        &self,
        request: &Parts,
        shown: &Shown<'_>,
        key: &str,
        until: Duration,
        now: Duration,
    ) -> Option<HeaderValue> {
        let (Credential::Fat(token), place) = shown.credential? else { return None };
        let is_asked = match place {
            Place::Query => shown.wishes.wants_cookie || is_playlist(key),
            Place::Field => shown.wishes.wants_cookie,
            // It came along by itself, and lives as long as it was to.
            Place::Cookie => false,
        };
        let max_age = until.saturating_sub(now).min(self.max_age).as_secs();
        if !is_asked || max_age == 0 || token.len() + "fat~".len() > MAX_COOKIE_BYTES {
            return None;
        }
        let path = match request.extensions.get::<OuterPath>() {
            None => request.uri.path(),
            // Another way to the object, as with `?url=`, has no folder that a browser would know.
            Some(OuterPath(outer)) => Some(outer.as_str()).filter(|outer| outer.ends_with(request.uri.path()))?,
        };
        let folder = Some(&path[..=path.rfind('/')?]).filter(|folder| folder.is_ascii())?;
        let scope = if self.scheme == Scheme::HTTPS {
            // Players are on other sites than the gate, where browsers take nothing less. Partitioned: a cookie that was
            // set below one site's page does not come along below another's.
            "; Secure; SameSite=None; Partitioned"
        } else {
            // Without TLS browsers refuse `None`.
            "; SameSite=Lax"
        };
        let text = format!("fat={token}{OWN_COOKIE}; Path={folder}; Max-Age={max_age}; HttpOnly{scope}");
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

fn is_playlist(key: &str) -> bool {
    let ends_with = |end: &&str| {
        let at = key.len().checked_sub(end.len());
        at.and_then(|at| key.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    PLAYLISTS.iter().any(ends_with)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::extract;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    /// What is set for `target` with these fields, by a gate behind `scheme`, of a token that lives for `secs` seconds.
    fn set(scheme: Scheme, target: &str, fields: &[(&str, &str)], secs: u64) -> Option<String> {
        let mut builder = http::Request::builder().uri(target);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let request = builder.body(()).expect("a request").into_parts().0;
        let shown = extract::shown(&request).expect("one credential");
        let path = extract::object(&request).expect("a path");
        let cookies = PlayerCookies { max_age: Duration::from_secs(3600), scheme };
        let value = cookies.set(&request, &shown, path.key(), NOW + Duration::from_secs(secs), NOW)?;
        assert!(value.is_sensitive());
        Some(value.to_str().expect("text").to_owned())
    }

    #[track_caller]
    fn check(target: &str, fields: &[(&str, &str)], folder: Option<&str>) {
        let expected = folder.map(|folder| format!("fat=t~; Path={folder}; Max-Age=60; HttpOnly; SameSite=Lax"));
        assert_eq!(set(Scheme::HTTP, target, fields, 60), expected, "{target} {fields:?}");
    }

    #[test]
    fn behind_the_own_host_it_is_for_the_folder_that_the_browser_knows() {
        let outer = |outer: &str| {
            let request = http::Request::get("/demo/v/a.m3u8?fat=t").extension(OuterPath(outer.to_owned())).body(());
            let request = request.expect("a request").into_parts().0;
            let shown = extract::shown(&request).expect("one credential");
            let cookies = PlayerCookies { max_age: Duration::from_secs(60), scheme: Scheme::HTTP };
            let value = cookies.set(&request, &shown, "v/a.m3u8", NOW + Duration::from_secs(60), NOW);
            value.map(|value| value.to_str().expect("text").to_owned())
        };
        let folder = "/https://files.example/demo/v/";
        let expected = Some(format!("fat=t~; Path={folder}; Max-Age=60; HttpOnly; SameSite=Lax"));
        assert_eq!(outer(&format!("{folder}a.m3u8")), expected);
        assert_eq!((outer("/"), outer("/.mediagate/back/sealed")), (None, None));
    }

    #[test]
    fn a_playlist_brings_a_cookie_for_its_folder() {
        check("/demo/v/a.m3u8?fat=t", &[], Some("/demo/v/"));
        check("/demo/v/a.mpd?x=1&fat=t", &[], Some("/demo/v/"));
        check("/demo/v/A.M3U8?fat=t", &[], Some("/demo/v/"));
        check("/demo/v/a%2Em3u8?fat=t", &[], Some("/demo/v/"));
        check("/demo/a.mpd?fat=t", &[], Some("/demo/"));
        check("http://h/demo/v/a.mpd?fat=t", &[], Some("/demo/v/"));
        check("/demo/v/a.mp4?fat=t", &[], None);
        check("/demo/v/m3u8?fat=t", &[], None);
        check("/demo/v.m3u8/a?fat=t", &[], None);
        check("/demo/v/文.mp4?fat=t", &[], None);
    }

    #[test]
    fn the_folder_is_spelled_as_the_client_does() {
        check("/d%65mo/my%20v/%E6%96%87/a.m3u8?fat=t", &[], Some("/d%65mo/my%20v/%E6%96%87/"));
        check("/demo/a,b=\"c\"/a.m3u8?fat=t", &[], Some("/demo/a,b=\"c\"/"));
        // No browser sends that, and in a field it could mean anything.
        check("/demo/文/a.m3u8?fat=t", &[], None);
    }

    #[test]
    fn only_a_token_that_is_shown_for_it_comes_back_as_a_cookie() {
        check("/demo/v/a.m3u8", &[("fat", "t")], None);
        check("/demo/v/a.m3u8", &[("authorization", "Bearer t")], None);
        check("/demo/v/a.m3u8?cookie=1", &[("fat", "t")], Some("/demo/v/"));
        check("/demo/v/a.ts?cookie=1", &[("authorization", "Bearer t")], Some("/demo/v/"));
        check("/demo/v/a.ts?cookie=1&fat=t", &[], Some("/demo/v/"));
        check("/demo/v/a.m3u8?cookie=1", &[("cookie", "fat=t")], None);
        check("/demo/v/a.m3u8?cookie=1", &[("cookie", "fat=t~")], None);
        check("/demo/v/a.m3u8?cookie=1", &[("apikey", "t")], None);
        check("/demo/v/a.m3u8?Signature=t", &[], None);
        check("/demo/v/a.m3u8?fat=t", &[("cookie", "fat=old~")], Some("/demo/v/"));
        check("/demo/v/a.m3u8?cookie=1", &[], None);
    }

    #[test]
    fn a_cookie_ends_with_its_token_and_no_later_than_configured() {
        let age = |secs| {
            let text = set(Scheme::HTTP, "/demo/a.m3u8?fat=t", &[], secs)?;
            text.split("Max-Age=").nth(1)?.split(';').next()?.parse::<u64>().ok()
        };
        assert_eq!(
            [age(0), age(1), age(3599), age(3600), age(86_400)],
            [None, Some(1), Some(3599), Some(3600), Some(3600)]
        );
    }

    #[test]
    fn with_tls_a_cookie_never_goes_without() {
        let expected = "fat=t~; Path=/demo/; Max-Age=60; HttpOnly; Secure; SameSite=None; Partitioned";
        assert_eq!(set(Scheme::HTTPS, "/demo/a.m3u8?fat=t", &[], 60).as_deref(), Some(expected));
    }

    #[test]
    fn what_browsers_do_not_keep_is_not_set() {
        let of = |len: usize| set(Scheme::HTTP, &format!("/demo/a.m3u8?fat={}", "t".repeat(len)), &[], 60);
        assert!(of(MAX_COOKIE_BYTES - 4).is_some());
        assert_eq!(of(MAX_COOKIE_BYTES - 3), None);
    }
}

//! `[prepend]`: a login in front of media.

use std::time::Duration;

use http::Uri;
use http::header::HeaderName;

use super::apps::{AppSummary, MAX_KEYS};
use super::control::signs_tokens;
use super::files::Files;
use super::keys::{AppKey, key};
use super::listeners::{MediaSection, is_host};
use super::oidc;
use super::tree::{Place, Section, Text, Unique, Value};
use crate::gate::{
    Algorithm, AppOptions, LoginOptions, MediaOrigin, PrependOptions, Profile, SESSION_KEYS, Serving, SessionOptions,
    TimeRules, VerifyingKey,
};
use crate::jwks::KeySetOptions;
use crate::platform::{ForwardAuthOptions, PlatformOptions};
use crate::secret::Secret;

/// Most origins.
const MAX_ORIGINS: usize = 1000;

/// How long the platform may take to say who a visitor is.
const FORWARD_AUTH_TIMEOUT: Duration = Duration::from_secs(5);

/// What a section that says how visitors are known must have.
const ONE_KIND: &str = "is required: `session_cookie` with [[prepend.keys]], `forward_auth_url`, or [prepend.oidc]";

/// `[prepend]`, with where each key stands.
pub(super) struct PrependSection<'a> {
    pub(super) options: PrependOptions,
    pub(super) platform: Option<PlatformOptions>,
    /// JWK Sets that sessions are verified with as well.
    pub(super) sets: Vec<(Place<'a>, KeySetOptions)>,
    /// What sessions are verified with, and their secrets.
    keys: Vec<(Place<'a>, VerifyingKey)>,
    secrets: Vec<(Place<'a>, Secret)>,
    /// What ways back from the login are sealed with, where the file says it.
    login_key: Option<(Place<'a>, Secret)>,
}

/// What sessions are verified with.
#[derive(Default)]
struct SessionKeys<'a> {
    keys: Vec<(Place<'a>, VerifyingKey)>,
    secrets: Vec<(Place<'a>, Secret)>,
    sets: Vec<(Place<'a>, KeySetOptions)>,
}

/// Returns what is in `section`; `Some(None)` where it is switched off, and then only its types are checked.
pub(super) fn prepend<'a>(
    mut section: Section<'a>,
    files: &Files<'_>,
    media: Option<&MediaSection>,
) -> Option<Option<PrependSection<'a>>> {
    let is_enabled = section.get("enabled").is_some_and(|enabled| enabled.flag() == Some(true));
    if !is_enabled {
        for key in ["hosts", "media_hosts", "foreign_hosts"] {
            section.texts(key);
        }
        for key in ["login_url", "key_file", "session_cookie", "forward_auth_url", "forward_auth_user_header"] {
            section.text(key);
        }
        for key in ["session_max_secs", "leeway_secs", "forward_auth_cache_secs"] {
            section.has(key);
        }
        section.sections("keys", MAX_KEYS, None);
        section.has("oidc");
        section.finish();
        return Some(None);
    }
    if media.is_none() {
        section.place_of("enabled").wrong("goes with the role \"edge\": nothing is served here");
    }
    let hosts = hosts(&mut section);
    let origins = origins(&mut section, media.map_or(&[][..], |media| &media.hosts));
    let (mut found_keys, mut login_key) = (SessionKeys::default(), None);
    let login = login(&mut section, files, &mut login_key);
    let cookie = section.text("session_cookie");
    let time = times(&mut section);
    let found = section.sections("keys", MAX_KEYS, None);
    let forward_auth = forward_auth(&mut section);
    let oidc = section.get("oidc").and_then(Value::section);
    let visitors = match (cookie, forward_auth, oidc) {
        (Some(cookie), None, None) => {
            sessions(&cookie, &section, found, time, files, &mut found_keys).map(|sessions| (Some(sessions), None))
        }
        (None, Some(forward_auth), None) => {
            if let Some(first) = found.first() {
                first.place.wrong("goes with `session_cookie`, which is not there");
            }
            forward_auth.map(|options| (None, Some(PlatformOptions::ForwardAuth(options))))
        }
        (None, None, Some(oidc)) => {
            refuse_beside_oidc(&mut section);
            let oidc = oidc::oidc(oidc, &section, files, login_key.as_ref().map(|(_, key): &(_, Secret)| key));
            oidc.map(|(sessions, options)| (Some(sessions), Some(PlatformOptions::Oidc(Box::new(options)))))
        }
        (None, None, None) => {
            section.place_of("session_cookie").wrong(ONE_KIND);
            None
        }
        (_, forward_auth, _) => {
            let second = if forward_auth.is_some() { "forward_auth_url" } else { "oidc" };
            section.place_of(second).wrong("stands beside another way to know visitors: take one of them out");
            None
        }
    };
    section.finish();
    let (sessions, platform) = visitors?;
    let login = match &platform {
        Some(PlatformOptions::Oidc(options)) => LoginOptions::new(oidc::LOGIN, options.key.clone()).ok(),
        _ => login?,
    };
    let options = PrependOptions { hosts: hosts?, origins: origins?, sessions, login };
    let SessionKeys { keys, secrets, sets } = found_keys;
    Some(Some(PrependSection { options, platform, sets, keys, secrets, login_key }))
}

/// The gate's own login has its own place, keys and times.
fn refuse_beside_oidc(section: &mut Section<'_>) {
    for key in ["login_url", "keys", "session_max_secs"] {
        if section.has(key) {
            section.place_of(key).wrong("goes without [prepend.oidc], which has its own");
        }
    }
}

fn hosts(section: &mut Section<'_>) -> Option<Vec<String>> {
    let hosts = section.texts("hosts").unwrap_or_default();
    let mut sound = true;
    for host in hosts.iter().filter(|host| !is_host(host.value)) {
        host.wrong("must be a host name or an IP address, without scheme, port or wildcard: \"own.example\"");
        sound = false;
    }
    sound.then(|| hosts.iter().map(|host| host.value.to_owned()).collect())
}

/// The origins of `media_hosts` and `foreign_hosts`, where those that are `served` say which can be of the former.
fn origins(section: &mut Section<'_>, served: &[String]) -> Option<Vec<MediaOrigin>> {
    let mut unique = Unique::default();
    let mut read = |text: Text<'_>, serving| {
        unique.check("origin", &text);
        let origin = MediaOrigin::parse(text.value, serving);
        let origin = origin.map_err(|_| {
            text.wrong(
                "must be a host (\"files.example\": https) or a whole origin (\"http://files.lan:9000\"), as browsers \
                 write it: in lower case, without path or the scheme's own port",
            );
        });
        let origin = origin.ok()?;
        let is_served = |host: &String| host.eq_ignore_ascii_case(&origin.endpoint().host);
        if serving == Serving::Own && !served.is_empty() && !served.iter().any(is_served) {
            text.wrong("must have one of media.hosts as its host; what others serve belongs into `foreign_hosts`");
            return None;
        }
        Some(origin)
    };
    let own = section.texts("media_hosts").unwrap_or_default();
    let own: Vec<_> = own.into_iter().map(|text| read(text, Serving::Own)).collect();
    let foreign = section.texts("foreign_hosts").unwrap_or_default();
    let foreign: Vec<_> = foreign.into_iter().map(|text| read(text, Serving::Foreign)).collect();
    if own.is_empty() && foreign.is_empty() {
        section.place_of("media_hosts").wrong("is required: the hosts of media URLs, like [\"files.example\"]");
    }
    if own.len() + foreign.len() > MAX_ORIGINS {
        section.place_of("media_hosts").wrong(format!("must be at most {MAX_ORIGINS}, with `foreign_hosts`"));
    }
    own.into_iter().chain(foreign).collect()
}

/// `Some(None)` without a login.
fn login<'a>(
    section: &mut Section<'a>,
    files: &Files<'_>,
    login_key: &mut Option<(Place<'a>, Secret)>,
) -> Option<Option<LoginOptions>> {
    let file = section.text("key_file");
    let key = match file {
        Some(file) => {
            let key = files.secret(&file)?;
            VerifyingKey::hmac("prepend", Algorithm::HS256, &key)
                .map_err(|error| file.wrong(error.to_string()))
                .ok()?;
            *login_key = Some((file.place, key.clone()));
            key
        }
        None => {
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key).expect("the system has randomness");
            Secret::new(key)
        }
    };
    let Some(url) = section.text("login_url") else { return Some(None) };
    LoginOptions::new(url.value, key).map_err(|error| url.wrong(error.to_string())).ok().map(Some)
}

fn times(section: &mut Section<'_>) -> TimeRules {
    let max = section.get("session_max_secs").and_then(|value| value.number(60..=31_536_000, "seconds"));
    let leeway = section.get("leeway_secs").and_then(|value| value.number(0..=300, "seconds"));
    let (leeway, max_ttl) = (leeway.unwrap_or(5), max.unwrap_or(2_592_000));
    TimeRules { leeway: Duration::from_secs(leeway), max_ttl: Duration::from_secs(max_ttl) }
}

fn sessions<'a>(
    cookie: &Text<'_>,
    section: &Section<'a>,
    found: Vec<Section<'a>>,
    time: TimeRules,
    files: &Files<'_>,
    keys: &mut SessionKeys<'a>,
) -> Option<SessionOptions> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = cookie.value;
    if !(1..=100).contains(&name.len()) || !name.bytes().all(is_name) || name == "fat" {
        cookie.wrong("must be a cookie's name, like \"__Host-session\"; `fat` is the name of the token's");
        return None;
    }
    if found.is_empty() {
        section.place_of("keys").wrong("is required: at least one `[[prepend.keys]]` that sessions are verified with");
        return None;
    }
    let mut kids = Unique::default();
    let mut sound = true;
    for section in found {
        let place = section.place.clone();
        match key(section, SESSION_KEYS, files, &mut kids) {
            Some(AppKey::Key(key, _)) if key.profile() != Profile::Fat => {
                place.wrong("must have the profile \"fat\": no session is a Twilio token");
                sound = false;
            }
            Some(AppKey::Key(key, summary)) => {
                keys.secrets.extend(summary.secret.map(|secret| (place.clone(), secret)));
                keys.keys.push((place, *key));
            }
            Some(AppKey::Set(set)) => keys.sets.push((place, set)),
            None => sound = false,
        }
    }
    let keys = keys.keys.iter().map(|(_, key)| key.clone()).collect();
    sound.then(|| SessionOptions { cookie: name.to_owned(), keys, time })
}

/// `Some(None)` once something was reported.
fn forward_auth(section: &mut Section<'_>) -> Option<Option<ForwardAuthOptions>> {
    let url = section.text("forward_auth_url");
    let user_header = section.text("forward_auth_user_header");
    let remembered = section.get("forward_auth_cache_secs").map(|value| value.number(0..=60, "seconds"));
    let Some(url) = url else {
        for key in ["forward_auth_user_header", "forward_auth_cache_secs"] {
            if section.has(key) {
                section.place_of(key).wrong("goes with `forward_auth_url`, which is not there");
            }
        }
        return None;
    };
    let is_plain = |uri: &Uri| {
        let host = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        host.is_some_and(|host| !host.host().is_empty()) && matches!(uri.scheme_str(), Some("http" | "https"))
    };
    let parsed = url.value.parse::<Uri>().ok().filter(|uri| is_plain(uri) && !url.value.contains('#'));
    if parsed.is_none() {
        url.wrong("must be http://HOST/PATH or https://HOST/PATH, without user or fragment");
    }
    let name = match &user_header {
        Some(name) => {
            let parsed = HeaderName::from_bytes(name.value.as_bytes()).ok();
            if parsed.is_none() {
                name.wrong("must be the name of a header field, like \"Remote-User\"");
            }
            parsed
        }
        None => Some(HeaderName::from_static("remote-user")),
    };
    let remembered = remembered.unwrap_or(Some(5));
    let options = || {
        let remembered = Duration::from_secs(remembered?);
        Some(ForwardAuthOptions { url: parsed?, user_header: name?, remembered, timeout: FORWARD_AUTH_TIMEOUT })
    };
    Some(options())
}

impl PrependSection<'_> {
    /// No key has two purposes, and no JWK Set: whoever could make a token could make a session, or the other way round.
    pub(super) fn refuse_shared_keys(
        &self,
        apps: Option<&[AppOptions]>,
        summaries: &[AppSummary],
        others: &[&[(Place<'_>, Secret)]],
    ) {
        for (place, key) in &self.keys {
            let mut of_apps = apps.into_iter().flatten().flat_map(|app| &app.keys);
            if of_apps.any(|other| other.is_same_key(key)) {
                place.wrong("the same key verifies tokens of an app: a session would be as good as a token");
            }
        }
        for (place, set) in &self.sets {
            if summaries.iter().flat_map(|app| &app.key_sets).any(|other| other.source == set.source) {
                place.wrong("the same JWK Set verifies tokens of an app: a session would be as good as a token");
            }
        }
        if let Some((place, key)) = &self.login_key
            && (signs_tokens(key, summaries) || self.secrets.iter().any(|(_, other)| other.expose() == key.expose()))
        {
            place.wrong("the same secret signs tokens or sessions: it must have no other use");
        }
        for (place, secret) in self.secrets.iter().chain(&self.login_key) {
            if others.iter().flat_map(|keys| keys.iter()).any(|(_, other)| other.expose() == secret.expose()) {
                place.wrong("the same secret is an API key or signs presigned URLs");
            }
        }
    }
}

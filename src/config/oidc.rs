//! `[prepend.oidc]`: the gate itself logs visitors in, at an OpenID provider.

use std::time::Duration;

use super::files::Files;
use super::tree::{Section, Text};
use crate::gate::{Algorithm, SessionOptions, TimeRules, VerifyingKey};
use crate::jwks::KeySetSource;
use crate::platform::OidcOptions;
use crate::platform::oidc::{SESSION_COOKIE, SESSION_KID};
use crate::secret::Secret;

/// Where the gate's own login is.
pub(super) const LOGIN: &str = "/.mediagate/login";

/// Where the provider sends browsers back to.
const CALLBACK: &str = "/.mediagate/callback";

/// Returns the gate's own sessions and who logs visitors in; `key` is what both are signed with.
pub(super) fn oidc(
    mut section: Section<'_>,
    prepend: &Section<'_>,
    files: &Files<'_>,
    key: Option<&Secret>,
) -> Option<(SessionOptions, OidcOptions)> {
    if key.is_none() {
        prepend.place_of("key_file").wrong("is required with [prepend.oidc]: what sessions are signed with");
    }
    let is_url = |url: &Text<'_>| KeySetSource::url(url.value).is_some() && !url.value.contains('?');
    let issuer = section.require_text("issuer", "the provider's URL, as it calls itself");
    let issuer = issuer.and_then(|url| {
        if !is_url(&url) {
            url.wrong("must be https://HOST[/PATH] without user, query or fragment; http:// is for this machine only");
            return None;
        }
        Some(url.value.to_owned())
    });
    let redirect_url =
        section.require_text("redirect_url", "https://OWN/.mediagate/callback, as the provider knows it");
    let redirect_url = redirect_url.and_then(|url| {
        let is_callback = url.value.parse::<http::Uri>().is_ok_and(|uri| uri.path() == CALLBACK);
        if !is_url(&url) || !is_callback {
            url.wrong("must be https://OWN/.mediagate/callback; http:// is for this machine only");
            return None;
        }
        Some(url.value.to_owned())
    });
    let client_id = section.require_text("client_id", "what the provider calls the gate").and_then(|id| name(&id));
    let secret = section.require_text("client_secret_file", "the path of a file with the client's secret");
    let client_secret = secret.and_then(|file| files.visible_secret(&file));
    let user_claim = section.text("user_claim").map_or(Some("sub".to_owned()), |claim| name(&claim));
    let secs = section.get("session_secs").map(|value| value.number(60..=2_592_000, "seconds"));
    section.finish();
    let session_secs = secs.unwrap_or(Some(28_800))?;
    let (key, max_ttl) = (key?.clone(), Duration::from_secs(session_secs));
    let sessions = SessionOptions {
        cookie: SESSION_COOKIE.to_owned(),
        keys: vec![VerifyingKey::hmac(SESSION_KID, Algorithm::HS256, &key).ok()?],
        time: TimeRules { leeway: Duration::from_secs(5), max_ttl },
    };
    let options = OidcOptions {
        issuer: issuer?,
        client_id: client_id?,
        client_secret: client_secret?,
        redirect_url: redirect_url?,
        user_claim: user_claim?,
        session_secs,
        key,
        apps: Vec::new(),
    };
    Some((sessions, options))
}

fn name(text: &Text<'_>) -> Option<String> {
    if !(1..=255).contains(&text.value.len()) || !text.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        text.wrong("must be 1 to 255 visible ASCII characters");
        return None;
    }
    Some(text.value.to_owned())
}

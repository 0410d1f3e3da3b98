//! Who is logged in, and the token that opens files until it has to be renewed.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::presigned::PresignedUrls;
use super::urls::SecuredHost;

/// The header field of the media listener that takes a FAT.
pub(super) const FAT: HeaderName = HeaderName::from_static("fat");

/// A FAT is renewed so many seconds before it ends, or in the last quarter of a shorter life.
const MARGIN_SECS: u64 = 30;

/// Somebody who is logged in. Holds a token, which is never printed.
pub struct Session {
    uid: String,
    name: String,
    settings: Settings,
    secured: Option<SecuredHost>,
    pub(super) auth_token: HeaderValue,
    pub(super) fat: HeaderValue,
    /// UNIX seconds; `None`: when it is refused.
    renew_at: Option<u64>,
    /// Of this login alone: the URLs of another user, or of an earlier session, are never given out.
    pub(super) urls: Arc<PresignedUrls>,
}

/// What the server tells clients when they log in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub struct Settings {
    /// The host of the control listener. For information: this client goes on calling the one that it was made for.
    pub client_api_host: Option<String>,
    /// The version of the API, like `v3.0`.
    pub chat_api_version: Option<String>,
    /// The host, with a port or without, whose URLs need a token; `None`: no URL does.
    pub secured_media_host: Option<String>,
}

/// The reply to a login.
#[derive(Deserialize)]
pub(super) struct Reply {
    data: Me,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    uid: String,
    #[serde(default)]
    name: String,
    fat: String,
    fat_expires_at: Option<u64>,
    settings: Settings,
}

impl Session {
    /// Makes a session out of the reply to a login with `auth_token`.
    ///
    /// # Errors
    ///
    /// With what is wrong with it.
    pub(super) fn new(
        reply: Reply,
        auth_token: HeaderValue,
        urls: Arc<PresignedUrls>,
        now: u64,
    ) -> Result<Session, &'static str> {
        let Me { uid, name, fat, fat_expires_at, settings } = reply.data;
        let secured = settings.secured_media_host.as_deref().map(SecuredHost::parse);
        let secured = secured.map(|host| host.ok_or("has a SECURED_MEDIA_HOST that is no host")).transpose()?;
        let fat = secret_value(&fat).ok_or("has a fat that cannot be sent")?;
        let renew_at = fat_expires_at.map(|at| renew_at(at, now));
        Ok(Session { uid, name, settings, secured, auth_token, fat, renew_at, urls })
    }

    /// The user.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The user's name, as people read it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the server has told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The host whose URLs need a token.
    pub(super) fn secured(&self) -> Option<&SecuredHost> {
        self.secured.as_ref()
    }

    /// The FAT, as text.
    pub(super) fn fat(&self) -> &str {
        self.fat.to_str().expect("checked when the session was made")
    }

    /// Whether the FAT need not be renewed at `now`, in UNIX seconds.
    pub(super) fn is_fresh(&self, now: u64) -> bool {
        self.renew_at.is_none_or(|at| now < at)
    }

    /// Whether both are of one login, renewed or not.
    pub(super) fn is_same_login(&self, other: &Session) -> bool {
        Arc::ptr_eq(&self.urls, &other.urls)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("uid", &self.uid).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A field's value that is not printed; `None` where it is empty or not visible ASCII.
pub(super) fn secret_value(secret: &str) -> Option<HeaderValue> {
    if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::from_str(secret).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn renew_at(expires_at: u64, now: u64) -> u64 {
    let left = expires_at.saturating_sub(now);
    expires_at - MARGIN_SECS.min(left / 4)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(fat: &str, expires_at: Option<u64>, secured: Option<&str>) -> Result<Session, &'static str> {
        let settings = json!({ "CLIENT_API_HOST": "a", "CHAT_API_VERSION": "v3.0", "SECURED_MEDIA_HOST": secured });
        let data = json!({ "uid": "bob", "name": "Bob", "fat": fat, "fatExpiresAt": expires_at, "settings": settings });
        let reply = serde_json::from_value(json!({ "data": data })).expect("a reply");
        let token = secret_value("bob_1hunter2").expect("a token");
        Session::new(reply, token, Arc::new(PresignedUrls::new(1)), 1000)
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        for (expires_at, fresh_at, stale_at) in [
            (Some(5000), 4969, 4970),
            // A quarter of 100 seconds, not 30.
            (Some(1100), 1074, 1075),
            (Some(1004), 1002, 1003),
            (Some(u64::MAX), u64::MAX - 31, u64::MAX - 30),
        ] {
            let session = session("f.a.t", expires_at, None).expect("a session");
            assert_eq!([fresh_at, stale_at].map(|now| session.is_fresh(now)), [true, false], "{expires_at:?}");
        }
        for already_over in [0, 999, 1000] {
            assert!(!session("f.a.t", Some(already_over), None).expect("a session").is_fresh(1000));
        }
        assert!(session("f.a.t", None, None).expect("a session").is_fresh(u64::MAX));
    }

    #[test]
    fn no_token_is_printed() {
        let session = session("eyJhbGciOi.J9.c2ln", Some(2000), Some("files.example")).expect("a session");
        for shown in [format!("{session:?}"), format!("{:?} {:?}", session.fat, session.auth_token)] {
            assert!(!shown.contains("eyJ") && !shown.contains("hunter2"), "{shown}");
        }
        assert!(format!("{session:?}").contains("bob"));
    }

    #[test]
    fn a_reply_that_cannot_be_used_is_an_error() {
        for fat in ["", "a b", "a\r\nb: c", "\u{e9}", "a\0"] {
            assert_eq!(session(fat, None, None).err(), Some("has a fat that cannot be sent"), "{fat:?}");
        }
        for host in ["", "https://files.example", "u@files.example"] {
            assert!(session("f", None, Some(host)).is_err(), "{host}");
        }
    }
}

//! Claims → a File Access Token, signed with a key of the app's that the gate will verify it with.

use std::collections::HashMap;
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use super::error::ApiError;
use crate::config::AppSummary;
use crate::gate::Profile;

/// What FATs are signed with, by app.
#[derive(Debug, Default)]
pub struct Issuers(HashMap<String, Issuer>);

impl Issuers {
    /// Takes of each app the first key that tokens can be signed with.
    pub fn new(apps: &[AppSummary]) -> Issuers {
        let issuer = |app: &AppSummary| {
            let fats = app.keys.iter().filter(|key| key.profile == Profile::Fat);
            let (key, secret) = fats.into_iter().find_map(|key| Some((key, key.secret.as_ref()?)))?;
            let mut header = Header::new(key.alg.name().parse().ok()?);
            header.kid = Some(key.kid.clone());
            Some(Issuer {
                header,
                key: EncodingKey::from_secret(secret.expose()),
                iss: key.issuer.clone(),
                aud: key.audience.clone(),
                max_ttl: app.max_ttl.as_secs(),
            })
        };
        Issuers(apps.iter().filter_map(|app| Some((app.id.clone(), issuer(app)?))).collect())
    }

    pub(super) fn of(&self, app: &str) -> Result<&Issuer, ApiError> {
        self.0.get(app).ok_or(ApiError::NoSigningKey)
    }
}

/// What the FATs of one app are signed with.
pub(super) struct Issuer {
    header: Header,
    key: EncodingKey,
    iss: Option<String>,
    aud: Option<String>,
    max_ttl: u64,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("kid", &self.header.kid).finish_non_exhaustive()
    }
}

/// What one FAT is to say. Times in UNIX seconds.
#[derive(Debug, Serialize)]
pub(super) struct Claims<'a> {
    pub(super) sub: &'a str,
    pub(super) app: &'a str,
    pub(super) iat: u64,
    pub(super) exp: u64,
    pub(super) jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) path: &'a [String],
}

impl Issuer {
    /// The longest that a FAT may live, in seconds.
    pub(super) fn max_ttl(&self) -> u64 {
        self.max_ttl
    }

    /// Signs a FAT.
    ///
    /// # Errors
    ///
    /// When the key cannot sign.
    pub(super) fn issue(&self, claims: &Claims<'_>) -> Result<String, ApiError> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            claims: &'a Claims<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            iss: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            aud: Option<&'a str>,
        }
        let whole = Whole { claims, iss: self.iss.as_deref(), aud: self.aud.as_deref() };
        jsonwebtoken::encode(&self.header, &whole, &self.key).map_err(|_| ApiError::NoSigningKey)
    }
}

/// The time of issue of a FAT that is to live although everything before `flushed` is dead: within the second of the
/// flush, the next one.
pub(super) fn issued_at(now: Duration, flushed: u64) -> u64 {
    let now = now.as_secs();
    if flushed == now + 1 { flushed } else { now }
}

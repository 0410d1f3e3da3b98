//! Presigned mode: a URL that opens one object for one user until a certain second, and dies with its user before.
//!
//! The gate signs it and the gate reads it. Nothing is stored: what a restriction is compared with (user, session,
//! token, time of issue) stands in the URL, under a signature over all of it.

mod key;
mod parameters;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::uri::Scheme;

pub use key::PresignedKey;
pub(super) use parameters::{encoded as encoded_value, holds_signature};

use super::authorize::Grant;
use super::denial::{BadRequest, Denial};
use super::object_key::ObjectPath;
use super::resolve::{Endpoint, S3Storage, encoded};
use super::verify::UidCase;
use parameters::Parameters;

/// The longest life of a presigned URL: thirty days.
pub const MAX_PRESIGNED_TTL: Duration = Duration::from_secs(2_592_000);

/// Where presigned URLs point.
#[derive(Debug, Clone)]
pub enum PresignedTarget {
    /// At the gate, signed with this key: they die with their user.
    Gate(PresignedKey),
    /// At the storage: nobody can call them back, and they name the bucket.
    Storage,
}

/// How the URL of the gate begins.
#[derive(Debug, Clone)]
pub enum PresignedBase {
    /// As the client asked: the listener's scheme, and the host of the request.
    Asked(Scheme),
    /// Always so: a gate that is behind something that speaks TLS for it.
    Fixed(Endpoint),
}

/// The presigned mode.
#[derive(Debug, Clone)]
pub struct PresignedOptions {
    /// Where URLs point.
    pub target: PresignedTarget,
    /// Keys that signed URLs which may still be alive.
    pub previous: Vec<PresignedKey>,
    /// How URLs of the gate begin.
    pub base: PresignedBase,
    /// How long a URL lives at most, in whole seconds, up to [`MAX_PRESIGNED_TTL`].
    pub ttl: Duration,
    /// For how long the same user and object get the same URL, in whole seconds, up to `ttl`; zero: never.
    pub window: Duration,
}

/// A URL to hand out. It is a credential, so its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Presigned {
    /// The URL.
    pub url: String,
    /// The UNIX second from which it is dead; `None` for a plain URL, where no token is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl fmt::Debug for Presigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presigned").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Whom a URL is for.
#[derive(Clone, Copy)]
pub(super) struct Holder<'a> {
    /// As the app compares it.
    pub(super) uid: &'a str,
    pub(super) sid: Option<&'a str>,
    pub(super) jti: Option<&'a str>,
    /// The latest flush, which the URL comes after.
    pub(super) flushed: Option<u64>,
}

/// What a URL says whose signature holds and whose time has not come.
pub(super) struct Signed {
    pub(super) uid: String,
    pub(super) sid: Option<String>,
    pub(super) jti: Option<String>,
    pub(super) issued: u64,
}

/// Makes and reads presigned URLs.
#[derive(Debug)]
pub(super) struct Presigner(pub(super) PresignedOptions);

impl Presigner {
    /// Returns scheme and host of URLs for a client that asked for `authority`.
    ///
    /// # Errors
    ///
    /// A client that named no host, where its own is needed.
    pub(super) fn origin(&self, authority: Option<&str>) -> Result<String, Denial> {
        match (&self.0.base, authority) {
            (PresignedBase::Fixed(endpoint), _) => Ok(endpoint.to_string()),
            (PresignedBase::Asked(scheme), Some(authority)) => Ok(format!("{scheme}://{authority}")),
            (PresignedBase::Asked(_), None) => Err(Denial::BadRequest(BadRequest::Host)),
        }
    }

    /// How long a URL lives at most.
    pub(super) fn ttl(&self) -> Duration {
        self.0.ttl
    }

    /// The one origin that URLs have, where it is configured.
    pub(super) fn fixed_origin(&self) -> Option<&Endpoint> {
        match &self.0.base {
            PresignedBase::Fixed(endpoint) => Some(endpoint),
            PresignedBase::Asked(_) => None,
        }
    }

    /// Turns leave into a URL for `holder`. `now` is since the UNIX epoch.
    ///
    /// Within a window the answer is the same, byte for byte: its times are those of the window's beginning. So it
    /// lives for `ttl` at most and for `ttl` less a window at least.
    pub(super) fn issue(
        &self,
        origin: &str,
        storage: &S3Storage,
        grant: Grant<'_>,
        holder: Holder<'_>,
        now: Duration,
    ) -> Presigned {
        let PresignedOptions { target, ttl, window, .. } = &self.0;
        let now = now.as_secs();
        let begin = now - now.checked_rem(window.as_secs()).unwrap_or(0);
        let expires = begin + ttl.as_secs();
        let url = match target {
            PresignedTarget::Gate(key) => {
                // A URL from before a flush says an earlier time than the flush, and one from after it does not.
                let issued = begin.max(holder.flushed.unwrap_or(0));
                sign(key, origin, grant.into_parts().0, holder, issued, expires)
            }
            PresignedTarget::Storage => storage.hand_out(grant, *ttl, Duration::from_secs(begin)),
        };
        Presigned { url, expires_at: Some(expires) }
    }

    /// Returns what the URL of `path` and `query`, both as they came, says. `now` is since the UNIX epoch.
    ///
    /// # Errors
    ///
    /// A query that is not in its one form, a signature that does not hold, a time that has come.
    pub(super) fn verify(&self, path: &str, query: &str, uid_case: UidCase, now: Duration) -> Result<Signed, Denial> {
        let parameters = Parameters::parse(query).ok_or(Denial::BadRequest(BadRequest::PresignedForm))?;
        let key = self.key(parameters.key_pair_id).ok_or(Denial::UrlInvalid)?;
        if !key.verifies(path, &parameters) {
            return Err(Denial::UrlInvalid);
        }
        // Written by a gate; still, by one of another version or configuration.
        let (signed, expires) = signed(&parameters, uid_case).ok_or(Denial::UrlInvalid)?;
        if expires.saturating_sub(signed.issued) > MAX_PRESIGNED_TTL.as_secs() {
            return Err(Denial::UrlInvalid);
        }
        if now.as_secs() >= expires {
            return Err(Denial::UrlExpired);
        }
        Ok(signed)
    }

    fn key(&self, id: &str) -> Option<&PresignedKey> {
        let current = match &self.0.target {
            PresignedTarget::Gate(key) => Some(key),
            PresignedTarget::Storage => None,
        };
        current.into_iter().chain(&self.0.previous).find(|key| key.id() == id)
    }
}

/// Returns the plain URL of `object`.
pub(super) fn plain(origin: &str, object: &ObjectPath) -> Presigned {
    Presigned { url: format!("{origin}/{}", encoded(object.as_str())), expires_at: None }
}

fn sign(
    key: &PresignedKey,
    origin: &str,
    object: &ObjectPath,
    holder: Holder<'_>,
    issued: u64,
    expires: u64,
) -> String {
    let Holder { uid, sid, jti, .. } = holder;
    let Presigned { mut url, .. } = plain(origin, object);
    let (expires, issued) = (expires.to_string(), issued.to_string());
    let parameters = Parameters {
        expires: &expires,
        issued: &issued,
        jti: jti.map(parameters::encoded),
        key_pair_id: key.id(),
        sid: sid.map(parameters::encoded),
        signature: "",
        uid: parameters::encoded(uid),
    };
    let signature = key.sign(&url[origin.len()..], &parameters);
    parameters.write(&signature, &mut url);
    url
}

/// What parameters whose signature holds say, and the second from which they say nothing.
fn signed(parameters: &Parameters<'_>, uid_case: UidCase) -> Option<(Signed, u64)> {
    let uid = parameters::decoded(&parameters.uid)?;
    // As the app compares it, or restrictions would not be found.
    if !matches!(uid_case.normalize(&uid), Some(Cow::Borrowed(_))) {
        return None;
    }
    let optional = |value: Option<&str>| value.map_or(Some(None), |value| parameters::decoded(value).map(Some));
    let (sid, jti) = (optional(parameters.sid.as_deref())?, optional(parameters.jti.as_deref())?);
    let signed = Signed { sid, jti, issued: parameters.issued.parse().ok()?, uid };
    Some((signed, parameters.expires.parse().ok()?))
}

//! Claims and a path → [`Grant`]: the right app, the right path, and nothing that stands against it.

use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use sha2::{Digest, Sha256};

use super::Judged;
use super::denial::Denial;
use super::object_key::{ObjectPath, PathScope};
use super::verify::{Claims, UidCase};
use crate::restrictions::{Restricted, RestrictionSet, Subject, hex};

/// Leave to fetch one object. Made here and nowhere else; consumed by *resolve*.
#[derive(Debug)]
pub(super) struct Grant<'a> {
    path: &'a ObjectPath,
    subject: Option<Subject>,
    until: Option<Duration>,
}

impl<'a> Grant<'a> {
    /// Whom it was given to; `None` where nobody had to ask.
    pub(super) fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// When the token that it was given for expires, since the UNIX epoch; `None` where there was none.
    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }

    pub(super) fn into_parts(self) -> (&'a ObjectPath, Option<Subject>) {
        (self.path, self.subject)
    }
}

/// What happens once the restrictions are older than they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenStale {
    /// Nobody gets in.
    #[default]
    Deny,
    /// What is known holds on. A node that never had a state denies all the same.
    Serve,
}

/// How old the restrictions may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// The longest time that a feed may be silent.
    pub max_staleness: Duration,
    /// What happens after that.
    pub when_stale: WhenStale,
}

impl Default for Freshness {
    fn default() -> Freshness {
        Freshness { max_staleness: Duration::from_secs(30), when_stale: WhenStale::Deny }
    }
}

impl Freshness {
    /// Returns whether `restrictions` may be relied on.
    pub fn holds(self, restrictions: &RestrictionSet, now: Instant) -> bool {
        match restrictions.age(now) {
            None => false,
            Some(age) => age <= self.max_staleness || self.when_stale == WhenStale::Serve,
        }
    }
}

/// Returns leave to fetch `path` for the user of `claims`.
///
/// # Errors
///
/// Another app, a path outside the token's scope, restrictions that are not fresh, or one that applies.
pub(super) fn authorize<'a>(
    app: &str,
    claims: &Claims<'_>,
    path: &'a ObjectPath,
    restrictions: &RestrictionSet,
    freshness: Freshness,
    now: Instant,
) -> Result<Grant<'a>, Denial> {
    if claims.app.as_deref().is_some_and(|claimed| claimed != app) {
        return Err(Denial::OtherApp);
    }
    if claims.paths.as_ref().is_some_and(|scopes| !scopes.iter().any(|scope| scope.covers(path))) {
        return Err(Denial::PathNotAllowed);
    }
    let subject =
        restrictions.subject(app, claims.uid(), claims.sid.as_deref(), claims.jti.as_deref(), claims.issued_at());
    let grant = welcome(subject, path, restrictions, freshness, now)?;
    Ok(Grant { until: Some(claims.expires_at()), ..grant })
}

/// Returns leave to fetch `path` for the service that shows the API key `shown`: one of `known`, by their digests, or one
/// that the restrictions tell of.
///
/// # Errors
///
/// A key that does not open the app; restrictions that are not fresh, where the key is to be looked for there.
pub(super) fn service<'a>(
    known: &[[u8; 32]],
    shown: &str,
    path: &'a ObjectPath,
    judged: &Judged<'_>,
    freshness: Freshness,
) -> Result<Grant<'a>, Denial> {
    let digest: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
    // All of them, always: the time says nothing about which was right.
    let is_known = known.iter().fold(false, |found, known| found | verify_slices_are_equal(known, &digest).is_ok());
    if is_known {
        return Ok(without_token(path));
    }
    if !freshness.holds(judged.restrictions, judged.now.monotonic) {
        return Err(Denial::RestrictionsStale);
    }
    let subject = judged.restrictions.service(&judged.app.id, &hex(&digest)).ok_or(Denial::ApiKeyUnknown)?;
    Ok(Grant { path, subject: Some(subject), until: None })
}

/// Returns leave to fetch `path` for `subject`, whose credential is sound and for this app and path.
///
/// # Errors
///
/// Restrictions that are not fresh, or one that applies.
pub(super) fn welcome<'a>(
    subject: Subject,
    path: &'a ObjectPath,
    restrictions: &RestrictionSet,
    freshness: Freshness,
    now: Instant,
) -> Result<Grant<'a>, Denial> {
    if !freshness.holds(restrictions, now) {
        return Err(Denial::RestrictionsStale);
    }
    restrictions.check(&subject).map_err(denial)?;
    Ok(Grant { path, subject: Some(subject), until: None })
}

/// Returns leave to fetch `path` where the app asks for no token, or where the operator asks for the user.
pub(super) fn without_token(path: &ObjectPath) -> Grant<'_> {
    Grant { path, subject: None, until: None }
}

/// What a restriction means for a client.
pub fn denial(restricted: Restricted) -> Denial {
    match restricted {
        Restricted::App => Denial::AppDeactivated,
        Restricted::User => Denial::UserDeactivated,
        Restricted::Session => Denial::SessionRevoked,
        Restricted::Token | Restricted::IssuedBefore => Denial::TokenRevoked,
        Restricted::ApiKey => Denial::ApiKeyUnknown,
    }
}

/// Folders of an app whose objects need no token: decided on the decoded key alone.
#[derive(Debug, Clone, Default)]
pub struct PublicPrefixes(Vec<String>);

impl PublicPrefixes {
    /// Takes folders below the app, each ending in `/`: `legacy/`.
    ///
    /// # Errors
    ///
    /// The first that is not such a folder.
    pub fn new(prefixes: impl IntoIterator<Item = String>) -> Result<PublicPrefixes, NotAFolder> {
        let checked = prefixes.into_iter().map(|prefix| {
            let folder = prefix.strip_suffix('/').filter(|folder| !folder.starts_with('/'));
            match folder.map(|folder| PathScope::parse(&folder.replace('%', "%25"))) {
                Some(Ok(_)) => Ok(prefix),
                _ => Err(NotAFolder(prefix)),
            }
        });
        Ok(PublicPrefixes(checked.collect::<Result<_, _>>()?))
    }

    /// Whether `path` is in one of them.
    pub(super) fn contain(&self, path: &ObjectPath) -> bool {
        self.0.iter().any(|prefix| path.key().starts_with(prefix.as_str()))
    }
}

/// A public prefix that is not a folder of the app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a folder below the app: write it like `legacy/`, without `.`, `..` or empty segments")]
pub struct NotAFolder(pub String);

/// The user id of a restriction, as tokens of the app are compared with it.
pub fn normalized_uid(case: UidCase, uid: &str) -> Option<String> {
    case.normalize(uid).map(std::borrow::Cow::into_owned)
}

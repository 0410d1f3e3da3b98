//! Who a visitor is: the claims of a session cookie, verified as tokens are, or what the platform says.

use std::time::Duration;

use http::header::COOKIE;
use http::request::Parts;

use super::super::authorize::{Freshness, denial};
use super::super::uid::Uid;
use super::super::verify::{Exclusive, Scratch, TimeRules, UidCase, Verifier, VerifyError, VerifyingKey};
use crate::gate::decision::Now;
use crate::gate::denial::{BadRequest, Denial};
use crate::gate::extract::cookies;
use crate::restrictions::{Restricted, RestrictionSet, Subject};

/// What a JWK Set says in place of an app whose keys are for sessions. No app has this name.
pub const SESSION_KEYS: &str = "[prepend]";

/// Sessions in a cookie.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The cookie's name.
    pub cookie: String,
    /// Keys that sessions are verified with. None of them verifies tokens.
    pub keys: Vec<VerifyingKey>,
    /// Time rules of sessions.
    pub time: TimeRules,
}

/// The same, ready to verify.
pub(super) struct Sessions {
    cookie: String,
    verifier: Verifier,
}

/// Somebody with a session of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Visitor {
    /// The user, where the platform says who it is.
    pub uid: Option<String>,
    /// The session, so that it can be revoked.
    pub sid: Option<String>,
    /// The session's token, likewise.
    pub jti: Option<String>,
    /// When the session was issued, in UNIX seconds.
    pub issued_at: Option<u64>,
}

impl Sessions {
    pub(super) fn new(SessionOptions { cookie, keys, time }: SessionOptions, has_sets: bool) -> Sessions {
        let keys = keys.into_iter().map(|key| (key, Exclusive::Yes)).collect();
        // How uids compare is each app's own.
        let verifier = Verifier::new(keys, time, UidCase::Exact);
        Sessions { cookie, verifier: if has_sets { verifier.requiring_kids() } else { verifier } }
    }

    /// Returns whose session `request` shows.
    ///
    /// # Errors
    ///
    /// None; two, of which a neighbouring site may have planted one; one that does not hold.
    pub(super) fn visitor(&self, request: &Parts, now: Now) -> Result<Visitor, Denial> {
        let fields = request.headers.get_all(COOKIE).iter();
        let mut found = fields.flat_map(|field| cookies(field, &self.cookie));
        let compact = found.next().ok_or(Denial::SessionMissing)?;
        if found.next().is_some() {
            return Err(Denial::BadRequest(BadRequest::SeveralSessions));
        }
        self.verify(compact, now.since_epoch()).map_err(Denial::SessionInvalid)
    }

    fn verify(&self, compact: &str, now: Duration) -> Result<Visitor, VerifyError> {
        let mut scratch = Scratch::default();
        let claims = self.verifier.verify(compact, &mut scratch, now)?;
        // Only File Access Tokens say these.
        if claims.app.is_some() || claims.paths.is_some() {
            return Err(VerifyError::ForeignType);
        }
        Ok(Visitor {
            uid: Some(claims.uid().to_owned()),
            sid: claims.sid.as_deref().map(str::to_owned),
            jti: claims.jti.as_deref().map(str::to_owned),
            issued_at: claims.issued_at(),
        })
    }
}

impl Visitor {
    /// Whether it can be the user `uid`, as an app compares uids: as far as the platform says who it is.
    pub(in crate::gate) fn can_be(&self, uid: &str, case: UidCase) -> bool {
        self.uid.as_deref().is_none_or(|own| case.normalize(own).is_some_and(|own| own == uid))
    }

    /// Returns the visitor as a subject of the restrictions of `app`; `None` where nobody says who it is.
    ///
    /// # Errors
    ///
    /// What stands against it; restrictions that are not fresh; a name that is no user's.
    pub(in crate::gate) fn welcome(
        &self,
        app: &str,
        case: UidCase,
        restrictions: &RestrictionSet,
        freshness: Freshness,
        now: Now,
    ) -> Result<Option<Subject>, Denial> {
        let Some(uid) = &self.uid else { return Ok(None) };
        let uid = case.normalize(uid).ok_or(Denial::OtherUser)?;
        if !freshness.holds(restrictions, now.monotonic) {
            return Err(Denial::RestrictionsStale);
        }
        let subject = restrictions.subject(app, &uid, self.sid.as_deref(), self.jti.as_deref(), self.issued_at);
        restrictions.check(&subject).map_err(|restricted| match restricted {
            // There can be a new one: whoever it is may log in again.
            Restricted::Session | Restricted::Token | Restricted::IssuedBefore => Denial::SessionEnded,
            restricted => denial(restricted),
        })?;
        Ok(Some(subject))
    }

    /// The user for the log, where it is a uid.
    pub(super) fn shown(&self) -> Option<Uid> {
        self.uid.as_deref().and_then(|uid| UidCase::Exact.normalize(uid)).map(|uid| Uid::new(&uid))
    }
}

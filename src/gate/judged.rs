//! A request at an app: what it shows, and what that is worth now.

use std::time::Duration;

use super::denial::Denial;
use super::extract::Credential;
use super::verify::{Claims, Scratch, VerifyError};
use super::{Access, App, Now, Uid, Visitor};
use crate::restrictions::RestrictionSet;

/// What a request shows to an app, to be judged by what is known now.
pub(super) struct Judged<'a> {
    pub(super) app: &'a App,
    pub(super) access: Access,
    pub(super) credential: Option<Credential<'a>>,
    /// Whose session it shows as well, in prepend mode.
    pub(super) visitor: Option<&'a Visitor>,
    pub(super) restrictions: &'a RestrictionSet,
    pub(super) now: Now,
    /// The wall clock of `now`.
    pub(super) since_epoch: Duration,
}

impl Judged<'_> {
    /// Returns what the token `compact` says.
    #[inline]
    pub(super) fn verify<'s>(
        &self,
        compact: &str,
        scratch: &'s mut Scratch,
        uid: &mut Option<Uid>,
    ) -> Result<Claims<'s>, Denial> {
        let claims = self.app.verifier.verify(compact, scratch, self.since_epoch);
        let claims = claims.map_err(|error| match error {
            VerifyError::Expired => Denial::TokenExpired,
            error => Denial::TokenInvalid(error),
        })?;
        *uid = Some(Uid::new(claims.uid()));
        self.check_visitor(claims.uid())?;
        Ok(claims)
    }

    /// In prepend mode, the credential is for nobody but the one who is logged in.
    pub(super) fn check_visitor(&self, uid: &str) -> Result<(), Denial> {
        match self.visitor {
            Some(visitor) if !visitor.can_be(uid, self.app.verifier.uid_case()) => Err(Denial::OtherUser),
            _ => Ok(()),
        }
    }
}

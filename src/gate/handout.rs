//! Handing out presigned URLs: to a client that asks with its token, and in batches to the operator.

use std::time::{Duration, SystemTime};

use super::authorize::{self, denial};
use super::denial::{BadRequest, Denial};
use super::extract::{Credential, HandoutForm, host_name};
use super::object_key::{ObjectPath, PathError};
use super::presigned::{Holder, Presigned, Presigner, plain};
use super::resolve::Endpoint;
use super::verify::Scratch;
use super::{Access, App, Gate, Judged, Now, Uid};
use crate::restrictions::AppSettings;

/// Whom the operator wants a URL for.
#[derive(Debug, Clone, Copy)]
pub struct PresignFor<'a> {
    /// The app.
    pub app: &'a str,
    /// The user, in any case that the app takes.
    pub uid: &'a str,
    /// The session that the URL dies with, if any: 1 to 255 bytes.
    pub sid: Option<&'a str>,
    /// The user's latest flush (the `before` of what is in force, UNIX seconds), which the URL is to come after: as
    /// [`RestrictionSet::flushed`](crate::restrictions::RestrictionSet::flushed) says. Who cannot know passes now; then
    /// URLs of one window differ from second to second.
    pub flushed: Option<u64>,
    /// What the control plane has set of the app.
    pub settings: AppSettings,
}

/// Why no URL is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PresignError {
    /// There is no presigned mode.
    #[error("presigned URLs are not configured at this gate")]
    Unavailable,
    /// No such app.
    #[error("there is no such app")]
    UnknownApp,
    /// Not 1 to 255 visible ASCII characters.
    #[error("the uid must be 1 to 255 visible ASCII characters")]
    BadUid,
    /// Not 1 to 255 bytes.
    #[error("the session must have 1 to 255 bytes")]
    BadSid,
    /// No `http://` or `https://` URL with a host, or one with a user.
    #[error("must be a media URL like https://files.example/app/media/a.jpg")]
    NotAUrl,
    /// A query or a fragment, even an empty one.
    #[error("a media URL to be signed has no query and no fragment")]
    HasQuery,
    /// None of the hosts that are served.
    #[error("the host is none of those that are served here")]
    ForeignHost,
    /// The first segment of the path is another app.
    #[error("the URL is for another app")]
    OtherApp,
    /// The path names no object, or not only one.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl Gate {
    /// Returns a presigned URL for the object of the media URL `url`, on the word of the operator: no token is asked
    /// for. Where the app asks for none either, it is the plain URL.
    ///
    /// Whether the user may have it is the caller's to know: the URL of a restricted user opens nothing, and the
    /// restrictions are not asked here, because a process without the role `edge` has none.
    ///
    /// # Errors
    ///
    /// The first [`PresignError`] that holds.
    pub fn presign(&self, url: &str, whom: PresignFor<'_>, now: SystemTime) -> Result<Presigned, PresignError> {
        let presigner = self.presigner.as_ref().ok_or(PresignError::Unavailable)?;
        let app = self.apps.get(whom.app).ok_or(PresignError::UnknownApp)?;
        let uid = app.verifier.uid_case().normalize(whom.uid).ok_or(PresignError::BadUid)?;
        if whom.sid.is_some_and(|sid| !(1..=255).contains(&sid.len())) {
            return Err(PresignError::BadSid);
        }
        let (origin, path) = self.media_url(presigner, url)?;
        if path.app() != whom.app {
            return Err(PresignError::OtherApp);
        }
        if app.access.with(whom.settings) == Access::Off || app.public_prefixes.contain(&path) {
            return Ok(plain(&origin, &path));
        }
        let holder = Holder { uid: &uid, sid: whom.sid, jti: None, flushed: whom.flushed };
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(presigner.issue(&origin, &app.storage, authorize::without_token(&path), holder, now))
    }

    /// How long a URL may be alive after the token that it was made with has expired, or zero.
    pub fn presigned_ttl(&self) -> Duration {
        self.presigner.as_ref().map_or(Duration::ZERO, Presigner::ttl)
    }

    /// Returns the origin of URLs and the object of `url`.
    fn media_url(&self, presigner: &Presigner, url: &str) -> Result<(String, ObjectPath), PresignError> {
        // Before it is parsed: the parser drops a fragment without a word.
        if url.contains(['?', '#']) {
            return Err(PresignError::HasQuery);
        }
        let (scheme, rest) = url.split_once("://").ok_or(PresignError::NotAUrl)?;
        let (authority, path) = rest.split_at(rest.find('/').ok_or(PresignError::NotAUrl)?);
        let host = host_name(authority).filter(|_| matches!(scheme, "http" | "https")).ok_or(PresignError::NotAUrl)?;
        let fixed = presigner.fixed_origin();
        let is_fixed = fixed.is_some_and(|fixed| Endpoint::parse(&url[..url.len() - path.len()]).as_ref() == Ok(fixed));
        let is_any = self.hosts.is_empty() && fixed.is_none();
        if !is_fixed && !is_any && !self.serves(host) {
            return Err(PresignError::ForeignHost);
        }
        let origin = fixed.map_or_else(|| format!("{scheme}://{authority}"), Endpoint::to_string);
        Ok((origin, ObjectPath::parse(path)?))
    }

    /// Returns the presigner for a client that asks for a URL.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub(super) fn can_hand_out(&self, form: HandoutForm) -> Result<(&Presigner, HandoutForm), Denial> {
        let presigner = self.presigner.as_ref();
        Ok((presigner.ok_or(Denial::BadRequest(BadRequest::PresignedUnavailable))?, form))
    }

    /// Returns the URL that a client gets who asked for `path` of a host, and what an app that only observes would have
    /// answered.
    ///
    /// # Errors
    ///
    /// What would be refused without `redirect`; and a presigned URL in place of a token.
    pub(super) fn hand_out(
        &self,
        presigner: &Presigner,
        authority: Option<&str>,
        judged: &Judged<'_>,
        path: &ObjectPath,
        uid: &mut Option<Uid>,
    ) -> Result<(Presigned, Option<Denial>), Denial> {
        let origin = presigner.origin(authority)?;
        if judged.access == Access::Off {
            return Ok((plain(&origin, path), None));
        }
        match self.sign_for(presigner, &origin, judged, path, uid) {
            Ok(presigned) => Ok((presigned, None)),
            // The plain URL works as well as it did.
            Err(denial) if judged.access == Access::Observe => Ok((plain(&origin, path), Some(denial))),
            Err(denial) => Err(denial),
        }
    }

    fn sign_for(
        &self,
        presigner: &Presigner,
        origin: &str,
        judged: &Judged<'_>,
        path: &ObjectPath,
        uid: &mut Option<Uid>,
    ) -> Result<Presigned, Denial> {
        let Judged { app: App { id, storage, .. }, restrictions, now: Now { monotonic, .. }, .. } = *judged;
        let compact = match judged.credential.ok_or(Denial::TokenMissing)? {
            Credential::Fat(compact) => compact,
            // A service's key is nobody's whom a URL could die with.
            Credential::Presigned(_) | Credential::ApiKey(_) => {
                return Err(Denial::BadRequest(BadRequest::PresignedForm));
            }
        };
        let mut scratch = Scratch::default();
        let claims = judged.verify(compact, &mut scratch, uid)?;
        let grant = authorize::authorize(id, &claims, path, restrictions, self.freshness, monotonic)?;
        let mut flushed = None;
        if let Some(subject) = grant.subject() {
            flushed = restrictions.flushed(subject);
            // Again, because a flush since the first look must not be one that the URL comes after.
            restrictions.check(subject).map_err(denial)?;
        }
        let holder = Holder { uid: claims.uid(), sid: claims.sid.as_deref(), jti: claims.jti.as_deref(), flushed };
        Ok(presigner.issue(origin, storage, grant, holder, judged.since_epoch))
    }
}

//! What a decision comes to, and what may be known about it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::HeaderMap;

use super::denial::Denial;
use super::extract::{CredentialKind, HandoutForm};
use super::object_key::ObjectPath;
use super::presigned::Presigned;
use super::resolve::Target;
use super::uid::Uid;
use crate::restrictions::Subject;

/// The time of a decision: both clocks, read once by the caller.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For what tokens and signatures say.
    pub wall: SystemTime,
    /// For how long ago the feed was heard.
    pub monotonic: Instant,
}

impl Now {
    pub(super) fn since_epoch(self) -> Duration {
        // A clock before 1970 makes every token one from the future: nobody gets in.
        self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// What an admitted request gets.
#[derive(Debug)]
pub struct Admission {
    /// Where the object is.
    pub target: Target,
    /// Whom to look up again while bytes flow; `None` where no token was asked for.
    pub subject: Option<Subject>,
    /// What logs and metrics may know.
    pub trace: Trace,
    /// What an app under [`Access::Observe`](super::Access::Observe) would have answered.
    pub observed: Option<Denial>,
    /// Without a token it is for objects only that were last modified before this time; others are refused as
    /// [`Denial::TokenMissing`], or observed so.
    pub modified_before: Option<SystemTime>,
    /// What an answer with the object has beside, or in place of, the storage's fields: a player's `Set-Cookie`, the
    /// `Content-Disposition` of a download. `None`: nothing.
    pub fields: Option<Box<HeaderMap>>,
}

/// What a client that asked for a presigned URL gets.
#[derive(Debug)]
pub struct Handout {
    /// The URL.
    pub presigned: Presigned,
    /// How the client wants it.
    pub form: HandoutForm,
    /// What logs and metrics may know.
    pub trace: Trace,
    /// What an app under [`Access::Observe`](super::Access::Observe) would have answered.
    pub observed: Option<Denial>,
}

/// What the gate answers by itself or passes on.
#[derive(Debug)]
pub enum Decision {
    /// Fetch this.
    Forward(Admission),
    /// Answer with this URL.
    HandOut(Handout),
    /// A CORS preflight, or a plain `OPTIONS`.
    Options,
}

/// What may be known about a request outside the gate: never a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The app, when there is such an app.
    pub app: Option<Arc<str>>,
    /// What is asked for, when the path names one thing.
    pub object: Option<ObjectPath>,
    /// The user, when the credential held.
    pub uid: Option<Uid>,
    /// A number for the credential that tells nothing about it: a hash keyed with a secret of the process.
    pub token: Option<u64>,
    /// What kind of credential the request showed, good or bad.
    pub credential: Option<CredentialKind>,
}

/// A denial, and what may be known about the request.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub denial: Denial,
    /// What logs and metrics may know.
    pub trace: Box<Trace>,
}

//! What decisions are made from, as the operator says it.

use std::sync::Arc;

use super::authorize::{Freshness, PublicPrefixes};
use super::cookie::PlayerCookies;
use super::forward;
use super::prepend::{PrependOptions, SESSION_KEYS};
use super::presigned::PresignedOptions;
use super::resolve::S3Storage;
use super::verify::{TimeRules, UidCase, VerifyingKey};

/// Whether an app asks for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Access {
    /// Everybody gets everything; tokens are taken off and not looked at.
    Off,
    /// Everybody gets everything; what would have been refused is reported.
    Observe,
    /// Only a good token gets in.
    #[default]
    Enforce,
}

impl Access {
    /// Every access, in the order in which the switch goes.
    pub const ALL: [Access; 3] = [Access::Off, Access::Observe, Access::Enforce];

    /// What the API and the configuration call it.
    pub const fn label(self) -> &'static str {
        match self {
            Access::Off => "off",
            Access::Observe => "observe",
            Access::Enforce => "enforce",
        }
    }
}

/// One app: its keys, its rules, its storage.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// The first segment of its URLs.
    pub id: String,
    /// Whether it asks for tokens.
    pub access: Access,
    /// Keys that its tokens are verified with.
    pub keys: Vec<VerifyingKey>,
    /// Time rules of its tokens.
    pub time: TimeRules,
    /// How its uids compare.
    pub uid_case: UidCase,
    /// Folders that need no token.
    pub public_prefixes: PublicPrefixes,
    /// UNIX seconds: objects that were last modified before need no token.
    pub tokenized_since: Option<u64>,
    /// Where its objects are.
    pub storage: Arc<S3Storage>,
}

/// Everything that decisions are made from.
#[derive(Debug, Clone, Default)]
pub struct GateOptions {
    /// The apps, each with an id of its own.
    pub apps: Vec<AppOptions>,
    /// `Host` values that are served, without ports; empty means any.
    pub hosts: Vec<String>,
    /// How old the restrictions may be.
    pub freshness: Freshness,
    /// Origins that may read answers across sites.
    pub cors: forward::CorsOrigins,
    /// SHA-256 of API keys that open every object of every app, beside those that the restrictions tell of.
    pub api_keys: Vec<[u8; 32]>,
    /// URLs that clients may ask for in place of a token; `None`: they cannot.
    pub presigned: Option<PresignedOptions>,
    /// Cookies for what playlists name; `None`: none is ever set.
    pub player_cookies: Option<PlayerCookies>,
    /// A login in front of media; `None`: there is none.
    pub prepend: Option<PrependOptions>,
}

impl GateOptions {
    /// A session is never a token and a token never a session: no key verifies both.
    ///
    /// # Errors
    ///
    /// [`GateError::SharedSessionKey`].
    pub(super) fn check_session_keys(&self) -> Result<(), GateError> {
        let shared = self.session_keys().iter().find(|key| self.is_key_elsewhere(SESSION_KEYS, key));
        shared.map_or(Ok(()), |key| Err(GateError::SharedSessionKey(key.kid().to_owned())))
    }

    /// Whether `key`, which is for tokens of `app` or for sessions, is known for the other of the two.
    pub(super) fn is_key_elsewhere(&self, app: &str, key: &VerifyingKey) -> bool {
        match app {
            SESSION_KEYS => self.apps.iter().flat_map(|app| &app.keys).any(|other| other.is_same_key(key)),
            _ => self.session_keys().iter().any(|other| other.is_same_key(key)),
        }
    }

    /// The keys of `app`, or of sessions; `None` where there is no such app, or no session that is verified here.
    pub(super) fn keys_of(&mut self, app: &str) -> Option<&mut Vec<VerifyingKey>> {
        match app {
            SESSION_KEYS => Some(&mut self.prepend.as_mut()?.sessions.as_mut()?.keys),
            _ => self.apps.iter_mut().find(|known| known.id == app).map(|app| &mut app.keys),
        }
    }

    fn session_keys(&self) -> &[VerifyingKey] {
        self.prepend.as_ref().and_then(|prepend| prepend.sessions.as_ref()).map_or(&[], |sessions| &sessions.keys)
    }
}

/// Why a gate cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// Two apps with one id.
    #[error("app `{0}` is there twice")]
    DuplicateApp(String),
    /// An id that cannot be the first segment of a URL.
    #[error("`{0}` cannot be an app id: it is one segment of a URL path")]
    BadAppId(String),
    /// Two keys of one app with one `kid`.
    #[error("app `{app}` has two keys called `{kid}`")]
    DuplicateKid {
        /// The app.
        app: String,
        /// The key's name.
        kid: String,
    },
    /// A key for Twilio tokens that two apps have: its tokens do not say for which of them they are.
    #[error("two apps have the secret of `{0}`, and Twilio tokens do not say which app they are for")]
    SharedTwilioKey(String),
    /// A key that verifies sessions as well as tokens.
    #[error("the key `{0}` verifies sessions and tokens of an app: each of them would be as good as the other")]
    SharedSessionKey(String),
    /// An app that asks for tokens and could not verify any.
    #[error("app `{0}` asks for tokens and has no key to verify them with")]
    NoKeys(String),
}

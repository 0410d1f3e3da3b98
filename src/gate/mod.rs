//! The whole decision: **extract → verify → authorize → resolve**. Values in, values out.
//!
//! No I/O, no clock, no framework, and no way to a [`Target`] that does not pass every step.

mod authorize;
mod cors;
mod denial;
mod extract;
pub mod forward;
mod head;
mod key_sets;
mod object_key;
mod resolve;
mod target;
mod verify;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::request::Parts;

pub use authorize::{Freshness, NotAFolder, PublicPrefixes, WhenStale, denial, normalized_uid};
pub use denial::{BadRequest, Connection, Denial};
pub use extract::{MAX_HEADER_BYTES, MAX_HEADER_FIELDS, MAX_TARGET_BYTES, MediaMethod, without_token_parameter};
pub use head::{HeadCheck, Progress};
pub use key_sets::{KeySet, TakenKid};
pub use object_key::{MAX_KEY_BYTES, ObjectPath, PathError, PathScope};
pub use resolve::{
    Addressing, AppFolder, Credentials, Endpoint, MAX_PRESIGN_TTL, NotAnEndpoint, S3Options, S3Storage, Target,
    Timeouts, calendar_date,
};
pub use verify::{
    Algorithm, CacheStats, Claims, JwkProblem, JwkSet, JwkSetError, KeyError, MAX_JWKS_BYTES, MAX_TOKEN_BYTES,
    MAX_TWILIO_TTL, Profile, SkippedJwk, TimeRules, UidCase, UnknownAlgorithm, VerifyError, VerifyingKey,
    unverified_payload,
};

use crate::restrictions::{RestrictionSet, Subject};
use key_sets::exclusive_keys;
use verify::{Exclusive, Scratch, Verifier};

/// The time of a decision: both clocks, read once by the caller.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For what tokens and signatures say.
    pub wall: SystemTime,
    /// For how long ago the feed was heard.
    pub monotonic: Instant,
}

impl Now {
    fn since_epoch(self) -> Duration {
        // A clock before 1970 makes every token one from the future: nobody gets in.
        self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Whether an app asks for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Everybody gets everything; tokens are taken off and not looked at.
    Off,
    /// Everybody gets everything; what would have been refused is reported.
    Observe,
    /// Only a good token gets in.
    #[default]
    Enforce,
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
    /// An app that asks for tokens and could not verify any.
    #[error("app `{0}` asks for tokens and has no key to verify them with")]
    NoKeys(String),
}

struct App {
    id: Arc<str>,
    access: Access,
    verifier: Verifier,
    public_prefixes: PublicPrefixes,
    storage: Arc<S3Storage>,
}

/// The decision, with everything it needs but the request, the restrictions and the time.
///
/// ```
/// # use mediagate::gate::{Gate, GateOptions, Denial, Now};
/// # use mediagate::restrictions::RestrictionSet;
/// # use std::time::{Instant, SystemTime};
/// let gate = Gate::new(GateOptions::default())?;
/// let now = Now { wall: SystemTime::now(), monotonic: Instant::now() };
/// let restrictions = RestrictionSet::new([1, 2], now.monotonic);
/// let request = http::Request::get("/demo/media/a.jpg").header("host", "files.example").body(())?;
/// let refused = gate.admit(&request.into_parts().0, &restrictions, now).unwrap_err();
/// assert_eq!(refused.denial, Denial::UnknownApp);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Gate {
    apps: HashMap<Arc<str>, App>,
    hosts: Vec<String>,
    freshness: Freshness,
    cors: forward::CorsOrigins,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("apps", &self.apps.keys()).field("hosts", &self.hosts).finish_non_exhaustive()
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
    /// What an app under [`Access::Observe`] would have answered.
    pub observed: Option<Denial>,
}

/// What the gate answers by itself or passes on.
#[derive(Debug)]
pub enum Decision {
    /// Fetch this.
    Forward(Box<Admission>),
    /// A CORS preflight, or a plain `OPTIONS`.
    Options,
}

/// What may be known about a request outside the gate: never a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The app, when there is such an app.
    pub app: Option<Arc<str>>,
    /// The decoded path, when it is one.
    pub object: Option<String>,
    /// The user, when the token held.
    pub uid: Option<String>,
    /// A number for the token that tells nothing about it: a hash keyed with a secret of the process.
    pub token: Option<u64>,
}

/// A denial, and what may be known about the request.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub denial: Denial,
    /// What logs and metrics may know.
    pub trace: Box<Trace>,
}

impl Gate {
    /// Returns a gate that decides by `options`.
    ///
    /// # Errors
    ///
    /// Whatever [`GateError`] names.
    pub fn new(options: GateOptions) -> Result<Gate, GateError> {
        Gate::build(options, |_| false)
    }

    /// The same, where `has_sets` says which apps have keys that come and go.
    fn build(options: GateOptions, has_sets: impl Fn(&str) -> bool) -> Result<Gate, GateError> {
        let exclusive = exclusive_keys(&options.apps);
        let mut apps = HashMap::with_capacity(options.apps.len());
        for (app, exclusive) in options.apps.into_iter().zip(exclusive) {
            let AppOptions { id, access, keys, time, uid_case, public_prefixes, storage } = app;
            if !is_app_id(&id) {
                return Err(GateError::BadAppId(id));
            }
            let has_sets = has_sets(&id);
            if keys.is_empty() && !has_sets && access != Access::Off {
                return Err(GateError::NoKeys(id));
            }
            for (at, key) in keys.iter().enumerate() {
                if keys[..at].iter().any(|other| other.kid() == key.kid()) {
                    return Err(GateError::DuplicateKid { app: id, kid: key.kid().to_owned() });
                }
            }
            let is_shared = |(key, exclusive): &(&VerifyingKey, &Exclusive)| {
                key.profile() == Profile::Twilio && **exclusive == Exclusive::No
            };
            if let Some((key, _)) = keys.iter().zip(&exclusive).find(is_shared) {
                return Err(GateError::SharedTwilioKey(key.kid().to_owned()));
            }
            let verifier = Verifier::new(keys.into_iter().zip(exclusive).collect(), time, uid_case);
            let verifier = if has_sets { verifier.requiring_kids() } else { verifier };
            let id: Arc<str> = id.into();
            let app = App { id: Arc::clone(&id), access, verifier, public_prefixes, storage };
            if apps.insert(Arc::clone(&id), app).is_some() {
                return Err(GateError::DuplicateApp(id.to_string()));
            }
        }
        Ok(Gate { apps, hosts: options.hosts, freshness: options.freshness, cors: options.cors })
    }

    /// Returns where to fetch the requested file, or why the request is refused.
    ///
    /// # Errors
    ///
    /// The first [`Denial`] that holds.
    pub fn admit(&self, request: &Parts, restrictions: &RestrictionSet, now: Now) -> Result<Decision, Refusal> {
        let mut trace = Trace::default();
        match self.decide(request, restrictions, now, &mut trace) {
            Ok(Some((target, subject, observed))) => {
                Ok(Decision::Forward(Box::new(Admission { target, subject, trace, observed })))
            }
            Ok(None) => Ok(Decision::Options),
            Err(denial) => Err(Refusal { denial, trace: Box::new(trace) }),
        }
    }

    #[allow(clippy::type_complexity, reason = "two lines above is all that sees it")]
    fn decide(
        &self,
        request: &Parts,
        restrictions: &RestrictionSet,
        now: Now,
        trace: &mut Trace,
    ) -> Result<Option<(Target, Option<Subject>, Option<Denial>)>, Denial> {
        let method = extract::method(request)?;
        self.check_host(request)?;
        if method == MediaMethod::Options {
            return Ok(None);
        }
        let path = extract::object(request)?;
        trace.object = Some(path.as_str().to_owned());
        let compact = extract::credential(request)?;
        let app = self.apps.get(path.app()).ok_or(Denial::UnknownApp)?;
        trace.app = Some(Arc::clone(&app.id));
        trace.token = compact.map(|compact| restrictions.token_number(compact));

        let (grant, observed) = match app.access {
            Access::Off => (authorize::without_token(path), None),
            _ if app.public_prefixes.contain(&path) => (authorize::without_token(path), None),
            // Granted to nobody in particular, so that a restriction does not cut the transfer later either.
            Access::Observe => {
                let authorized = self.authorize(app, compact, path.clone(), restrictions, now, trace);
                (authorize::without_token(path), authorized.err())
            }
            Access::Enforce => (self.authorize(app, compact, path, restrictions, now, trace)?, None),
        };
        let (target, subject) = app.storage.resolve(grant, method, now.since_epoch());
        Ok(Some((target, subject, observed)))
    }

    fn authorize(
        &self,
        app: &App,
        compact: Option<&str>,
        path: ObjectPath,
        restrictions: &RestrictionSet,
        now: Now,
        trace: &mut Trace,
    ) -> Result<authorize::Grant, Denial> {
        let compact = compact.ok_or(Denial::TokenMissing)?;
        let mut scratch = Scratch::default();
        let verified = app.verifier.verify(compact, &mut scratch, now.since_epoch()).map_err(|error| match error {
            VerifyError::Expired => Denial::TokenExpired,
            error => Denial::TokenInvalid(error),
        })?;
        let claims = verified.claims();
        trace.uid = Some(claims.uid().to_owned());
        authorize::authorize(&app.id, claims, path, restrictions, self.freshness, now.monotonic)
    }

    fn check_host(&self, request: &Parts) -> Result<(), Denial> {
        match extract::host(request)? {
            _ if self.hosts.is_empty() => Ok(()),
            Some(host) if self.hosts.iter().any(|served| served.eq_ignore_ascii_case(host)) => Ok(()),
            _ => Err(Denial::UnknownHost),
        }
    }

    /// Which origins may read an answer to a request with these fields.
    pub fn cors_of(&self, fields: &HeaderMap) -> forward::AllowOrigin {
        self.cors.allow(fields)
    }

    /// How old the restrictions may be.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The ids of the apps, in no order.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.apps.keys().map(|id| &**id)
    }

    /// How the uids of `app` compare; `None` where there is no such app.
    pub fn uid_case(&self, app: &str) -> Option<UidCase> {
        self.apps.get(app).map(|app| app.verifier.uid_case())
    }

    /// The servers that objects are fetched from, each once.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
        for app in self.apps.values() {
            if !endpoints.contains(app.storage.endpoint()) {
                endpoints.push(Arc::clone(app.storage.endpoint()));
            }
        }
        endpoints
    }

    /// How the verified tokens of all apps were remembered.
    pub fn cache_stats(&self) -> CacheStats {
        self.apps.values().map(|app| app.verifier.cache_stats()).fold(CacheStats::default(), |sum, app| CacheStats {
            hits: sum.hits + app.hits,
            misses: sum.misses + app.misses,
            bytes: sum.bytes + app.bytes,
        })
    }

    /// Returns what verifying `compact` as a token of `app` says, without a request: for `token inspect`.
    ///
    /// # Errors
    ///
    /// The first check that fails; [`VerifyError::UnknownKey`] where there is no such app.
    pub fn verify(&self, app: &str, compact: &str, now: Now) -> Result<(), VerifyError> {
        let app = self.apps.get(app).ok_or(VerifyError::UnknownKey)?;
        app.verifier.verify(compact, &mut Scratch::default(), now.since_epoch()).map(|_| ())
    }
}

/// Whether `id` is one plain segment of a URL path.
pub(crate) fn is_app_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=255).contains(&id.len()) && id.bytes().all(plain) && id != "." && id != ".."
}

#[cfg(test)]
mod tests;

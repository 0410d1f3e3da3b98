//! The whole decision: **extract → verify → authorize → resolve**. Values in, values out.
//!
//! No I/O, no clock, no framework, and no way to a [`Target`] that does not pass every step.

mod advice;
mod asked;
mod authorize;
mod content;
mod cookie;
mod cors;
mod dated;
mod decision;
mod denial;
mod extract;
mod fields;
pub mod forward;
mod handout;
mod head;
mod judged;
mod key_sets;
mod named;
mod object_key;
mod options;
mod prepend;
mod presigned;
mod resolve;
mod sha256;
mod switch;
mod target;
mod uid;
mod verify;

use http::HeaderMap;
use http::request::Parts;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use advice::Advice;
pub use asked::{Asked, AskedBy};
pub use authorize::{Freshness, NotAFolder, PublicPrefixes, WhenStale, denial, normalized_uid};
pub use cookie::{MAX_COOKIE_AGE, PlayerCookies};
pub use dated::was_modified_before;
pub use decision::{Admission, Decision, Handout, Now, Refusal, Trace};
pub use denial::{BadRequest, Connection, Denial};
#[cfg(feature = "server")]
pub(crate) use extract::cookies;
#[cfg(feature = "proxy")]
pub(crate) use extract::other_cookies;
pub use extract::{
    CredentialKind, HandoutForm, MAX_HEADER_BYTES, MAX_HEADER_FIELDS, MAX_TARGET_BYTES, MediaMethod,
    without_token_parameter,
};
pub use handout::{PresignError, PresignFor};
pub use head::{HeadCheck, Progress};
pub use key_sets::{KeySet, TakenKid};
pub use named::{Named, named_by};
pub use object_key::{MAX_KEY_BYTES, ObjectPath, PathError, PathScope};
pub use options::{Access, AppOptions, GateError, GateOptions};
pub use prepend::{
    LoginOptions, MAX_OWN_BODY_BYTES, MediaOrigin, NotALogin, OWN_FOLDER, PrependOptions, Prepended, SESSION_KEYS,
    Serving, SessionOptions, Visitor,
};
#[cfg(feature = "server")]
pub(crate) use prepend::{Seal, is_way_back};
pub use presigned::{MAX_PRESIGNED_TTL, Presigned, PresignedBase, PresignedKey, PresignedOptions, PresignedTarget};
pub use resolve::{
    Addressing, AppFolder, Credentials, Endpoint, MAX_PRESIGN_TTL, NotAnEndpoint, S3Options, S3Storage, Target,
    Timeouts, calendar_date,
};
pub use switch::StepDown;
pub use uid::Uid;
pub use verify::{
    Algorithm, CacheStats, Claims, JwkProblem, JwkSet, JwkSetError, KeyError, MAX_JWKS_BYTES, MAX_TOKEN_BYTES,
    MAX_TWILIO_TTL, Profile, SkippedJwk, TimeRules, UidCase, UnknownAlgorithm, VerifyError, VerifyingKey,
    unverified_payload,
};

use crate::restrictions::RestrictionSet;
use extract::Credential;
use judged::Judged;
use key_sets::exclusive_keys;
use prepend::Prepend;
use presigned::Presigner;
use verify::{Exclusive, Scratch, Verifier};

struct App {
    id: Arc<str>,
    access: Access,
    verifier: Verifier,
    public_prefixes: PublicPrefixes,
    tokenized_since: Option<u64>,
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
    /// Few, and found without hashing what a client wrote.
    apps: BTreeMap<Arc<str>, App>,
    hosts: Vec<String>,
    freshness: Freshness,
    cors: forward::CorsOrigins,
    api_keys: Vec<[u8; 32]>,
    presigner: Option<Presigner>,
    player_cookies: Option<PlayerCookies>,
    prepend: Option<Prepend>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("apps", &self.apps.keys())
            .field("hosts", &self.hosts)
            .field("presigner", &self.presigner)
            .finish_non_exhaustive()
    }
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
        options.check_session_keys()?;
        let exclusive = exclusive_keys(&options.apps);
        let mut apps = BTreeMap::new();
        for (app, exclusive) in options.apps.into_iter().zip(exclusive) {
            let AppOptions { id, access, keys, time, uid_case, public_prefixes, tokenized_since, storage } = app;
            if !is_app_id(&id) || (options.prepend.is_some() && id == OWN_FOLDER) {
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
            let app = App { id: Arc::clone(&id), access, verifier, public_prefixes, tokenized_since, storage };
            if apps.insert(Arc::clone(&id), app).is_some() {
                return Err(GateError::DuplicateApp(id.to_string()));
            }
        }
        let GateOptions { hosts, freshness, cors, api_keys, presigned, player_cookies, prepend, .. } = options;
        let (presigner, prepend) =
            (presigned.map(Presigner), prepend.map(|prepend| Prepend::new(prepend, has_sets(SESSION_KEYS))));
        Ok(Gate { apps, hosts, freshness, cors, api_keys, presigner, player_cookies, prepend })
    }

    /// Returns where to fetch the requested file, or why the request is refused.
    ///
    /// # Errors
    ///
    /// The first [`Denial`] that holds.
    pub fn admit(&self, request: &Parts, restrictions: &RestrictionSet, now: Now) -> Result<Decision, Refusal> {
        self.admit_for(request, None, restrictions, now)
    }

    fn admit_for(
        &self,
        request: &Parts,
        visitor: Option<&Visitor>,
        restrictions: &RestrictionSet,
        now: Now,
    ) -> Result<Decision, Refusal> {
        let mut trace = Trace::default();
        match self.decide(request, visitor, restrictions, now, &mut trace) {
            Ok(decision) => Ok(decision),
            Err(denial) => Err(Refusal { denial, trace: Box::new(trace) }),
        }
    }

    fn decide(
        &self,
        request: &Parts,
        visitor: Option<&Visitor>,
        restrictions: &RestrictionSet,
        now: Now,
        trace: &mut Trace,
    ) -> Result<Decision, Denial> {
        let method = extract::method(request)?;
        self.check_host(request)?;
        if method == MediaMethod::Options {
            return Ok(Decision::Options);
        }
        let Trace { object, uid, .. } = trace;
        let path = &*object.insert(extract::object(request)?);
        let shown = extract::shown(request)?;
        let credential = shown.credential.map(|(credential, _)| credential);
        let handout = shown.wishes.handout.map(|form| self.can_hand_out(form)).transpose()?;
        let app = self.apps.get(path.app()).ok_or(Denial::UnknownApp)?;
        trace.app = Some(Arc::clone(&app.id));
        trace.token = credential.map(|credential| restrictions.token_number(credential.text()));
        trace.credential = credential.map(Credential::kind);
        let access = app.access_to(path, restrictions);
        let visiting = match visitor {
            Some(visitor) => visitor.welcome(&app.id, app.verifier.uid_case(), restrictions, self.freshness, now)?,
            None => None,
        };
        let since_epoch = now.since_epoch();
        let judged = Judged { app, access, credential, visitor, restrictions, now, since_epoch };
        if let Some((presigner, form)) = handout {
            let (presigned, observed) = self.hand_out(presigner, extract::authority(request)?, &judged, path, uid)?;
            let trace = std::mem::take(trace);
            return Ok(Decision::HandOut(Handout { presigned, form, trace, observed }));
        }

        // What was shared before links had tokens.
        let since = if credential.is_none() { app.tokenized_since(restrictions) } else { None };
        let modified_before = since.filter(|_| access != Access::Off);
        let (grant, until, observed) = match access {
            Access::Enforce if modified_before.is_some() => (authorize::without_token(path), None, None),
            Access::Off => (authorize::without_token(path), None, None),
            // Granted to nobody in particular, so that a restriction does not cut the transfer later either.
            Access::Observe => {
                let authorized = self.authorize(&judged, request.uri.path(), path, uid);
                let until = authorized.as_ref().ok().and_then(authorize::Grant::until);
                (authorize::without_token(path), until, authorized.err())
            }
            Access::Enforce => {
                let grant = self.authorize(&judged, request.uri.path(), path, uid)?;
                let until = grant.until();
                (grant, until, None)
            }
        };
        let fields = self.more_fields(request, &shown, path, until, since_epoch)?;
        let (target, subject) = app.storage.resolve(grant, method, since_epoch);
        let (trace, subject) = (std::mem::take(trace), subject.or(visiting));
        Ok(Decision::Forward(Admission { target, subject, trace, observed, modified_before, fields }))
    }

    /// Returns leave to fetch `path`, which stands in the request as `raw_path`.
    fn authorize<'a>(
        &self,
        judged: &Judged<'_>,
        raw_path: &str,
        path: &'a ObjectPath,
        uid: &mut Option<Uid>,
    ) -> Result<authorize::Grant<'a>, Denial> {
        let Judged { app, restrictions, now, since_epoch, .. } = *judged;
        match judged.credential.ok_or(Denial::TokenMissing)? {
            Credential::Fat(compact) => {
                let mut scratch = Scratch::default();
                let claims = judged.verify(compact, &mut scratch, uid)?;
                authorize::authorize(&app.id, &claims, path, restrictions, self.freshness, now.monotonic)
            }
            Credential::Presigned(query) => {
                let presigner = self.presigner.as_ref().ok_or(Denial::UrlInvalid)?;
                let signed = presigner.verify(raw_path, query, app.verifier.uid_case(), since_epoch)?;
                judged.check_visitor(&signed.uid)?;
                let (sid, jti) = (signed.sid.as_deref(), signed.jti.as_deref());
                let subject = restrictions.subject(&app.id, &signed.uid, sid, jti, Some(signed.issued));
                *uid = Some(Uid::new(&signed.uid));
                authorize::welcome(subject, path, restrictions, self.freshness, now.monotonic)
            }
            Credential::ApiKey(key) => authorize::service(&self.api_keys, key, path, judged, self.freshness),
        }
    }

    fn check_host(&self, request: &Parts) -> Result<(), Denial> {
        match extract::host(request)? {
            _ if self.hosts.is_empty() => Ok(()),
            Some(host) if self.serves(host) => Ok(()),
            _ => Err(Denial::UnknownHost),
        }
    }

    /// Whether `host` is among those that are named.
    fn serves(&self, host: &str) -> bool {
        self.hosts.iter().any(|served| served.eq_ignore_ascii_case(host))
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

    /// Whether `app` asks for tokens by its configuration; `None` where there is no such app.
    pub fn access(&self, app: &str) -> Option<Access> {
        self.apps.get(app).map(|app| app.access)
    }

    /// Whether tokens of `app` can be verified at all.
    pub fn has_keys(&self, app: &str) -> bool {
        self.apps.get(app).is_some_and(|app| app.verifier.has_keys())
    }

    /// Before which time, in UNIX seconds, the objects of `app` need no token by its configuration.
    pub fn tokenized_since(&self, app: &str) -> Option<u64> {
        self.apps.get(app).and_then(|app| app.tokenized_since)
    }

    /// How the uids of `app` compare; `None` where there is no such app.
    pub fn uid_case(&self, app: &str) -> Option<UidCase> {
        self.apps.get(app).map(|app| app.verifier.uid_case())
    }

    /// The servers that objects are fetched from, each once.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
        let storages = self.apps.values().map(|app| app.storage.endpoint());
        for endpoint in storages.chain(self.prepend.iter().flat_map(Prepend::foreign)) {
            if !endpoints.contains(endpoint) {
                endpoints.push(Arc::clone(endpoint));
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

impl App {
    /// What was last modified before this time needs no token.
    fn tokenized_since(&self, restrictions: &RestrictionSet) -> Option<SystemTime> {
        let set = restrictions.app_settings(&self.id).tokenized_since;
        set.or(self.tokenized_since).and_then(|since| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since)))
    }

    /// Whether `path` is asked a token for, by the configuration and by what the control plane has set.
    fn access_to(&self, path: &ObjectPath, restrictions: &RestrictionSet) -> Access {
        let access = match self.access {
            Access::Enforce => Access::Enforce,
            configured => configured.with(restrictions.app_settings(&self.id)),
        };
        let is_public = self.public_prefixes.contain(path) || restrictions.is_exempt(&self.id, path.key());
        if is_public { Access::Off } else { access }
    }
}

/// Whether `id` is one plain segment of a URL path.
pub(crate) fn is_app_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=255).contains(&id.len()) && id.bytes().all(plain) && id != "." && id != ".."
}

#[cfg(test)]
mod tests;

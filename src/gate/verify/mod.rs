//! Token → [`Claims`]: shape, key, signature, issuer, audience, time. In that order, and nothing is believed
//! before the signature holds.

mod algorithm;
mod claims;
mod json;
mod jwks;
mod jws;
mod keys;
mod plain;
mod scratch;
mod spki;
mod twilio;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::{Claims, TimeRules, UidCase};
pub use jwks::{JwkProblem, JwkSet, JwkSetError, MAX_JWKS_BYTES, SkippedJwk};
pub use jws::MAX_TOKEN_BYTES;
use jws::{Header, Jws};
pub use keys::{KeyError, Profile, VerifyingKey};
pub(crate) use scratch::Scratch;
pub use twilio::MAX_TWILIO_TTL;

/// Bytes that the verified tokens of one app may take, by default.
const CACHE_BYTES: u64 = 96 << 20;

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Not a strict compact JWS, or its JSON is not strict, or a claim has the wrong type.
    #[error("malformed")]
    Malformed,
    /// No signature.
    #[error("unsigned")]
    Unsigned,
    /// `crit`, `b64`, `zip`, `enc`, a `cty` that is not Twilio's, or one beside a `kid`.
    #[error("a header parameter that is not supported")]
    UnsupportedHeader,
    /// A `typ` other than `JWT`.
    #[error("another type of token")]
    ForeignType,
    /// No `kid` among several keys, or one that is not configured; likewise the `iss` of a Twilio token.
    #[error("no such key")]
    UnknownKey,
    /// An `alg` other than the key's.
    #[error("another algorithm than the key's")]
    WrongAlgorithm,
    /// The signature does not hold.
    #[error("the signature does not hold")]
    BadSignature,
    /// `iss` is missing or another.
    #[error("another issuer")]
    WrongIssuer,
    /// `aud` is missing or another.
    #[error("another audience")]
    WrongAudience,
    /// `sub` is not a user id.
    #[error("`sub` is not a user id")]
    BadUid,
    /// `sub` beside a different `uid`.
    #[error("`sub` and `uid` differ")]
    ConflictingUid,
    /// No `app`, and the key belongs to several.
    #[error("no `app`, and the key belongs to several")]
    AppMissing,
    /// `iat` is in the future.
    #[error("issued in the future")]
    IssuedInFuture,
    /// `nbf` is in the future.
    #[error("not valid yet")]
    NotYetValid,
    /// Longer than the maximum lifetime.
    #[error("lives longer than allowed")]
    LivesTooLong,
    /// `exp` has come.
    #[error("expired")]
    Expired,
}

impl VerifyError {
    /// The metric label.
    pub const fn reason(self) -> &'static str {
        match self {
            VerifyError::Malformed => "token_malformed",
            VerifyError::Unsigned => "token_unsigned",
            VerifyError::UnsupportedHeader => "token_header",
            VerifyError::ForeignType => "token_type",
            VerifyError::UnknownKey => "token_key",
            VerifyError::WrongAlgorithm => "token_algorithm",
            VerifyError::BadSignature => "token_signature",
            VerifyError::WrongIssuer => "token_issuer",
            VerifyError::WrongAudience => "token_audience",
            VerifyError::BadUid => "token_uid",
            VerifyError::ConflictingUid => "token_uid_conflict",
            VerifyError::AppMissing => "token_app_missing",
            VerifyError::IssuedInFuture => "token_from_future",
            VerifyError::NotYetValid => "token_not_yet_valid",
            VerifyError::LivesTooLong => "token_lives_too_long",
            VerifyError::Expired => "token_expired",
        }
    }
}

/// Bytes that remembering a token takes beside its own: its place in the tables, and what the allocator rounds up to.
const ENTRY_BYTES: usize = 64;

/// Weighs an entry by the bytes that it takes.
#[derive(Clone)]
struct ByBytes;

impl quick_cache::Weighter<Box<str>, ()> for ByBytes {
    fn weight(&self, compact: &Box<str>, (): &()) -> u64 {
        (compact.len() + ENTRY_BYTES) as u64
    }
}

/// How often a verified token was remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Tokens whose signature needed no second check.
    pub hits: u64,
    /// Tokens that were verified and then remembered.
    pub misses: u64,
    /// Bytes held.
    pub bytes: u64,
}

/// The keys of one app and the rules that its tokens meet.
pub(crate) struct Verifier {
    keys: Vec<Known>,
    kids: Kids,
    time: TimeRules,
    uid_case: UidCase,
    /// Tokens whose signature held, as they came, for algorithms where checking it costs more than a look-up. Never a
    /// decision: what a token says is read and checked again on every request, and its key is the same each time.
    verified: Cache<Box<str>, (), ByBytes>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// One key of an app.
struct Known {
    key: VerifyingKey,
    exclusive: Exclusive,
    /// The encoded header of the first token that it verified. An issuer writes the same header again and again, and
    /// the same bytes name the same key and algorithm each time: they need not be read to know.
    header: OnceLock<Box<str>>,
}

/// Whether a key belongs to one app only, so that its tokens need not name the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exclusive {
    Yes,
    No,
}

/// Whether a token must name its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kids {
    /// Where there is a single key, it needs not.
    Optional,
    /// It must: which keys there are may change at any time.
    Required,
}

impl Verifier {
    pub(crate) fn new(keys: Vec<(VerifyingKey, Exclusive)>, time: TimeRules, uid_case: UidCase) -> Verifier {
        // The cache is sized by bytes; the estimate of entries only shapes its tables.
        let verified = Cache::with_weighter(1024, CACHE_BYTES, ByBytes);
        let known = |(key, exclusive)| Known { key, exclusive, header: OnceLock::new() };
        let keys = keys.into_iter().map(known).collect();
        let (hits, misses) = Default::default();
        Verifier { keys, kids: Kids::Optional, time, uid_case, verified, hits, misses }
    }

    /// The same for an app whose keys come and go.
    pub(crate) fn requiring_kids(self) -> Verifier {
        Verifier { kids: Kids::Required, ..self }
    }

    /// Returns the claims of `compact`, a JWS in compact form. `now` is since the UNIX epoch.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    #[inline]
    pub(crate) fn verify<'a>(
        &self,
        compact: &str,
        scratch: &'a mut Scratch,
        now: Duration,
    ) -> Result<Claims<'a>, VerifyError> {
        let jws = Jws::split(compact)?;
        let seen = |known: &&Known| known.header.get().is_some_and(|seen| **seen == *jws.header);
        let known = match self.keys.iter().find(seen) {
            Some(known) => known,
            None => self.named_by(&jws)?,
        };
        let Known { key, exclusive, .. } = known;
        // A MAC costs as much as a look-up that misses the processor's caches: nothing to gain.
        let is_remembered = !key.alg().is_hmac();
        let is_seen = is_remembered && self.verified.get(compact).is_some();
        if is_seen {
            self.hits.fetch_add(1, Ordering::Relaxed);
        } else {
            jws.verified_by(key)?;
        }
        let payload = scratch.decode(jws.payload)?;
        let (mut claims, time) = match key.profile() {
            Profile::Fat => {
                known.header.get_or_init(|| jws.header.into());
                (Claims::read(payload).ok_or(VerifyError::Malformed)?, self.time)
            }
            // Its header is that of every key's tokens, and so tells nothing about the key.
            Profile::Twilio => {
                (twilio::claims(payload)?, TimeRules { max_ttl: self.time.max_ttl.min(MAX_TWILIO_TTL), ..self.time })
            }
        };
        claims.fold_uid(self.uid_case)?;
        claims.check_issuer(key.issuer())?;
        claims.check_audience(key.audience())?;
        if claims.app.is_none() && *exclusive == Exclusive::No {
            return Err(VerifyError::AppMissing);
        }
        claims.check_time(now, time)?;
        if is_remembered && !is_seen {
            self.misses.fetch_add(1, Ordering::Relaxed);
            self.verified.insert(compact.into(), ());
        }
        Ok(claims)
    }

    /// The one key that can have signed `jws`, by an exact look-up: of `kid` (RFC 7515 §4.1.4), or of `iss` where the
    /// header says that it is a Twilio token. A FAT without `kid` is for the only key, if there is only one. The
    /// algorithm is the key's own.
    fn named_by(&self, jws: &Jws<'_>) -> Result<&Known, VerifyError> {
        let mut scratch = Scratch::default();
        let header: Header<'_> = jws.header(&mut scratch)?;
        let is_twilio = |known: &Known| known.key.profile() == Profile::Twilio;
        let known = match (header.profile, header.kid.as_deref()) {
            (Profile::Fat, Some(kid)) => self.keys.iter().find(|known| !is_twilio(known) && known.key.kid() == kid),
            (Profile::Fat, None) => match (self.kids, self.keys.as_slice()) {
                (Kids::Optional, [only]) if !is_twilio(only) => Some(only),
                _ => None,
            },
            (Profile::Twilio, _) if !self.keys.iter().any(is_twilio) => None,
            (Profile::Twilio, _) => {
                let mut payload = Scratch::default();
                let sid = twilio::unverified_issuer(payload.decode(jws.payload)?)?;
                self.keys.iter().find(|known| is_twilio(known) && known.key.kid() == sid)
            }
        };
        let known = known.ok_or(VerifyError::UnknownKey)?;
        if known.key.alg().is_named(&header.alg) { Ok(known) } else { Err(VerifyError::WrongAlgorithm) }
    }

    /// Whether it has keys, or is to have those of a set.
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty() || self.kids == Kids::Required
    }

    pub(crate) fn uid_case(&self) -> UidCase {
        self.uid_case
    }

    pub(crate) fn cache_stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: self.verified.weight(),
        }
    }
}

/// Returns the payload of `compact` as JSON text, unverified: for `token inspect`, never to admit anybody.
///
/// # Errors
///
/// When it is not a strict compact JWS.
pub fn unverified_payload(compact: &str) -> Result<String, VerifyError> {
    let mut scratch = Scratch::default();
    let jws = Jws::split(compact)?;
    jws.header(&mut scratch)?;
    String::from_utf8(scratch.decode(jws.payload)?.to_vec()).map_err(|_| VerifyError::Malformed)
}

#[cfg(test)]
mod tests;

//! A JWK Set (RFC 7517) → the keys in it that can verify tokens.
//!
//! What is not understood, weak, secret or for another use is passed over and counted; where two keys have one `kid`,
//! none is guessed. A document that is no JWK Set at all is an error, and whoever had keys before keeps them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json::{self, Unread};
use super::keys::{KeyError, VerifyingKey};
use super::spki;

/// Largest JWK Set that is read, in bytes.
pub const MAX_JWKS_BYTES: usize = 1 << 20;

/// Most keys in a set, whatever their kind.
const MAX_KEYS: usize = 100;

/// Longest `kid`, in bytes.
const MAX_KID_BYTES: usize = 255;

/// Members of private and of symmetric keys (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The keys of a JWK Set that can be used, and why the others cannot.
#[derive(Debug, Clone, Default)]
pub struct JwkSet {
    /// What verifies, each under a `kid` of its own.
    pub keys: Vec<VerifyingKey>,
    /// What was passed over, in the order of the set.
    pub skipped: Vec<SkippedJwk>,
}

/// A key that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedJwk {
    /// Its name, where it has one of good length. From outside: show it escaped.
    pub kid: Option<String>,
    /// Why.
    pub problem: JwkProblem,
}

/// Why a key of a set is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkProblem {
    /// `kty` is `oct`: a secret that is published, and the way into confusing algorithms (RFC 8725 §2.1).
    #[error("a symmetric key")]
    Symmetric,
    /// Its private half is there, so that anybody can sign with it.
    #[error("a private key")]
    Private,
    /// `use` or `key_ops` are for something else.
    #[error("not for verifying signatures")]
    OtherUse,
    /// No `kid` of 1 to 255 bytes.
    #[error("no kid of 1 to 255 bytes")]
    NoKid,
    /// Another key of the set has the same `kid`.
    #[error("the kid is there twice")]
    DuplicateKid,
    /// A `kty`, `crv` or `alg` that is not supported, or that do not go together.
    #[error("a kind of key, a curve or an algorithm that is not supported")]
    Unsupported,
    /// An RSA key without `alg`, where the configuration does not say it either: RS256 and PS256 are both possible.
    #[error("an RSA key without alg: set `alg` in the configuration")]
    NoAlgorithm,
    /// Another `alg` than the configured one.
    #[error("another algorithm than the configured one")]
    OtherAlgorithm,
    /// Missing, wrong or too few numbers.
    #[error("malformed or weak")]
    Malformed,
}

impl JwkProblem {
    /// The metric label.
    pub const fn reason(self) -> &'static str {
        match self {
            JwkProblem::Symmetric => "symmetric",
            JwkProblem::Private => "private",
            JwkProblem::OtherUse => "other_use",
            JwkProblem::NoKid => "no_kid",
            JwkProblem::DuplicateKid => "duplicate_kid",
            JwkProblem::Unsupported => "unsupported",
            JwkProblem::NoAlgorithm => "no_algorithm",
            JwkProblem::OtherAlgorithm => "other_algorithm",
            JwkProblem::Malformed => "malformed",
        }
    }
}

/// Why a document is no JWK Set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkSetError {
    /// More than a megabyte.
    #[error("it is larger than {MAX_JWKS_BYTES} bytes")]
    TooLarge,
    /// Not one strict JSON object with a list `keys` of objects.
    #[error("it is no JWK Set: not one JSON object with a list `keys` of objects, or a member is there twice")]
    Malformed,
    /// More keys than anybody needs.
    #[error("it has more than {MAX_KEYS} keys")]
    TooManyKeys,
}

impl JwkSet {
    /// Reads the JWK Set `json`. Where `alg` is given, only keys for it are taken, and RSA keys need not say theirs.
    ///
    /// # Errors
    ///
    /// When the document is no JWK Set, or too large. One without any usable key is a JWK Set.
    pub fn parse(json: &[u8], alg: Option<Algorithm>) -> Result<JwkSet, JwkSetError> {
        if json.len() > MAX_JWKS_BYTES {
            return Err(JwkSetError::TooLarge);
        }
        // RFC 7517 §4: duplicate members are refused; serde_json by itself would take the last.
        json::read::<Unread>(json).ok_or(JwkSetError::Malformed)?;
        let document: Value = serde_json::from_slice(json).map_err(|_| JwkSetError::Malformed)?;
        let jwks = document.get("keys").and_then(Value::as_array).ok_or(JwkSetError::Malformed)?;
        if jwks.len() > MAX_KEYS {
            return Err(JwkSetError::TooManyKeys);
        }
        let jwks: Option<Vec<_>> = jwks.iter().map(Value::as_object).collect();
        let jwks = jwks.ok_or(JwkSetError::Malformed)?;
        let mut set = JwkSet::default();
        for jwk in &jwks {
            let name = kid(jwk);
            let is_twice = name.is_some() && jwks.iter().filter(|other| kid(other) == name).count() > 1;
            match key(jwk, alg) {
                Ok(_) if is_twice => set.skip(name, JwkProblem::DuplicateKid),
                Ok(key) => set.keys.push(key),
                Err(problem) => set.skip(name, problem),
            }
        }
        Ok(set)
    }

    fn skip(&mut self, kid: Option<&str>, problem: JwkProblem) {
        self.skipped.push(SkippedJwk { kid: kid.map(str::to_owned), problem });
    }
}

fn kid(jwk: &Map<String, Value>) -> Option<&str> {
    jwk.get("kid")?.as_str().filter(|kid| (1..=MAX_KID_BYTES).contains(&kid.len()))
}

/// One key, by RFC 7517 §4: what it is for comes before what it is.
fn key(jwk: &Map<String, Value>, configured: Option<Algorithm>) -> Result<VerifyingKey, JwkProblem> {
    let kty = text(jwk, "kty")?.ok_or(JwkProblem::Malformed)?;
    if kty == "oct" {
        return Err(JwkProblem::Symmetric);
    }
    if SECRET_MEMBERS.iter().any(|member| jwk.contains_key(*member)) {
        return Err(JwkProblem::Private);
    }
    if !verifies(jwk)? {
        return Err(JwkProblem::OtherUse);
    }
    let kid = kid(jwk).ok_or(JwkProblem::NoKid)?;
    let alg = algorithm(jwk, kty, configured)?;
    let spki = match alg {
        Algorithm::RS256 | Algorithm::PS256 => spki::rsa(&number(jwk, "n")?, &number(jwk, "e")?),
        Algorithm::ES256 => spki::p256(&number(jwk, "x")?, &number(jwk, "y")?),
        Algorithm::ES384 => spki::p384(&number(jwk, "x")?, &number(jwk, "y")?),
        Algorithm::EdDSA => spki::ed25519(&number(jwk, "x")?),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return Err(JwkProblem::Symmetric),
    };
    let key = VerifyingKey::public_der(kid, alg, &spki.ok_or(JwkProblem::Malformed)?);
    key.map_err(|_: KeyError| JwkProblem::Malformed)
}

/// Whether it may verify signatures: `use` and `key_ops` are absent or say so (RFC 7517 §4.2, §4.3).
fn verifies(jwk: &Map<String, Value>) -> Result<bool, JwkProblem> {
    let is_for_signatures = text(jwk, "use")?.is_none_or(|used_for| used_for == "sig");
    let operations = match jwk.get("key_ops") {
        None => return Ok(is_for_signatures),
        Some(operations) => operations.as_array().ok_or(JwkProblem::Malformed)?,
    };
    Ok(is_for_signatures && operations.iter().any(|operation| operation == "verify"))
}

/// The one algorithm of a key: its kind and curve leave a single one, or `alg` says which.
fn algorithm(jwk: &Map<String, Value>, kty: &str, configured: Option<Algorithm>) -> Result<Algorithm, JwkProblem> {
    let named = match text(jwk, "alg")? {
        None => None,
        Some(name) => Some(name.parse::<Algorithm>().map_err(|_| JwkProblem::Unsupported)?),
    };
    let possible: &[Algorithm] = match (kty, text(jwk, "crv")?) {
        ("RSA", None) => &[Algorithm::RS256, Algorithm::PS256],
        ("EC", Some("P-256")) => &[Algorithm::ES256],
        ("EC", Some("P-384")) => &[Algorithm::ES384],
        ("OKP", Some("Ed25519")) => &[Algorithm::EdDSA],
        _ => return Err(JwkProblem::Unsupported),
    };
    if named.is_some_and(|named| !possible.contains(&named)) {
        return Err(JwkProblem::Unsupported);
    }
    match (named, configured, possible) {
        (Some(named), Some(configured), _) if named != configured => Err(JwkProblem::OtherAlgorithm),
        (Some(named), ..) => Ok(named),
        (None, Some(configured), _) if possible.contains(&configured) => Ok(configured),
        (None, Some(_), _) => Err(JwkProblem::OtherAlgorithm),
        (None, None, [only]) => Ok(*only),
        (None, None, _) => Err(JwkProblem::NoAlgorithm),
    }
}

/// A string member, where there is one.
fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, JwkProblem> {
    match jwk.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(JwkProblem::Malformed),
    }
}

/// A member in strict base64url.
fn number(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, JwkProblem> {
    let encoded = text(jwk, name)?.ok_or(JwkProblem::Malformed)?;
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| JwkProblem::Malformed)
}

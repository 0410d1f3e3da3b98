//! Keys that tokens are verified with. The algorithm belongs to the key (RFC 8725 §3.1), never to the token.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use hmac::{Hmac, KeyInit, Mac};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Sha256, Sha384, Sha512};

use super::algorithm::Algorithm;
use crate::gate::sha256::MacKey;
use crate::secret::Secret;

/// Why a key cannot be used. Never shows any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A MAC secret below [`Algorithm::min_secret_bytes`].
    #[error("the secret has {found} bytes, {alg} needs at least {min} (`openssl rand -hex {min}` makes one)")]
    ShortSecret {
        /// The algorithm.
        alg: Algorithm,
        /// Its size.
        found: usize,
        /// The least that is accepted.
        min: usize,
    },
    /// A MAC secret that somebody could guess.
    #[error("the secret is trivial: too few different bytes (`openssl rand -hex 32` makes a good one)")]
    TrivialSecret,
    /// A MAC secret that is public by its nature.
    #[error("the secret is a public key or a certificate, which anybody may know")]
    PublicSecret,
    /// No PEM public key in the file, or several.
    #[error("not one PEM public key (`-----BEGIN PUBLIC KEY-----`)")]
    NotPem,
    /// A private key where the public one belongs.
    #[error("this is a private key; give the gate only the public one (`openssl pkey -pubout`)")]
    PrivateKey,
    /// A key of another kind, curve or size.
    #[error(
        "not a public key for {0} (RS256, PS256: RSA of 2048 to 8192 bits; ES256: P-256; ES384: P-384; EdDSA: Ed25519)"
    )]
    WrongKind(Algorithm),
    /// A `kid` that no token could name.
    #[error("a kid has 1 to 255 bytes")]
    BadKid,
}

#[derive(Clone)]
enum Material {
    Hs256(Box<MacKey>),
    Hs384(Box<Hmac<Sha384>>),
    Hs512(Box<Hmac<Sha512>>),
    Public(ParsedPublicKey),
}

/// What kind of tokens a key verifies. A token is of one kind by its header, and is never tried as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// File Access Tokens: `kid` names the key, `sub` the user.
    #[default]
    Fat,
    /// Twilio access tokens: `iss` names the key, `grants.identity` the user.
    Twilio,
}

/// A key, the one algorithm it is for, and what its tokens must say. Cheap to clone.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Box<str>,
    alg: Algorithm,
    profile: Profile,
    material: Material,
    issuer: Option<Box<str>>,
    audience: Option<Box<str>>,
    /// Whether another app is known to have it, too.
    is_shared: bool,
    fingerprint: [u8; 32],
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("kid", &self.kid).field("alg", &self.alg).finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Returns the key for HS256, HS384 or HS512 with the bytes of `secret`.
    ///
    /// # Errors
    ///
    /// A secret that is short, trivial or public, or an `alg` that takes a public key.
    pub fn hmac(kid: &str, alg: Algorithm, secret: &Secret) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::mac(kid, alg, secret, alg.min_secret_bytes())
    }

    /// Returns the key that Twilio's libraries sign access tokens with: the secret of the API key `sid`, for HS256, HS384
    /// or HS512. Twilio's secrets have 32 bytes whatever the algorithm, so that is the least that is taken.
    ///
    /// # Errors
    ///
    /// As [`VerifyingKey::hmac`].
    pub fn twilio(sid: &str, alg: Algorithm, secret: &Secret) -> Result<VerifyingKey, KeyError> {
        let key = VerifyingKey::mac(sid, alg, secret, Algorithm::HS256.min_secret_bytes())?;
        Ok(VerifyingKey { profile: Profile::Twilio, ..key.with_issuer(sid) })
    }

    fn mac(kid: &str, alg: Algorithm, secret: &Secret, min: usize) -> Result<VerifyingKey, KeyError> {
        let is_trivial = secret.is_trivial();
        let secret = secret.expose();
        if looks_public(secret) {
            return Err(KeyError::PublicSecret);
        }
        if secret.len() < min && alg.is_hmac() {
            return Err(KeyError::ShortSecret { alg, found: secret.len(), min });
        }
        if is_trivial {
            return Err(KeyError::TrivialSecret);
        }
        let any_length = "HMAC takes a key of any length";
        let (material, identity) = match alg {
            Algorithm::HS256 => {
                let mac = Hmac::<Sha256>::new_from_slice(secret).expect(any_length);
                (Material::Hs256(Box::new(MacKey::new(secret))), identity(mac))
            }
            Algorithm::HS384 => {
                let mac = Hmac::new_from_slice(secret).expect(any_length);
                (Material::Hs384(Box::new(mac.clone())), identity(mac))
            }
            Algorithm::HS512 => {
                let mac = Hmac::new_from_slice(secret).expect(any_length);
                (Material::Hs512(Box::new(mac.clone())), identity(mac))
            }
            Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => {
                return Err(KeyError::WrongKind(alg));
            }
        };
        VerifyingKey::new(kid, alg, material, &identity)
    }

    /// Returns the key for RS256, PS256, ES256, ES384 or EdDSA from a PEM `SubjectPublicKeyInfo` (RFC 7468 §13).
    ///
    /// # Errors
    ///
    /// Anything that is not one public key of the kind that `alg` needs.
    pub fn public_pem(kid: &str, alg: Algorithm, pem: &[u8]) -> Result<VerifyingKey, KeyError> {
        if alg.is_hmac() {
            return Err(KeyError::WrongKind(alg));
        }
        if String::from_utf8_lossy(pem).contains("PRIVATE KEY-----") {
            return Err(KeyError::PrivateKey);
        }
        let mut found = SubjectPublicKeyInfoDer::pem_slice_iter(pem);
        let (Some(Ok(spki)), None) = (found.next(), found.next()) else { return Err(KeyError::NotPem) };
        VerifyingKey::public_der(kid, alg, spki.as_ref())
    }

    /// The same from a DER `SubjectPublicKeyInfo`.
    pub(super) fn public_der(kid: &str, alg: Algorithm, spki: &[u8]) -> Result<VerifyingKey, KeyError> {
        let algorithm: &'static dyn VerificationAlgorithm = match alg {
            Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::EdDSA => &signature::ED25519,
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return Err(KeyError::WrongKind(alg)),
        };
        let key = ParsedPublicKey::new(algorithm, spki).map_err(|_| KeyError::WrongKind(alg))?;
        if !is_strong_and_canonical(alg, spki) {
            return Err(KeyError::WrongKind(alg));
        }
        VerifyingKey::new(kid, alg, Material::Public(key), spki)
    }

    fn new(kid: &str, alg: Algorithm, material: Material, bytes: &[u8]) -> Result<VerifyingKey, KeyError> {
        if kid.is_empty() || kid.len() > 255 {
            return Err(KeyError::BadKid);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        let (kid, profile) = (kid.into(), Profile::Fat);
        Ok(VerifyingKey { kid, alg, profile, material, issuer: None, audience: None, is_shared: false, fingerprint })
    }

    /// Requires `iss` to be `issuer`, exactly.
    #[must_use]
    pub fn with_issuer(mut self, issuer: &str) -> VerifyingKey {
        self.issuer = Some(issuer.into());
        self
    }

    /// Requires `audience` among `aud`, exactly.
    #[must_use]
    pub fn with_audience(mut self, audience: &str) -> VerifyingKey {
        self.audience = Some(audience.into());
        self
    }

    /// Requires what is given of issuer and audience, exactly.
    #[must_use]
    pub fn requiring(self, issuer: Option<&str>, audience: Option<&str>) -> VerifyingKey {
        let key = issuer.into_iter().fold(self, VerifyingKey::with_issuer);
        audience.into_iter().fold(key, VerifyingKey::with_audience)
    }

    /// The name that tokens give it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The kind of its tokens.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The algorithm it is bound to.
    pub fn alg(&self) -> Algorithm {
        self.alg
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(super) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// The same key, known to be another app's, too.
    pub(crate) fn shared(self) -> VerifyingKey {
        VerifyingKey { is_shared: true, ..self }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Whether both are the same key, whatever they are called.
    pub(crate) fn is_same_key(&self, other: &VerifyingKey) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// Returns whether `signature` is the key's over `message`. MACs are compared in constant time.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Hs256(key) => verify_slices_are_equal(&key.tag(message), signature).is_ok(),
            Material::Hs384(mac) => Hmac::clone(mac).chain_update(message).verify_slice(signature).is_ok(),
            Material::Hs512(mac) => Hmac::clone(mac).chain_update(message).verify_slice(signature).is_ok(),
            Material::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// What tells keys of one MAC apart: secrets that differ can be one key (RFC 2104 §2: zeros after it change nothing).
fn identity(mac: impl Mac) -> Vec<u8> {
    mac.chain_update(b"which key is this").finalize().into_bytes().to_vec()
}

/// Whether `spki` holds a key of good size in the one encoding by which it can be told from others: DER, uncompressed.
fn is_strong_and_canonical(alg: Algorithm, spki: &[u8]) -> bool {
    match alg {
        // Takes 2048 to 8192 bits; merely parsing a key does not look.
        Algorithm::RS256 | Algorithm::PS256 => {
            let encoded = |key: PublicEncryptingKey| AsDer::<PublicKeyX509Der<'_>>::as_der(&key).ok();
            PublicEncryptingKey::from_der(spki).ok().and_then(encoded).is_some_and(|der| der.as_ref() == spki)
        }
        Algorithm::ES256 => spki.len() == 91,
        Algorithm::ES384 => spki.len() == 120,
        Algorithm::EdDSA => spki.len() == 44,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => false,
    }
}

/// Whether `secret` is something that is published: PEM, an OpenSSH key, a JWK, or a DER public key.
fn looks_public(secret: &[u8]) -> bool {
    let text = String::from_utf8_lossy(secret);
    let text = text.trim_start();
    let textual = text.contains("-----BEGIN ")
        || ["ssh-", "ecdsa-sha2-"].iter().any(|prefix| text.starts_with(prefix))
        || (text.starts_with('{') && text.contains("\"kty\""));
    let algorithms: [&'static dyn VerificationAlgorithm; 4] = [
        &signature::RSA_PKCS1_2048_8192_SHA256,
        &signature::ECDSA_P256_SHA256_FIXED,
        &signature::ECDSA_P384_SHA384_FIXED,
        &signature::ED25519,
    ];
    // 32 bytes are an Ed25519 key and a good secret alike: only the longer, self-describing forms count.
    textual || (secret.len() > 32 && algorithms.iter().any(|alg| ParsedPublicKey::new(*alg, secret).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
        6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n\
        -----END PUBLIC KEY-----\n";

    fn hmac(alg: Algorithm, secret: &str) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::hmac("k1", alg, &Secret::new(secret))
    }

    #[test]
    fn a_secret_is_as_long_as_its_hash() {
        let secret = "0123456789abcdef".repeat(4);
        for (alg, min) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
            assert!(hmac(alg, &secret[..min]).is_ok());
            let short = KeyError::ShortSecret { alg, found: min - 1, min };
            assert_eq!(hmac(alg, &secret[..min - 1]).unwrap_err(), short);
        }
    }

    #[test]
    fn trivial_and_public_secrets_are_refused() {
        assert_eq!(hmac(Algorithm::HS256, &"a".repeat(64)).unwrap_err(), KeyError::TrivialSecret);
        assert_eq!(hmac(Algorithm::HS256, &"secret".repeat(8)).unwrap_err(), KeyError::TrivialSecret);
        assert_eq!(hmac(Algorithm::HS256, P256).unwrap_err(), KeyError::PublicSecret);
        let jwk = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}"#;
        assert_eq!(hmac(Algorithm::HS256, jwk).unwrap_err(), KeyError::PublicSecret);
        let der = SubjectPublicKeyInfoDer::from_pem_slice(P256.as_bytes()).unwrap();
        let der = VerifyingKey::hmac("k1", Algorithm::HS256, &Secret::new(der.as_ref()));
        assert_eq!(der.unwrap_err(), KeyError::PublicSecret);
    }

    #[test]
    fn a_public_key_is_of_the_kind_that_its_algorithm_needs() {
        assert!(VerifyingKey::public_pem("k", Algorithm::ES256, P256.as_bytes()).is_ok());
        for alg in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::HS256] {
            let error = VerifyingKey::public_pem("k", alg, P256.as_bytes()).unwrap_err();
            assert_eq!(error, KeyError::WrongKind(alg));
        }
        let private = P256.replace("PUBLIC", "PRIVATE");
        let error = VerifyingKey::public_pem("k", Algorithm::ES256, private.as_bytes()).unwrap_err();
        assert_eq!(error, KeyError::PrivateKey);
        let error = VerifyingKey::public_pem("k", Algorithm::ES256, b"junk").unwrap_err();
        assert_eq!(error, KeyError::NotPem);
    }
}

//! `private_key_file`: what tokens are signed with, beside the public key that they are verified with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, crypto};

use super::files::Files;
use super::tree::Text;
use crate::gate::{Algorithm, VerifyingKey};
use crate::secret::Secret;

/// The private key in `file` for `alg`, which must be the other half of `public`.
pub(super) fn private_key(
    file: &Text<'_>,
    files: &Files<'_>,
    alg: Algorithm,
    public: &VerifyingKey,
) -> Option<EncodingKey> {
    let message = b"which key is this";
    let pem = files.pem(file)?;
    let signed = encoding_key(alg, &pem).and_then(|key| {
        let signature = crypto::sign(message, &key, registered(alg)).ok()?;
        Some((key, URL_SAFE_NO_PAD.decode(signature).ok()?))
    });
    let Some((key, signature)) = signed else {
        file.wrong(format!(
            "the file must hold a private key for {alg} in PEM and PKCS #8, not encrypted (`openssl pkcs8 -topk8 -nocrypt`)"
        ));
        return None;
    };
    if !public.verifies(message, &signature) {
        file.wrong("the private key does not belong to the public key in `public_key_file`");
        return None;
    }
    Some(key)
}

/// The key for RS256, PS256, ES256, ES384 or EdDSA in `pem`; `None` where there is none of that kind.
pub(crate) fn encoding_key(alg: Algorithm, pem: &Secret) -> Option<EncodingKey> {
    let pem = pem.expose();
    match alg {
        Algorithm::RS256 | Algorithm::PS256 => EncodingKey::from_rsa_pem(pem).ok(),
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem).ok(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem).ok(),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => None,
    }
}

/// What `jsonwebtoken` calls `alg`.
pub(crate) fn registered(alg: Algorithm) -> jsonwebtoken::Algorithm {
    match alg {
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}

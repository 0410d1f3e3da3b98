//! Many tokens of one key: what is the same in all of them is made once.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto};

use crate::secret::Secret;

/// Signs compact JWS (RFC 7515 section 7.1) that begin with the same header.
pub(crate) struct JwsSigner {
    /// The header, encoded.
    header: String,
    key: Key,
}

enum Key {
    /// With the state that the secret leads to, which is the costly part of a short message's MAC.
    Mac(Box<hmac::Key>),
    Private(EncodingKey, Algorithm),
}

impl JwsSigner {
    /// Signs with `secret` where `header` names an HMAC, else with `key`; `None` when there is not what it takes.
    pub(crate) fn new(header: &Header, secret: Option<&Secret>, key: Option<EncodingKey>) -> Option<JwsSigner> {
        let digest = match header.alg {
            Algorithm::HS256 => Some(hmac::HMAC_SHA256),
            Algorithm::HS384 => Some(hmac::HMAC_SHA384),
            Algorithm::HS512 => Some(hmac::HMAC_SHA512),
            _ => None,
        };
        let key = match (digest, secret) {
            (Some(digest), Some(secret)) => Key::Mac(Box::new(hmac::Key::new(digest, secret.expose()))),
            _ => Key::Private(key?, header.alg),
        };
        Some(JwsSigner { header: URL_SAFE_NO_PAD.encode(serde_json::to_vec(header).ok()?), key })
    }

    /// Returns `claims` signed; `None` when the key cannot sign.
    pub(crate) fn sign(&self, claims: &[u8]) -> Option<String> {
        let mut compact = String::with_capacity(self.header.len() + 2 * claims.len() + 128);
        compact.push_str(&self.header);
        compact.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut compact);
        let signature = match &self.key {
            Key::Mac(key) => URL_SAFE_NO_PAD.encode(hmac::sign(key, compact.as_bytes())),
            Key::Private(key, alg) => crypto::sign(compact.as_bytes(), key, *alg).ok()?,
        };
        compact.push('.');
        compact.push_str(&signature);
        Some(compact)
    }
}

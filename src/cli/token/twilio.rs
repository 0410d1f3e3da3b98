//! Twilio access tokens, byte for byte as Twilio's library for Python mints them.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde::Serialize;

/// The account of tokens that nobody gave one: the gate does not look at it.
pub(super) const NO_ACCOUNT: &str = "AC00000000000000000000000000000000";

/// The header; members as the library orders them.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    cty: &'static str,
    typ: &'static str,
}

/// The payload, likewise. Times are UNIX seconds.
#[derive(Serialize)]
struct Payload<'a> {
    jti: String,
    grants: Grants<'a>,
    iss: &'a str,
    exp: u64,
    nbf: u64,
    sub: &'a str,
}

#[derive(Serialize)]
struct Grants<'a> {
    identity: &'a str,
}

/// What a token is to say.
pub(super) struct AccessToken<'a> {
    /// The SID of the API key.
    pub(super) key_sid: &'a str,
    pub(super) account_sid: &'a str,
    pub(super) identity: &'a str,
    /// Now, in UNIX seconds.
    pub(super) now: u64,
    /// Seconds.
    pub(super) ttl: u64,
}

impl AccessToken<'_> {
    /// Signs it with the secret of the API key.
    pub(super) fn signed(&self, alg: Algorithm, alg_name: &str, key: &EncodingKey) -> anyhow::Result<String> {
        let AccessToken { key_sid, account_sid, identity, now, ttl } = *self;
        let header = Header { alg: alg_name, cty: "twilio-fpa;v=1", typ: "JWT" };
        let jti = format!("{key_sid}-{now}");
        let grants = Grants { identity };
        let payload = Payload { jti, grants, iss: key_sid, exp: now + ttl, nbf: now, sub: account_sid };
        let encoded = |part: Vec<u8>| URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encoded(serde_json::to_vec(&header)?), encoded(serde_json::to_vec(&payload)?));
        let signature = crypto::sign(signed.as_bytes(), key, alg).ok().context("cannot sign")?;
        Ok(format!("{signed}.{signature}"))
    }
}

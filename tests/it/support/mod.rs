//! What the tests share: the real binary, a raw HTTP client, tokens, and a storage that does what it is told.

#![allow(unreachable_pub, reason = "a test binary has no public interface")]

pub mod certificates;
pub mod client;
pub mod database;
pub mod issuer;
pub mod nats_server;
pub mod origin;
pub mod postgres_server;
pub mod process;
pub mod proxy_servers;
pub mod redis_server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;

/// A secret for HS256 that the tests' configurations use for the key `k1`.
pub const SECRET: &str = "8c1f7f0d4a5b4e6c9d2e3f405162738495a6b7c8d9eafb0c1d2e3f4051627384";

/// A secret for presigned URLs, in `presigned.key` beside the tests' configurations.
pub const PRESIGNED_SECRET: &str = "5b2e8d41c09a4f7386e1d2a3b4c5f60718293a4b5c6d7e8f9a0b1c2d3e4f5061";

/// UNIX seconds now.
pub fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "tokens of the tests are issued now")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Signs `claims` with HS256 and `secret` under the key id `k1`.
pub fn sign(claims: &Value, secret: &str) -> String {
    let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).expect("claims can be signed")
}

/// A good token of the app `demo` for `uid`.
pub fn fat(uid: &str) -> String {
    sign(&serde_json::json!({ "sub": uid, "app": "demo", "iat": now(), "exp": now() + 600 }), SECRET)
}

/// A certificate for `127.0.0.1` and `localhost` that signs itself.
pub fn certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        // Its own authority, and a server's all the same: rustls takes no authority for one.
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("openssl runs").success());
    (cert, key)
}

/// `len` bytes that look random and are the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Asks `condition` again and again until it holds.
///
/// # Panics
///
/// When it does not within a minute: then it never will.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::yield_now();
    }
}

//! An issuer with keys of its own and a JWK Set on a local server.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::origin::Origin;

/// An Ed25519 key that signs tokens.
pub struct SigningKey {
    kid: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    pub fn new(kid: &str) -> SigningKey {
        SigningKey { kid: kid.to_owned(), pair: Ed25519KeyPair::generate().expect("a key") }
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.kid, "x": x })
    }

    /// Signs `claims`.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": self.kid, "typ": "JWT" });
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// What the issuer's server does with a request.
type Answer = dyn Fn(&mut TcpStream) + Send + Sync;

/// A server whose answer can be changed.
pub struct Issuer {
    origin: Origin,
    answer: Arc<Mutex<Arc<Answer>>>,
}

impl Issuer {
    /// Starts with the set of `keys`.
    pub fn start(keys: &[Value]) -> Issuer {
        let answer: Arc<Mutex<Arc<Answer>>> = Arc::new(Mutex::new(Arc::new(|_: &mut TcpStream| {})));
        let current = Arc::clone(&answer);
        let origin = Origin::start(move |_, stream| {
            let answer = Arc::clone(&current.lock().expect("no panic"));
            answer(stream);
        });
        let issuer = Issuer { origin, answer };
        issuer.publishes(keys);
        issuer
    }

    pub fn address(&self) -> SocketAddr {
        self.origin.address
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.origin.requests().len()
    }

    /// Answers with the set of `keys` from now on.
    pub fn publishes(&self, keys: &[Value]) {
        let body = json!({ "keys": keys }).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nContent-Length: {}", body.len());
        self.says(format!("{head}\r\n\r\n{body}"));
    }

    /// Answers with these bytes from now on.
    pub fn says(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.does(move |stream| {
            let _ = stream.write_all(&bytes);
        });
    }

    /// Does this with every connection from now on.
    pub fn does(&self, answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) {
        *self.answer.lock().expect("no panic") = Arc::new(answer);
    }
}

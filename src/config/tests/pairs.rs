//! Fresh key pairs in PEM.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::gate::Algorithm;

/// A fresh key for `alg`: its private and its public half.
pub(crate) fn pair(alg: Algorithm) -> (String, String) {
    let ec = |signing| {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), der(pair.public_key()))
    };
    let (private, public) = match alg {
        Algorithm::RS256 | Algorithm::PS256 => {
            let pair = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
            (AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec(), der(pair.public_key()))
        }
        Algorithm::ES256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate().unwrap();
            (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), der(pair.public_key()))
        }
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => panic!("{alg} has one key"),
    };
    (pem("PRIVATE KEY", &private), pem("PUBLIC KEY", &public))
}

fn der<K: AsDer<PublicKeyX509Der<'static>>>(key: &K) -> Vec<u8> {
    key.as_der().unwrap().as_ref().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

//! A JWK Set: what is taken of it is public, has a name of its own, and comes out the same a second time.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use mediagate::gate::{Algorithm, JwkSet};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    for alg in [None, Some(Algorithm::RS256), Some(Algorithm::ES256)] {
        let Ok(set) = JwkSet::parse(input, alg) else { continue };
        let document: Value = serde_json::from_slice(input).expect("strict JSON is JSON");
        let jwks = document["keys"].as_array().expect("a JWK Set has a list");
        assert_eq!(set.keys.len() + set.skipped.len(), jwks.len());
        assert!(jwks.len() <= 100);
        let mut kids = HashSet::new();
        for key in &set.keys {
            assert!(kids.insert(key.kid().to_owned()), "{} is there twice", key.kid());
            assert!(!key.alg().is_hmac() && alg.is_none_or(|alg| alg == key.alg()), "{key:?}");
            let mut named = jwks.iter().filter(|jwk| jwk["kid"] == key.kid());
            let (Some(jwk), None) = (named.next(), named.next()) else { panic!("{key:?} is not one key") };
            assert!(jwk["kty"] != "oct" && jwk.get("d").is_none() && jwk.get("k").is_none(), "{jwk}");
            assert!(jwk.get("use").is_none_or(|used_for| used_for == "sig"), "{jwk}");
        }
        let again = JwkSet::parse(input, alg).expect("the same");
        assert_eq!(again.skipped, set.skipped);
    }
});

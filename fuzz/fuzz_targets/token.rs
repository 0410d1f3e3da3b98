//! A token as text, which is never accepted; and a header and claims, signed as they are.
//!
//! What is signed may be accepted: then another JSON parser finds in it what every FAT has, and another verifier accepts
//! it, too. Accepted or not, the answer is that to the same claims after a space, which the quick reader leaves to the
//! strict one.
#![no_main]

mod demo;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{DecodingKey, Validation};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sha2::Sha256;

fuzz_target!(|input: &[u8]| {
    let verify = |compact: &str| demo::GATE.verify("demo", compact, demo::now());
    if let Ok(compact) = str::from_utf8(input) {
        assert!(verify(compact).is_err(), "{compact} without the secret");
        let _ = mediagate::gate::unverified_payload(compact);
    }

    let Some(at) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (header, claims) = (&input[..at], &input[at + 1..]);
    let sign = |claims: &[u8]| {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mac = Hmac::<Sha256>::new_from_slice(demo::SECRET).expect("HMAC takes a key of any length");
        let tag = mac.chain_update(&signed).finalize().into_bytes();
        (signed, tag)
    };
    let (signed, tag) = sign(claims);
    let compact = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
    let verdict = verify(&compact);
    // A longer token may be too long.
    if claims.len() < 4096 {
        let (signed, tag) = sign(&[b" ", claims].concat());
        assert_eq!(verify(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))), verdict, "after a space");
    }
    if verdict.is_err() {
        return;
    }

    let mut rules = Validation::new(jsonwebtoken::Algorithm::HS256);
    // Time is of the fuzzed gate, not of the day.
    (rules.validate_exp, rules.validate_aud) = (false, false);
    let theirs = jsonwebtoken::decode::<Value>(&compact, &DecodingKey::from_secret(demo::SECRET), &rules);
    let theirs = theirs.expect("another verifier accepts it").claims;

    let header: Value = serde_json::from_slice(header).expect("strict JSON is JSON");
    let claims: Value = serde_json::from_slice(claims).expect("strict JSON is JSON");
    assert_eq!(claims, theirs);
    assert_eq!(header["alg"], "HS256");
    assert!(matches!(header["kid"].as_str(), None | Some("k1")));
    assert!(["crit", "b64", "zip", "enc", "cty"].iter().all(|name| header.get(name).is_none()), "{header}");
    let uid = claims["sub"].as_str().expect("a uid is a string");
    assert!((1..=255).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_graphic()), "{uid}");
    let now = demo::NOW as f64;
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp > now), "{claims}");
    assert!(
        ["nbf", "iat"].iter().all(|name| claims.get(name).is_none_or(|at| at.as_f64().is_some_and(|at| at <= now)))
    );

    let mut forged = tag;
    forged[31] ^= 1;
    assert!(verify(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(forged))).is_err());
});

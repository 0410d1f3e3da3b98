//! Which keys are taken from an operator.

use super::*;
use crate::secret::Secret;

#[test]
fn a_public_key_is_strong_and_has_one_encoding() {
    let check = |alg, what: &str, pem: &str, expected: Option<KeyError>| {
        let found = VerifyingKey::public_pem("k1", alg, pem.as_bytes()).err();
        assert_eq!(found, expected, "{alg}: {what}");
    };
    let wrap = |body: &str| format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    for alg in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let pem = fixture::public_pem(alg);
        check(alg, "as it is", pem, None);
        check(alg, "after a comment", &format!("a comment\n{pem}"), None);
        check(alg, "twice", &format!("{pem}{pem}"), Some(KeyError::NotPem));
        check(alg, "nothing", "", Some(KeyError::NotPem));
        check(alg, "no content", &wrap(""), Some(KeyError::WrongKind(alg)));
    }
    let rsa_1024 = wrap(
        "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDXShWBWEebUbTEZL7DyU0f3wVz\n\
         tKx6FjB3t4IXrT32mefljDxYWOXVsNCvpeebcZrbOkZMAeR2Y+eatV/QT4PDPSPV\n\
         GS2K2MKvNX/qWUC4Rx+dJ3l2LWUumibdOqjGNjUZC5g/USZURQyE9E/nUws0/xOM\n\
         e1Tl6lXFaFeBaDKaxwIDAQAB",
    );
    let secp256k1 = wrap(
        "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE8B1rkBirQh3UEEBMuGkHIGVSK/hXNACP\n\
         EFzzhaAjqA8OuinQ8MVAjtaBmE3FJZgqvvzNn3/wHdJtpJmc8/ailQ==",
    );
    let compressed = wrap("MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=");
    let raw_ed25519 = wrap("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    let off_curve = fixture::public_pem(Algorithm::ES256).replace("YjlrQ==", "YjlrA==");
    for alg in [Algorithm::RS256, Algorithm::PS256] {
        check(alg, "1024 bits", &rsa_1024, Some(KeyError::WrongKind(alg)));
    }
    let alg = Algorithm::ES256;
    check(alg, "secp256k1", &secp256k1, Some(KeyError::WrongKind(alg)));
    check(alg, "compressed point", &compressed, Some(KeyError::WrongKind(alg)));
    check(alg, "a point beside the curve", &off_curve, Some(KeyError::WrongKind(alg)));
    check(Algorithm::EdDSA, "32 raw bytes", &raw_ed25519, Some(KeyError::WrongKind(Algorithm::EdDSA)));
}

#[test]
fn a_key_is_the_same_under_any_name() {
    for alg in Algorithm::ALL {
        let key = fixture::verifying_key(alg);
        assert!(key.is_same_key(&fixture::key_called("another", alg)), "{alg}");
    }
    let secret = |bytes: &[u8]| VerifyingKey::hmac("k1", Algorithm::HS256, &Secret::new(bytes)).expect("a key");
    let [short, long] = [b"0123456789abcdef0123456789abcdef".as_slice(), &[7; 96].map(|byte: u8| byte)];
    let mut varied = long.to_vec();
    varied[..16].copy_from_slice(b"0123456789abcdef");
    assert!(!secret(short).is_same_key(&secret(&varied)));
    // RFC 2104 §2: zeros at the end make the same key, and so does the hash of one longer than a block.
    assert!(secret(short).is_same_key(&secret(&[short, &[0]].concat())));
    let hashed = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &varied);
    assert!(secret(&varied).is_same_key(&secret(hashed.as_ref())));
}

#[test]
fn a_kid_has_1_to_255_bytes() {
    let check = |kid: &str, expected| {
        let key = VerifyingKey::hmac(kid, Algorithm::HS256, &Secret::new(fixture::SECRET.clone()));
        assert_eq!(key.err(), expected);
    };
    check("", Some(KeyError::BadKid));
    check(&"k".repeat(255), None);
    check(&"k".repeat(256), Some(KeyError::BadKid));
}

#[test]
fn a_key_shows_nothing_of_itself() {
    for alg in Algorithm::ALL {
        let shown = format!("{:?}", fixture::verifying_key(alg).with_issuer("i").with_audience("a"));
        assert_eq!(shown, format!(r#"VerifyingKey {{ kid: "{KID}", alg: {alg}, .. }}"#));
    }
}

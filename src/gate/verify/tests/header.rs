//! What a JOSE header may say (RFC 7515 §4), and what it may not choose.

use super::*;
use VerifyError::*;

const CLAIMS: &str = r#"{"sub":"alice","exp":1700003600}"#;

/// A token with `header` as it is, signed for `alg`, under the only key of its app.
fn check(alg: Algorithm, header: &str, expected: Result<(), VerifyError>) {
    let found = verdict(&verifier(alg), &fixture::compact(alg, header, CLAIMS));
    assert_eq!(found.map(|uid| assert_eq!(uid, "alice")), expected, "{alg} {header}");
}

/// The same for HS256 with `members` after `alg`.
fn check_with(members: &str, expected: Result<(), VerifyError>) {
    check(Algorithm::HS256, &format!(r#"{{"alg":"HS256",{members}}}"#), expected);
}

#[test]
fn the_algorithm_is_the_keys() {
    for alg in Algorithm::ALL {
        check(alg, &format!(r#"{{"alg":"{alg}"}}"#), Ok(()));
        for other in Algorithm::ALL.into_iter().filter(|other| *other != alg) {
            check(alg, &format!(r#"{{"alg":"{other}"}}"#), Err(WrongAlgorithm));
        }
        for name in ["none", "None", "NONE", "nOnE", "", " ", "RS512", "ES512", "PS384", "ES256K", "RSA-OAEP", "dir"] {
            check(alg, &format!(r#"{{"alg":"{name}"}}"#), Err(WrongAlgorithm));
        }
        let lower = alg.name().to_lowercase();
        check(alg, &format!(r#"{{"alg":"{lower}"}}"#), Err(WrongAlgorithm));
        check(alg, &format!(r#"{{"alg":["{alg}"]}}"#), Err(Malformed));
        for wrong in ["null", "1", "true", "{}"] {
            check(alg, &format!(r#"{{"alg":{wrong}}}"#), Err(Malformed));
        }
        check(alg, "{}", Err(Malformed));
        check(alg, &format!(r#"{{"ALG":"{alg}"}}"#), Err(Malformed));
    }
    check(Algorithm::EdDSA, r#"{"alg":"Ed25519"}"#, Ok(()));
    check(Algorithm::EdDSA, r#"{"alg":"Ed448"}"#, Err(WrongAlgorithm));
    check(Algorithm::ES256, r#"{"alg":"Ed25519"}"#, Err(WrongAlgorithm));
    check(Algorithm::HS256, r#"{"alg":"\u0048S256"}"#, Ok(()));
}

#[test]
fn a_public_key_is_never_a_mac_secret() {
    // RFC 8725 §2.1: HS256 over the bytes of the public key that the app has configured.
    use aws_lc_rs::hmac;
    for alg in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let pem = fixture::public_pem(alg);
        let der = <rustls_pki_types::SubjectPublicKeyInfoDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(
            pem.as_bytes(),
        );
        let der = der.expect("a key");
        for secret in [pem.as_bytes(), pem.trim().as_bytes(), der.as_ref()] {
            for header in [r#"{"alg":"HS256","kid":"k1"}"#.to_owned(), format!(r#"{{"alg":"{alg}","kid":"k1"}}"#)] {
                let input = format!("{}.{}", fixture::b64(&header), fixture::b64(CLAIMS));
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
                let expected = if header.contains("HS256") { WrongAlgorithm } else { BadSignature };
                let compact = format!("{input}.{}", fixture::b64(tag));
                assert_eq!(verdict(&verifier(alg), &compact), Err(expected), "{alg} {header}");
            }
        }
    }
}

#[test]
fn kid_is_an_exact_look_up() {
    let one = || verifier(Algorithm::HS256);
    let two = || {
        let other = VerifyingKey::hmac(
            "k2",
            Algorithm::HS256,
            &crate::secret::Secret::new(*b"another secret, of 32 bytes! 0123"),
        );
        verifier_of(vec![
            (fixture::verifying_key(Algorithm::HS256), Exclusive::Yes),
            (other.expect("a key"), Exclusive::Yes),
        ])
    };
    let check = |verifier: Verifier, header: &str, expected: Result<(), VerifyError>| {
        let found = verdict(&verifier, &fixture::compact(Algorithm::HS256, header, CLAIMS));
        assert_eq!(found.map(|_| ()), expected, "{header}");
    };
    check(one(), r#"{"alg":"HS256"}"#, Ok(()));
    check(two(), r#"{"alg":"HS256"}"#, Err(UnknownKey));
    check(two(), r#"{"alg":"HS256","kid":"k1"}"#, Ok(()));
    check(two(), r#"{"alg":"HS256","kid":"\u006b1"}"#, Ok(()));
    check(two(), r#"{"alg":"HS256","kid":"k2"}"#, Err(BadSignature));
    for kid in [
        "",
        "K1",
        "k1 ",
        " k1",
        "k1\\u0000",
        "k",
        "k11",
        "k1/",
        "./k1",
        "../k1",
        "../../../dev/null",
        "/dev/null",
        "k*",
        "k?",
        "%6b1",
        "k1' OR '1'='1",
        "k1'; DROP TABLE keys;--",
        "$(id)",
        "|id",
        "http://evil.example/k1",
        "file:///k1",
        "k1,k2",
        "k1\\nk2",
        "0",
    ] {
        check(one(), &format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), Err(UnknownKey));
        check(two(), &format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), Err(UnknownKey));
    }
    for wrong in ["1", "null", "true", "[\"k1\"]", "{\"kid\":\"k1\"}"] {
        check(one(), &format!(r#"{{"alg":"HS256","kid":{wrong}}}"#), Err(Malformed));
    }
    check(one(), &format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(5000)), Err(UnknownKey));
}

#[test]
fn what_changes_the_meaning_of_a_token_is_refused() {
    for members in [
        r#""crit":["exp"]"#,
        r#""crit":["b64"],"b64":true"#,
        r#""crit":["x"],"x":1"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""crit":"exp""#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
        r#""enc":"A256GCM""#,
        r#""cty":"JWT""#,
        r#""\u0063rit":["exp"]"#,
    ] {
        check_with(members, Err(UnsupportedHeader));
    }
    check_with(r#""CRIT":["exp"]"#, Ok(()));
}

#[test]
fn keys_in_a_token_mean_nothing() {
    let jwk = r#""jwk":{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}"#;
    for members in [
        jwk,
        r#""jku":"https://evil.example/jwks.json""#,
        r#""x5u":"https://evil.example/cert.pem""#,
        r#""x5c":["MIIB"]"#,
        r#""x5t":"dGh1bWI","x5t#S256":"dGh1bWI""#,
        r#""url":"x","nonce":1"#,
    ] {
        check_with(members, Ok(()));
    }
    // A token that brings the key that it is signed with.
    let header = format!(r#"{{"alg":"HS256",{jwk}}}"#);
    let input = format!("{}.{}", fixture::b64(header), fixture::b64(CLAIMS));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"secret");
    let compact = format!("{input}.{}", fixture::b64(aws_lc_rs::hmac::sign(&key, input.as_bytes())));
    assert_eq!(verdict(&verifier(Algorithm::HS256), &compact), Err(BadSignature));
}

#[test]
fn typ_is_jwt_or_absent() {
    for typ in ["JWT", "jwt", "Jwt"] {
        check_with(&format!(r#""typ":"{typ}""#), Ok(()));
    }
    for typ in ["", "at+jwt", "JOSE", "JWE", "application/jwt", "JWT ", "dpop+jwt", "logout+jwt", "secevent+jwt"] {
        check_with(&format!(r#""typ":"{typ}""#), Err(ForeignType));
    }
    for wrong in ["null", "1", "[\"JWT\"]"] {
        check_with(&format!(r#""typ":{wrong}"#), Err(Malformed));
    }
}

#[test]
fn a_header_seen_before_proves_nothing() {
    let verifier = verifier(Algorithm::HS256);
    let header = r#"{"alg":"HS256"}"#;
    let good = fixture::compact(Algorithm::HS256, header, CLAIMS);
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, fixture::b64([7; 32]));
    let expired = fixture::compact(Algorithm::HS256, header, r#"{"sub":"alice","exp":1}"#);
    let other = fixture::compact(Algorithm::HS256, r#"{"alg":"HS256","typ":"JWT"}"#, CLAIMS);
    let unsigned = fixture::compact(Algorithm::HS256, r#"{"alg":"none"}"#, CLAIMS);
    for _ in 0..3 {
        assert_eq!(verdict(&verifier, &forged), Err(BadSignature));
        assert_eq!(verdict(&verifier, &unsigned), Err(WrongAlgorithm));
        assert_eq!(verdict(&verifier, &good).as_deref(), Ok("alice"));
        assert_eq!(verdict(&verifier, &expired), Err(Expired));
        assert_eq!(verdict(&verifier, &other).as_deref(), Ok("alice"));
    }
}

#[test]
fn a_header_is_one_strict_json_object() {
    let good = r#"{"alg":"HS256"}"#;
    check(Algorithm::HS256, " {\r\n\"alg\" :\t\"HS256\"}\n", Ok(()));
    for bad in [
        format!("{good}{good}"),
        format!("{good}x"),
        format!("\u{feff}{good}"),
        format!("[{good}]"),
        r#"{"alg":"HS256",}"#.into(),
        r#"{alg:"HS256"}"#.into(),
        r#"{"alg":"HS256","alg":"HS256"}"#.into(),
        r#"{"alg":"none","alg":"HS256"}"#.into(),
        r#"{"alg":"HS256","\u0061lg":"none"}"#.into(),
        r#"{"alg":"HS256","kid":"k1","kid":"k2"}"#.into(),
        r#"{"alg":"HS256","x":{"y":1,"y":2}}"#.into(),
        format!(r#"{{"alg":"HS256","x":{}{}}}"#, "[".repeat(2000), "]".repeat(2000)),
        "null".into(),
        "\"HS256\"".into(),
    ] {
        check(Algorithm::HS256, &bad, Err(Malformed));
    }
}

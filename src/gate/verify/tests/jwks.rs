//! JWK Sets: those of the standards, and those that nobody should publish.

use super::*;
use serde_json::{Value, json};

/// RFC 7517 A.1: a P-256 key for encryption, and the RSA key of RFC 7515 A.2's neighbour.
const RFC7517_A1: &str = r#"{"keys":
  [{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"},
   {"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e":"AQAB","alg":"RS256","kid":"2011-04-29"}]}"#;

/// What became of the keys of `jwks`: their algorithm, or why not.
fn read(jwks: &[Value], alg: Option<Algorithm>) -> Vec<Result<(String, Algorithm), JwkProblem>> {
    let set = JwkSet::parse(json!({ "keys": jwks }).to_string().as_bytes(), alg).expect("a JWK Set");
    let taken = set.keys.iter().map(|key| Ok((key.kid().to_owned(), key.alg())));
    taken.chain(set.skipped.iter().map(|skipped| Err(skipped.problem))).collect()
}

fn check(jwk: Value, alg: Option<Algorithm>, expected: Result<Algorithm, JwkProblem>) {
    let found = read(std::slice::from_ref(&jwk), alg);
    assert_eq!(found, [expected.map(|alg| ("k1".to_owned(), alg))], "{jwk} for {alg:?}");
}

/// The fixture's public key for `alg` as a JWK without `alg`.
fn jwk(alg: Algorithm) -> Value {
    let p256 = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let p384 = (
        "7DpOQVtOGaRWhhgCn0J_pdqai8SukuAuBqrlKGswDGTe-PDqkFWGYGSiVFFUgLwT",
        "gBXZty19VyROqO-awMYhiWcIpZNn-d-59UyoSz8cnbEoiyMcOuDU_nNE_SUzJkcg",
    );
    match alg {
        Algorithm::RS256 | Algorithm::PS256 => json!({ "kty": "RSA", "kid": "k1", "e": "AQAB", "n":
            "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR\
             T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB\
             dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia\
             GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" }),
        Algorithm::ES256 => json!({ "kty": "EC", "kid": "k1", "crv": "P-256", "x": p256.0, "y": p256.1 }),
        Algorithm::ES384 => json!({ "kty": "EC", "kid": "k1", "crv": "P-384", "x": p384.0, "y": p384.1 }),
        // RFC 8037 A.2.
        Algorithm::EdDSA => json!({ "kty": "OKP", "kid": "k1", "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            json!({ "kty": "oct", "kid": "k1", "alg": alg.name(), "k": fixture::b64(fixture::SECRET.as_slice()) })
        }
    }
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

const PUBLIC: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

#[test]
fn the_examples_of_the_standards_are_read() {
    let set = JwkSet::parse(RFC7517_A1.as_bytes(), None).expect("a JWK Set");
    assert_eq!(
        set.keys.iter().map(|key| (key.kid(), key.alg())).collect::<Vec<_>>(),
        [("2011-04-29", Algorithm::RS256)]
    );
    assert_eq!(set.skipped, [SkippedJwk { kid: Some("1".into()), problem: JwkProblem::OtherUse }]);
    // RFC 7517 A.2 has private keys, A.3 symmetric ones; RFC 8037 A.1 is private.
    let private = json!({ "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
        "kid": "k1" });
    check(private, None, Err(JwkProblem::Private));
    for kid in [
        json!({ "alg": "A128KW", "k": "GawgguFyGrWKav7AX4VKUg" }),
        json!({ "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ" }),
    ] {
        check(with(with(kid, "kty", json!("oct")), "kid", json!("k1")), None, Err(JwkProblem::Symmetric));
    }
    let rfc8037 = with(jwk(Algorithm::EdDSA), "d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"));
    check(rfc8037, None, Err(JwkProblem::Private));
}

#[test]
fn a_key_is_the_same_as_from_pem_and_verifies() {
    for alg in PUBLIC {
        let document = json!({ "keys": [with(jwk(alg), "alg", json!(alg.name()))] }).to_string();
        let set = JwkSet::parse(document.as_bytes(), None).expect("a JWK Set");
        let [key] = set.keys.as_slice() else { panic!("{alg}: {:?}", set.skipped) };
        assert!(key.is_same_key(&fixture::verifying_key(alg)), "{alg}");
        let verifier = verifier_of(vec![(key.clone(), Exclusive::Yes)]).requiring_kids();
        let claims = r#"{"sub":"alice","exp":1700003600}"#;
        assert_eq!(verdict(&verifier, &fixture::token(alg, claims)).as_deref(), Ok("alice"));
        let nameless = fixture::compact(alg, &format!(r#"{{"alg":"{alg}"}}"#), claims);
        assert_eq!(verdict(&verifier, &nameless), Err(VerifyError::UnknownKey));
    }
}

#[test]
fn the_algorithm_is_the_keys_or_the_configurations_and_never_guessed() {
    use Algorithm::*;
    let (rsa, p256, p384, ed25519) = (jwk(RS256), jwk(ES256), jwk(ES384), jwk(EdDSA));
    for (key, alg) in [(&p256, ES256), (&p384, ES384), (&ed25519, EdDSA)] {
        check(key.clone(), None, Ok(alg));
        check(key.clone(), Some(alg), Ok(alg));
        check(key.clone(), Some(RS256), Err(JwkProblem::OtherAlgorithm));
    }
    check(with(ed25519.clone(), "alg", json!("Ed25519")), None, Ok(EdDSA));
    check(rsa.clone(), None, Err(JwkProblem::NoAlgorithm));
    for alg in [RS256, PS256] {
        check(rsa.clone(), Some(alg), Ok(alg));
        check(with(rsa.clone(), "alg", json!(alg.name())), None, Ok(alg));
        check(with(rsa.clone(), "alg", json!(alg.name())), Some(alg), Ok(alg));
    }
    check(rsa.clone(), Some(ES256), Err(JwkProblem::OtherAlgorithm));
    check(with(rsa.clone(), "alg", json!("RS256")), Some(PS256), Err(JwkProblem::OtherAlgorithm));
    for alg in ["RS512", "ES512", "RSA-OAEP", "none", "rs256", "", "ES256", "HS256"] {
        check(with(rsa.clone(), "alg", json!(alg)), None, Err(JwkProblem::Unsupported));
    }
    for alg in ["ES384", "HS256", "RS256", "ES256K"] {
        check(with(p256.clone(), "alg", json!(alg)), None, Err(JwkProblem::Unsupported));
    }
    for (kty, crv) in [("EC", "P-521"), ("EC", "secp256k1"), ("OKP", "Ed448"), ("OKP", "X25519"), ("AKP", "P-256")] {
        let odd = with(with(p256.clone(), "kty", json!(kty)), "crv", json!(crv));
        check(odd, None, Err(JwkProblem::Unsupported));
    }
    check(with(rsa.clone(), "crv", json!("P-256")), Some(RS256), Err(JwkProblem::Unsupported));
    check(with(p256.clone(), "kty", json!("RSA")), None, Err(JwkProblem::Unsupported));
}

#[test]
fn a_symmetric_key_is_never_taken() {
    for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        for configured in [None, Some(alg)] {
            check(jwk(alg), configured, Err(JwkProblem::Symmetric));
            check(with(jwk(alg), "use", json!("sig")), configured, Err(JwkProblem::Symmetric));
        }
    }
    // A public key that calls itself a secret, and a secret that calls itself a public key.
    check(with(jwk(Algorithm::ES256), "kty", json!("oct")), None, Err(JwkProblem::Symmetric));
    check(with(jwk(Algorithm::HS256), "kty", json!("RSA")), None, Err(JwkProblem::Private));
    check(with(jwk(Algorithm::RS256), "alg", json!("HS256")), None, Err(JwkProblem::Unsupported));
    check(jwk(Algorithm::RS256), Some(Algorithm::HS256), Err(JwkProblem::OtherAlgorithm));
}

#[test]
fn a_key_is_for_signatures() {
    let key = jwk(Algorithm::ES256);
    for (name, value, expected) in [
        ("use", json!("sig"), Ok(Algorithm::ES256)),
        ("use", json!("enc"), Err(JwkProblem::OtherUse)),
        ("use", json!("SIG"), Err(JwkProblem::OtherUse)),
        ("use", json!(1), Err(JwkProblem::Malformed)),
        ("key_ops", json!(["verify"]), Ok(Algorithm::ES256)),
        ("key_ops", json!(["sign", "verify"]), Ok(Algorithm::ES256)),
        ("key_ops", json!(["sign"]), Err(JwkProblem::OtherUse)),
        ("key_ops", json!([]), Err(JwkProblem::OtherUse)),
        ("key_ops", json!("verify"), Err(JwkProblem::Malformed)),
        ("x5c", json!(["MII"]), Ok(Algorithm::ES256)),
    ] {
        check(with(key.clone(), name, value), None, expected);
    }
    check(with(with(key, "use", json!("enc")), "key_ops", json!(["verify"])), None, Err(JwkProblem::OtherUse));
}

#[test]
fn weak_and_malformed_keys_are_passed_over() {
    let malformed = |alg: Algorithm, name: &str, value: Value| {
        check(with(jwk(alg), name, value), Some(alg), Err(JwkProblem::Malformed));
    };
    let n = |bytes: usize| json!(fixture::b64([[0xc5_u8].as_slice(), vec![0x6b; bytes - 1].as_slice()].concat()));
    // 1024 and 2040 bits, more than 8192, an even one, a zero before it, nothing.
    for n in
        [n(128), n(255), n(1025), json!(fixture::b64([0xc4; 256])), json!(format!("AA{}", "x".repeat(342))), json!("")]
    {
        malformed(Algorithm::RS256, "n", n);
    }
    for e in ["", "AQ", "AA", "AAEAAQ", "Ag", "AQABAQABAQABAQAB", "AQAB=", "AQ AB"] {
        malformed(Algorithm::RS256, "e", json!(e));
    }
    for (alg, name) in
        [(Algorithm::ES256, "x"), (Algorithm::ES256, "y"), (Algorithm::ES384, "y"), (Algorithm::EdDSA, "x")]
    {
        let good = jwk(alg)[name].as_str().expect("base64url").to_owned();
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &good).expect("base64url");
        for wrong in [
            json!(""),
            json!(1),
            json!(null),
            json!(format!("{good}=")),
            json!(fixture::b64(&bytes[1..])),
            json!(fixture::b64([&[0], bytes.as_slice()].concat())),
            json!("+".repeat(good.len())),
        ] {
            malformed(alg, name, wrong);
        }
        if alg != Algorithm::EdDSA {
            malformed(alg, name, json!(fixture::b64(vec![7; bytes.len()]))); // beside the curve
        }
    }
    for missing in ["n", "e", "kty"] {
        let mut key = jwk(Algorithm::RS256);
        key.as_object_mut().expect("an object").remove(missing);
        check(key, Some(Algorithm::RS256), Err(JwkProblem::Malformed));
    }
}

#[test]
fn a_key_has_a_name_of_its_own() {
    let named = |kid: Value| with(jwk(Algorithm::ES256), "kid", kid);
    for kid in [json!(""), json!("k".repeat(256)), json!(1), json!(null)] {
        check(named(kid), None, Err(JwkProblem::NoKid));
    }
    let k2 = with(jwk(Algorithm::EdDSA), "kid", json!("k2"));
    let twice = read(&[named(json!("k1")), jwk(Algorithm::ES384), k2.clone()], None);
    let duplicate = Err(JwkProblem::DuplicateKid);
    assert_eq!(twice, [Ok(("k2".to_owned(), Algorithm::EdDSA)), duplicate.clone(), duplicate.clone()]);
    // Also the very same key, and one that is of no use by itself.
    assert_eq!(read(&[named(json!("k1")), named(json!("k1"))], None), [duplicate.clone(), duplicate.clone()]);
    let encrypts = with(named(json!("k1")), "use", json!("enc"));
    assert_eq!(read(&[encrypts, named(json!("k1"))], None), [Err(JwkProblem::OtherUse), duplicate]);
}

#[test]
fn what_is_no_jwk_set_is_an_error() {
    let check = |document: &str, expected: Option<JwkSetError>| {
        assert_eq!(JwkSet::parse(document.as_bytes(), None).err(), expected, "{:.60}", document);
    };
    check(r#"{"keys":[]}"#, None);
    check(r#" {"keys":[],"more":{"a":[1]}} "#, None);
    for document in [
        "",
        "<!doctype html><title>Sign in</title>",
        "null",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[[]]}"#,
        r#"{"keys":[]}{"keys":[]}"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kty":"EC","kid":"a","kid":"b"}]}"#,
        r#"{"Keys":[]}"#,
        &format!(r#"{{"keys":[{{"kty":{}{}}}]}}"#, "[".repeat(5000), "]".repeat(5000)),
    ] {
        check(document, Some(JwkSetError::Malformed));
    }
    check(&format!(r#"{{"keys":[{}]}}"#, vec!["{}"; 100].join(",")), None);
    check(&format!(r#"{{"keys":[{}]}}"#, vec!["{}"; 101].join(",")), Some(JwkSetError::TooManyKeys));
    let padded = |len: usize| format!(r#"{{"keys":[]{}}}"#, " ".repeat(len - 11));
    check(&padded(1 << 20), None);
    check(&padded((1 << 20) + 1), Some(JwkSetError::TooLarge));
    assert_eq!(JwkSet::parse(b"{\"keys\":[],\"x\":\"\xff\"}", None).err(), Some(JwkSetError::Malformed));
}

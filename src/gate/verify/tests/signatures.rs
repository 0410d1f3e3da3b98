//! One accepted form of a signature for each algorithm (RFC 7518 §3, RFC 8037 §3.1).

use super::*;
use VerifyError::*;

const CLAIMS: &str = r#"{"sub":"alice","exp":1700003600}"#;

/// What becomes of a token of `alg` with `forge` done to its signature.
fn check(alg: Algorithm, what: &str, forge: impl FnOnce(Vec<u8>, &[u8]) -> Vec<u8>, expected: Result<(), VerifyError>) {
    let input = format!("{}.{}", fixture::b64(format!(r#"{{"alg":"{alg}"}}"#)), fixture::b64(CLAIMS));
    let signature = forge(fixture::sign(alg, input.as_bytes()), input.as_bytes());
    let found = verdict(&verifier(alg), &format!("{input}.{}", fixture::b64(signature))).map(|_| ());
    assert_eq!(found, expected, "{alg}: {what}");
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    for alg in Algorithm::ALL {
        let verifier = verifier(alg);
        let compact = fixture::token(alg, CLAIMS);
        assert!(verdict(&verifier, &compact).is_ok());
        for at in 0..compact.len() {
            for bit in 0..8 {
                let mut flipped = compact.clone().into_bytes();
                flipped[at] ^= 1 << bit;
                // What is not text does not get here: a header that holds it is no credential.
                let Ok(flipped) = String::from_utf8(flipped) else { continue };
                assert!(verdict(&verifier, &flipped).is_err(), "{alg} byte {at} bit {bit}: {flipped:?}");
            }
        }
    }
}

#[test]
fn no_two_letters_of_a_signature_can_be_swapped() {
    for alg in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
        let verifier = verifier(alg);
        let compact = fixture::token(alg, CLAIMS);
        for at in 1..compact.len() {
            let mut swapped = compact.clone().into_bytes();
            swapped.swap(at - 1, at);
            let swapped = String::from_utf8(swapped).expect("ASCII");
            assert!(swapped == compact || verdict(&verifier, &swapped).is_err(), "{alg} {at}");
        }
    }
}

#[test]
fn an_ecdsa_signature_is_r_and_s_in_range() {
    // The orders of the groups (SP 800-186 §3.2.1).
    let p256 = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let p384 = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    for (alg, order) in [(Algorithm::ES256, p256), (Algorithm::ES384, p384)] {
        let order: Vec<u8> =
            (0..order.len()).step_by(2).map(|at| u8::from_str_radix(&order[at..at + 2], 16).expect("hex")).collect();
        let len = order.len();
        let above: Vec<u8> = order[..len - 1].iter().copied().chain([order[len - 1] + 1]).collect();
        check(alg, "as it is", |signature, _| signature, Ok(()));
        for (what, value) in [("0", vec![0; len]), ("n", order), ("n + 1", above), ("2^k - 1", vec![0xff; len])] {
            check(alg, &format!("r = {what}"), |signature, _| [&value, &signature[len..]].concat(), Err(BadSignature));
            check(alg, &format!("s = {what}"), |signature, _| [&signature[..len], &value].concat(), Err(BadSignature));
            check(alg, &format!("r = s = {what}"), |_, _| [value.clone(), value.clone()].concat(), Err(BadSignature));
        }
        check(alg, "s, r", |signature, _| [&signature[len..], &signature[..len]].concat(), Err(BadSignature));
        check(alg, "DER", |signature, _| der_signature(&signature), Err(BadSignature));
        check(
            alg,
            "r and s with a zero before each",
            |signature, _| [&[0], &signature[..len], &[0], &signature[len..]].concat(),
            Err(BadSignature),
        );
    }
}

/// `ECDSA-Sig-Value` (RFC 3279 §2.2.3), which X.509 uses and JWS does not.
fn der_signature(signature: &[u8]) -> Vec<u8> {
    let integer = |value: &[u8]| {
        let zeros = value.iter().take_while(|byte| **byte == 0).count();
        let sign = usize::from(value[zeros] >= 0x80);
        let value = [&[0][..sign], &value[zeros..]].concat();
        [&[0x02, value.len() as u8], value.as_slice()].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8], body.as_slice()].concat()
}

#[test]
fn an_ed25519_signature_has_one_s() {
    // RFC 8032 §5.1.7: s is below L. s + L satisfies the equation as well.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let plus_l = |mut signature: Vec<u8>, _: &[u8]| {
        let mut carry = 0;
        for (byte, addend) in signature[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(addend) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert_eq!(carry, 0);
        signature
    };
    check(Algorithm::EdDSA, "as it is", |signature, _| signature, Ok(()));
    check(Algorithm::EdDSA, "s + L", plus_l, Err(BadSignature));
    // The neutral element as R, with s = 0.
    let neutral = [&[1_u8][..], &[0; 63]].concat();
    check(Algorithm::EdDSA, "R = 1, s = 0", |_, _| neutral, Err(BadSignature));
}

#[test]
fn rsa_signatures_have_the_padding_of_their_algorithm() {
    use aws_lc_rs::signature::{self, RsaPssSaltLength, RsaSignatureEncoding};
    const fn salted(len: u16) -> RsaSignatureEncoding {
        signature::RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(len))
    }
    // RFC 7518 §3.5: the salt has the size of the hash.
    static SALTED: [RsaSignatureEncoding; 6] = [salted(0), salted(1), salted(20), salted(31), salted(33), salted(64)];
    static AS_IT_SHOULD_BE: RsaSignatureEncoding = salted(32);
    static LONGEST: RsaSignatureEncoding = signature::RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
    let with = |encoding| move |_, input: &[u8]| fixture::sign_rsa(encoding, input);
    check(Algorithm::PS256, "salt of 32", with(&AS_IT_SHOULD_BE), Ok(()));
    check(Algorithm::PS256, "longest salt", with(&LONGEST), Err(BadSignature));
    for encoding in &SALTED {
        check(Algorithm::PS256, "another salt", with(encoding), Err(BadSignature));
    }
    check(Algorithm::PS256, "PKCS #1", with(&signature::RSA_PKCS1_SHA256), Err(BadSignature));
    check(Algorithm::RS256, "PSS", with(&signature::RSA_PSS_SHA256), Err(BadSignature));
    check(Algorithm::RS256, "SHA-384", with(&signature::RSA_PKCS1_SHA384), Err(BadSignature));
    check(Algorithm::PS256, "SHA-512", with(&signature::RSA_PSS_SHA512), Err(BadSignature));
}

#[test]
fn a_mac_is_of_its_own_hash_and_key() {
    for (alg, other) in [
        (Algorithm::HS256, Algorithm::HS512),
        (Algorithm::HS512, Algorithm::HS256),
        (Algorithm::HS384, Algorithm::HS512),
    ] {
        check(alg, "another hash", |_, input| fixture::sign(other, input), Err(BadSignature));
    }
    check(Algorithm::HS512, "cut to 32 bytes", |tag, _| tag[..32].to_vec(), Err(BadSignature));
    let empty = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"");
    let with_empty = |_, input: &[u8]| aws_lc_rs::hmac::sign(&empty, input).as_ref().to_vec();
    check(Algorithm::HS256, "an empty secret", with_empty, Err(BadSignature));
}

#[test]
fn a_signature_is_for_its_own_text() {
    let verifier = verifier(Algorithm::ES256);
    let [one, two] = ["alice", "bob"].map(|sub| {
        let claims = format!(r#"{{"sub":"{sub}","exp":1700003600}}"#);
        fixture::token(Algorithm::ES256, &claims)
    });
    let (input, _) = one.rsplit_once('.').expect("a token");
    let (_, signature) = two.rsplit_once('.').expect("a token");
    assert!(verdict(&verifier, &one).is_ok() && verdict(&verifier, &two).is_ok());
    // Both halves are remembered, and their sum is not.
    assert_eq!(verdict(&verifier, &format!("{input}.{signature}")), Err(BadSignature));
}

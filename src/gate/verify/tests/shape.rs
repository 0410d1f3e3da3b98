//! The text of a token: compact serialization and strict base64url (RFC 7515 §2, §7.1; RFC 4648 §3).

use super::*;
use VerifyError::*;

const CLAIMS: &str = r#"{"sub":"alice","exp":1700003600}"#;

fn check(compact: &str, expected: Result<(), VerifyError>) {
    let found = verdict(&verifier(Algorithm::HS256), compact).map(|_| ());
    assert_eq!(found, expected, "{}", compact.get(..300).unwrap_or(compact));
}

/// Header, payload and signature of a good token.
fn parts() -> [String; 3] {
    let compact = fixture::token(Algorithm::HS256, CLAIMS);
    let mut parts = compact.split('.').map(str::to_owned);
    std::array::from_fn(|_| parts.next().expect("three parts"))
}

/// `header.payload` signed as they stand, whatever they are.
fn signed(header: &str, payload: &str) -> String {
    let input = format!("{header}.{payload}");
    format!("{input}.{}", fixture::b64(fixture::sign(Algorithm::HS256, input.as_bytes())))
}

#[test]
fn a_token_has_exactly_three_parts() {
    let [header, payload, signature] = parts();
    check(&format!("{header}.{payload}.{signature}"), Ok(()));
    check(&format!("{header}.{payload}."), Err(Unsigned));
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        header.clone(),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}.{payload}.{signature}."),
        format!(".{header}.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.{payload}..{signature}"),
        format!("{header}.{payload}.{signature}.a.b"),
        format!("{header},{payload},{signature}"),
        format!("\"{header}.{payload}.{signature}\""),
        format!("Bearer {header}.{payload}.{signature}"),
    ] {
        assert!(verdict(&verifier(Algorithm::HS256), &bad).is_err(), "{bad}");
    }
}

#[test]
fn base64url_has_one_spelling() {
    let [header, payload, signature] = parts();
    for (stray, at) in ["=", "==", " ", "\n", "\r\n", "\t", "\0", "%3D", "+", "/", "\u{a0}", "A", "AA", "AAA", "AAAA"]
        .into_iter()
        .flat_map(|stray| [(stray, "end"), (stray, "start")])
    {
        let strayed = |part: &str| if at == "end" { format!("{part}{stray}") } else { format!("{stray}{part}") };
        let bad = [
            signed(&strayed(&header), &payload),
            signed(&header, &strayed(&payload)),
            format!("{header}.{payload}.{}", strayed(&signature)),
            format!("{}.{payload}.{signature}", strayed(&header)),
        ];
        for compact in bad {
            assert!(verdict(&verifier(Algorithm::HS256), &compact).is_err(), "{compact:?}");
        }
    }
    // 0xfb 0xff: `-_8` here, `+/8` in the standard alphabet.
    let header = fixture::b64(r#"{"alg":"HS256","x":"~~~???>>>"}"#);
    assert!(header.contains(['-', '_']));
    check(&signed(&header, &payload), Ok(()));
    check(&signed(&header.replace('-', "+").replace('_', "/"), &payload), Err(Malformed));
}

#[test]
fn bits_that_mean_nothing_are_zero() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // A last letter that carries four or two bits has neighbours that decode to the same bytes.
    let twins = |part: &str| -> Vec<String> {
        let spare = match part.len() % 4 {
            2 => 4,
            3 => 2,
            _ => 0,
        };
        let (rest, last) = part.split_at(part.len() - 1);
        let value = ALPHABET.iter().position(|letter| *letter == last.as_bytes()[0]).expect("base64url");
        (1..1 << spare).map(|stray| format!("{rest}{}", char::from(ALPHABET[value | stray]))).collect()
    };
    let [header, payload, signature] = parts();
    let mut tried = 0;
    for twin in twins(&signature) {
        check(&format!("{header}.{payload}.{twin}"), Err(Malformed));
        tried += 1;
    }
    // One and two bytes beyond a multiple of three, properly signed as they are spelled.
    for pad in ["", " ", "  "] {
        let header = fixture::b64(format!("{{\"alg\":\"HS256\"}}{pad}"));
        check(&signed(&header, &payload), Ok(()));
        for twin in twins(&header) {
            check(&signed(&twin, &payload), Err(Malformed));
            tried += 1;
        }
        let payload = fixture::b64(format!("{CLAIMS}{pad}"));
        for twin in twins(&payload) {
            check(&signed(&header, &twin), Err(Malformed));
            tried += 1;
        }
    }
    assert_eq!(tried, 3 + 2 * (15 + 3));
}

#[test]
fn a_signature_is_neither_shorter_nor_longer() {
    for alg in Algorithm::ALL {
        let compact = fixture::token(alg, CLAIMS);
        let (input, _) = compact.rsplit_once('.').expect("a token");
        let signature = fixture::sign(alg, input.as_bytes());
        let check = |signature: &[u8]| {
            let found = verdict(&verifier(alg), &format!("{input}.{}", fixture::b64(signature)));
            assert_eq!(
                found,
                Err(if signature.is_empty() { Unsigned } else { BadSignature }),
                "{alg} {}",
                signature.len()
            );
        };
        for len in 0..signature.len() {
            check(&signature[..len]);
        }
        for extension in [&[0][..], &[1], &signature, &[0; 64]] {
            check(&[&signature, extension].concat());
            check(&[extension, &signature].concat());
        }
        check(&vec![0; signature.len()]);
        check(&vec![0xff; signature.len()]);
    }
}

#[test]
fn the_largest_signature_is_read_and_no_larger_one() {
    let [header, payload, _] = parts();
    // RSA with 8192 bits has 1024 bytes.
    check(&format!("{header}.{payload}.{}", fixture::b64([1; 1024])), Err(BadSignature));
    check(&format!("{header}.{payload}.{}", fixture::b64([1; 1025])), Err(Malformed));
}

#[test]
fn a_token_is_no_longer_than_is_read() {
    let compact = |len: usize| {
        let claims = format!(r#"{{"sub":"alice","exp":1700003600,"x":"{}"}}"#, "x".repeat(len));
        fixture::token(Algorithm::HS256, &claims)
    };
    let overhead = compact(0).len();
    let largest = (MAX_TOKEN_BYTES - overhead) / 4 * 3;
    assert!(compact(largest).len() <= MAX_TOKEN_BYTES && compact(largest + 3).len() > MAX_TOKEN_BYTES);
    check(&compact(largest), Ok(()));
    check(&compact(largest + 3), Err(Malformed));
    check(&compact(1 << 20), Err(Malformed));
    check(&".".repeat(MAX_TOKEN_BYTES), Err(Malformed));
    check(&"eyJ".repeat(1 << 16), Err(Malformed));
}

#[test]
fn text_that_is_not_ascii_is_malformed() {
    for bad in ["ä.ö.ü", "\u{feff}a.b.c", "a.b.\u{ff0e}", "eyJhbGciOiJIUzI1NiJ9.AA.文"] {
        check(bad, Err(Malformed));
    }
    check("eyJhbGciOiJIUzI1NiJ9.文.AA", Err(BadSignature)); // the payload is not looked at before
}

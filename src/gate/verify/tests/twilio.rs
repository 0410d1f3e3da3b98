//! Twilio access tokens, as Twilio's libraries mint them for Python and Node, and as nobody should.

use super::*;
use crate::secret::Secret;
use VerifyError::*;

const SID: &str = "SK11111111111111111111111111111111";

const HEADER: &str = r#"{"alg":"HS256","cty":"twilio-fpa;v=1","typ":"JWT"}"#;

fn twilio(sid: &str, alg: Algorithm) -> VerifyingKey {
    VerifyingKey::twilio(sid, alg, &Secret::new(fixture::SECRET.clone())).expect("a key")
}

fn check_at(now: u64, rules: TimeRules, payload: &str, expected: Result<&str, VerifyError>) {
    let verifier = Verifier::new(vec![(twilio(SID, Algorithm::HS256), Exclusive::Yes)], rules, UidCase::Folded);
    let compact = fixture::compact(Algorithm::HS256, HEADER, payload);
    let found = verdict_at(&verifier, &compact, Duration::from_secs(now));
    assert_eq!(found.as_deref().map_err(|error| *error), expected, "{payload} at {now}");
}

/// A token whose payload is `payload` as it is, at [`NOW`].
fn check(payload: &str, expected: Result<&str, VerifyError>) {
    check_at(NOW, RULES, payload, expected);
}

/// A payload with alice's identity and `members`, minted at `minted`.
fn with(minted: i64, members: &str) -> String {
    format!(
        r#"{{"jti":"{SID}-{minted}","grants":{{"identity":"alice","chat":{{}}}},"iss":"{SID}","sub":"AC0",{members}}}"#
    )
}

#[test]
fn what_the_libraries_mint_is_accepted() {
    let (now, exp) = (NOW as i64, NOW + 3600);
    for members in [
        format!(r#""exp":{exp},"nbf":{now}"#),                // Python
        format!(r#""exp":{exp},"iat":{now}"#),                // Node
        format!(r#""exp":{exp},"iat":{now},"nbf":{now}"#),    // Node with nbf
        format!(r#""exp":{exp}"#),                            // Python with nbf=None
        format!(r#""exp":{exp}.5,"nbf":{now}"#),              // Python with ttl=3600.5
        format!(r#""nbf":{now},"exp":{exp},"x":{{"y":[]}}"#), // whatever comes later
    ] {
        check(&with(now, &members), Ok("alice"));
    }
    // In the order and with the grants of FORMATS; the identity folds like any uid.
    let grants = r#"{"chat":{"service_sid":"IS2","endpoint_id":"e"},"video":{"room":"r"},"identity":"Alice@Example"}"#;
    check(
        &format!(r#"{{"jti":"{SID}-{now}","grants":{grants},"iss":"{SID}","sub":"AC0","nbf":{now},"exp":{exp}}}"#),
        Ok("alice@example"),
    );
}

#[test]
fn every_mac_verifies_and_the_key_says_which() {
    for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let verifier = verifier_of(vec![(twilio(SID, alg), Exclusive::Yes)]);
        let payload = with(NOW as i64, &format!(r#""exp":{}"#, NOW + 60));
        for named in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let header = HEADER.replace("HS256", named.name());
            let found = verdict(&verifier, &fixture::compact(named, &header, &payload)).map(drop);
            assert_eq!(found, if named == alg { Ok(()) } else { Err(WrongAlgorithm) }, "{alg} {named}");
        }
    }
}

#[test]
fn twilio_secrets_have_32_bytes_whatever_the_algorithm() {
    let secret = Secret::new("kT4wNz0QeYvB8mRj2LsXc6HgUa9PdF7i");
    for alg in Algorithm::ALL {
        let found = VerifyingKey::twilio(SID, alg, &secret).map(drop);
        assert_eq!(found, if alg.is_hmac() { Ok(()) } else { Err(KeyError::WrongKind(alg)) });
        let short = VerifyingKey::twilio(SID, alg, &Secret::new("kT4wNz0QeYvB8mRj2LsXc6HgUa9PdF7")).err();
        let expected = KeyError::ShortSecret { alg, found: 31, min: 32 };
        assert_eq!(short, Some(if alg.is_hmac() { expected } else { KeyError::WrongKind(alg) }));
    }
    let trivial = VerifyingKey::twilio(SID, Algorithm::HS256, &Secret::new("a".repeat(32))).err();
    assert_eq!(trivial, Some(KeyError::TrivialSecret));
}

#[test]
fn lifetimes_are_checked_here_because_the_libraries_do_not() {
    let now = NOW as i64;
    for (ttl, expected) in [
        (3600, Ok("alice")),
        (86_400, Ok("alice")),
        (86_401, Err(LivesTooLong)),
        (1_000_000_000, Err(LivesTooLong)),
        (0, Err(Expired)),
        (-5, Err(Expired)),
    ] {
        for begin in [format!(r#","nbf":{now}"#), format!(r#","iat":{now}"#), String::new()] {
            check(&with(now, &format!(r#""exp":{}{begin}"#, now + ttl)), expected);
        }
    }
    // A fraction more than a day, and less than a second of life.
    check(&with(now, &format!(r#""exp":{}.5,"nbf":{now}"#, now + 86_400)), Err(LivesTooLong));
    check(&with(now, &format!(r#""exp":{now}.5,"nbf":{now}"#)), Ok("alice"));
    // An old `nbf` that was given makes it longer than it lived.
    let old = |ago: i64| with(now, &format!(r#""exp":{},"nbf":{}"#, now + 3600, now - ago));
    check(&old(82_800), Ok("alice"));
    check(&old(82_801), Err(LivesTooLong));
    // The time in `jti` counts where there is no other; Python reads the clock for each claim.
    check(&with(now - 1, &format!(r#""exp":{},"nbf":{now}"#, now + 86_400)), Ok("alice"));
    check(&with(now - 1, &format!(r#""exp":{}"#, now + 86_400)), Err(LivesTooLong));
    check(&with(now, r#""exp":253402300800"#), Err(Malformed));
    check(&with(now, r#""exp":-1"#), Err(Malformed));
    for exp in [format!("\"{}\"", now + 60), "null".into(), "true".into(), "1e400".into()] {
        check(&with(now, &format!(r#""exp":{exp}"#)), Err(Malformed));
    }
    check(&with(now, r#""x":1"#), Err(Malformed));
}

#[test]
fn an_app_may_allow_less_than_a_day_and_never_more() {
    let now = NOW as i64;
    let ttl = |max: u64, ttl: i64, expected| {
        let rules = TimeRules { max_ttl: Duration::from_secs(max), ..RULES };
        check_at(NOW, rules, &with(now, &format!(r#""exp":{}"#, now + ttl)), expected);
    };
    ttl(600, 600, Ok("alice"));
    ttl(600, 601, Err(LivesTooLong));
    ttl(31_536_000, 86_400, Ok("alice"));
    ttl(31_536_000, 86_401, Err(LivesTooLong));
}

#[test]
fn a_token_of_another_time_is_refused() {
    let now = NOW as i64;
    check(&with(now, &format!(r#""exp":{},"nbf":{}"#, now + 60, now + 1)), Err(NotYetValid));
    check(&with(now + 1, &format!(r#""exp":{}"#, now + 60)), Err(IssuedInFuture));
    check(&with(now + 1, &format!(r#""exp":{},"nbf":{now}"#, now + 60)), Err(IssuedInFuture));
    check(&with(now + 1, &format!(r#""exp":{},"iat":{}"#, now + 60, now + 1)), Err(IssuedInFuture));
    check(&with(now - 60, &format!(r#""exp":{now}"#)), Err(Expired));
    let leeway = TimeRules { leeway: Duration::from_secs(5), ..RULES };
    check_at(NOW, leeway, &with(now - 60, &format!(r#""exp":{}"#, now - 4)), Ok("alice"));
}

#[test]
fn the_earliest_time_is_when_it_was_issued() {
    let verifier = verifier_of(vec![(twilio(SID, Algorithm::HS256), Exclusive::Yes)]);
    let now = NOW as i64;
    let issued = |jti: &str, times: &str| {
        let exp = NOW + 60;
        let payload = format!(r#"{{{jti}"grants":{{"identity":"alice"}},"iss":"{SID}","exp":{exp}{times}}}"#);
        let compact = fixture::compact(Algorithm::HS256, HEADER, payload);
        let mut scratch = Scratch::default();
        let found = verifier.verify(&compact, &mut scratch, Duration::from_secs(NOW));
        found.map(|claims| now - claims.issued_at().map_or(0, |at| at as i64))
    };
    let minted = |ago: i64| format!(r#""jti":"{SID}-{}","#, now - ago);
    assert_eq!(issued(&minted(7), ""), Ok(7));
    assert_eq!(issued(&minted(7), &format!(r#","nbf":{now}"#)), Ok(7));
    assert_eq!(issued(&minted(7), &format!(r#","nbf":{}"#, now - 9)), Ok(9));
    assert_eq!(issued(&minted(7), &format!(r#","iat":{},"nbf":{now}"#, now - 8)), Ok(8));
    assert_eq!(issued(&minted(7), &format!(r#","iat":{},"nbf":{}"#, now - 6, now - 9)), Ok(7));
    assert_eq!(issued("", &format!(r#","iat":{}"#, now - 3)), Ok(3));
    assert_eq!(issued("\"jti\":\"mine\",", &format!(r#","nbf":{}"#, now - 3)), Ok(3));
    // Without any, flushes could not tell whether it is one of those: refused.
    assert_eq!(issued("", ""), Err(Malformed));
    for wrong in ["", "-", "-0x65", "-1e9", "-+1", "--1", "-01", "-1 ", "-999999999999", "-99999999999999999999"] {
        assert_eq!(issued(&format!(r#""jti":"{SID}{wrong}","#), ""), Err(Malformed), "{wrong}");
    }
    assert_eq!(issued(&format!(r#""jti":"SK2-{now}","#), ""), Err(Malformed), "another key's");
}

#[test]
fn the_identity_is_one_well_formed_string() {
    let exp = NOW + 60;
    let grants = |grants: &str, expected| {
        check(&format!(r#"{{"jti":"{SID}-{NOW}","grants":{grants},"iss":"{SID}","sub":"AC0","exp":{exp}}}"#), expected);
    };
    grants(r#"{"identity":"a@b|!~"}"#, Ok("a@b|!~"));
    for missing in ["{}", r#"{"chat":{"identity":"alice"}}"#, "null", "[]", "\"alice\"", "1"] {
        grants(missing, Err(Malformed));
    }
    for wrong in ["1", "null", "true", "[\"alice\"]", "{\"identity\":\"alice\"}"] {
        grants(&format!(r#"{{"identity":{wrong}}}"#), Err(Malformed));
    }
    for bad in ["", " ", "a b", "ä", "alice\\u0000", &"a".repeat(256)] {
        grants(&format!(r#"{{"identity":"{bad}"}}"#), Err(BadUid));
    }
    grants(r#"{"identity":"alice","identity":"alice"}"#, Err(Malformed));
    check(&format!(r#"{{"jti":"{SID}-{NOW}","iss":"{SID}","sub":"alice","exp":{exp}}}"#), Err(Malformed));
    check(&format!(r#"{{"jti":"{SID}-{NOW}","identity":"alice","iss":"{SID}","exp":{exp}}}"#), Err(Malformed));
    let twice = format!(r#""exp":{exp},"grants":{{"identity":"bob"}}"#);
    check(&with(NOW as i64, &twice), Err(Malformed));
}

#[test]
fn claims_that_would_narrow_a_fat_are_not_passed_over() {
    for claim in [
        r#""app":"demo""#,
        r#""path":"/demo/a""#,
        r#""sid":"s""#,
        r#""uid":"alice""#,
        r#""aud":"media""#,
        r#""app":null"#,
    ] {
        check(&with(NOW as i64, &format!(r#""exp":{},{claim}"#, NOW + 60)), Err(Malformed));
    }
    check(&with(NOW as i64, &format!(r#""exp":{},"sub2":1"#, NOW + 60)), Ok("alice"));
}

#[test]
fn the_header_says_what_it_is_and_the_issuer_which_key() {
    let other = VerifyingKey::twilio("SK2", Algorithm::HS256, &Secret::new(*b"another secret, of 32 bytes! 0123"));
    let keys = || {
        vec![
            (fixture::verifying_key(Algorithm::HS256), Exclusive::Yes),
            (twilio(SID, Algorithm::HS256), Exclusive::Yes),
            (other.clone().expect("a key"), Exclusive::Yes),
        ]
    };
    let check = |header: &str, payload: &str, expected: Result<&str, VerifyError>| {
        let verifier = verifier_of(keys());
        // Twice, and between them a token of another key with the same header: nothing is remembered of it.
        for _ in 0..2 {
            let found = verdict(&verifier, &fixture::compact(Algorithm::HS256, header, payload));
            assert_eq!(found.as_deref().map_err(|error| *error), expected, "{header} {payload}");
            let good = fixture::compact(Algorithm::HS256, HEADER, with(NOW as i64, &format!(r#""exp":{}"#, NOW + 60)));
            assert_eq!(verdict(&verifier, &good).as_deref(), Ok("alice"));
        }
    };
    let fat = format!(r#"{{"sub":"alice","exp":{},"iss":"{SID}"}}"#, NOW + 60);
    let twilio = with(NOW as i64, &format!(r#""exp":{}"#, NOW + 60));
    check(r#"{"alg":"HS256","kid":"k1"}"#, &fat, Ok("alice"));
    check(HEADER, &twilio, Ok("alice"));
    check(r#"{"alg":"HS256","cty":"twilio-fpa;v=1","twr":"ie1","typ":"JWT"}"#, &twilio, Ok("alice"));
    check(r#"{"alg":"HS256","cty":"twilio-fpa;v=1"}"#, &twilio, Ok("alice"));
    // A key of one kind takes no token of the other.
    check(&format!(r#"{{"alg":"HS256","kid":"{SID}"}}"#), &fat, Err(UnknownKey));
    check(&format!(r#"{{"alg":"HS256","kid":"{SID}"}}"#), &twilio, Err(UnknownKey));
    check(r#"{"alg":"HS256","kid":"k1"}"#, &twilio, Ok("ac0")); // a FAT by its header, and read as one
    check(r#"{"alg":"HS256"}"#, &twilio, Err(UnknownKey));
    check(HEADER, &fat, Err(Malformed));
    check(HEADER, &twilio.replace(SID, "k1"), Err(UnknownKey));
    check(HEADER, &twilio.replace(SID, "SK2"), Err(BadSignature));
    for sid in ["SK3", "", "sk11111111111111111111111111111111", "SK*", "../SK2"] {
        check(HEADER, &twilio.replace(SID, sid), Err(UnknownKey));
    }
    check(HEADER, &format!(r#"{{"grants":{{"identity":"alice"}},"exp":{}}}"#, NOW + 60), Err(Malformed));
    check(HEADER, "[]", Err(Malformed));
    // Two names for one key, another content, another type.
    let with_kid = format!(r#"{{"alg":"HS256","cty":"twilio-fpa;v=1","kid":"{SID}"}}"#);
    check(&with_kid, &twilio, Err(UnsupportedHeader));
    for cty in ["twilio-fpa;v=2", "twilio-fpa", "Twilio-fpa;v=1", "twilio-fpa; v=1", "JWT", ""] {
        check(&format!(r#"{{"alg":"HS256","cty":"{cty}","typ":"JWT"}}"#), &twilio, Err(UnsupportedHeader));
    }
    check(r#"{"alg":"HS256","cty":1}"#, &twilio, Err(Malformed));
    check(r#"{"alg":"none","cty":"twilio-fpa;v=1"}"#, &twilio, Err(WrongAlgorithm));
    check(r#"{"alg":"HS256","cty":"twilio-fpa;v=1","typ":"at+jwt"}"#, &twilio, Err(ForeignType));
}

#[test]
fn a_key_alone_is_no_default_for_tokens_of_the_other_kind() {
    let fat = format!(r#"{{"sub":"alice","exp":{}}}"#, NOW + 60);
    let twilio_token = with(NOW as i64, &format!(r#""exp":{}"#, NOW + 60));
    let only_twilio = verifier_of(vec![(twilio(SID, Algorithm::HS256), Exclusive::Yes)]);
    let found = verdict(&only_twilio, &fixture::compact(Algorithm::HS256, r#"{"alg":"HS256"}"#, fat));
    assert_eq!(found, Err(UnknownKey));
    let only_fat = verifier(Algorithm::HS256);
    let found = verdict(&only_fat, &fixture::compact(Algorithm::HS256, HEADER, twilio_token));
    assert_eq!(found, Err(UnknownKey));
}

#[test]
fn nothing_but_the_signature_of_the_named_key_opens() {
    let verifier = verifier_of(vec![(twilio(SID, Algorithm::HS256), Exclusive::Yes)]);
    let payload = with(NOW as i64, &format!(r#""exp":{}"#, NOW + 60));
    let compact = fixture::compact(Algorithm::HS256, HEADER, payload);
    assert!(verdict(&verifier, &compact).is_ok());
    for at in 0..compact.len() {
        let mut flipped = compact.clone().into_bytes();
        flipped[at] ^= 1;
        let flipped = String::from_utf8(flipped).expect("ASCII");
        assert!(verdict(&verifier, &flipped).is_err(), "{at}");
    }
}

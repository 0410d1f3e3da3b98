//! What claims must say (DESIGN, *Tokens*; RFC 7519 §4.1).

use super::*;
use VerifyError::*;

/// A token whose payload is `payload` as it is, at [`NOW`].
fn check(payload: &str, expected: Result<&str, VerifyError>) {
    check_at(NOW as f64, RULES, payload, expected);
}

fn check_at(now: f64, rules: TimeRules, payload: &str, expected: Result<&str, VerifyError>) {
    let keys = vec![(fixture::verifying_key(Algorithm::HS256), Exclusive::Yes)];
    let verifier = Verifier::new(keys, rules, UidCase::Folded);
    let compact = fixture::token(Algorithm::HS256, payload);
    let found = verdict_at(&verifier, &compact, Duration::from_secs_f64(now));
    assert_eq!(found.as_deref().map_err(|error| *error), expected, "{payload} at {now}");
}

/// A token with `members` beside a good `sub` and `exp`.
fn check_with(members: &str, expected: Result<&str, VerifyError>) {
    check(&with(members), expected);
}

fn with(members: &str) -> String {
    format!(r#"{{"sub":"alice","exp":1700003600,{members}}}"#)
}

#[test]
fn a_token_expires_on_the_second_named_by_exp() {
    // RFC 7519 §4.1.4: "on or after".
    const TOKEN: &str = r#"{"sub":"alice","exp":1700000000}"#;
    let leeway = TimeRules { leeway: Duration::from_secs(5), ..RULES };
    check_at(1_699_999_999.0, RULES, TOKEN, Ok("alice"));
    check_at(1_699_999_999.999, RULES, TOKEN, Ok("alice"));
    check_at(1_700_000_000.0, RULES, TOKEN, Err(Expired));
    check_at(1_700_000_004.999, leeway, TOKEN, Ok("alice"));
    check_at(1_700_000_005.0, leeway, TOKEN, Err(Expired));
    check_at(0.0, RULES, TOKEN, Err(LivesTooLong)); // a clock before 1970 lets nobody in
    const FRACTION: &str = r#"{"sub":"alice","exp":1700000000.5}"#;
    check_at(1_700_000_000.25, RULES, FRACTION, Ok("alice"));
    check_at(1_700_000_000.5, RULES, FRACTION, Err(Expired));
}

#[test]
fn exp_is_required_and_is_a_number() {
    check(r#"{"sub":"alice"}"#, Err(Malformed));
    for exp in ["\"1700003600\"", "null", "true", "false", "[1700003600]", "{}", "{\"exp\":1}", "-1", "-1.5", "1e400"] {
        check(&format!(r#"{{"sub":"alice","exp":{exp}}}"#), Err(Malformed));
    }
    for exp in ["-1e400", "NaN", "Infinity", "-Infinity", "\"NaN\"", "nan", "0x65", "01700003600", "+1", "1.", ".5", ""]
    {
        check(&format!(r#"{{"sub":"alice","exp":{exp}}}"#), Err(Malformed));
    }
    // After the year 9999: milliseconds taken for seconds, or worse.
    for exp in ["253402300800", "1700003600000", "18446744073709551615", "18446744073709551616", "1e300"] {
        check(&format!(r#"{{"sub":"alice","exp":{exp}}}"#), Err(Malformed));
    }
    for exp in ["0", "-0", "-0.0", "1e-400"] {
        check(&format!(r#"{{"sub":"alice","exp":{exp}}}"#), Err(Expired));
    }
    for exp in ["1700003600", "1700003600.0", "1.7000036e9", "17000036E2", "1700003600.999"] {
        check(&format!(r#"{{"sub":"alice","exp":{exp}}}"#), Ok("alice"));
    }
}

#[test]
fn nbf_and_iat_are_honoured_when_present() {
    let leeway = TimeRules { leeway: Duration::from_secs(5), ..RULES };
    for (claim, error) in [("nbf", NotYetValid), ("iat", IssuedInFuture)] {
        check_with(&format!(r#""{claim}":1700000000"#), Ok("alice"));
        check_with(&format!(r#""{claim}":1700000000.5"#), Err(error));
        check_with(&format!(r#""{claim}":1700000001"#), Err(error));
        check_at(1_700_000_000.0, leeway, &with(&format!(r#""{claim}":1700000005"#)), Ok("alice"));
        check_at(1_700_000_000.0, leeway, &with(&format!(r#""{claim}":1700000006"#)), Err(error));
        for wrong in ["\"1700000000\"", "null", "true", "[]", "{}", "-1", "1e400", "253402300800"] {
            check_with(&format!(r#""{claim}":{wrong}"#), Err(Malformed));
        }
    }
}

#[test]
fn no_token_lives_longer_than_allowed() {
    let check = |payload: &str, expected| check(payload, expected);
    // From iat, from nbf where there is no iat, from now where there is neither.
    check(r#"{"sub":"alice","exp":1700003600,"iat":1699917200}"#, Ok("alice"));
    check(r#"{"sub":"alice","exp":1700003600,"iat":1699917199}"#, Err(LivesTooLong));
    check(r#"{"sub":"alice","exp":1700003600,"nbf":1699917200}"#, Ok("alice"));
    check(r#"{"sub":"alice","exp":1700003600,"nbf":1699917199}"#, Err(LivesTooLong));
    check(r#"{"sub":"alice","exp":1700003600,"iat":1699917199,"nbf":1700000000}"#, Err(LivesTooLong));
    check(r#"{"sub":"alice","exp":1700086400}"#, Ok("alice"));
    check(r#"{"sub":"alice","exp":1700086401}"#, Err(LivesTooLong));
    check(r#"{"sub":"alice","exp":253402300799}"#, Err(LivesTooLong));
}

#[test]
fn time_rules_of_any_size_do_not_overflow() {
    let rules = TimeRules { leeway: Duration::MAX, max_ttl: Duration::MAX };
    check_at(1_700_000_000.0, rules, r#"{"sub":"alice","exp":1,"iat":253402300799}"#, Ok("alice"));
}

#[test]
fn issuer_and_audience_are_compared_exactly() {
    let verifier = || {
        let key = fixture::verifying_key(Algorithm::HS256).with_issuer("https://b.example").with_audience("media");
        verifier_of(vec![(key, Exclusive::Yes)])
    };
    let check = |members: &str, expected: Result<&str, VerifyError>| {
        let found = verdict(&verifier(), &fixture::token(Algorithm::HS256, &with(members)));
        assert_eq!(found.as_deref().map_err(|error| *error), expected, "{members}");
    };
    check(r#""iss":"https://b.example","aud":"media""#, Ok("alice"));
    check(r#""iss":"https://b.example","aud":["other","media"]"#, Ok("alice"));
    check(r#""iss":"https:\/\/b.example","aud":"\u006dedia""#, Ok("alice"));
    for iss in ["https://b.example/", "https://B.example", "http://b.example", "", " https://b.example", "b"] {
        check(&format!(r#""iss":"{iss}","aud":"media""#), Err(WrongIssuer));
    }
    check(r#""aud":"media""#, Err(WrongIssuer));
    for aud in ["\"Media\"", "\"media2\"", "\"\"", "[]", "[\"a\"]", "\"media,other\"", "[\"media \"]"] {
        check(&format!(r#""iss":"https://b.example","aud":{aud}"#), Err(WrongAudience));
    }
    check(r#""iss":"https://b.example""#, Err(WrongAudience));
    for iss in ["null", "1", "true", "[\"https://b.example\"]", "{}"] {
        check(&format!(r#""iss":{iss},"aud":"media""#), Err(Malformed));
    }
    let many = format!("[{}]", vec!["\"media\""; 65].join(","));
    for aud in ["null", "1", "{\"media\":true}", "[\"media\",1]", "[[\"media\"]]", "[null]", &many] {
        check(&format!(r#""iss":"https://b.example","aud":{aud}"#), Err(Malformed));
    }
}

#[test]
fn issuer_and_audience_have_their_type_even_where_nobody_asks() {
    check_with(r#""iss":"anybody","aud":["a","b"]"#, Ok("alice"));
    check_with(r#""iss":1"#, Err(Malformed));
    check_with(r#""aud":1"#, Err(Malformed));
}

#[test]
fn a_uid_is_1_to_255_visible_ascii_characters() {
    let sub = |sub: &str, expected| check(&format!(r#"{{"sub":{sub},"exp":1700003600}}"#), expected);
    let longest = "a".repeat(255);
    sub(&format!("\"{longest}\""), Ok(&longest));
    sub(&format!("\"{longest}a\""), Err(BadUid));
    sub(r#""a@b.example|!~""#, Ok("a@b.example|!~"));
    sub(r#""\u0061lice""#, Ok("alice"));
    for bad in
        ["\"\"", "\" \"", "\"a b\"", "\"alice \"", "\"\\talice\"", "\"a\\u0000\"", "\"a\\u007f\"", "\"ä\"", "\"文\""]
    {
        sub(bad, Err(BadUid));
    }
    // Letters that fold to ASCII outside of ASCII: the Kelvin sign and the long s.
    sub("\"\u{212a}elvin\"", Err(BadUid));
    sub("\"alice\u{17f}\"", Err(BadUid));
    for wrong in ["1", "null", "true", "[\"alice\"]", "{\"sub\":\"alice\"}", "\"\\ud800\"", "\"a\nb\"", "'alice'"] {
        sub(wrong, Err(Malformed));
    }
    check(r#"{"exp":1700003600}"#, Err(Malformed));
}

#[test]
fn uids_are_folded_unless_the_app_says_exact() {
    let check = |case, sub: &str, uid: &str| {
        let keys = vec![(fixture::verifying_key(Algorithm::HS256), Exclusive::Yes)];
        let compact = fixture::token(Algorithm::HS256, &format!(r#"{{"sub":"{sub}","exp":1700003600}}"#));
        assert_eq!(verdict(&Verifier::new(keys, RULES, case), &compact).as_deref(), Ok(uid));
    };
    check(UidCase::Folded, "Alice@EXAMPLE", "alice@example");
    check(UidCase::Exact, "Alice@EXAMPLE", "Alice@EXAMPLE");
}

#[test]
fn a_uid_beside_sub_is_the_same_user() {
    check_with(r#""uid":"alice""#, Ok("alice"));
    check_with(r#""uid":"ALICE""#, Ok("alice"));
    check_with(r#""uid":"bob""#, Err(ConflictingUid));
    check_with(r#""uid":"alice ""#, Err(BadUid));
    check_with(r#""uid":"""#, Err(BadUid));
    for wrong in ["1", "null", "[\"alice\"]"] {
        check_with(&format!(r#""uid":{wrong}"#), Err(Malformed));
    }
    check(r#"{"uid":"alice","exp":1700003600}"#, Err(Malformed));
}

#[test]
fn ids_are_strings_of_1_to_255_bytes() {
    for claim in ["sid", "jti", "app"] {
        check_with(&format!(r#""{claim}":"{}""#, "x".repeat(255)), Ok("alice"));
        check_with(&format!(r#""{claim}":"{}""#, "x".repeat(256)), Err(Malformed));
        for wrong in ["\"\"", "1", "null", "true", "[\"x\"]", "{}"] {
            check_with(&format!(r#""{claim}":{wrong}"#), Err(Malformed));
        }
    }
}

#[test]
fn a_key_of_several_apps_needs_the_app_claim() {
    let check = |exclusive, members: &str, expected: Result<&str, VerifyError>| {
        let verifier = verifier_of(vec![(fixture::verifying_key(Algorithm::ES256), exclusive)]);
        let found = verdict(&verifier, &fixture::token(Algorithm::ES256, &with(members)));
        assert_eq!(found.as_deref().map_err(|error| *error), expected, "{members}");
    };
    check(Exclusive::Yes, r#""x":1"#, Ok("alice"));
    check(Exclusive::No, r#""x":1"#, Err(AppMissing));
    check(Exclusive::No, r#""app":"demo""#, Ok("alice"));
}

#[test]
fn path_is_a_scope_or_a_list_of_scopes() {
    check_with(r#""path":"/demo/a.jpg""#, Ok("alice"));
    check_with(r#""path":["/demo/a.jpg","b/*"]"#, Ok("alice"));
    check_with(r#""path":[]"#, Ok("alice")); // which covers nothing
    for wrong in
        ["null", "1", "{}", "\"\"", "\"/\"", "[\"/demo/a\",1]", "[\"/demo/a\",\"/demo/../b\"]", "\"/demo/a%2fb\""]
    {
        check_with(&format!(r#""path":{wrong}"#), Err(Malformed));
    }
}

#[test]
fn claims_are_one_strict_json_object() {
    check_with(r#""more":{"a":[1,-2,3.5,null,true,"x",{"b":[]}]}"#, Ok("alice"));
    check(" {\n\"sub\" : \"alice\" ,\t\"exp\" : 1700003600 }\r\n", Ok("alice"));
    let good = r#"{"sub":"alice","exp":1700003600}"#;
    for bad in [
        format!("{good}{good}"),
        format!("{good} x"),
        format!("{good}\0"),
        format!("\u{feff}{good}"),
        format!("[{good}]"),
        format!("\"{}\"", good.replace('"', "\\\"")),
        good.replace('"', "'"),
        good.replace('}', ",}"),
        format!("/*c*/{good}"),
        String::new(),
        "null".into(),
        "{".into(),
        "\"alice\"".into(),
    ] {
        check(&bad, Err(Malformed));
    }
}

#[test]
fn no_member_stands_twice_at_any_depth() {
    for (twice, first) in
        [("sub", "\"bob\""), ("exp", "1700003600"), ("app", "\"a\""), ("x", "1"), ("path", "\"/a/b\"")]
    {
        check_with(&format!(r#""{twice}":{first},"{twice}":{first}"#), Err(Malformed));
    }
    check_with(r#""\u0073ub":"bob""#, Err(Malformed));
    check(r#"{"\u0073ub":"alice","\u0065xp":1700003600}"#, Ok("alice"));
    check_with(r#""x":{"y":1,"y":1}"#, Err(Malformed));
    check_with(r#""x":[{"y":{"z":1,"\u007a":1}}]"#, Err(Malformed));
    check_with(r#""x":{"y":1},"z":{"y":1}"#, Ok("alice"));
    check_with(r#""SUB":"bob","Sub":"carol""#, Ok("alice"));
}

#[test]
fn depth_and_number_of_members_are_bounded() {
    let nested = |depth: usize| format!(r#""x":{}1{}"#, "[".repeat(depth), "]".repeat(depth));
    check_with(&nested(16), Ok("alice"));
    check_with(&nested(17), Err(Malformed));
    check_with(&nested(2500), Err(Malformed));
    check_with(&format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(900), "}".repeat(900)), Err(Malformed));
    check_with(&format!(r#""sub":{}1{}"#, "[".repeat(2500), "]".repeat(2500)), Err(Malformed));
    let members = |n: usize| (0..n).map(|i| format!(r#""m{i}":1"#)).collect::<Vec<_>>().join(",");
    check_with(&members(62), Ok("alice"));
    check_with(&members(63), Err(Malformed));
    check_with(&format!(r#""x":{{{}}}"#, members(65)), Err(Malformed));
    // 10,000 levels are a token longer than any that is read.
    check_with(&nested(10_000), Err(Malformed));
}

#[test]
fn what_is_not_utf8_is_malformed() {
    let payload = b"{\"sub\":\"alice\",\"exp\":1700003600,\"x\":\"\xff\"}";
    let compact = fixture::compact(Algorithm::HS256, r#"{"alg":"HS256"}"#, payload);
    assert_eq!(verdict(&verifier(Algorithm::HS256), &compact), Err(Malformed));
    let utf16: Vec<u8> = r#"{"sub":"alice","exp":1700003600}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let compact = fixture::compact(Algorithm::HS256, r#"{"alg":"HS256"}"#, utf16);
    assert_eq!(verdict(&verifier(Algorithm::HS256), &compact), Err(Malformed));
}

#[test]
fn a_remembered_token_is_checked_against_the_clock_again() {
    for alg in [Algorithm::ES256, Algorithm::HS256] {
        let verifier = verifier(alg);
        let compact = fixture::token(alg, r#"{"sub":"alice","exp":1700000010,"nbf":1700000000}"#);
        let at = |secs: u64| verdict_at(&verifier, &compact, Duration::from_secs(secs));
        assert_eq!(at(1_700_000_000).as_deref(), Ok("alice"));
        assert_eq!(at(1_700_000_009).as_deref(), Ok("alice"));
        assert_eq!(at(1_700_000_010), Err(Expired));
        assert_eq!(at(1_699_999_999), Err(NotYetValid)); // a clock that was set back
        assert_eq!(at(1_700_000_009).as_deref(), Ok("alice"));
        let remembered = if alg.is_hmac() { 0 } else { 4 };
        assert_eq!(verifier.cache_stats().hits, remembered);
    }
}

#[test]
fn only_accepted_tokens_are_remembered() {
    let verifier = verifier(Algorithm::ES256);
    let early = fixture::token(Algorithm::ES256, r#"{"sub":"alice","exp":1700000010,"nbf":1700000005}"#);
    assert_eq!(verdict(&verifier, &early), Err(NotYetValid));
    assert_eq!(verdict(&verifier, "a.b.c"), Err(Malformed));
    assert_eq!(verifier.cache_stats(), CacheStats::default());
}

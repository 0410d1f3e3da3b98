//! Where a token may stand, what it opens, and what nothing else changes.

use super::*;

const OBJECT: &str = "/demo/media/a.jpg";

/// What the signed URL of an admitted request is.
fn url(world: &World, request: &Parts) -> String {
    world.ask(request).expect("admitted").target.path_and_query().to_owned()
}

#[test]
fn a_token_opens_its_object_from_each_documented_place() {
    let world = World::new();
    let token = good();
    let check = |target: &str, header: (&str, &str), expected: Result<(), Denial>| {
        let request = request("GET", target, &[("host", "files.example"), header]);
        assert_eq!(world.verdict(&request), expected, "{target} {header:?}");
    };
    let in_query = format!("{OBJECT}?fat={token}");
    check(&in_query, ("x", ""), Ok(()));
    check(&format!("{OBJECT}?a=b&fat={token}&c"), ("x", ""), Ok(()));
    check(OBJECT, ("fat", &token), Ok(()));
    check(OBJECT, ("authorization", &format!("Bearer {token}")), Ok(()));
    check(OBJECT, ("authorization", &format!("bearer {token}")), Ok(()));
    check(OBJECT, ("cookie", &format!("theme=dark; fat={token}")), Ok(()));

    let several = Err(Denial::BadRequest(BadRequest::SeveralCredentials));
    check(&in_query, ("fat", &token), several);
    check(&in_query, ("authorization", &format!("Bearer {token}")), several);
    check(&in_query, ("cookie", &format!("fat={token}")), several);
    check(&format!("{OBJECT}?fat={token}&fat={token}"), ("x", ""), several);
    check(&format!("{OBJECT}?fat={token},{token}"), ("x", ""), Err(Denial::TokenInvalid(VerifyError::Malformed)));

    // A token is no API key.
    check(OBJECT, ("apikey", &token), Err(Denial::ApiKeyUnknown));
    check(&in_query, ("apikey", "k"), several);

    for (name, value) in [
        ("x-fat", token.as_str()),
        ("x-authorization", &token),
        ("proxy-authorization", &format!("Bearer {token}")),
        ("x-forwarded-authorization", &format!("Bearer {token}")),
        ("referer", &format!("https://files.example{OBJECT}?fat={token}")),
        ("x-original-url", &in_query),
        ("x-forwarded-uri", &in_query),
        ("cookie", &format!("token={token}")),
        ("authorization", &format!("Basic {token}")),
        ("authorization", &format!("JWT {token}")),
        ("sec-websocket-protocol", &token),
    ] {
        check(OBJECT, (name, value), Err(Denial::TokenMissing));
    }
    for query in ["token", "access_token", "jwt", "xfat", "fat[]", "fat%20", "f"] {
        check(&format!("{OBJECT}?{query}={token}"), ("x", ""), Err(Denial::TokenMissing));
    }
    for query in ["FAT", "Fat", "%66at", "f%41t"] {
        let misspelled = Err(Denial::BadRequest(BadRequest::MisspelledParameter));
        check(&format!("{OBJECT}?{query}={token}"), ("x", ""), misspelled);
    }
}

#[test]
fn a_token_of_each_algorithm_opens_its_app() {
    let world = World::new();
    for alg in Algorithm::ALL {
        let token = mint(alg, &claims(""));
        assert_eq!(world.verdict(&get_with(OBJECT, &token)), Ok(()), "{alg}");
        assert_eq!(world.verdict(&get_with(OBJECT, &token)), Ok(()), "{alg}, remembered");
        assert!(world.verdict(&get_with("/other/a", &token)).is_err(), "{alg}");
    }
}

#[test]
fn a_secret_that_two_apps_share_needs_the_app_in_the_token() {
    let bare = |alg: Algorithm| mint(alg, &format!(r#"{{"sub":"alice","exp":{}}}"#, NOW + 600));
    let alone = World::with(vec![app("demo", [Algorithm::HS256])]);
    assert_eq!(alone.verdict(&get_with("/demo/a", &bare(Algorithm::HS256))), Ok(()));
    let missing = Err(Denial::TokenInvalid(VerifyError::AppMissing));
    for alg in [Algorithm::HS256, Algorithm::ES256] {
        let shared = World::with(vec![app("demo", [alg]), app("other", [alg])]);
        assert_eq!(shared.verdict(&get_with("/demo/a", &bare(alg))), missing);
        assert_eq!(shared.verdict(&get_with("/other/a", &bare(alg))), missing);
        let named = mint(alg, &claims(""));
        assert_eq!(shared.verdict(&get_with("/demo/a", &named)), Ok(()));
        assert_eq!(shared.verdict(&get_with("/other/a", &named)), Err(Denial::OtherApp));
        assert_eq!(shared.verdict(&get_with("/other/a", &named)), Err(Denial::OtherApp));
        for other in ["Demo", "demo/", "demo%2f", "other", " demo"] {
            let claims = format!(r#"{{"sub":"alice","app":"{other}","exp":{}}}"#, NOW + 600);
            assert_eq!(shared.verdict(&get_with("/demo/a", &mint(alg, &claims))), Err(Denial::OtherApp), "{other}");
        }
    }
    // The same secret under another name is the same key; under another algorithm it is not.
    let renamed = AppOptions { keys: vec![keys::key_called("k9", Algorithm::HS256)], ..app("other", []) };
    let renamed = World::with(vec![app("demo", [Algorithm::HS256]), renamed]);
    assert_eq!(renamed.verdict(&get_with("/demo/a", &bare(Algorithm::HS256))), missing);
    let apart = World::with(vec![app("demo", [Algorithm::HS256]), app("other", [Algorithm::HS512])]);
    assert_eq!(apart.verdict(&get_with("/demo/a", &bare(Algorithm::HS256))), Ok(()));
    let wrong = keys::compact(Algorithm::HS256, r#"{"alg":"HS256","kid":"HS512"}"#, claims(""));
    assert!(apart.verdict(&get_with("/other/a", &wrong)).is_err());
}

#[test]
fn a_path_claim_opens_whole_segments_only() {
    let world = World::new();
    let check = |path: &str, target: &str, expected: Result<(), Denial>| {
        let token = mint(Algorithm::HS256, &claims(&format!(r#","path":{path}"#)));
        assert_eq!(world.verdict(&get_with(target, &token)), expected, "{path} {target}");
    };
    let refused = Err(Denial::PathNotAllowed);
    check(r#""/demo/media/a.jpg""#, "/demo/media/a.jpg", Ok(()));
    check(r#""/demo/media/a.jpg""#, "/demo/media/%61.jpg", Ok(()));
    check(r#""media/a.jpg""#, "/demo/media/a.jpg", Ok(()));
    check(r#""/demo/media/a.jpg""#, "/demo/media/A.jpg", refused);
    check(r#""/demo/media/a.jpg""#, "/demo/media/a.jpg.bak", refused);
    check(r#""/demo/media/a.jpg""#, "/demo/media/a.jpg/b", refused);
    check(r#""/demo/media/*""#, "/demo/media/a/b/c", Ok(()));
    check(r#""/demo/media/*""#, "/demo/media2/a", refused);
    check(r#""/demo/media/*""#, "/demo/media", refused);
    check(r#""/demo/media*""#, "/demo/media2", refused);
    check(r#""/other/*""#, "/demo/a", refused);
    check(r#"["/demo/b","/demo/media/*"]"#, "/demo/media/a", Ok(()));
    check(r#"["/demo/b","/demo/c"]"#, "/demo/media/a", refused);
    check("[]", "/demo/media/a", refused);
    check(r#""/*""#, "/demo/media/a", Ok(()));
    let invalid = Err(Denial::TokenInvalid(VerifyError::Malformed));
    for path in [r#""/demo/media/../b""#, r#""""#, "null", "7", r#"["/demo/a",null]"#, r#""/demo/a%2fb""#] {
        check(path, "/demo/a", invalid);
    }
}

#[test]
fn head_and_get_are_signed_each_for_itself() {
    let world = World::new();
    let token = good();
    let ask = |method: &str| url(&world, &request(method, OBJECT, &[("host", "files.example"), ("fat", &token)]));
    let (get, head) = (ask("GET"), ask("HEAD"));
    let unsigned = |url: &str| url.split("&X-Amz-Signature=").next().map(str::to_owned);
    assert_ne!(get, head);
    assert_eq!(unsigned(&get), unsigned(&head));
    let options = request("OPTIONS", OBJECT, &[("host", "files.example")]);
    assert!(matches!(world.gate.admit(&options, &world.restrictions, world.now), Ok(Decision::Options)));
}

#[test]
fn nothing_of_the_client_is_in_what_is_signed() {
    let world = World::new();
    let token = good();
    let plain = url(&world, &get_with(OBJECT, &token));
    assert!(plain.starts_with("/bucket/demo/media/a.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="));
    assert!(plain.contains("&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature="));
    for query in [
        "response-content-type=text/html",
        "versionId=1",
        "acl",
        "uploads&list-type=2",
        "X-Amz-Expires=604800&X-Amz-Signature=0",
        "x-id=PutObject",
        "a=%0d%0aHost:evil",
    ] {
        assert_eq!(url(&world, &get_with(&format!("{OBJECT}?{query}"), &token)), plain, "{query}");
    }
    for (name, value) in [
        ("range", "bytes=0-1"),
        ("if-none-match", "\"x\""),
        ("x-http-method-override", "DELETE"),
        ("x-amz-date", "20000101T000000Z"),
        ("x-amz-security-token", "t"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-original-url", "/demo/secret"),
        ("x-rewrite-url", "/demo/secret"),
        ("connection", "fat"),
        ("forwarded", "host=evil"),
    ] {
        let request = request("GET", OBJECT, &[("host", "files.example"), ("fat", &token), (name, value)]);
        assert_eq!(url(&world, &request), plain, "{name}");
    }
    assert_eq!(url(&world, &get_with("/demo/a%20b+c%2Bd%25.txt", &token)).split('?').next(), {
        Some("/bucket/demo/a%20b%2Bc%2Bd%25.txt")
    });
}

#[test]
fn an_admission_names_the_user_and_the_object() {
    let world = World::new();
    let token = mint(Algorithm::ES256, &claims(r#","sid":"s1","jti":"t1","iat":1699999999"#).replace("alice", "ALICE"));
    let admission = world.ask(&get_with("/demo/media/%61.jpg", &token)).expect("admitted");
    let subject = world.restrictions.subject("demo", "alice", Some("s1"), Some("t1"), Some(1_699_999_999));
    assert_eq!(admission.subject, Some(subject));
    assert_eq!(admission.observed, None);
    assert_eq!(admission.trace.app.as_deref(), Some("demo"));
    assert_eq!(admission.trace.uid.as_deref(), Some("alice"));
    assert_eq!(admission.trace.object.as_ref().map(ObjectPath::as_str), Some("demo/media/a.jpg"));
    assert_eq!(admission.trace.token, Some(world.restrictions.token_number(&token)));
    assert_eq!(admission.target.host(), "127.0.0.1:9000");
}

#[test]
fn a_request_is_for_a_host_that_is_served() {
    let world = World::new();
    let token = good();
    let check = |target: &str, host: &str, expected: Result<(), Denial>| {
        let request = request("GET", target, &[("host", host), ("fat", &token)]);
        assert_eq!(world.verdict(&request), expected, "{target} {host}");
    };
    check(OBJECT, "files.example", Ok(()));
    check(OBJECT, "FILES.example:8443", Ok(()));
    check("http://files.example/demo/a", "files.example", Ok(()));
    for host in ["evil.example", "files.example.evil.example", "xfiles.example", "files.example.", "127.0.0.1", "[::1]"]
    {
        check(OBJECT, host, Err(Denial::UnknownHost));
    }
    let bad = Err(Denial::BadRequest(BadRequest::Host));
    for host in
        ["", "files.example@evil", "files.example/", "files.example:x", "files.example evil", "files.example,evil"]
    {
        check(OBJECT, host, bad);
    }
    check("http://evil.example/demo/a", "files.example", bad);
    check("http://user@files.example/demo/a", "files.example", bad);
}

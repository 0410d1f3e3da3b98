//! Every way to be refused, earned through the front door.

use super::*;

/// What earns a denial, and what a client then sees: status, code, reason.
struct Earned {
    world: World,
    request: Parts,
    answer: (u16, &'static str, &'static str),
}

/// Every denial; [`earn`] does not compile when one is missing there.
fn all() -> Vec<Denial> {
    let paths = {
        use PathError::*;
        [
            NotAbsolute,
            NoObject,
            EmptySegment,
            DotSegment,
            MalformedEscape,
            EncodedSeparator,
            ForbiddenCharacter,
            NotUtf8,
            TooLong,
            HoldsToken,
        ]
    };
    let shapes = {
        use BadRequest::*;
        [
            SeveralCredentials,
            MisspelledParameter,
            PresignedUnavailable,
            Redirect,
            Cookie,
            Download,
            PresignedForm,
            Body,
            Upgrade,
            Host,
            PrependedUrl,
            SeveralSessions,
        ]
    };
    let tokens = {
        use VerifyError::*;
        [
            Malformed,
            Unsigned,
            UnsupportedHeader,
            ForeignType,
            UnknownKey,
            WrongAlgorithm,
            BadSignature,
            WrongIssuer,
            WrongAudience,
            BadUid,
            ConflictingUid,
            AppMissing,
            IssuedInFuture,
            NotYetValid,
            LivesTooLong,
        ]
    };
    let others = [
        Denial::UnknownOrigin,
        Denial::SessionMissing,
        Denial::SessionInvalid(VerifyError::BadSignature),
        Denial::SessionEnded,
        Denial::OtherUser,
        Denial::UnknownHost,
        Denial::MethodNotAllowed,
        Denial::UriTooLong,
        Denial::HeadersTooLarge,
        Denial::UnknownApp,
        Denial::TokenMissing,
        Denial::TokenExpired,
        Denial::OtherApp,
        Denial::PathNotAllowed,
        Denial::AppDeactivated,
        Denial::UserDeactivated,
        Denial::SessionRevoked,
        Denial::TokenRevoked,
        Denial::UrlExpired,
        Denial::UrlInvalid,
        Denial::ApiKeyUnknown,
        Denial::RestrictionsStale,
    ];
    let paths = paths.into_iter().map(Denial::Path);
    let shapes = shapes.into_iter().map(Denial::BadRequest);
    let tokens = tokens.into_iter().map(Denial::TokenInvalid);
    paths.chain(shapes).chain(tokens).chain(others).collect()
}

/// No `_` in here: a new denial has to be earned as well.
fn earn(denial: Denial) -> Earned {
    const OBJECT: &str = "/demo/media/a.jpg";
    const HOST: (&str, &str) = ("host", "files.example");
    let mut world = World::new();
    let (request, answer) = match denial {
        Denial::Path(error) => earn_by_path(error),
        Denial::TokenInvalid(error) => {
            let (world, token, reason) = earn_by_token(error);
            return Earned { world, request: get_with(OBJECT, &token), answer: (401, "ERR_FAT_INVALID", reason) };
        }
        Denial::UnknownOrigin
        | Denial::SessionMissing
        | Denial::SessionInvalid(_)
        | Denial::SessionEnded
        | Denial::OtherUser
        | Denial::BadRequest(BadRequest::PrependedUrl | BadRequest::SeveralSessions) => {
            let (request, answer) = prepend::earn(denial);
            let world = prepend::world();
            if denial == Denial::SessionEnded {
                let sid = "s-alice".into();
                world.restrict(Scope::Session { app: "demo".into(), sid }, Effect::Deactivated, true);
            }
            return Earned { world, request, answer };
        }
        Denial::BadRequest(bad) => return earn_by_shape(bad),
        Denial::PlatformUnavailable | Denial::LoginFailed => {
            unreachable!("the gate does not ask: tests/it/prepend earns them")
        }
        Denial::UnknownHost => {
            let request = request("GET", OBJECT, &[("host", "files.example.evil"), ("fat", &good())]);
            (request, (421, "ERR_BAD_REQUEST", "host_unknown"))
        }
        Denial::MethodNotAllowed => {
            (request("POST", OBJECT, &[HOST, ("fat", &good())]), (405, "ERR_METHOD_NOT_ALLOWED", "method"))
        }
        Denial::UriTooLong => {
            (get(&format!("{OBJECT}?{}", "x".repeat(MAX_TARGET_BYTES))), (414, "ERR_URI_TOO_LONG", "uri_too_long"))
        }
        Denial::HeadersTooLarge => {
            let large = request("GET", OBJECT, &[HOST, ("x", &"x".repeat(MAX_HEADER_BYTES))]);
            (large, (431, "ERR_HEADERS_TOO_LARGE", "headers_too_large"))
        }
        Denial::UnknownApp => (get_with("/nobody/a", &good()), (404, "ERR_NOT_FOUND", "app_unknown")),
        Denial::TokenMissing => (get(OBJECT), (401, "ERR_FAT_MISSING", "token_missing")),
        Denial::TokenExpired => {
            let expired = mint(Algorithm::HS256, &format!(r#"{{"sub":"alice","app":"demo","exp":{NOW}}}"#));
            (get_with(OBJECT, &expired), (401, "ERR_FAT_EXPIRED", "token_expired"))
        }
        Denial::OtherApp => (get_with("/other/a", &good()), (403, "ERR_PATH_NOT_ALLOWED", "other_app")),
        Denial::PathNotAllowed => {
            let narrow = mint(Algorithm::HS256, &claims(r#","path":"/demo/media/b.jpg""#));
            (get_with(OBJECT, &narrow), (403, "ERR_PATH_NOT_ALLOWED", "path_not_allowed"))
        }
        Denial::AppDeactivated => {
            world.restrict(Scope::App { app: "demo".into() }, Effect::Deactivated, true);
            (get_with(OBJECT, &good()), (403, "ERR_USER_DEACTIVATED", "app_deactivated"))
        }
        Denial::UserDeactivated => {
            world.deactivate("demo", "alice");
            (get_with(OBJECT, &good()), (403, "ERR_USER_DEACTIVATED", "user_deactivated"))
        }
        Denial::SessionRevoked => {
            let session = Scope::Session { app: "demo".into(), sid: "s1".into() };
            world.restrict(session, Effect::Deactivated, true);
            let token = mint(Algorithm::HS256, &claims(r#","sid":"s1""#));
            (get_with(OBJECT, &token), (403, "ERR_SESSION_REVOKED", "session_revoked"))
        }
        Denial::TokenRevoked => {
            world.restrict(Scope::Token { app: "demo".into(), jti: "t1".into() }, Effect::Deactivated, true);
            let token = mint(Algorithm::HS256, &claims(r#","jti":"t1""#));
            (get_with(OBJECT, &token), (403, "ERR_SESSION_REVOKED", "token_revoked"))
        }
        Denial::UrlExpired => {
            let url = presigned::url(&world, OBJECT, &good());
            world.later(Duration::from_secs(presigned::TTL));
            (get(&url), (403, "ERR_URL_EXPIRED", "url_expired"))
        }
        Denial::UrlInvalid => {
            let url = presigned::url(&world, OBJECT, &good());
            (get(&url.replace("a.jpg", "b.jpg")), (403, "ERR_URL_INVALID", "url_invalid"))
        }
        Denial::ApiKeyUnknown => {
            let request = request("GET", OBJECT, &[HOST, ("apikey", "nobody's")]);
            (request, (401, "ERR_APIKEY_INVALID", "api_key_unknown"))
        }
        Denial::RestrictionsStale => {
            let apps = vec![app("demo", Algorithm::ALL)];
            let world = World::unloaded(GateOptions { apps, ..GateOptions::default() });
            let answer = (503, "ERR_RESTRICTIONS_STALE", "restrictions_stale");
            return Earned { world, request: get_with(OBJECT, &good()), answer };
        }
    };
    Earned { world, request, answer }
}

fn earn_by_path(error: PathError) -> (Parts, (u16, &'static str, &'static str)) {
    let ambiguous = (400, "ERR_BAD_REQUEST", "path_ambiguous");
    let (path, answer) = match error {
        PathError::NotAbsolute => ("*", ambiguous),
        PathError::NoObject => ("/demo", (404, "ERR_NOT_FOUND", "no_object")),
        PathError::EmptySegment => ("/demo//a", ambiguous),
        PathError::DotSegment => ("/demo/%2e%2e/a", ambiguous),
        PathError::MalformedEscape => ("/demo/%zz", ambiguous),
        PathError::EncodedSeparator => ("/demo/a%2fb", ambiguous),
        PathError::ForbiddenCharacter => ("/demo/a;b", ambiguous),
        PathError::NotUtf8 => ("/demo/%ff", ambiguous),
        PathError::TooLong => {
            let long = format!("/demo/{}", "a".repeat(MAX_KEY_BYTES + 1));
            return (get_with(&long, &good()), (414, "ERR_URI_TOO_LONG", "key_too_long"));
        }
        PathError::HoldsToken => {
            let answer = (400, "ERR_BAD_REQUEST", "path_holds_token");
            return (get(&format!("/demo/a/{}", good())), answer);
        }
    };
    (get_with(path, &good()), answer)
}

fn earn_by_shape(bad: BadRequest) -> Earned {
    let token = good();
    let ask = |query: &str, header: (&str, &str)| {
        request("GET", &format!("/demo/a{query}"), &[("host", "files.example"), ("fat", &token), header])
    };
    let (request, reason) = match bad {
        BadRequest::SeveralCredentials => (ask("?fat=x", ("x", "")), "several_credentials"),
        BadRequest::MisspelledParameter => (ask("?FAT=x", ("x", "")), "misspelled_parameter"),
        BadRequest::PresignedUnavailable => {
            let apps = vec![app("demo", Algorithm::ALL)];
            let world = World::unloaded(GateOptions { apps, ..GateOptions::default() });
            let answer = (400, "ERR_BAD_REQUEST", "presigned_unavailable");
            return Earned { world, request: ask("?redirect=1", ("x", "")), answer };
        }
        BadRequest::Redirect => (ask("?redirect=2", ("x", "")), "redirect_invalid"),
        BadRequest::Cookie => (ask("?cookie=2", ("x", "")), "cookie_invalid"),
        BadRequest::Download => (ask("?download=%ff", ("x", "")), "download_invalid"),
        BadRequest::PresignedForm => (get("/demo/a?Signature=x"), "presigned_malformed"),
        BadRequest::Body => (ask("", ("content-length", "1")), "body"),
        BadRequest::Upgrade => (ask("", ("upgrade", "websocket")), "upgrade"),
        BadRequest::Host => (ask("", ("host", "files.example")), "host_invalid"),
        BadRequest::PrependedUrl | BadRequest::SeveralSessions => unreachable!("earned in `prepend`"),
        BadRequest::Malformed => unreachable!("of such a head no request is made: `HeadCheck` has its tests"),
        BadRequest::Asked => unreachable!("only other proxies ask about requests: `asked` has its tests"),
    };
    Earned { world: World::new(), request, answer: (400, "ERR_BAD_REQUEST", reason) }
}

fn earn_by_token(error: VerifyError) -> (World, String, &'static str) {
    let header = |members: &str| keys::compact(Algorithm::HS256, &format!(r#"{{"alg":"HS256"{members}}}"#), claims(""));
    let token = |members: &str| mint(Algorithm::HS256, &claims(members));
    let one_key = |key: VerifyingKey| World::with(vec![AppOptions { keys: vec![key], ..app("demo", []) }]);
    let k1 = || keys::verifying_key(Algorithm::HS256);
    let named = r#","kid":"HS256""#;
    let (token, reason) = match error {
        VerifyError::Malformed => ("a.b.c".to_owned(), "token_malformed"),
        VerifyError::Unsigned => {
            let claims = keys::b64(claims(""));
            (format!("{}.{claims}.", keys::b64(r#"{"alg":"none"}"#)), "token_unsigned")
        }
        VerifyError::UnsupportedHeader => (header(&format!(r#"{named},"crit":["exp"]"#)), "token_header"),
        VerifyError::ForeignType => (header(&format!(r#"{named},"typ":"at+jwt""#)), "token_type"),
        VerifyError::UnknownKey => (header(r#","kid":"nobody's""#), "token_key"),
        VerifyError::WrongAlgorithm => (header(r#","kid":"RS256""#), "token_algorithm"),
        VerifyError::BadSignature => {
            let good = good();
            let input = good.rsplit_once('.').expect("a token").0;
            (format!("{input}.{}", keys::b64([0; 32])), "token_signature")
        }
        VerifyError::WrongIssuer => {
            return (
                one_key(k1().with_issuer("https://b.example")),
                keys::token(Algorithm::HS256, &claims("")),
                "token_issuer",
            );
        }
        VerifyError::WrongAudience => {
            return (
                one_key(k1().with_audience("media")),
                keys::token(Algorithm::HS256, &claims("")),
                "token_audience",
            );
        }
        VerifyError::BadUid => {
            let claims = format!(r#"{{"sub":"a b","app":"demo","exp":{}}}"#, NOW + 600);
            (mint(Algorithm::HS256, &claims), "token_uid")
        }
        VerifyError::ConflictingUid => (token(r#","uid":"bob""#), "token_uid_conflict"),
        VerifyError::AppMissing => {
            let claims = format!(r#"{{"sub":"alice","exp":{}}}"#, NOW + 600);
            (mint(Algorithm::HS256, &claims), "token_app_missing")
        }
        VerifyError::IssuedInFuture => (token(&format!(r#","iat":{}"#, NOW + 1)), "token_from_future"),
        VerifyError::NotYetValid => (token(&format!(r#","nbf":{}"#, NOW + 1)), "token_not_yet_valid"),
        VerifyError::LivesTooLong => (token(r#","iat":1"#), "token_lives_too_long"),
        VerifyError::Expired => unreachable!("that is `Denial::TokenExpired`"),
    };
    (World::new(), token, reason)
}

#[test]
fn every_denial_is_earned_through_the_front_door() {
    let mut seen = Vec::new();
    for denial in all() {
        let Earned { world, request, answer } = earn(denial);
        assert_eq!(world.verdict(&request), Err(denial));
        assert_eq!((denial.status(), denial.code(), denial.reason()), answer);
        assert!(!seen.contains(&denial), "{denial:?} twice");
        seen.push(denial);
    }
}

#[test]
fn an_answer_to_a_denial_is_complete() {
    for denial in all() {
        // RFC 9110 §11.6.1: with every 401, and only then.
        assert_eq!(denial.challenge().is_some(), denial.status() == 401, "{denial:?}");
        assert!(denial.challenge().is_none_or(|challenge| challenge.starts_with("Bearer ")));
        assert!(denial.message().ends_with('.'), "{denial:?}");
        assert!(denial.reason().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{denial:?}");
        // What may have been misread leaves nothing to be read after it (RFC 9112 §11.2).
        let closes = matches!(denial.status(), 400 | 405 | 414 | 421 | 431);
        assert_eq!(denial.connection() == Connection::Close, closes, "{denial:?}");
    }
    // RFC 6750 §3: no error where no token was sent.
    assert_eq!(Denial::TokenMissing.challenge(), Some("Bearer realm=\"mediagate\""));
}

#[test]
fn the_shape_of_a_request_comes_before_its_token_and_the_token_before_restrictions() {
    let check = |method: &str, target: &str, headers: &[(&str, &str)], denial: Denial| {
        let world = World::new();
        world.deactivate("demo", "alice");
        world.restrict(Scope::App { app: "demo".into() }, Effect::Deactivated, true);
        assert_eq!(world.verdict(&request(method, target, headers)), Err(denial), "{method} {target} {headers:?}");
    };
    let good = good();
    let expired = mint(Algorithm::HS256, r#"{"sub":"alice","app":"demo","exp":1}"#);
    let narrow = mint(Algorithm::HS256, &claims(r#","path":"/demo/b""#));
    let (host, evil) = (("host", "files.example"), ("host", "evil.example"));
    let long = format!("/demo/../{}", "a".repeat(MAX_TARGET_BYTES));
    check("POST", &long, &[evil], Denial::UriTooLong);
    check("POST", "/demo/../a", &[evil, ("content-length", "1")], Denial::MethodNotAllowed);
    check("GET", "/demo/../a", &[evil, ("content-length", "1")], Denial::BadRequest(BadRequest::Body));
    check("GET", "/demo/../a", &[evil], Denial::UnknownHost);
    check("GET", "/demo/../a?fat=x&fat=y", &[host], Denial::Path(PathError::DotSegment));
    check("GET", "/nobody/a?fat=x&fat=y", &[host], Denial::BadRequest(BadRequest::SeveralCredentials));
    check("GET", "/nobody/a", &[host, ("fat", &expired)], Denial::UnknownApp);
    check("GET", "/demo/a", &[host], Denial::TokenMissing);
    check("GET", "/demo/a", &[host, ("fat", "junk")], Denial::TokenInvalid(VerifyError::Malformed));
    check("GET", "/demo/a", &[host, ("fat", &expired)], Denial::TokenExpired);
    check("GET", "/other/a", &[host, ("fat", &good)], Denial::OtherApp);
    check("GET", "/demo/a", &[host, ("fat", &narrow)], Denial::PathNotAllowed);
    // The widest restriction is named.
    check("GET", "/demo/a", &[host, ("fat", &good)], Denial::AppDeactivated);
}

//! Prepend mode: who gets what stands behind the own host.

use super::*;

const HOST: (&str, &str) = ("host", "own.example");

const OBJECT: &str = "/https://files.example/demo/media/a.jpg";

/// A world with prepend mode on `own.example`: sessions are signed with a key of their own.
pub(super) fn world() -> World {
    world_with(vec![
        app("demo", [Algorithm::HS256]),
        AppOptions { access: Access::Off, ..app("open", []) },
        AppOptions { access: Access::Observe, ..app("watched", [Algorithm::HS256]) },
        AppOptions { uid_case: UidCase::Exact, ..app("exact", [Algorithm::HS256]) },
    ])
}

fn world_with(apps: Vec<AppOptions>) -> World {
    let world = World::unloaded(options(apps));
    world.apply(Event::Snapshot { seq: 0, entries: Vec::new() });
    world
}

fn options(apps: Vec<AppOptions>) -> GateOptions {
    let origin = |text, serving| MediaOrigin::parse(text, serving).expect("an origin");
    let sessions = SessionOptions {
        cookie: "__Host-session".into(),
        keys: vec![keys::key_called("s1", Algorithm::ES256)],
        time: TimeRules { leeway: Duration::ZERO, max_ttl: Duration::from_secs(86_400) },
    };
    let key = Secret::new("0123456789abcdef0123456789abcdef");
    let prepend = PrependOptions {
        hosts: vec!["own.example".into()],
        origins: vec![origin("files.example", Serving::Own), origin("http://cdn.lan:81", Serving::Foreign)],
        sessions: Some(sessions),
        login: Some(LoginOptions::new("/login", key).expect("a login")),
    };
    let presigned = Some(presigned::options());
    GateOptions {
        apps,
        hosts: vec!["files.example".into()],
        presigned,
        prepend: Some(prepend),
        ..GateOptions::default()
    }
}

/// A session with these claims.
fn session_of(claims: &str) -> String {
    keys::compact(Algorithm::ES256, r#"{"alg":"ES256","kid":"s1"}"#, claims)
}

fn cookie(uid: &str) -> String {
    format!("__Host-session={}", session_of(&format!(r#"{{"sub":"{uid}","sid":"s-{uid}","exp":{}}}"#, NOW + 60)))
}

fn visit(target: &str, cookie: &str) -> Parts {
    request("GET", target, &[HOST, ("cookie", cookie)])
}

/// A request that earns `denial`, and its answer.
pub(super) fn earn(denial: Denial) -> (Parts, (u16, &'static str, &'static str)) {
    let with_token = format!("{OBJECT}?fat={}", good());
    let alice = cookie("alice");
    match denial {
        Denial::UnknownOrigin => {
            (visit("/https://evil.example/a", &alice), (403, "ERR_ORIGIN_NOT_ALLOWED", "origin_unknown"))
        }
        Denial::SessionMissing => (visit(&with_token, "a=b"), (401, "ERR_SESSION_MISSING", "session_missing")),
        Denial::SessionInvalid(_) => {
            let forged = format!("{}.{}", alice.rsplit_once('.').expect("a token").0, keys::b64([1; 64]));
            (visit(&with_token, &forged), (401, "ERR_SESSION_INVALID", "session_invalid"))
        }
        Denial::SessionEnded => (visit(&with_token, &alice), (401, "ERR_SESSION_INVALID", "session_ended")),
        Denial::OtherUser => (visit(&with_token, &cookie("bob")), (403, "ERR_OTHER_USER", "other_user")),
        Denial::BadRequest(BadRequest::SeveralSessions) => {
            let twice = format!("{alice}; {}", cookie("bob"));
            (visit(&with_token, &twice), (400, "ERR_BAD_REQUEST", "several_sessions"))
        }
        Denial::BadRequest(BadRequest::PrependedUrl) => {
            (visit("/https://files.example:443/demo/a", &alice), (400, "ERR_BAD_REQUEST", "prepended_url"))
        }
        other => unreachable!("{other:?} is earned elsewhere"),
    }
}

#[test]
fn a_visitor_gets_what_the_token_is_for() {
    let world = world();
    let query = format!("?fat={}", good());
    let encoded = format!("/?url=https%3A%2F%2Ffiles.example%2Fdemo%2Fmedia%2Fa.jpg%3Ffat%3D{}", good());
    for target in [format!("{OBJECT}{query}"), format!("{}{query}", OBJECT.replacen("//", "/", 1)), encoded] {
        let admission = world.ask(&visit(&target, &cookie("Alice"))).expect(&target);
        assert!(!admission.target.is_foreign());
        assert!(admission.target.path_and_query().starts_with("/bucket/demo/media/a.jpg?X-Amz-"), "{target}");
        assert_eq!(admission.trace.uid.as_deref(), Some("alice"));
        assert_eq!(admission.trace.object, ObjectPath::parse("/demo/media/a.jpg").ok());
        assert!(admission.subject.is_some());
    }
    let head = request("HEAD", &format!("{OBJECT}{query}"), &[HOST, ("cookie", &cookie("alice"))]);
    assert_eq!(world.verdict(&head), Ok(()));
    // The token may stand in a header as well; a session is not one.
    let header = request("GET", OBJECT, &[HOST, ("cookie", &cookie("alice")), ("fat", &good())]);
    assert_eq!(world.verdict(&header), Ok(()));
    assert_eq!(world.verdict(&visit(OBJECT, &cookie("alice"))), Err(Denial::TokenMissing));
    // Media's own host goes on as ever, and the own host serves nothing but what stands behind it.
    assert_eq!(world.verdict(&get_with("/demo/media/a.jpg", &good())), Ok(()));
    assert_eq!(world.verdict(&get(&format!("{OBJECT}{query}"))), Err(Denial::Path(PathError::EmptySegment)));
    let own = request("GET", "/demo/media/a.jpg", &[HOST, ("fat", &good())]);
    assert_eq!(world.verdict(&own), Err(Denial::UnknownHost));
}

#[test]
fn what_is_served_by_others_goes_there_with_its_own_query() {
    let world = world();
    let admission = world.ask(&visit("/http://cdn.lan:81/x.jpg?token=abc&fat=x", &cookie("alice"))).expect("admitted");
    assert!(admission.target.is_foreign() && admission.subject.is_none());
    assert_eq!((admission.target.host(), admission.target.path_and_query()), ("cdn.lan:81", "/x.jpg?token=abc&fat=x"));
    assert_eq!(admission.trace.uid.as_deref(), Some("alice"));
    assert!(!format!("{admission:?}").contains("abc"));
    assert!(world.gate.endpoints().iter().any(|endpoint| endpoint.host == "cdn.lan"));
    assert_eq!(world.verdict(&visit("/http://cdn.lan:81/x.jpg", "")), Err(Denial::SessionMissing));
    let post = request("POST", "/http://cdn.lan:81/x.jpg", &[HOST, ("cookie", &cookie("alice"))]);
    assert_eq!(world.verdict(&post), Err(Denial::MethodNotAllowed));
}

#[test]
fn the_visitor_is_the_user_of_the_token() {
    let world = world();
    let check = |app: &str, token_of: &str, visitor: &str, expected: Result<(), Denial>| {
        let token = mint(Algorithm::HS256, &format!(r#"{{"sub":"{token_of}","app":"{app}","exp":{}}}"#, NOW + 60));
        let request = visit(&format!("/https://files.example/{app}/a?fat={token}"), &cookie(visitor));
        assert_eq!(world.verdict(&request), expected, "{app} {token_of} {visitor}");
    };
    check("demo", "ALICE", "aLice", Ok(()));
    check("demo", "alice", "alice2", Err(Denial::OtherUser));
    check("exact", "alice", "alice", Ok(()));
    check("exact", "alice", "Alice", Err(Denial::OtherUser));
    // Where no token is asked for, none is looked at; where it is only watched, so is its user.
    check("open", "alice", "bob", Ok(()));
    check("watched", "alice", "bob", Ok(()));
    let token = mint(Algorithm::HS256, &format!(r#"{{"sub":"alice","app":"watched","exp":{}}}"#, NOW + 60));
    let watched = visit(&format!("/https://files.example/watched/a?fat={token}"), &cookie("bob"));
    assert_eq!(world.ask(&watched).expect("admitted").observed, Some(Denial::OtherUser));
    // A presigned URL and asking for one, too.
    let url = presigned::url(&world, "/demo/media/a.jpg", &good());
    let behind = format!("/https://files.example{url}");
    assert_eq!(world.verdict(&visit(&behind, &cookie("alice"))), Ok(()));
    assert_eq!(world.verdict(&visit(&behind, &cookie("bob"))), Err(Denial::OtherUser));
    let asked = format!("{OBJECT}?redirect=0&fat={}", good());
    assert_eq!(world.verdict(&visit(&asked, &cookie("bob"))), Err(Denial::OtherUser));
    // A platform that does not say who it is vouches for anybody.
    let nobody = Visitor::default();
    let request = visit(&format!("{OBJECT}?fat={}", good()), "");
    let prepended = world.gate.prepended(&request, world.now).expect("well-formed").expect("prepended");
    assert!(world.gate.admit_visitor(&request, &prepended, &nobody, &world.restrictions, world.now).is_ok());
    for strange in ["", "a b", "ä"] {
        let visitor = Visitor { uid: Some(strange.into()), ..Visitor::default() };
        let refused = world.gate.admit_visitor(&request, &prepended, &visitor, &world.restrictions, world.now);
        assert_eq!(refused.expect_err("refused").denial, Denial::OtherUser, "{strange}");
    }
}

#[test]
fn a_session_is_no_token_and_a_token_no_session() {
    let world = world();
    let session = session_of(&format!(r#"{{"sub":"alice","app":"demo","exp":{}}}"#, NOW + 60));
    let unknown = VerifyError::UnknownKey;
    let as_token = visit(&format!("{OBJECT}?fat={session}"), &cookie("alice"));
    assert_eq!(world.verdict(&as_token), Err(Denial::TokenInvalid(unknown)));
    let as_session = |token: &str| visit(&format!("{OBJECT}?fat={}", good()), &format!("__Host-session={token}"));
    assert_eq!(world.verdict(&as_session(&good())), Err(Denial::SessionInvalid(unknown)));
    // Even signed with the sessions' key: what only tokens say is no session's.
    assert_eq!(world.verdict(&as_session(&session)), Err(Denial::SessionInvalid(VerifyError::ForeignType)));
    let path = session_of(&format!(r#"{{"sub":"alice","path":"/demo/*","exp":{}}}"#, NOW + 60));
    assert_eq!(world.verdict(&as_session(&path)), Err(Denial::SessionInvalid(VerifyError::ForeignType)));
    // No key is both, whatever it is called.
    let gate = |algorithm| {
        let apps = vec![AppOptions { keys: vec![keys::key_called("other", algorithm)], ..app("demo", []) }];
        Gate::new(options(apps)).err()
    };
    assert_eq!(gate(Algorithm::ES384), None);
    assert_eq!(gate(Algorithm::ES256), Some(GateError::SharedSessionKey("s1".into())));
    let set = KeySet { app: "demo".into(), source: "s".into(), keys: vec![keys::key_called("k", Algorithm::ES256)] };
    let (gate, taken) = Gate::with_key_sets(options(vec![app("demo", [])]), vec![set]).expect("a gate");
    assert_eq!((taken.len(), gate.visitor(&as_session(&good()), world.now).is_err()), (1, true));
    // Nor where both come from sets, or sessions from a set: what was configured stays what it was.
    let set = |app: &str, alg| KeySet { app: app.into(), source: app.into(), keys: vec![keys::key_called("k", alg)] };
    let both =
        vec![set("demo", Algorithm::EdDSA), set(SESSION_KEYS, Algorithm::EdDSA), set(SESSION_KEYS, Algorithm::HS256)];
    let (gate, taken) = Gate::with_key_sets(options(vec![app("demo", [Algorithm::HS256])]), both).expect("a gate");
    let taken: Vec<_> = taken.iter().map(|taken| taken.app.as_str()).collect();
    assert_eq!(taken, [SESSION_KEYS, "demo"]);
    let session =
        keys::compact(Algorithm::EdDSA, r#"{"alg":"EdDSA","kid":"k"}"#, format!(r#"{{"sub":"a","exp":{}}}"#, NOW + 9));
    let visitor = gate.visitor(&as_session(&session), world.now).expect("a session").expect("a visitor");
    assert_eq!(visitor.uid.as_deref(), Some("a"));
    // With a set, a session names its key.
    let unnamed = session_of(&format!(r#"{{"sub":"a","exp":{}}}"#, NOW + 9));
    assert!(gate.visitor(&as_session(&unnamed), world.now).is_ok());
    let unnamed = keys::compact(Algorithm::ES256, r#"{"alg":"ES256"}"#, format!(r#"{{"sub":"a","exp":{}}}"#, NOW + 9));
    assert_eq!(gate.visitor(&as_session(&unnamed), world.now), Err(Denial::SessionInvalid(unknown)));
}

#[test]
fn one_session_is_shown_and_it_is_in_its_time() {
    let world = world();
    let check = |fields: &[&str], expected: Result<(), Denial>| {
        let target = format!("{OBJECT}?fat={}", good());
        let fields = fields.iter().map(|value| ("cookie", *value)).chain([HOST]);
        assert_eq!(world.verdict(&request("GET", &target, &fields.collect::<Vec<_>>())), expected);
    };
    let alice = cookie("alice");
    let several = Err(Denial::BadRequest(BadRequest::SeveralSessions));
    check(&[&alice], Ok(()));
    check(&["a=b", &format!("c=d; {alice}; e=f")], Ok(()));
    // Cookie names have their case; a name that only begins or ends alike is another.
    check(&[&alice.to_ascii_uppercase()[..14], &format!("x{alice}")], Err(Denial::SessionMissing));
    check(&[&alice.replacen("__Host-session", "__host-session", 1)], Err(Denial::SessionMissing));
    check(&[&format!("{alice}; {alice}")], several);
    check(&[&alice, &cookie("bob")], several);
    check(&[&alice, "__Host-session="], several);
    let invalid = |claims: &str, error| {
        check(&[&format!("__Host-session={}", session_of(claims))], Err(Denial::SessionInvalid(error)));
    };
    invalid(&format!(r#"{{"sub":"alice","exp":{NOW}}}"#), VerifyError::Expired);
    invalid(&format!(r#"{{"sub":"alice","nbf":{},"exp":{}}}"#, NOW + 1, NOW + 2), VerifyError::NotYetValid);
    invalid(&format!(r#"{{"sub":"alice","iat":1,"exp":{}}}"#, NOW + 2), VerifyError::LivesTooLong);
    invalid(r#"{"sub":"alice"}"#, VerifyError::Malformed);
    check(&["__Host-session="], Err(Denial::SessionInvalid(VerifyError::Malformed)));
}

#[test]
fn a_visitor_who_is_restricted_gets_nothing() {
    let target = |app: &str| format!("/https://files.example/{app}/a?fat={}", good());
    let check = |scope: Scope, effect, expected: Denial| {
        let world = world();
        world.restrict(scope, effect, true);
        for app in ["demo", "open", "watched"] {
            let verdict = world.verdict(&visit(&target(app), &cookie("alice")));
            let is_there = app == "demo";
            assert_eq!(verdict.err(), is_there.then_some(expected), "{app}");
        }
    };
    check(user("demo", "alice"), Effect::Deactivated, Denial::UserDeactivated);
    let session = Scope::Session { app: "demo".into(), sid: "s-alice".into() };
    check(session, Effect::Deactivated, Denial::SessionEnded);
    check(user("demo", "alice"), Effect::IssuedBefore { before: NOW }, Denial::SessionEnded);
    // Also where no token is asked for, and then it is the visitor whose transfer is cut.
    let world = world();
    let open = visit(&target("open"), &cookie("alice"));
    let subject = world.ask(&open).expect("admitted").subject.expect("the visitor");
    world.deactivate("open", "alice");
    assert_eq!(world.verdict(&open), Err(Denial::UserDeactivated));
    assert!(world.restrictions.check(&subject).is_err());
    let unloaded = World::unloaded(options(vec![AppOptions { access: Access::Off, ..app("open", []) }]));
    assert_eq!(unloaded.verdict(&open), Err(Denial::RestrictionsStale));
}

#[test]
fn a_page_is_sent_to_the_login_and_comes_back() {
    let mut world = world();
    let target = format!("{OBJECT}?fat={}", good());
    let page = |target: &str, cookie: &str| {
        request("GET", target, &[HOST, ("sec-fetch-mode", "navigate"), ("cookie", cookie)])
    };
    let prepended = |world: &World, request: &Parts| {
        world.gate.prepended(request, world.now).expect("well-formed").expect("prepended")
    };
    let login = |request: &Parts, denial| {
        world.gate.login_for(request, &prepended(&world, request), denial, Some("https://evil.example/"), world.now)
    };
    let request = page(&target, "");
    let location = login(&request, Denial::SessionMissing).expect("a login");
    assert!(!location.contains(&good()[..20]), "{location}");
    assert!(login(&request, Denial::SessionEnded).is_some());
    for denial in [Denial::UserDeactivated, Denial::SessionRevoked, Denial::OtherUser, Denial::PlatformUnavailable] {
        assert_eq!(login(&request, denial), None);
    }
    assert_eq!(login(&visit(&target, ""), Denial::SessionMissing), None);
    assert_eq!(prepended(&world, &request).shown_path(), OBJECT);

    let back = location.strip_prefix("/login?return=").expect("the login").replace("%2F", "/");
    let of_alice = page(&back, &cookie("alice"));
    assert_eq!(prepended(&world, &of_alice).shown_path(), OBJECT);
    assert_eq!(world.verdict(&of_alice), Ok(()));
    assert_eq!(world.verdict(&page(&back, &cookie("bob"))), Err(Denial::OtherUser));
    assert_eq!(world.verdict(&page(&back, "")), Err(Denial::SessionMissing));
    assert_eq!(world.verdict(&page("/.mediagate/continue/AAAA", &cookie("alice"))), Err(Denial::UrlInvalid));
    world.later(Duration::from_secs(3600));
    assert_eq!(world.verdict(&page(&back, &cookie("alice"))), Err(Denial::UrlExpired));
    // The folder is nobody else's.
    let gate = Gate::new(options(vec![app(OWN_FOLDER, [Algorithm::HS256])]));
    assert_eq!(gate.err(), Some(GateError::BadAppId(OWN_FOLDER.into())));
}

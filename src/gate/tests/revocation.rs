//! Restrictions against sound tokens: at once, exactly, whatever is remembered.

use super::*;

const OBJECT: &str = "/demo/media/a.jpg";

#[test]
fn a_deactivated_user_is_refused_at_once_whatever_is_remembered() {
    for alg in [Algorithm::HS256, Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA] {
        let world = World::new();
        let token = mint(alg, &claims(""));
        let ask = |method: &str, header: (&str, &str)| {
            let headers = [("host", "files.example"), ("fat", token.as_str()), header];
            world.verdict(&request(method, OBJECT, &headers))
        };
        assert_eq!(ask("GET", ("x", "")), Ok(()));
        assert_eq!(ask("GET", ("x", "")), Ok(()));
        world.deactivate("demo", "alice");
        for method in ["GET", "HEAD"] {
            for header in
                [("x", ""), ("range", "bytes=0-1"), ("if-none-match", "*"), ("cache-control", "only-if-cached")]
            {
                assert_eq!(ask(method, header), Err(Denial::UserDeactivated), "{alg} {method} {header:?}");
            }
        }
        world.restrict(user("demo", "alice"), Effect::Deactivated, false);
        assert_eq!(ask("GET", ("x", "")), Ok(()));
    }
}

#[test]
fn a_remembered_token_expires_on_its_second() {
    for alg in [Algorithm::HS256, Algorithm::ES256] {
        let mut world = World::new();
        let token = mint(alg, &claims(""));
        assert_eq!(world.verdict(&get_with(OBJECT, &token)), Ok(()));
        for _ in 0..59 {
            world.later(Duration::from_secs(10));
            world.apply(Event::Heartbeat { seq: 0 });
            assert_eq!(world.verdict(&get_with(OBJECT, &token)), Ok(()));
        }
        world.later(Duration::from_millis(9_999));
        assert_eq!(world.verdict(&get_with(OBJECT, &token)), Ok(()));
        world.later(Duration::from_millis(1));
        assert_eq!(world.verdict(&get_with(OBJECT, &token)), Err(Denial::TokenExpired));
    }
}

#[test]
fn a_user_of_two_apps_is_two_users() {
    let world = World::new();
    let [demo, other] = ["demo", "other"].map(|app| mint(Algorithm::HS256, &claims("").replace("demo", app)));
    world.deactivate("demo", "alice");
    assert_eq!(world.verdict(&get_with(OBJECT, &demo)), Err(Denial::UserDeactivated));
    assert_eq!(world.verdict(&get_with("/other/a", &other)), Ok(()));
    world.restrict(Scope::App { app: "other".into() }, Effect::Deactivated, true);
    assert_eq!(world.verdict(&get_with("/other/a", &other)), Err(Denial::AppDeactivated));
    world.restrict(user("demo", "alice"), Effect::Deactivated, false);
    assert_eq!(world.verdict(&get_with(OBJECT, &demo)), Ok(()));
}

#[test]
fn users_are_told_apart_exactly() {
    let world = World::new();
    world.deactivate("demo", "alice");
    let check = |sub: &str, expected: Result<(), Denial>| {
        let token = mint(Algorithm::HS256, &claims("").replace("alice", sub));
        assert_eq!(world.verdict(&get_with(OBJECT, &token)), expected, "{sub}");
    };
    for sub in ["alice", "Alice", "ALICE", "\\u0061lice"] {
        check(sub, Err(Denial::UserDeactivated));
    }
    for sub in ["alic", "alice2", "alice.", "bob", "alice@demo", "demo", "demoalice"] {
        check(sub, Ok(()));
    }
    for sub in ["alice ", " alice", "alice\\u0000", "аlice", "alice\\u200b"] {
        check(sub, Err(Denial::TokenInvalid(VerifyError::BadUid)));
    }
}

#[test]
fn a_session_and_a_token_are_revoked_alone() {
    let world = World::new();
    let check = |members: &str, expected: Result<(), Denial>| {
        let token = mint(Algorithm::ES256, &claims(members));
        assert_eq!(world.verdict(&get_with(OBJECT, &token)), expected, "{members}");
    };
    world.restrict(Scope::Session { app: "demo".into(), sid: "x".into() }, Effect::Deactivated, true);
    check(r#","sid":"x""#, Err(Denial::SessionRevoked));
    check(r#","sid":"X""#, Ok(()));
    check(r#","sid":"y""#, Ok(()));
    check(r#","jti":"x""#, Ok(()));
    check("", Ok(()));
    world.restrict(Scope::Token { app: "demo".into(), jti: "y".into() }, Effect::Deactivated, true);
    check(r#","jti":"y""#, Err(Denial::TokenRevoked));
    check(r#","sid":"y""#, Ok(()));
    check(r#","sid":"x","jti":"y""#, Err(Denial::SessionRevoked));
    check("", Ok(()));
}

#[test]
fn what_was_issued_before_a_flush_is_dead_and_what_came_after_lives() {
    let scopes = [
        Scope::App { app: "demo".into() },
        user("demo", "alice"),
        Scope::Session { app: "demo".into(), sid: "s1".into() },
        Scope::Token { app: "demo".into(), jti: "t1".into() },
    ];
    for scope in scopes {
        let world = World::new();
        let check = |members: &str, expected: Result<(), Denial>| {
            let token = mint(Algorithm::ES256, &claims(&format!(r#","sid":"s1","jti":"t1"{members}"#)));
            assert_eq!(world.verdict(&get_with(OBJECT, &token)), expected, "{scope:?} {members}");
        };
        check("", Ok(()));
        let flush = Effect::IssuedBefore { before: NOW - 100 };
        world.restrict(scope.clone(), flush, true);
        check(&format!(r#","iat":{}"#, NOW - 101), Err(Denial::TokenRevoked));
        check(&format!(r#","iat":{}.9"#, NOW - 101), Err(Denial::TokenRevoked));
        check(&format!(r#","iat":{}"#, NOW - 100), Ok(()));
        check(&format!(r#","iat":{NOW}"#), Ok(()));
        // A token that does not say counts as issued before.
        check("", Err(Denial::TokenRevoked));
        // Reactivating is not unflushing.
        world.restrict(scope.clone(), Effect::Deactivated, true);
        world.restrict(scope.clone(), Effect::Deactivated, false);
        check(&format!(r#","iat":{}"#, NOW - 101), Err(Denial::TokenRevoked));
        world.restrict(scope.clone(), flush, false);
        check(&format!(r#","iat":{}"#, NOW - 101), Ok(()));
    }
}

#[test]
fn nobody_gets_in_on_restrictions_that_are_not_fresh() {
    let world = |when_stale| {
        let freshness = Freshness { max_staleness: Duration::from_secs(30), when_stale };
        let apps = vec![app("demo", Algorithm::ALL)];
        World::unloaded(GateOptions { apps, freshness, ..GateOptions::default() })
    };
    let stale = Err(Denial::RestrictionsStale);
    for when_stale in [WhenStale::Deny, WhenStale::Serve] {
        let mut world = world(when_stale);
        let token = mint(Algorithm::ES256, &claims(""));
        let ask = |world: &World| world.verdict(&get_with(OBJECT, &token));
        // Before its first state a node serves nobody, whatever the operator chose.
        assert_eq!(ask(&world), stale);
        world.apply(Event::Heartbeat { seq: 7 });
        world.restrict(user("demo", "bob"), Effect::Deactivated, true);
        assert_eq!(ask(&world), stale);
        world.apply(Event::Snapshot { seq: 7, entries: Vec::new() });
        assert_eq!(ask(&world), Ok(()));
        world.later(Duration::from_secs(30));
        assert_eq!(ask(&world), Ok(()));
        world.later(Duration::from_millis(1));
        let after = if when_stale == WhenStale::Deny { stale } else { Ok(()) };
        assert_eq!(ask(&world), after);
        // What is known holds, stale or not.
        world.deactivate("demo", "alice");
        world.later(Duration::from_secs(31));
        let deactivated = Err(Denial::UserDeactivated);
        assert_eq!(ask(&world), if when_stale == WhenStale::Deny { stale } else { deactivated });
        world.apply(Event::Heartbeat { seq: 8 });
        assert_eq!(ask(&world), deactivated);
        world.restrict(user("demo", "alice"), Effect::Deactivated, false);
        assert_eq!(ask(&world), Ok(()));
    }
}

#[test]
fn an_old_change_does_not_let_a_user_back_in() {
    let world = World::new();
    let token = good();
    let change = |seq, in_force| {
        let effect = Effect::Deactivated;
        world.apply(Event::Change(Change { seq, scope: user("demo", "alice"), effect, in_force }));
        world.verdict(&get_with(OBJECT, &token))
    };
    assert_eq!(change(5, true), Err(Denial::UserDeactivated));
    assert_eq!(change(4, false), Err(Denial::UserDeactivated));
    assert_eq!(change(5, false), Err(Denial::UserDeactivated));
    world.apply(Event::Heartbeat { seq: 5 });
    assert_eq!(change(5, false), Err(Denial::UserDeactivated));
    assert_eq!(change(6, false), Ok(()));
}

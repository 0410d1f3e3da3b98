//! What ends a URL: its time, and every restriction of what it stands for.

use super::*;

#[test]
fn a_url_ends_on_the_second_that_it_names() {
    let mut world = World::new();
    let signed = url(&world, OBJECT, &good());
    let left = Duration::from_secs(BEGIN + TTL - NOW);
    world.later(left - Duration::from_millis(1));
    world.apply(Event::Heartbeat { seq: 0 });
    // The token itself has expired by now.
    assert_eq!(world.verdict(&get_with(OBJECT, &good())), Err(Denial::TokenExpired));
    assert_eq!(open(&world, &signed), Ok(()));
    world.later(Duration::from_millis(1));
    assert_eq!(open(&world, &signed), Err(Denial::UrlExpired));
    // Only the gate's own word is told apart: a forged URL is not said to have been good once.
    assert_eq!(open(&world, &signed.replace("Uid=alice", "Uid=bob")), Err(Denial::UrlInvalid));
}

#[test]
fn a_url_dies_with_what_its_token_would_die_with() {
    let token = mint(Algorithm::HS256, &claims(r#","sid":"s1","jti":"t1""#));
    let bob = mint(Algorithm::HS256, &claims(r#","sid":"s1","jti":"t1""#).replace("alice", "bob"));
    let app_of = |app: &str| app.to_owned();
    for (scope, denial, others) in [
        (Scope::App { app: app_of("demo") }, Denial::AppDeactivated, Err(Denial::AppDeactivated)),
        (user("demo", "alice"), Denial::UserDeactivated, Ok(())),
        (Scope::Session { app: app_of("demo"), sid: "s1".into() }, Denial::SessionRevoked, Err(Denial::SessionRevoked)),
        (Scope::Token { app: app_of("demo"), jti: "t1".into() }, Denial::TokenRevoked, Err(Denial::TokenRevoked)),
    ] {
        let world = World::new();
        let (signed, bobs) = (url(&world, OBJECT, &token), url(&world, OBJECT, &bob));
        let plain = url(&world, OBJECT, &good());
        world.restrict(user("other", "alice"), Effect::Deactivated, true);
        assert_eq!(open(&world, &signed), Ok(()), "{scope:?}: of another app");
        world.restrict(scope.clone(), Effect::Deactivated, true);
        assert_eq!(open(&world, &signed), Err(denial), "{scope:?}");
        assert_eq!(open(&world, &bobs), others, "{scope:?}");
        let is_narrow = matches!(scope, Scope::Session { .. } | Scope::Token { .. });
        assert_eq!(open(&world, &plain).is_ok(), is_narrow, "{scope:?}: a URL without session and token");
        world.restrict(scope.clone(), Effect::Deactivated, false);
        assert_eq!(open(&world, &signed), Ok(()), "{scope:?}: lifted");
    }
}

#[test]
fn a_flush_kills_the_urls_before_it_and_none_after_it() {
    let scopes = [
        Scope::App { app: "demo".into() },
        user("demo", "alice"),
        Scope::Session { app: "demo".into(), sid: "s1".into() },
        Scope::Token { app: "demo".into(), jti: "t1".into() },
    ];
    for scope in scopes {
        let mut world = World::new();
        let later = |world: &mut World, secs: u64| {
            world.later(Duration::from_secs(secs));
            world.apply(Event::Heartbeat { seq: world.restrictions.applied() });
        };
        let token = |at: u64| {
            let members = serde_json::json!({ "sid": "s1", "jti": "t1", "iat": at, "exp": NOW + 6000 });
            let members = members.to_string().replacen('{', r#"{"sub":"alice","app":"demo","#, 1);
            mint(Algorithm::HS256, &members)
        };
        // In the middle of a window, which begins before the flush and ends after it.
        let (begin, flush) = (BEGIN + WINDOW, BEGIN + WINDOW + 151);
        later(&mut world, flush - 1 - NOW);
        let before = url(&world, OBJECT, &token(flush - 2));
        assert!(before.contains(&format!("Issued={begin}&")), "{before}");
        world.restrict(scope.clone(), Effect::IssuedBefore { before: flush }, true);
        assert_eq!(open(&world, &before), Err(Denial::TokenRevoked), "{scope:?}");
        let old = get_with(&format!("{OBJECT}?redirect=0"), &token(flush - 1));
        assert_eq!(ask_for(&world, &old).err(), Some(Denial::TokenRevoked), "{scope:?}: an old token");
        // The very second of the flush, and the same window: a new URL, which lives at once and stays the same.
        later(&mut world, 1);
        let after = url(&world, OBJECT, &token(flush));
        assert_eq!(open(&world, &after), Ok(()), "{scope:?}");
        assert_ne!(after, before);
        later(&mut world, 100);
        assert_eq!(url(&world, OBJECT, &token(flush + 1)), after, "{scope:?}: the same window");
        assert_eq!(open(&world, &before), Err(Denial::TokenRevoked), "{scope:?}");
        later(&mut world, WINDOW);
        let next = url(&world, OBJECT, &token(flush + 1));
        assert!(next.contains(&format!("Issued={}&", begin + WINDOW)), "{scope:?}: {next}");
        assert_eq!(open(&world, &next), Ok(()), "{scope:?}: the next window");
    }
}

#[test]
fn a_url_needs_fresh_restrictions() {
    let mut world = World::new();
    let signed = url(&world, OBJECT, &good());
    world.later(Duration::from_secs(31));
    assert_eq!(open(&world, &signed), Err(Denial::RestrictionsStale));
    let asked = ask_for(&world, &get_with(&format!("{OBJECT}?redirect=0"), &good()));
    assert_eq!(asked.err(), Some(Denial::RestrictionsStale));
}

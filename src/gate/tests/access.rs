//! Off, observe, enforce; and what needs no token at all.

use super::*;

#[test]
fn an_app_that_is_off_lets_everybody_in_and_looks_at_nothing() {
    let world = World::new();
    let check = |request: &Parts, expected: Result<(), Denial>| {
        let found = world.ask(request);
        assert_eq!(found.as_ref().map(|_| ()).map_err(|denial| *denial), expected, "{request:?}");
        if let Ok(admission) = found {
            assert_eq!((admission.subject, admission.observed, admission.trace.uid), (None, None, None));
        }
    };
    check(&get("/open/a"), Ok(()));
    check(&get_with("/open/a", "junk"), Ok(()));
    check(&get_with("/open/a", &good()), Ok(()));
    // A request that can mean two things is refused all the same.
    check(&get("/open/../demo/a"), Err(Denial::Path(PathError::DotSegment)));
    check(&get_with("/open/a?fat=x", "x"), Err(Denial::BadRequest(BadRequest::SeveralCredentials)));
}

#[test]
fn an_app_that_observes_lets_everything_pass_and_says_what_it_would_have_refused() {
    let mut world = World::new();
    let check = |world: &World, request: &Parts, observed: Option<Denial>| {
        let admission = world.ask(request).expect("observed, not refused");
        assert_eq!(admission.observed, observed, "{request:?}");
        // A transfer that nobody would refuse is not cut either.
        assert_eq!(admission.subject, None, "{request:?}");
    };
    let token = mint(Algorithm::HS256, &claims("").replace("demo", "watched"));
    check(&world, &get_with("/watched/a", &token), None);
    check(&world, &get("/watched/a"), Some(Denial::TokenMissing));
    check(&world, &get_with("/watched/a", "junk"), Some(Denial::TokenInvalid(VerifyError::Malformed)));
    check(&world, &get_with("/watched/a", &good()), Some(Denial::OtherApp));
    world.deactivate("watched", "alice");
    check(&world, &get_with("/watched/a", &token), Some(Denial::UserDeactivated));
    world.later(Duration::from_secs(31));
    check(&world, &get_with("/watched/a", &token), Some(Denial::RestrictionsStale));
    world.later(Duration::from_secs(600));
    check(&world, &get_with("/watched/a", &token), Some(Denial::TokenExpired));
    let ambiguous = world.verdict(&get_with("/watched/a%2fb", &token));
    assert_eq!(ambiguous, Err(Denial::Path(PathError::EncodedSeparator)));
}

#[test]
fn a_public_folder_needs_no_token_and_nothing_beside_it_does_without() {
    let world = World::new();
    let check = |target: &str, expected: Result<(), Denial>| {
        assert_eq!(world.verdict(&get(target)), expected, "{target}");
    };
    check("/demo/legacy/a.jpg", Ok(()));
    check("/demo/legacy/a/b/c", Ok(()));
    check("/demo/%6cegacy/a", Ok(()));
    check("/demo/legacy/a?x=../../b", Ok(()));
    for target in [
        "/demo/legacy2/a",
        "/demo/legac",
        "/demo/legacy",
        "/demo/Legacy/a",
        "/demo/LEGACY/a",
        "/demo/media/legacy/a",
        "/demo/legacy%20/a",
        "/demo/legacy.bak/a",
        "/demo/legacy%E2%81%84a",
        "/demo/media/a?path=legacy/",
        "/demo/media/a?/legacy/",
        "/other/legacy/a",
    ] {
        check(target, Err(Denial::TokenMissing));
    }
    for (target, error) in [
        ("/demo/legacy/../media/a", PathError::DotSegment),
        ("/demo/legacy/%2e%2e/media/a", PathError::DotSegment),
        ("/demo/legacy/..%2fmedia/a", PathError::EncodedSeparator),
        ("/demo/legacy%2f../media/a", PathError::EncodedSeparator),
        ("/demo/legacy%2fa", PathError::EncodedSeparator),
        ("/demo/legacy/%252e%252e/media/a", PathError::DotSegment),
        ("/demo/legacy/..%252fmedia/a", PathError::EncodedSeparator),
        ("/demo/legacy/%5c..%5cmedia/a", PathError::EncodedSeparator),
        ("/demo/legacy//media/a", PathError::EmptySegment),
        ("/demo/legacy/", PathError::EmptySegment),
        ("/demo/legacy/..;/media/a", PathError::ForbiddenCharacter),
        ("/demo/legacy/a%00", PathError::ForbiddenCharacter),
        ("/demo//legacy/a", PathError::EmptySegment),
        ("/demo/./legacy/a", PathError::DotSegment),
    ] {
        check(target, Err(Denial::Path(error)));
    }
    // A token there is not looked at, and not a reason for anything.
    let admission = world.ask(&get_with("/demo/legacy/a", "junk")).expect("public");
    assert_eq!((admission.subject, admission.trace.uid), (None, None));
}

#[test]
fn a_public_prefix_is_a_folder() {
    for folder in ["legacy/", "a/b/", "100%/", "a b/", "文/"] {
        assert!(PublicPrefixes::new([folder.to_owned()]).is_ok(), "{folder}");
    }
    for folder in ["", "/", "legacy", "/legacy/", "../", "a/../b/", "a//", "./", "//", "a\\b/", "a\0/", "a%2fb/"] {
        let refused = PublicPrefixes::new([folder.to_owned()]).expect_err(folder);
        assert_eq!(refused, NotAFolder(folder.into()));
    }
    let percent =
        World::with(vec![AppOptions { public_prefixes: prefixes(&["100%/"]), ..app("demo", Algorithm::ALL) }]);
    assert_eq!(percent.verdict(&get("/demo/100%25/a")), Ok(()));
    assert_eq!(percent.verdict(&get("/demo/100/a")), Err(Denial::TokenMissing));
}

#[test]
fn a_gate_is_not_made_of_apps_that_contradict_each_other() {
    let check = |apps: Vec<AppOptions>, expected: Option<GateError>| {
        assert_eq!(Gate::new(GateOptions { apps, ..GateOptions::default() }).err(), expected);
    };
    check(vec![app("a", [Algorithm::HS256]), app("b", [Algorithm::HS256])], None);
    let twice = vec![app("a", [Algorithm::HS256]), app("a", [Algorithm::ES256])];
    check(twice, Some(GateError::DuplicateApp("a".into())));
    check(vec![app("a", [])], Some(GateError::NoKeys("a".into())));
    check(vec![AppOptions { access: Access::Observe, ..app("a", []) }], Some(GateError::NoKeys("a".into())));
    check(vec![AppOptions { access: Access::Off, ..app("a", []) }], None);
    let twins = app("a", [Algorithm::HS256, Algorithm::HS256]);
    check(vec![twins], Some(GateError::DuplicateKid { app: "a".into(), kid: "HS256".into() }));
    for id in ["", ".", "..", "a/b", "a b", "a%", "ä", "a\0", "a?", &"a".repeat(256)] {
        check(vec![app(id, [Algorithm::HS256])], Some(GateError::BadAppId(id.into())));
    }
}

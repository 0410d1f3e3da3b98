//! What the control plane sets: the switch, folders, a date, and keys that open an app.

use super::*;
use sha2::{Digest, Sha256};

fn demo() -> Scope {
    Scope::App { app: "demo".into() }
}

fn open_app(access: Access) -> World {
    World::with(vec![AppOptions { access, ..app("demo", Algorithm::ALL) }, app("other", Algorithm::ALL)])
}

#[test]
fn what_is_set_holds_where_it_says_more_than_the_configuration() {
    let observed = |world: &World| world.ask(&get("/demo/a")).map(|admission| admission.observed);
    let world = open_app(Access::Off);
    assert_eq!(observed(&world), Ok(None));
    world.restrict(demo(), Effect::Observed, true);
    assert_eq!(observed(&world), Ok(Some(Denial::TokenMissing)));
    world.restrict(demo(), Effect::Enforced, true);
    assert_eq!(observed(&world), Err(Denial::TokenMissing));
    assert_eq!(world.ask(&get_with("/demo/a", &good())).map(|admission| admission.observed), Ok(None));
    let world = open_app(Access::Enforce);
    world.restrict(demo(), Effect::Observed, true);
    assert_eq!(observed(&world), Err(Denial::TokenMissing));
}

#[test]
fn a_folder_that_is_set_needs_no_token_and_no_other_does() {
    let world = open_app(Access::Enforce);
    let folder = Scope::Prefix { app: "demo".into(), prefix: "old/a b/".into() };
    world.restrict(folder, Effect::Exempt, true);
    for (target, expected) in [
        ("/demo/old/a%20b/x.jpg", Ok(())),
        ("/demo/old/a%20b/c/x.jpg", Ok(())),
        ("/demo/old/a%20b", Err(Denial::TokenMissing)),
        ("/demo/old/x.jpg", Err(Denial::TokenMissing)),
        ("/demo/x/old/a%20b/x.jpg", Err(Denial::TokenMissing)),
        ("/other/old/a%20b/x.jpg", Err(Denial::TokenMissing)),
    ] {
        assert_eq!(world.verdict(&get(target)), expected, "{target}");
    }
}

#[test]
fn an_old_object_needs_no_token_and_a_bad_one_does_not_help() {
    let since = |world: &World, request: &Parts| world.ask(request).map(|admission| admission.modified_before);
    let at = |secs| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
    let dated = AppOptions { tokenized_since: Some(1000), ..app("demo", Algorithm::ALL) };
    let world = World::with(vec![dated]);
    assert_eq!(since(&world, &get("/demo/a")), Ok(at(1000)));
    assert_eq!(since(&world, &get_with("/demo/a", &good())), Ok(None));
    assert!(world.verdict(&get_with("/demo/a", "bad")).is_err());
    // Once the switch is on, what is set counts.
    world.restrict(demo(), Effect::TokenizedSince { since: 2000 }, true);
    assert_eq!(since(&world, &get("/demo/a")), Ok(at(2000)));
    world.restrict(demo(), Effect::TokenizedSince { since: 0 }, false);
    assert_eq!(since(&world, &get("/demo/a")), Ok(at(1000)));
    // Where nothing is asked for, neither is the date.
    let world = open_app(Access::Off);
    world.restrict(demo(), Effect::TokenizedSince { since: 2000 }, true);
    assert_eq!(since(&world, &get("/demo/a")), Ok(None));
    let world = open_app(Access::Observe);
    world.restrict(demo(), Effect::TokenizedSince { since: 2000 }, true);
    let admission = world.ask(&get("/demo/a")).unwrap();
    assert_eq!((admission.observed, admission.modified_before), (Some(Denial::TokenMissing), at(2000)));
}

#[test]
fn an_api_key_opens_its_app_and_nothing_else() {
    let digest: [u8; 32] = Sha256::digest(b"configured").into();
    let apps = vec![app("demo", Algorithm::ALL), app("other", Algorithm::ALL)];
    let mut world = World::unloaded(GateOptions { apps, api_keys: vec![[0; 32], digest], ..GateOptions::default() });
    let with = |target: &str, key: &str| request("GET", target, &[("host", "files.example"), ("apikey", key)]);
    // What the configuration says needs no feed; the others do.
    assert_eq!(world.verdict(&with("/demo/a", "configured")), Ok(()));
    assert_eq!(world.verdict(&with("/demo/a", "stored")), Err(Denial::RestrictionsStale));
    world.apply(Event::Snapshot { seq: 0, entries: Vec::new() });
    assert_eq!(world.verdict(&with("/demo/a", "stored")), Err(Denial::ApiKeyUnknown));
    let stored: String = Sha256::digest(b"stored").iter().map(|byte| format!("{byte:02x}")).collect();
    let scope = Scope::ApiKey { app: "demo".into(), digest: stored.clone() };
    world.restrict(scope.clone(), Effect::Exempt, true);
    for (target, key, expected) in [
        ("/demo/a", "stored", Ok(())),
        ("/demo/a", "configured", Ok(())),
        ("/other/a", "configured", Ok(())),
        ("/other/a", "stored", Err(Denial::ApiKeyUnknown)),
        ("/demo/a", "", Err(Denial::ApiKeyUnknown)),
        ("/demo/a", "store", Err(Denial::ApiKeyUnknown)),
        ("/demo/a", &stored, Err(Denial::ApiKeyUnknown)),
    ] {
        assert_eq!(world.verdict(&with(target, key)), expected, "{target} {key}");
    }
    let admission = world.ask(&with("/demo/a", "stored")).unwrap();
    assert_eq!((admission.trace.credential, admission.trace.uid), (Some(CredentialKind::ApiKey), None));
    let service = admission.subject.expect("what a transfer is judged by again");
    assert_eq!(world.restrictions.check(&service), Ok(()));
    world.restrict(scope, Effect::Exempt, false);
    assert_eq!(world.restrictions.check(&service).map_err(crate::gate::denial), Err(Denial::ApiKeyUnknown));
    assert_eq!(world.verdict(&with("/demo/a", "stored")), Err(Denial::ApiKeyUnknown));
    world.later(Duration::from_secs(31));
    assert_eq!(world.verdict(&with("/demo/a", "stored")), Err(Denial::RestrictionsStale));
}

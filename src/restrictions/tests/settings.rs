//! What the control plane sets beside restrictions.

use super::*;

#[test]
fn settings_are_of_their_app_and_restrict_nobody() {
    let set = fresh();
    let app = || Scope::App { app: "acme".into() };
    let prefix = Scope::Prefix { app: "acme".into(), prefix: "legacy/2024/".into() };
    let key = Scope::ApiKey { app: "acme".into(), digest: "d1".into() };
    apply(&set, 1, app(), Effect::Observed, true);
    apply(&set, 2, app(), Effect::Enforced, true);
    apply(&set, 3, app(), Effect::TokenizedSince { since: 7 }, true);
    apply(&set, 4, prefix.clone(), Effect::Exempt, true);
    apply(&set, 5, key.clone(), Effect::Exempt, true);
    let all = AppSettings { is_observed: true, is_enforced: true, tokenized_since: Some(7) };
    assert_eq!((set.app_settings("acme"), set.app_settings("other")), (all, AppSettings::default()));
    check(&set, "bob", None, Ok(()));
    for (object, expected) in [
        ("legacy/2024/a.jpg", true),
        ("legacy/2024/b/c.jpg", true),
        ("legacy/2024", false),
        ("legacy/2025/a.jpg", false),
        ("x/legacy/2024/a.jpg", false),
        ("legacy/2024x/a.jpg", false),
    ] {
        assert_eq!(set.is_exempt("acme", object), expected, "{object}");
        assert!(!set.is_exempt("other", object));
    }
    let service = set.service("acme", "d1").expect("a key that opens the app");
    assert_eq!([("acme", "d2"), ("other", "d1")].map(|(app, digest)| set.service(app, digest)), [None, None]);
    assert_eq!((set.check(&service), set.flushed(&service)), (Ok(()), None));
    let generation = set.generation();
    for (at, (scope, effect)) in
        [(app(), Effect::Observed), (prefix, Effect::Exempt), (key, Effect::Exempt)].into_iter().enumerate()
    {
        apply(&set, 6 + at as u64, scope, effect, false);
    }
    assert!(!set.is_exempt("acme", "legacy/2024/a.jpg") && set.service("acme", "d1").is_none());
    assert_eq!(set.check(&service), Err(Restricted::ApiKey));
    assert_ne!(set.generation(), generation, "what is running looks again");
    assert_eq!(set.app_settings("acme"), AppSettings { is_observed: false, ..all });
}

#[test]
fn a_purge_is_of_what_was_fetched_before_it_was_heard_of() {
    let set = fresh();
    let app = || "acme".to_owned();
    let prefix = |prefix: &str| Scope::Prefix { app: app(), prefix: prefix.into() };
    let before = set.generation();
    let is_purged = |key: &str, at: u64| set.is_purged("acme", key, at);
    assert!(!is_purged("media/a.jpg", before));
    apply(&set, 1, prefix("media/a.jpg"), Effect::Purged { at: 1 }, true);
    let first = set.generation();
    for (key, expected) in [("media/a.jpg", true), ("media/a.jpgx", false), ("media/a.jpg/b", false), ("a.jpg", false)]
    {
        assert_eq!(is_purged(key, before), expected, "{key}");
        assert!(!is_purged(key, first), "{key} was fetched later");
    }
    assert!(!set.is_purged("other", "media/a.jpg", before));
    apply(&set, 2, prefix("media/"), Effect::Purged { at: 2 }, true);
    for (key, at, expected) in [
        ("media/a.jpg", first, true),
        ("media/b/c.jpg", first, true),
        ("media", first, false),
        ("other/media/a.jpg", first, false),
        ("media/a.jpg", set.generation(), false),
    ] {
        assert_eq!(is_purged(key, at), expected, "{key}");
    }
    let second = set.generation();
    apply(&set, 3, prefix("media/a.jpg"), Effect::Purged { at: 3 }, true);
    assert!(is_purged("media/a.jpg", second), "again");
    apply(&set, 4, Scope::App { app: app() }, Effect::Purged { at: 4 }, true);
    assert!(is_purged("x", second) && !set.is_purged("other", "x", second));
    assert!(!set.is_exempt("acme", "media/a.jpg"), "and it lets nobody in");
    check(&set, "bob", None, Ok(()));
    for (seq, scope) in [(5, prefix("media/a.jpg")), (6, prefix("media/")), (7, Scope::App { app: app() })] {
        apply(&set, seq, scope, Effect::Purged { at: 0 }, false);
    }
    assert!(!is_purged("media/a.jpg", before), "it is forgotten");
}

#[test]
fn a_purge_in_a_state_that_is_loaded_may_be_as_new_as_that() {
    let set = fresh();
    let now = Instant::now();
    let purged = (Scope::Prefix { app: "acme".into(), prefix: "media/".into() }, Effect::Purged { at: 1 });
    let load = |entries: Vec<(Scope, Effect)>| set.apply(Event::Snapshot { seq: 9, entries }, now);
    let before = set.generation();
    load(Vec::new());
    assert!(!set.is_purged("acme", "media/a", before));
    let before = set.generation();
    load(vec![purged.clone()]);
    assert!(set.is_purged("acme", "media/a", before) && !set.is_purged("acme", "a", before));
    assert!(!set.is_purged("acme", "media/a", set.generation()));
    let parts = || vec![Entry { scope: purged.0.clone(), effect: purged.1, in_force: true }];
    set.apply(Event::SnapshotBegins { expected: 1 }, now);
    set.apply(Event::SnapshotPart(parts()), now);
    let meanwhile = set.generation();
    assert!(!set.is_purged("acme", "media/a", meanwhile));
    set.apply(Event::SnapshotEnds { source: "s".into(), seq: 10 }, now);
    assert!(set.is_purged("acme", "media/a", meanwhile) && !set.is_purged("acme", "media/a", set.generation()));
}

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

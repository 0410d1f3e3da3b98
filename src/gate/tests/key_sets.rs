//! Keys of JWK Sets beside configured ones.

use super::*;
use crate::gate::verify::VerifyError;

fn set(app: &str, source: &str, keys: Vec<VerifyingKey>) -> KeySet {
    KeySet { app: app.into(), source: source.into(), keys }
}

fn gate(apps: Vec<AppOptions>, sets: Vec<KeySet>) -> (Gate, Vec<TakenKid>) {
    Gate::with_key_sets(GateOptions { apps, ..GateOptions::default() }, sets).expect("a gate")
}

/// A token for `alg` under `kid`, with or without its app.
fn token(alg: Algorithm, kid: &str, app: &str) -> String {
    let app = if app.is_empty() { String::new() } else { format!(r#","app":"{app}""#) };
    let claims = format!(r#"{{"sub":"alice","exp":{}{app}}}"#, NOW + 600);
    keys::compact(alg, &format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#), claims)
}

fn verdict(gate: &Gate, app: &str, compact: &str) -> Result<(), VerifyError> {
    let now = Now { wall: std::time::UNIX_EPOCH + Duration::from_secs(NOW), monotonic: World::new().now.monotonic };
    gate.verify(app, compact, now)
}

#[test]
fn an_app_with_a_set_needs_no_other_key_and_opens_to_nobody_without_it() {
    let without = |keys| gate(vec![app("a", [])], vec![set("a", "u", keys)]).0;
    let compact = token(Algorithm::ES256, "k1", "");
    assert_eq!(verdict(&without(vec![]), "a", &compact), Err(VerifyError::UnknownKey));
    let held = without(vec![keys::key_called("k1", Algorithm::ES256)]);
    assert_eq!(verdict(&held, "a", &compact), Ok(()));
    let nameless = keys::compact(Algorithm::ES256, r#"{"alg":"ES256"}"#, claims("").replace("demo", "a"));
    assert_eq!(verdict(&held, "a", &nameless), Err(VerifyError::UnknownKey));
    let sets = vec![set("b", "u", vec![])];
    let options = GateOptions { apps: vec![app("a", [])], ..GateOptions::default() };
    assert_eq!(Gate::with_key_sets(options, sets).err(), Some(GateError::NoKeys("a".into())));
}

#[test]
fn a_configured_key_keeps_its_name_and_so_does_the_first_set() {
    let p256 = |kid: &str| keys::key_called(kid, Algorithm::ES256);
    let ed25519 = |kid: &str| keys::key_called(kid, Algorithm::EdDSA);
    let sets =
        vec![set("a", "u", vec![p256("HS256"), p256("x"), p256("y")]), set("a", "v", vec![ed25519("x"), ed25519("z")])];
    let (gate, taken) = gate(vec![app("a", [Algorithm::HS256])], sets);
    let kids: Vec<_> = taken.iter().map(|taken| (taken.app.as_str(), taken.kid.as_str())).collect();
    assert_eq!(kids, [("a", "HS256"), ("a", "x")]);
    for (alg, kid, expected) in [
        (Algorithm::HS256, "HS256", Ok(())),
        (Algorithm::ES256, "HS256", Err(VerifyError::WrongAlgorithm)),
        (Algorithm::ES256, "x", Ok(())),
        (Algorithm::EdDSA, "x", Err(VerifyError::WrongAlgorithm)),
        (Algorithm::ES256, "y", Ok(())),
        (Algorithm::EdDSA, "z", Ok(())),
        (Algorithm::ES256, "w", Err(VerifyError::UnknownKey)),
    ] {
        assert_eq!(verdict(&gate, "a", &token(alg, kid, "")), expected, "{alg} {kid}");
    }
}

#[test]
fn tokens_of_a_set_that_apps_share_name_their_app_from_the_start() {
    let p256 = || vec![keys::key_called("k1", Algorithm::ES256)];
    let check = |sets: Vec<KeySet>, expected| {
        let (gate, _) = gate(vec![app("a", []), app("b", [Algorithm::HS256])], sets);
        assert_eq!(verdict(&gate, "a", &token(Algorithm::ES256, "k1", "")), expected);
        assert_eq!(verdict(&gate, "a", &token(Algorithm::ES256, "k1", "a")), Ok(()));
    };
    check(vec![set("a", "u", p256())], Ok(()));
    check(vec![set("a", "u", p256()), set("b", "v", vec![])], Ok(()));
    // One source, although the other app has not had it yet; one key from two sources.
    check(vec![set("a", "u", p256()), set("b", "u", vec![])], Err(VerifyError::AppMissing));
    check(vec![set("a", "u", p256()), set("b", "v", p256())], Err(VerifyError::AppMissing));
}

#[test]
fn a_twilio_key_belongs_to_one_app() {
    let twilio = || VerifyingKey::twilio("SK1", Algorithm::HS256, &Secret::new("kT4wNz0QeYvB8mRj2LsXc6HgUa9PdF7i"));
    let with_key = |id| AppOptions { keys: vec![twilio().expect("a key")], ..app(id, []) };
    let gate = |apps| Gate::new(GateOptions { apps, ..GateOptions::default() }).err();
    assert_eq!(gate(vec![with_key("a"), app("b", [Algorithm::HS256])]), None);
    assert_eq!(gate(vec![with_key("a"), with_key("b")]), Some(GateError::SharedTwilioKey("SK1".into())));
}

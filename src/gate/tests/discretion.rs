//! What is shown of a request: never a token, a secret or a signed URL.

use super::*;

#[test]
fn nothing_that_is_printed_holds_a_token_a_secret_or_a_signature() {
    let world = World::new();
    let token = mint(Algorithm::ES256, &claims(r#","sid":"session-of-alice","jti":"token-of-alice""#));
    let mut shown = Vec::new();
    let in_query = get(&format!("/demo/media/a.jpg?fat={token}"));
    for request in [&get_with("/demo/media/a.jpg", &token), &in_query, &get_with("/open/a", &token)] {
        let admission = world.ask(request).expect("admitted");
        let url = admission.target.path_and_query();
        let signature = url.split("X-Amz-Signature=").nth(1).expect("a signed URL").to_owned();
        let printed = format!("{admission:?} {:#?}", Decision::Forward(world.ask(request).expect("admitted")));
        assert!(!printed.contains(&signature) && !printed.contains("X-Amz"), "{printed}");
        shown.push(printed);
    }
    // Refused with a token in hand, for every reason that there is before and after it was read.
    let refused = world.gate.admit(&get_with("/other/a", &token), &world.restrictions, world.now);
    shown.push(format!("{refused:?}"));
    let twice = world.gate.admit(&get_with(&format!("/demo/a?fat={token}"), &token), &world.restrictions, world.now);
    shown.push(format!("{twice:?}"));
    let in_path = world.gate.admit(&get(&format!("/demo/{token}")), &world.restrictions, world.now);
    shown.push(format!("{in_path:?}"));
    shown.push(format!("{:?} {:?}", world.gate, world.restrictions));
    let options = GateOptions { apps: vec![app("demo", Algorithm::ALL)], ..GateOptions::default() };
    shown.push(format!("{options:#?}"));
    let parts: Vec<&str> = token.split('.').collect();
    let secret = keys::b64(&*keys::SECRET);
    let bytes = format!("{:?}", &keys::SECRET[..4]);
    for text in &shown {
        for hidden in [parts[1], parts[2], SECRET_ACCESS_KEY, "session-of-alice", "token-of-alice", &secret] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
        assert!(!text.contains(bytes.trim_matches(['[', ']'])), "{text}");
    }
}

#[test]
fn the_number_of_a_token_is_one_of_this_process() {
    let [here, there] = [[1, 2], [3, 4]].map(|key| RestrictionSet::new(key, Instant::now()));
    assert_eq!(here.token_number("t"), here.token_number("t"));
    assert_ne!(here.token_number("t"), here.token_number("u"));
    assert_ne!(here.token_number("t"), there.token_number("t"));
}

#[test]
fn a_refused_token_names_nobody() {
    let world = World::new();
    let trace = |request: &Parts| world.gate.admit(request, &world.restrictions, world.now).expect_err("refused").trace;
    let good = good();
    let forged = format!("{}.{}", good.rsplit_once('.').expect("a token").0, keys::b64([0; 32]));
    let forged = trace(&get_with("/demo/a", &forged));
    assert_eq!(
        (forged.uid, forged.app.as_deref(), forged.object),
        (None, Some("demo"), ObjectPath::parse("/demo/a").ok())
    );
    assert!(forged.token.is_some());
    let unknown = trace(&get_with("/nobody/a", &good));
    assert_eq!((unknown.uid, unknown.app, unknown.token), (None, None, None));
    let ambiguous = trace(&get_with("/demo/../a", &good));
    assert_eq!(*ambiguous, Trace::default());
    // Signed, and refused for something else: then the log may say whom.
    let narrow = mint(Algorithm::HS256, &claims(r#","path":"/demo/b""#));
    assert_eq!(trace(&get_with("/demo/a", &narrow)).uid.as_deref(), Some("alice"));
}

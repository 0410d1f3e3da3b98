//! Presigned URLs: who gets one, what it opens, and what kills it.

mod operator;
mod revocation;

use proptest::prelude::*;

use super::*;

const OBJECT: &str = "/demo/media/a.jpg";

/// How long URLs of [`World::new`] live, in seconds.
pub(super) const TTL: u64 = 900;

const WINDOW: u64 = 300;

/// Where the window of [`NOW`] begins.
const BEGIN: u64 = NOW - NOW % WINDOW;

const MALFORMED: Result<(), Denial> = Err(Denial::BadRequest(BadRequest::PresignedForm));

fn key(first: char) -> PresignedKey {
    PresignedKey::new(&Secret::new(format!("{first} seventeen damp foxes sign, 0x3c"))).expect("a key")
}

pub(super) fn options() -> PresignedOptions {
    PresignedOptions {
        target: PresignedTarget::Gate(key('a')),
        previous: Vec::new(),
        base: PresignedBase::Asked(http::uri::Scheme::HTTPS),
        ttl: Duration::from_secs(TTL),
        window: Duration::from_secs(WINDOW),
    }
}

/// A world whose one app is `demo`, with these URLs.
fn world_with(presigned: PresignedOptions) -> World {
    let apps = vec![app("demo", Algorithm::ALL)];
    let world = World::unloaded(GateOptions { apps, presigned: Some(presigned), ..GateOptions::default() });
    world.apply(Event::Snapshot { seq: 0, entries: Vec::new() });
    world
}

fn ask_for(world: &World, request: &Parts) -> Result<Handout, Denial> {
    match world.gate.admit(request, &world.restrictions, world.now) {
        Ok(Decision::HandOut(handout)) => Ok(handout),
        Ok(other) => panic!("{other:?} was not asked for"),
        Err(refusal) => Err(refusal.denial),
    }
}

/// What somebody with `token` gets for `path`: path and query of the URL.
pub(super) fn url(world: &World, path: &str, token: &str) -> String {
    let handout = ask_for(world, &get_with(&format!("{path}?redirect=0"), token)).expect("a URL");
    let url = handout.presigned.url.strip_prefix("https://files.example").expect("a URL of the gate");
    url.to_owned()
}

/// What opening `target` says.
fn open(world: &World, target: &str) -> Result<(), Denial> {
    world.verdict(&get(target))
}

#[test]
fn a_token_gets_a_url_that_opens_its_object() {
    let world = World::new();
    let token = good();
    let signed = url(&world, OBJECT, &token);
    assert!(signed.starts_with(&format!("{OBJECT}?Expires={}&Issued={BEGIN}&Key-Pair-Id=", BEGIN + TTL)), "{signed}");
    assert!(signed.ends_with("&Uid=alice") && !signed.contains(&token), "{signed}");
    for method in ["GET", "HEAD"] {
        let admission = world.ask(&request(method, &signed, &[("host", "files.example")])).expect("admitted");
        assert_eq!(admission.subject, Some(world.restrictions.subject("demo", "alice", None, None, Some(BEGIN))));
        assert_eq!(admission.trace.credential, Some(CredentialKind::Presigned));
        assert_eq!(admission.trace.uid.as_deref(), Some("alice"));
        assert_eq!(admission.trace.token, Some(world.restrictions.token_number(signed.split_once('?').unwrap().1)));
        assert_eq!(admission.trace.object.as_ref().map(ObjectPath::as_str), Some(&OBJECT[1..]));
    }
    // Every way to ask, and the same answer.
    let bearer = format!("Bearer {token}");
    let cookie = format!("fat={token}");
    for (method, query, field, form) in [
        ("GET", format!("fat={token}&redirect=0"), ("x", ""), HandoutForm::Body),
        ("GET", format!("redirect=1&fat={token}&v=2"), ("x", ""), HandoutForm::Redirect),
        ("HEAD", "redirect=0".to_owned(), ("fat", token.as_str()), HandoutForm::Body),
        ("GET", "redirect=0".to_owned(), ("authorization", &bearer), HandoutForm::Body),
        ("GET", "redirect=1".to_owned(), ("cookie", &cookie), HandoutForm::Redirect),
    ] {
        let request = request(method, &format!("{OBJECT}?{query}"), &[("host", "files.example"), field]);
        let handout = ask_for(&world, &request).expect("a URL");
        assert_eq!((handout.form, &handout.observed), (form, &None));
        assert_eq!(handout.presigned.url, format!("https://files.example{signed}"));
        assert_eq!(handout.presigned.expires_at, Some(BEGIN + TTL));
        assert_eq!(handout.trace.uid.as_deref(), Some("alice"));
        let printed = format!("{handout:?}");
        assert!(!printed.contains("Signature") && !printed.contains("Expires"), "{printed}");
    }
}

#[test]
fn who_gets_no_file_gets_no_url() {
    let world = World::new();
    let check = |query: &str, field: (&str, &str), denial: Denial| {
        let request = request("GET", &format!("{OBJECT}?{query}"), &[("host", "files.example"), field]);
        assert_eq!(ask_for(&world, &request).err(), Some(denial), "{query} {field:?}");
    };
    let good = good();
    let signed = url(&world, OBJECT, &good);
    let signed = signed.split_once('?').expect("a query").1;
    let several = Denial::BadRequest(BadRequest::SeveralCredentials);
    check("redirect=0", ("x", ""), Denial::TokenMissing);
    check("redirect=0", ("fat", "a.b.c"), Denial::TokenInvalid(VerifyError::Malformed));
    check("redirect=0", ("fat", &mint(Algorithm::HS256, r#"{"sub":"a","app":"demo","exp":1}"#)), Denial::TokenExpired);
    check("redirect=0", ("fat", &mint(Algorithm::HS256, &claims(r#","path":"/demo/b""#))), Denial::PathNotAllowed);
    check(&format!("redirect=0&fat={good}"), ("fat", &good), several);
    check("redirect=2", ("fat", &good), Denial::BadRequest(BadRequest::Redirect));
    check(&format!("{signed}&redirect=0"), ("x", ""), Denial::BadRequest(BadRequest::PresignedForm));
    check(&format!("redirect=0&{signed}"), ("fat", &good), several);
    world.deactivate("demo", "alice");
    check("redirect=0", ("fat", &good), Denial::UserDeactivated);
}

#[test]
fn a_url_and_a_token_are_two_credentials() {
    let world = World::new();
    let good = good();
    let signed = url(&world, OBJECT, &good);
    let several = Err(Denial::BadRequest(BadRequest::SeveralCredentials));
    let bearer = format!("Bearer {good}");
    let cookie = format!("fat={good}");
    for field in [("fat", good.as_str()), ("authorization", &bearer), ("cookie", &cookie), ("fat", "junk")] {
        let both = request("GET", &signed, &[("host", "files.example"), field]);
        assert_eq!(world.verdict(&both), several);
    }
    assert_eq!(open(&world, &format!("{signed}&fat={good}")), several);
    assert_eq!(open(&world, &format!("{OBJECT}?fat={good}&Signature=")), several);
}

#[test]
fn any_change_of_a_url_is_refused() {
    let world = World::new();
    let token = mint(Algorithm::HS256, &claims(r#","sid":"s1","jti":"t1""#));
    let signed = url(&world, OBJECT, &token);
    assert_eq!(open(&world, &signed), Ok(()));
    let (path, query) = signed.split_once('?').expect("a query");
    let parameters: Vec<&str> = query.split('&').collect();
    assert_eq!(parameters.len(), 7, "{signed}");
    let with = |at: usize, changed: &[&str]| {
        format!("{path}?{}", [&parameters[..at], changed, &parameters[at + 1..]].concat().join("&"))
    };
    for (at, parameter) in parameters.iter().enumerate() {
        let (name, value) = parameter.split_once('=').expect("a value");
        // Another value.
        let flipped = |flip: u8| {
            let mut bytes = value.as_bytes().to_vec();
            bytes[0] ^= flip;
            format!("{name}={}", String::from_utf8(bytes).expect("ASCII"))
        };
        let encoded = format!("{name}=%{:02X}{}", value.as_bytes()[0], &value[1..]);
        for changed in [flipped(1), flipped(2), format!("{name}="), format!("{parameter}0"), encoded] {
            assert_eq!(open(&world, &with(at, &[&changed])), Err(Denial::UrlInvalid), "{changed}");
        }
        // Left out, twice, in another place, under another name, and with something new.
        let without = if matches!(name, "Jti" | "Sid") { Err(Denial::UrlInvalid) } else { MALFORMED };
        assert_eq!(open(&world, &with(at, &[])), without, "without {name}");
        assert_eq!(open(&world, &with(at, &[parameter, parameter])), MALFORMED);
        assert_eq!(open(&world, &with(at, &[parameter, "response-content-type=text/html"])), MALFORMED);
        assert_eq!(open(&world, &with(at, &["v=1", parameter])), MALFORMED);
        assert_eq!(open(&world, &with(at, &[&format!("{}={value}", name.to_ascii_lowercase())])), MALFORMED);
        let other = (at + 1) % parameters.len();
        let mut swapped = parameters.clone();
        swapped.swap(at, other);
        assert_eq!(open(&world, &format!("{path}?{}", swapped.join("&"))), MALFORMED);
    }
    // Without everything that makes it a signed URL there is no credential at all.
    assert_eq!(open(&world, &format!("{path}?Expires=1&Uid=alice")), Err(Denial::TokenMissing));
    for (other, expected) in [
        ("/demo/media/b.jpg", Err(Denial::UrlInvalid)),
        ("/demo/media/a.jpgx", Err(Denial::UrlInvalid)),
        ("/other/media/a.jpg", Err(Denial::UrlInvalid)),
        // The same object in another spelling: it was not handed out like that.
        ("/demo/media/%61.jpg", Err(Denial::UrlInvalid)),
        ("/demo/media/../media/a.jpg", Err(Denial::Path(PathError::DotSegment))),
        ("/demo/media//a.jpg", Err(Denial::Path(PathError::EmptySegment))),
    ] {
        assert_eq!(open(&world, &format!("{other}?{query}")), expected, "{other}");
    }
    // In the path it would be logged and sent on.
    for misplaced in [signed.replace('?', "%3F"), signed.replace('?', "&"), signed.replace('?', "%253F")] {
        let expected = Err(Denial::Path(PathError::HoldsToken));
        assert_eq!(open(&world, &misplaced), expected, "{misplaced}");
    }
    // Base64 of the same bytes that is not the canonical one.
    let at = signed.find("Signature=").expect("a signature") + "Signature=".len() + 42;
    let next = char::from(signed.as_bytes()[at] + 1);
    assert_eq!(open(&world, &format!("{}{next}{}", &signed[..at], &signed[at + 1..])), Err(Denial::UrlInvalid));
}

#[test]
fn what_one_url_says_cannot_be_read_as_another() {
    let world = World::new();
    for (uid, sid) in [("a&Uid=bob", "s"), ("a%26Uid=bob", "s"), ("a=b?c#d+e/f", "ß \u{7f}&Sid=x"), ("%61", "%")] {
        let members = serde_json::json!({ "sub": uid, "app": "demo", "sid": sid, "exp": NOW + 600 });
        let signed = url(&world, OBJECT, &mint(Algorithm::HS256, &members.to_string()));
        let admission = world.ask(&get(&signed)).expect("admitted");
        assert_eq!(admission.trace.uid.as_deref(), Some(uid.to_lowercase().as_str()), "{signed}");
        let subject = world.restrictions.subject("demo", &uid.to_lowercase(), Some(sid), None, Some(BEGIN));
        assert_eq!(admission.subject, Some(subject));
    }
    // As the app compares it.
    let members = claims("").replace("alice", "ALICE");
    assert!(url(&world, OBJECT, &mint(Algorithm::HS256, &members)).ends_with("&Uid=alice"));
}

proptest! {
    #[test]
    fn a_window_has_one_url_and_none_lives_too_short_or_too_long(
        now in 0..10_000_000_u64, later in 0..4000_u64, ttl in 1..=2_592_000_u64, part in 0..=100_u64,
    ) {
        let window = ttl * part / 100;
        let (ttl, window) = (Duration::from_secs(ttl), Duration::from_secs(window));
        let world = world_with(PresignedOptions { ttl, window, ..options() });
        let at = |now| {
            let whom = PresignFor { app: "demo", uid: "alice", sid: None, flushed: None, settings: Default::default() };
            let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            world.gate.presign("https://files.example/demo/a", whom, wall).expect("a URL")
        };
        let (first, second) = (at(now), at(now + later));
        let lives = first.expires_at.expect("a time") - now;
        prop_assert!(lives <= ttl.as_secs() && lives >= ttl.as_secs() - window.as_secs() && lives > 0, "{}", lives);
        let window_of = |now: u64| now.checked_div(window.as_secs()).unwrap_or(now);
        prop_assert_eq!(first.url == second.url, window_of(now) == window_of(now + later));
    }

    #[test]
    fn no_byte_of_a_url_can_be_changed(at in any::<prop::sample::Index>(), byte in 0x21..0x7f_u8) {
        let world = World::new();
        let signed = url(&world, OBJECT, &good());
        let mut bytes = signed.clone().into_bytes();
        bytes[at.index(signed.len())] = byte;
        let changed = String::from_utf8(bytes).expect("ASCII");
        if let (true, Ok(uri)) = (changed != signed, changed.parse::<http::Uri>()) {
            prop_assert!(open(&world, &uri.to_string()).is_err(), "{}", changed);
        }
    }
}

#[test]
fn where_no_token_is_asked_for_the_plain_url_is_handed_out() {
    let world = World::new();
    let check = |path: &str, token: &str, expires: bool, observed: Option<Denial>| {
        let handout = ask_for(&world, &get_with(&format!("{path}?redirect=0"), token)).expect("a URL");
        assert_eq!(handout.presigned.expires_at.is_some(), expires, "{path}");
        assert_eq!(handout.observed, observed, "{path}");
        if !expires {
            assert_eq!(handout.presigned.url, format!("https://files.example{path}"));
        }
        let target = &handout.presigned.url["https://files.example".len()..];
        assert_eq!(open(&world, target), Ok(()), "{path}");
        handout
    };
    let watched = mint(Algorithm::HS256, &claims("").replace("demo", "watched"));
    check("/open/a", "whatever", false, None);
    check("/open/a%20b/%E6%96%87", "whatever", false, None);
    check("/demo/legacy/a", &good(), false, None);
    let malformed = Denial::TokenInvalid(VerifyError::Malformed);
    check("/watched/a", "a.b.c", false, Some(malformed));
    check("/watched/a", &watched, true, None);
    // What observes says what it would have said of a URL, too, and lets everything pass.
    let watch = |target: &str| world.ask(&get(target)).expect("admitted").observed;
    assert_eq!(watch(&url(&world, "/watched/a", &watched)), None);
    assert_eq!(watch("/watched/a?Signature=x"), Some(Denial::BadRequest(BadRequest::PresignedForm)));
    assert_eq!(open(&world, "/open/a?Expires=1&Signature=x&Key-Pair-Id=y"), Ok(()));
    assert_eq!(open(&world, "/demo/legacy/a?Expires=1&Signature=x&Key-Pair-Id=y"), Ok(()));
}

#[test]
fn a_url_begins_as_the_client_asked_or_as_it_is_configured() {
    let fixed = PresignedBase::Fixed(Endpoint::parse("https://files.example").expect("an endpoint"));
    let fixed = world_with(PresignedOptions { base: fixed, ..options() });
    let asked = world_with(PresignedOptions { base: PresignedBase::Asked(http::uri::Scheme::HTTP), ..options() });
    let good = good();
    let begin = |world: &World, host: &str| {
        let fields = [("host", host), ("fat", good.as_str()), ("x-forwarded-proto", "ftp"), ("x-forwarded-host", "x")];
        let handout = ask_for(world, &request("GET", "/demo/a?redirect=0", &fields)).expect("a URL");
        handout.presigned.url.split("/demo").next().map(str::to_owned)
    };
    for host in ["Files.Example", "a.example:8080", "[::1]:80"] {
        assert_eq!(begin(&asked, host), Some(format!("http://{host}")));
        assert_eq!(begin(&fixed, host).as_deref(), Some("https://files.example"));
    }
    // HTTP/1.0 needs no host, and then there is nothing to begin with.
    let mut old = request("GET", "/demo/a?redirect=0", &[("fat", &good)]);
    old.version = http::Version::HTTP_10;
    assert_eq!(ask_for(&asked, &old).err(), Some(Denial::BadRequest(BadRequest::Host)));
    assert!(ask_for(&fixed, &old).is_ok());
}

#[test]
fn an_old_key_verifies_until_it_is_taken_out() {
    let target = |first| PresignedTarget::Gate(key(first));
    let old = world_with(options());
    let rotated = world_with(PresignedOptions { target: target('b'), previous: vec![key('a')], ..options() });
    let gone = world_with(PresignedOptions { target: target('b'), ..options() });
    let (before, after) = (url(&old, OBJECT, &good()), url(&rotated, OBJECT, &good()));
    assert_ne!(key('a').id(), key('b').id());
    assert!(before.contains(key('a').id()) && after.contains(key('b').id()));
    assert_eq!([&old, &rotated, &gone].map(|world| open(world, &before)), [Ok(()), Ok(()), Err(Denial::UrlInvalid)]);
    assert_eq!([&old, &rotated, &gone].map(|world| open(world, &after)), [Err(Denial::UrlInvalid), Ok(()), Ok(())]);
    // The id of one key does not make a URL of another.
    let renamed = before.replace(key('a').id(), key('b').id());
    assert_eq!(open(&rotated, &renamed), Err(Denial::UrlInvalid));
    let none = World::unloaded(GateOptions { apps: vec![app("demo", Algorithm::ALL)], ..GateOptions::default() });
    assert_eq!(open(&none, &before), Err(Denial::UrlInvalid));
}

#[test]
fn a_url_of_the_storage_is_signed_for_its_own_time() {
    let (target, ttl, window) = (PresignedTarget::Storage, Duration::from_secs(60), Duration::from_secs(20));
    let world = world_with(PresignedOptions { target, ttl, window, previous: vec![key('a')], ..options() });
    let handout = ask_for(&world, &get_with(&format!("{OBJECT}?redirect=1"), &good())).expect("a URL");
    let url = &handout.presigned.url;
    // 1,700,000,000 is 2023-11-14T22:13:20Z, where a window begins.
    assert!(url.starts_with("http://127.0.0.1:9000/bucket/demo/media/a.jpg?X-Amz-Algorithm="), "{url}");
    assert!(url.contains("&X-Amz-Date=20231114T221320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature="));
    assert_eq!(handout.presigned.expires_at, Some(NOW + 60));
    // What the gate itself fetches with keeps the storage's own time.
    let own = world.ask(&get_with(OBJECT, &good())).expect("admitted");
    assert!(own.target.path_and_query().contains("&X-Amz-Expires=60&"));
    assert_eq!(Some(own.target.path_and_query()), url.strip_prefix("http://127.0.0.1:9000"));
    // URLs from before the target was changed go on.
    assert_eq!(open(&world, &self::url(&world_with(options()), OBJECT, &good())), Ok(()));
}

#[test]
fn the_longest_url_is_not_too_long() {
    let world = World::new();
    let (key, uid, id) = (" ".repeat(MAX_KEY_BYTES), "%".repeat(255), "/".repeat(255));
    let members = serde_json::json!({ "sub": uid, "app": "demo", "sid": id, "jti": id, "exp": NOW + 600 });
    let signed =
        url(&world, &format!("/demo/{}", key.replace(' ', "%20")), &mint(Algorithm::HS256, &members.to_string()));
    assert!(signed.len() > 5000);
    assert_eq!(open(&world, &signed), Ok(()));
}

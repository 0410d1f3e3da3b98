//! URLs that the operator has signed, without a token.

use super::*;
use crate::restrictions::Subject;

#[test]
fn the_operator_gets_urls_for_anybody() {
    let world = World::new();
    let ask = |url: &str, app: &str, uid: &str, sid: Option<&str>| {
        world.gate.presign(
            url,
            PresignFor { app, uid, sid, flushed: None, settings: Default::default() },
            world.now.wall,
        )
    };
    let media = "https://files.example/demo/media/a.jpg";
    let signed = ask(media, "demo", "Alice", None).expect("a URL");
    assert_eq!(signed.url, format!("https://files.example{}", url(&world, OBJECT, &good())));
    let signed = ask(
        "http://FILES.example:8080/demo/ä b?".trim_end_matches('?').replace(' ', "%20").as_str(),
        "demo",
        "bob",
        Some("s1"),
    );
    let signed = signed.expect("a URL").url;
    let target = signed.strip_prefix("http://FILES.example:8080").expect("as it came");
    assert!(target.starts_with("/demo/%C3%A4%20b?Expires="), "{target}");
    let subject: Option<Subject> = world.ask(&get(target)).expect("admitted").subject;
    assert_eq!(subject, Some(world.restrictions.subject("demo", "bob", Some("s1"), None, Some(BEGIN))));
    assert_eq!(ask("https://files.example/open/a", "open", "bob", None).map(|url| url.expires_at), Ok(None));

    use PresignError::*;
    for (url, app, uid, error) in [
        (media, "nobody", "alice", UnknownApp),
        (media, "other", "alice", OtherApp),
        (media, "demo", "", BadUid),
        (media, "demo", "a b", BadUid),
        ("https://files.example/demo/a?", "demo", "alice", HasQuery),
        ("https://files.example/demo/a?fat=x", "demo", "alice", HasQuery),
        ("https://files.example/demo/a#x", "demo", "alice", HasQuery),
        ("https://evil.example/demo/a", "demo", "alice", ForeignHost),
        ("https://files.example.evil/demo/a", "demo", "alice", ForeignHost),
        ("https://u@files.example/demo/a", "demo", "alice", NotAUrl),
        ("https://files.example:x/demo/a", "demo", "alice", NotAUrl),
        ("https://files.example\\@evil.example/demo/a", "demo", "alice", NotAUrl),
        ("ftp://files.example/demo/a", "demo", "alice", NotAUrl),
        ("HTTPS://files.example/demo/a", "demo", "alice", NotAUrl),
        ("//files.example/demo/a", "demo", "alice", NotAUrl),
        ("/demo/a", "demo", "alice", NotAUrl),
        ("https://files.example", "demo", "alice", NotAUrl),
        ("https:///demo/a", "demo", "alice", NotAUrl),
        ("", "demo", "alice", NotAUrl),
        ("https://files.example/demo", "demo", "alice", Path(PathError::NoObject)),
        ("https://files.example/demo/../a", "demo", "alice", Path(PathError::DotSegment)),
        ("https://files.example//demo/a", "demo", "alice", Path(PathError::EmptySegment)),
        ("https://files.example/demo/a b", "demo", "alice", Path(PathError::ForbiddenCharacter)),
    ] {
        assert_eq!(ask(url, app, uid, None), Err(error), "{url} {app} {uid}");
    }
    assert_eq!(ask(media, "demo", "alice", Some("")), Err(BadSid));
    assert_eq!(ask(media, "demo", "alice", Some(&"s".repeat(256))), Err(BadSid));

    let fixed = PresignedBase::Fixed(Endpoint::parse("https://cdn.example:8443").expect("an endpoint"));
    let fixed = world_with(PresignedOptions { base: fixed, ..options() });
    let whom = PresignFor { app: "demo", uid: "alice", sid: None, flushed: None, settings: Default::default() };
    for (url, expected) in [
        ("https://cdn.example:8443/demo/a", Ok("https://cdn.example:8443")),
        ("https://CDN.example:8443/demo/a", Ok("https://cdn.example:8443")),
        ("https://cdn.example/demo/a", Err(ForeignHost)),
        ("http://cdn.example:8443/demo/a", Err(ForeignHost)),
        (media, Err(ForeignHost)),
    ] {
        let signed = fixed.gate.presign(url, whom, fixed.now.wall);
        assert_eq!(
            signed.as_ref().map(|signed| signed.url.split("/demo").next().unwrap()),
            expected.as_ref().copied(),
            "{url}"
        );
    }
}

#[test]
fn the_operators_urls_come_after_a_flush_that_it_knows_of() {
    let world = World::new();
    let at = |flushed| {
        let whom = PresignFor { app: "demo", uid: "alice", sid: None, flushed, settings: Default::default() };
        let signed = world.gate.presign("https://files.example/demo/a", whom, world.now.wall).expect("a URL");
        open(&world, &signed.url["https://files.example".len()..])
    };
    world.restrict(user("demo", "alice"), Effect::IssuedBefore { before: NOW - 1 }, true);
    assert_eq!(at(None), Err(Denial::TokenRevoked));
    assert_eq!(at(Some(NOW - 2)), Err(Denial::TokenRevoked));
    assert_eq!([at(Some(NOW - 1)), at(Some(NOW))], [Ok(()), Ok(())]);
    let subject = world.restrictions.subject("demo", "alice", None, None, None);
    assert_eq!(world.restrictions.flushed(&subject), Some(NOW - 1));
}

//! Playlists and downloads: what an answer has beside the storage's fields, and what opens what a playlist names.

use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, SET_COOKIE};
use http::uri::Scheme;

use super::*;

const PLAYLIST: &str = "/demo/v/a.m3u8";
const SEGMENT: &str = "/demo/v/a/1.ts";

pub(super) fn cookies() -> PlayerCookies {
    PlayerCookies { max_age: Duration::from_secs(3600), scheme: Scheme::HTTP }
}

/// What the answer to `request` has of the gate's own.
fn fields(world: &World, request: &Parts) -> HeaderMap {
    world.ask(request).expect("admitted").fields.map(|fields| *fields).unwrap_or_default()
}

/// The cookie that is set, as a browser sends it: without its attributes.
fn cookie(world: &World, request: &Parts) -> Option<String> {
    let value = fields(world, request).get(SET_COOKIE)?.to_str().expect("text").to_owned();
    value.split(';').next().map(str::to_owned)
}

fn get_with_cookie(target: &str, cookie: &str) -> Parts {
    request("GET", target, &[("host", "files.example"), ("cookie", cookie)])
}

#[test]
fn the_cookie_of_a_playlist_opens_what_it_names() {
    let world = World::new();
    let token = good();
    let set = fields(&world, &get(&format!("{PLAYLIST}?fat={token}")));
    let expected = format!("fat={token}~; Path=/demo/v/; Max-Age=600; HttpOnly; SameSite=Lax");
    assert_eq!(set.get(SET_COOKIE).map(|value| value.to_str().unwrap()), Some(expected.as_str()));
    assert_eq!(set.get(CACHE_CONTROL).map(|value| value.to_str().unwrap()), Some("no-store"));
    assert!(!format!("{set:?}").contains(&token));

    let own = format!("fat={token}~");
    assert_eq!(world.verdict(&get_with_cookie(SEGMENT, &own)), Ok(()));
    assert_eq!(cookie(&world, &get_with_cookie(PLAYLIST, &own)), None);
    // A reload, another login, and a player that adds the token to what it asks for.
    let other = mint(Algorithm::ES256, &claims(""));
    for target in [PLAYLIST, SEGMENT] {
        for shown in [&token, &other] {
            let found = world.verdict(&get_with_cookie(&format!("{target}?fat={shown}"), &own));
            assert_eq!(found, Ok(()), "{target}");
        }
    }
    let again = get_with_cookie(&format!("{PLAYLIST}?fat={other}"), &own);
    assert_eq!(cookie(&world, &again), Some(format!("fat={other}~")));
    // A cookie never helps a token that is no good.
    let refused = world.verdict(&get_with_cookie(&format!("{PLAYLIST}?fat=x"), &own));
    assert_eq!(refused, Err(Denial::TokenInvalid(VerifyError::Malformed)));
    // What somebody else has put into a cookie is shown like a token anywhere else.
    let twice = world.verdict(&get_with_cookie(&format!("{PLAYLIST}?fat={token}"), &format!("fat={token}")));
    assert_eq!(twice, Err(Denial::BadRequest(BadRequest::SeveralCredentials)));
}

#[test]
fn a_cookie_dies_with_its_user_and_its_token() {
    let mut world = World::new();
    let own = format!("fat={}~", good());
    let segment = get_with_cookie(SEGMENT, &own);
    world.deactivate("demo", "alice");
    assert_eq!(world.verdict(&segment), Err(Denial::UserDeactivated));
    world.restrict(user("demo", "alice"), Effect::Deactivated, false);
    assert_eq!(world.verdict(&segment), Ok(()));
    world.later(Duration::from_secs(600));
    assert_eq!(world.verdict(&segment), Err(Denial::TokenExpired));
}

#[test]
fn nobody_gets_a_cookie_who_was_not_let_in_with_a_token() {
    let world = World::new();
    let playlist = |app: &str, token: &str| get(&format!("/{app}/v/a.m3u8?fat={token}"));
    assert!(world.ask(&playlist("demo", "x")).is_err());
    // These apps look at no token, or let everybody in; that one is told by what it would have answered.
    assert_eq!(cookie(&world, &playlist("open", &good())), None);
    assert_eq!(cookie(&world, &playlist("watched", &good())), None);
    let good_there = mint(Algorithm::HS256, &claims("").replace("demo", "watched"));
    assert_eq!(cookie(&world, &playlist("watched", &good_there)), Some(format!("fat={good_there}~")));
    assert_eq!(cookie(&world, &get(&format!("/demo/legacy/a.m3u8?fat={}", good()))), None);
    let head = request("HEAD", &format!("{PLAYLIST}?fat={}", good()), &[("host", "files.example")]);
    assert!(cookie(&world, &head).is_some());
    let options = GateOptions { apps: vec![app("demo", Algorithm::ALL)], ..GateOptions::default() };
    let without = World::unloaded(options);
    without.apply(Event::Snapshot { seq: 0, entries: Vec::new() });
    assert_eq!(cookie(&without, &get(&format!("{PLAYLIST}?fat={}", good()))), None);
}

#[test]
fn a_download_is_saved_under_its_name_wherever_the_object_is() {
    let world = World::new();
    let saved = |target: &str| {
        let fields = fields(&world, &get(target));
        assert_eq!(fields.get(CACHE_CONTROL), None);
        fields.get(CONTENT_DISPOSITION).map(|value| value.to_str().expect("ASCII").to_owned())
    };
    let token = good();
    assert_eq!(saved(&format!("/demo/a.txt?fat={token}")), None);
    let own = Some("attachment; filename=\"a.txt\"".to_owned());
    assert_eq!(saved(&format!("/demo/a.txt?fat={token}&download=1")), own);
    assert_eq!(saved("/open/b/a.txt?download"), own);
    assert_eq!(saved("/demo/legacy/%61.txt?download=a"), own);
    let url = |query: &str| world.ask(&get(&format!("/demo/a.txt?fat={token}{query}"))).expect("admitted").target;
    assert_eq!(format!("{:?}", url("&download=x&cookie=1")), format!("{:?}", url("")));
}

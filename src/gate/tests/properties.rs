//! What holds for any input at all. `PROPTEST_CASES` says how many inputs, when more than 2,000.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// The unreserved characters and the separator (RFC 3986 §2.3).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.max(2000),
        rng_seed: RngSeed::Fixed(3986),
        failure_persistence: None,
        ..config
    }
}

/// Paths that are nearly what a parser could misread.
fn path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "//", ".", "..", "%2e", "%2E", "%2f", "%5c", "%25", "%25", "%252f", "%00", "0a", "7F", "2e", "%", "%4",
        "%zz", "%C3%A4", "%ff", "ä", "\u{fffd}", "a", "demo", "legacy", "media", "+", ";", "\\", " ", "*", "~", "eyJ",
        "\u{85}", "?", "#", "\0",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn segments() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "aa", "a.", "..a", "A", "ä"]), 1..4)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_path_is_refused_or_can_mean_only_one_thing(path in prop_oneof![path(), any::<String>()]) {
        let Ok(parsed) = ObjectPath::parse(&path) else { return Ok(()) };
        let decoded = parsed.as_str();
        prop_assert_eq!(format!("{}/{}", parsed.app(), parsed.key()), decoded);
        prop_assert!(decoded.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{}", decoded);
        prop_assert!(!decoded.chars().any(|c| c.is_control() || c == '\\'), "{}", decoded);
        // The one way in which storage is told its name leads back to it.
        let encoded = format!("/{}", utf8_percent_encode(decoded, PLAIN));
        let same = ObjectPath::parse(&encoded);
        prop_assert_eq!(same.as_ref(), Ok(&parsed));
        // However often it is decoded again, it stays where it is.
        let mut again = encoded;
        for _ in 0..10 {
            again = percent_encoding::percent_decode_str(&again).decode_utf8_lossy().into_owned();
            let same_folder = again.matches('/').count() == decoded.matches('/').count() + 1;
            prop_assert!(same_folder && again.split('/').skip(1).all(|segment| !matches!(segment, "" | "." | "..")));
            prop_assert!(!again.chars().any(|c| c.is_ascii_control() || c == '\\'), "{}", again);
        }
    }

    #[test]
    fn a_scope_covers_what_its_segments_say(scope in segments(), object in segments(), below: bool, from_root: bool) {
        let path = format!("/demo/{}", object.join("/"));
        let (root, end) = (if from_root { "/demo/" } else { "" }, if below { "/*" } else { "" });
        let claim = format!("{root}{}{end}", scope.join("/"));
        let covers = PathScope::parse(&claim).expect("a scope").covers(&ObjectPath::parse(&path).expect("a path"));
        let expected = if below { object.len() > scope.len() && object.starts_with(&scope) } else { object == scope };
        prop_assert_eq!(covers, expected, "{} {}", claim, path);
        // Of another app, never.
        let other = ObjectPath::parse(&format!("/demo2/{}", object.join("/"))).expect("a path");
        prop_assert!(!from_root || !PathScope::parse(&claim).expect("a scope").covers(&other));
    }

    #[test]
    fn a_scope_covers_the_path_that_it_spells(path in path()) {
        let Ok(parsed) = ObjectPath::parse(&path) else { return Ok(()) };
        let Ok(scope) = PathScope::parse(&path) else { return Ok(()) };
        if !path.ends_with("/*") {
            prop_assert!(scope.covers(&parsed), "{}", path);
        }
    }

    #[test]
    fn a_uid_is_normalized_once(uid in prop_oneof!["[ -~]{0,20}", any::<String>()]) {
        for case in [UidCase::Folded, UidCase::Exact] {
            let Some(normal) = case.normalize(&uid) else { continue };
            let again = case.normalize(&normal);
            prop_assert_eq!(again.as_deref(), Some(&*normal));
            prop_assert!(normal.eq_ignore_ascii_case(&uid));
        }
    }

    #[test]
    fn no_request_is_admitted_by_chance(
        path in prop_oneof![path().prop_map(|path| format!("/demo{path}")), path()],
        query in prop_oneof![
            "(fat=[a-zA-Z0-9._-]{0,40}&?){0,3}", "[!-~]{0,40}", "(redirect=[01]&?){0,2}(fat=[a-z.]{0,9})?",
            "Expires=[0-9]{0,11}&Issued=[0-9]{0,11}(&Jti=x)?&Key-Pair-Id=[!-%'-~]{0,12}&Signature=[a-zA-Z0-9_-]{0,43}&Uid=[a-z]{0,3}",
        ],
        headers in prop::collection::vec(
            (
                prop::sample::select(vec!["fat", "authorization", "cookie", "host", "range", "content-length", "x"]),
                prop_oneof!["(Bearer |fat=)?[a-zA-Z0-9._-]{0,40}", any::<Vec<u8>>().prop_map(|bytes| {
                    String::from_utf8_lossy(&bytes).into_owned()
                })],
            ),
            0..4,
        ),
        method in prop::sample::select(vec!["GET", "HEAD", "OPTIONS", "POST"]),
        junk in "[!-~]{0,60}",
    ) {
        let world = World::new();
        for target in [format!("{path}?{query}"), path.clone(), junk] {
            let mut builder = http::Request::builder().method(method).uri(target.as_str()).header("host", "files.example");
            for (name, value) in &headers {
                if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) {
                    builder = builder.header(*name, value);
                }
            }
            let Ok(request) = builder.body(()) else { continue };
            let request = request.into_parts().0;
            match world.gate.admit(&request, &world.restrictions, world.now) {
                Ok(Decision::Options) => prop_assert_eq!(method, "OPTIONS"),
                Ok(Decision::HandOut(handout)) => prop_assert_eq!(handout.presigned.expires_at, None),
                Ok(Decision::Forward(admission)) => {
                    let object = admission.trace.object.as_ref().expect("a path");
                    let needs_none = object.app() == "open" || object.key().starts_with("legacy/") || admission.observed.is_some();
                    prop_assert!(needs_none && admission.subject.is_none(), "{} {:?}", target, headers);
                }
                Err(refusal) => prop_assert!((400..=503).contains(&refusal.denial.status())),
            }
        }
    }
}

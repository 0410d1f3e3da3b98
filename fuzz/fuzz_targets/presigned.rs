//! A uid, a session, an object's path and a target, one a line: the URL that the gate signs for the first three opens
//! that object for that user, and any other target, however it was made of it, opens nothing.
#![no_main]

mod demo;

use std::sync::LazyLock;

use http::Request;
use libfuzzer_sys::fuzz_target;
use mediagate::gate::{Decision, PresignFor};
use mediagate::restrictions::{Event, RestrictionSet};

const ORIGIN: &str = "https://files.example";

static RESTRICTIONS: LazyLock<RestrictionSet> = LazyLock::new(|| {
    let set = RestrictionSet::new([1, 2], *demo::START);
    set.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, *demo::START);
    set
});

/// Whom the gate lets in, and to what.
fn open(target: &str) -> Option<(String, String)> {
    let request = Request::get(target).header("host", "files.example").body(()).ok()?;
    let request = request.into_parts().0;
    // The parser drops a fragment, which no client sends.
    let whole = request.uri.path_and_query()?.as_str() == target;
    match demo::GATE.admit(&request, &RESTRICTIONS, demo::now()) {
        Ok(Decision::Forward(admission)) if whole => {
            Some((admission.trace.uid?.to_string(), admission.trace.object?.as_str().to_owned()))
        }
        _ => None,
    }
}

fuzz_target!(|input: &str| {
    let mut lines = input.splitn(4, '\n');
    let (Some(uid), Some(sid), Some(path)) = (lines.next(), lines.next(), lines.next()) else { return };
    let whom = PresignFor {
        app: "demo",
        uid,
        sid: Some(sid).filter(|sid| !sid.is_empty()),
        flushed: None,
        settings: Default::default(),
    };
    let signed = demo::GATE.presign(&format!("{ORIGIN}{path}"), whom, demo::now().wall);
    let mut known = None;
    if let Ok(signed) = signed {
        let target = signed.url.strip_prefix(ORIGIN).expect("a URL of this origin").to_owned();
        let (admitted, object) = open(&target).expect("its own URL");
        assert_eq!(admitted, uid.to_ascii_lowercase());
        assert!(target.starts_with("/demo/") && object.starts_with("demo/"));
        known = Some(target);
    }
    let Some(change) = lines.next() else { return };
    assert_eq!(open(change), None, "{change} without the secret");
    // The signed URL with a piece of the input at a place that the input chooses.
    let Some(target) = known else { return };
    let at = change.len() % target.len();
    for end in [at, (at + 1).min(target.len()), (at + change.len()).min(target.len())] {
        let changed = format!("{}{change}{}", &target[..at], &target[end..]);
        if changed != target {
            assert_eq!(open(&changed), None, "{changed}");
        }
    }
});

//! A request target for prepend mode: what stands behind the own host is of a configured origin, or nothing is found.
#![no_main]

mod demo;

use http::{Request, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|target: &str| {
    let Ok(uri) = Uri::try_from(target) else { return };
    let Ok(request) = Request::get(uri).header("host", "own.example").body(()) else { return };
    let request = request.into_parts().0;
    let Ok(Some(prepended)) = demo::GATE.prepended(&request, demo::now()) else { return };
    let shown = prepended.shown_path();
    let path = demo::ORIGINS.iter().find_map(|(origin, _)| shown.strip_prefix('/')?.strip_prefix(*origin));
    assert!(path.is_some_and(|path| path.starts_with('/') && !path.contains(['?', '#', '\\'])), "{shown}");
    assert!(demo::GATE.may_be_prepended(&request), "a quick look must not pass it by");
});

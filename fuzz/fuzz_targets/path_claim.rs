//! A `path` claim and a path, one a line: covered only as whole segments say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediagate::gate::{ObjectPath, PathScope};

fuzz_target!(|input: &str| {
    let (claim, path) = input.split_once('\n').unwrap_or((input, input));
    let Ok(scope) = PathScope::parse(claim) else { return };
    let Ok(path) = ObjectPath::parse(path) else { return };
    let covered = scope.covers(&path);
    // A claim that is a URL path as well is read like one.
    let from_root = if claim.starts_with('/') { claim.to_owned() } else { format!("/{}/{claim}", path.app()) };
    match from_root.strip_suffix("/*").map(ObjectPath::parse) {
        Some(Ok(folder)) => assert_eq!(covered, path.as_str().starts_with(&format!("{}/", folder.as_str()))),
        Some(Err(_)) => {}
        None => {
            if let Ok(object) = ObjectPath::parse(&from_root) {
                assert_eq!(covered, object == path);
            }
        }
    }
});

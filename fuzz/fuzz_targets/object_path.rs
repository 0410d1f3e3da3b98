//! The path of a request: refused, or one that every parser reads alike.
#![no_main]

use std::fmt::Write;

use libfuzzer_sys::fuzz_target;
use mediagate::gate::ObjectPath;

fuzz_target!(|input: &str| {
    let Ok(path) = ObjectPath::parse(input) else { return };
    let decoded = path.as_str();
    assert_eq!(format!("{}/{}", path.app(), path.key()), decoded);
    assert!(decoded.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{decoded}");
    assert!(!decoded.chars().any(|c| c.is_control() || c == '\\'), "{decoded}");
    // Spelled as storage wants it, it is the same path again.
    let mut encoded = String::from("/");
    for byte in decoded.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes all");
        }
    }
    assert_eq!(ObjectPath::parse(&encoded), Ok(path));
});

//! `[cache]`: copies of objects in memory.

use std::time::Duration;

use super::tree::{LATER, Section, Value};
use crate::caching::{CachePolicy, MAX_CACHE_TTL};
use crate::proxy::CacheOptions;

const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;
const DEFAULT_OBJECT_BYTES: u64 = 8 << 20;
const DEFAULT_TTL_SECS: u64 = 60;

/// The least memory that is worth the name, and the most.
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 40;

/// How many of the largest objects the memory must hold, so that one does not drive out all others.
const LARGEST_IN_MEMORY: u64 = 4;

/// Returns the section; `None` where nothing is kept, or once something was reported.
pub(super) fn cache(mut section: Section<'_>) -> Option<CacheOptions> {
    let is_enabled = section.get("enabled").and_then(|value| value.flag()).unwrap_or(false);
    let mut size = |key, default| section.get(key).map_or(Some(default), |value| bytes(value));
    let memory = size("memory_bytes", DEFAULT_MEMORY_BYTES);
    let object = size("max_object_bytes", DEFAULT_OBJECT_BYTES);
    let ttl = section.get("ttl_secs");
    let ttl = ttl.map_or(Some(DEFAULT_TTL_SECS), |ttl| ttl.number(1..=MAX_CACHE_TTL.as_secs(), "seconds"));
    for key in ["disk_dir", "disk_bytes"] {
        if let Some(value) = section.get(key) {
            value.wrong(format!("keeping copies on a disk {LATER}: leave it out"));
        }
    }
    section.finish();
    let (memory_bytes, max_object_bytes, ttl) = (memory?, object?, Duration::from_secs(ttl?));
    if !MEMORY_BYTES.contains(&memory_bytes) {
        section.place_of("memory_bytes").wrong("must be 1 MiB to 1024 GiB");
        return None;
    }
    if !(1..=memory_bytes / LARGEST_IN_MEMORY).contains(&max_object_bytes) {
        let most = format!("must be 1 byte to a quarter of memory_bytes, which is {memory_bytes}");
        section.place_of("max_object_bytes").wrong(most);
        return None;
    }
    is_enabled.then_some(CacheOptions { policy: CachePolicy { ttl, max_object_bytes }, memory_bytes })
}

/// A number of bytes: as such, or as a text with its unit.
fn bytes(value: Value<'_>) -> Option<u64> {
    let place = value.place.clone();
    let found = match value.value.as_integer() {
        Some(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        None => value.value.as_str().and_then(parse),
    };
    if found.is_none() {
        place.wrong("must be a number of bytes, or a text like \"512KiB\", \"256MiB\" or \"4GiB\"");
    }
    found
}

fn parse(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let shift = [("KiB", 10), ("MiB", 20), ("GiB", 30)].into_iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        for (text, expected) in [
            ("256MiB", Some(256 << 20)),
            ("1 KiB", Some(1 << 10)),
            ("4GiB", Some(4 << 30)),
            ("0KiB", Some(0)),
            ("256", None),
            ("256MB", None),
            ("256mib", None),
            ("-1KiB", None),
            ("1.5GiB", None),
            ("KiB", None),
            ("18446744073709551615KiB", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}

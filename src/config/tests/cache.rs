//! `[cache]`.

use super::*;
use crate::caching::CachePolicy;
use crate::proxy::CacheOptions;

#[test]
fn nothing_is_kept_unless_it_is_asked_for_and_sizes_have_bounds() {
    let folder = folder();
    let load = |section: &str| Config::parse(&format!("{SOUND}[cache]\n{section}\n"), &folder.path().join("m.toml"));
    let options = |memory_bytes, max_object_bytes, secs| {
        Some(CacheOptions { policy: CachePolicy { ttl: Duration::from_secs(secs), max_object_bytes }, memory_bytes })
    };
    let sound = Config::parse(SOUND, &folder.path().join("m.toml")).unwrap();
    assert_eq!(sound.cache, None);
    for (section, expected) in [
        ("", None),
        ("enabled = false\nmemory_bytes = \"1GiB\"", None),
        ("enabled = true", options(256 << 20, 8 << 20, 60)),
        (
            "enabled = true\nmemory_bytes = 4194304\nmax_object_bytes = \"1MiB\"\nttl_secs = 1",
            options(4 << 20, 1 << 20, 1),
        ),
        ("enabled = true\nttl_secs = 86400", options(256 << 20, 8 << 20, 86_400)),
    ] {
        assert_eq!(load(section).unwrap().cache, expected, "{section}");
    }
    for (section, key, message) in [
        ("enabled = 1", "cache.enabled", "must be true or false"),
        ("memory_bytes = \"256MB\"", "cache.memory_bytes", "must be a number of bytes"),
        ("memory_bytes = -1", "cache.memory_bytes", "must be a number of bytes"),
        ("memory_bytes = 1.5", "cache.memory_bytes", "must be a number of bytes"),
        ("memory_bytes = \"1KiB\"", "cache.memory_bytes", "must be 1 MiB to 1024 GiB"),
        ("memory_bytes = \"1025GiB\"", "cache.memory_bytes", "must be 1 MiB to 1024 GiB"),
        ("max_object_bytes = \"65MiB\"", "cache.max_object_bytes", "a quarter of memory_bytes"),
        ("max_object_bytes = 0", "cache.max_object_bytes", "a quarter of memory_bytes"),
        ("ttl_secs = 0", "cache.ttl_secs", "must be 1 to 86400 seconds"),
        ("ttl_secs = 86401", "cache.ttl_secs", "must be 1 to 86400 seconds"),
        ("disk_dir = \"/tmp\"", "cache.disk_dir", "not available in this version"),
        ("disk_bytes = \"1GiB\"", "cache.disk_bytes", "not available in this version"),
        ("ttl = 60", "cache.ttl", "unknown key; allowed: enabled"),
    ] {
        let errors = load(section).unwrap_err().to_string();
        assert!(errors.contains(key) && errors.contains(message), "{section}: {errors}");
    }
}

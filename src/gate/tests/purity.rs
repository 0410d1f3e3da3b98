//! The core names no framework, no clock and nothing outside: its sources are read to see that it stays so.

use std::fs;
use std::path::{Path, PathBuf};

/// What the core does not name, and the lines that may.
const ABSENT: [&str; 10] = [
    "pingora",
    "tokio",
    "std::net",
    "std::fs",
    "std::env",
    "std::io",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
];

/// An IPv6 literal in `Host` is parsed, not connected to.
const EXCEPTIONS: [(&str, &str); 1] = [("extract.rs", "std::net::Ipv6Addr")];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_test {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
}

#[test]
fn the_core_names_nothing_outside_of_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join("restrictions.rs"), root.join("secret.rs")];
    sources(&root.join("gate"), &mut files);
    sources(&root.join("restrictions"), &mut files);
    sources(&root.join("caching"), &mut files);
    assert!(files.len() >= 15, "{files:?}");
    let mut used = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        // Tests stand last in a file.
        let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or_default();
            for absent in ABSENT.into_iter().filter(|absent| line.contains(absent)) {
                let is_exception = |(name, text): &(&str, &str)| file.ends_with(name) && line.contains(text);
                assert!(EXCEPTIONS.iter().any(is_exception), "{}:{}: {absent}", file.display(), number + 1);
                used += 1;
            }
        }
    }
    assert_eq!(used, EXCEPTIONS.len(), "an exception that nothing needs");
}

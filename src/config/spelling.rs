//! Which key was meant.

/// Longest key that is compared with others, in bytes.
const MAX_KEY_BYTES: usize = 40;

/// The known key that `key` may be a misspelling of.
pub(super) fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    if key.len() > MAX_KEY_BYTES {
        return None;
    }
    let distances = known.iter().map(|known| (distance(key.as_bytes(), known.as_bytes()), *known));
    distances.min().filter(|(distance, known)| *distance <= 1 + known.len() / 4).map(|(_, known)| known)
}

/// How many bytes must be inserted, removed or replaced to turn one into the other.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_key_is_recognised() {
        let known = ["listen", "hosts", "cors_origins", "threads"];
        for (key, expected) in [
            ("listne", Some("listen")),
            ("host", Some("hosts")),
            ("cors_origin", Some("cors_origins")),
            ("Threads", Some("threads")),
            ("bucket", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, &known), expected, "{key}");
        }
    }
}

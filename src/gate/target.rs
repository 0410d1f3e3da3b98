//! A request target as the parser behind the gate reads it, told without building one.

use super::extract::parted;

/// Whether `target`, which starts with `/`, is a path and a query to [`http::uri::PathAndQuery`], and has no fragment:
/// that is never sent (RFC 9110 §7.1), and a parser that drops it reads another path.
pub(super) fn is_origin_form(target: &str) -> bool {
    let (path, query) = parted(target, b'?');
    let nowhere = |byte| (byte < 0x21) | (byte == 0x7f) | (byte == b'#') | (byte == b'<') | (byte == b'>');
    target.len() < usize::from(u16::MAX)
        && !any(path.as_bytes(), |byte| nowhere(byte) | (byte == b'`'))
        && !any(query.unwrap_or_default().as_bytes(), |byte| nowhere(byte) | (byte == b'"'))
}

/// Whether one of `bytes` is `bad`. Looks at all of them, because several at once are quicker than up to the first.
pub(super) fn any(bytes: &[u8], bad: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |found, byte| found | bad(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::uri::PathAndQuery;
    use proptest::prelude::*;

    /// The parser takes it, and all of it: it drops a fragment without a word.
    fn parses(target: &str) -> bool {
        PathAndQuery::try_from(target).is_ok_and(|parsed| parsed.as_str() == target)
    }

    fn check(target: &str) {
        assert_eq!(is_origin_form(target), parses(target), "{target:?}");
    }

    #[test]
    fn each_character_stands_where_the_parser_lets_it() {
        for character in (0..=0x180).filter_map(char::from_u32).chain(['文', '\u{fffd}', '\u{10ffff}']) {
            check(&format!("/{character}"));
            check(&format!("/a{character}b"));
            check(&format!("/a?{character}"));
            check(&format!("/a?b{character}c?d"));
        }
    }

    #[test]
    fn length_ends_where_the_parsers_does() {
        for len in [0, 1, 8192, 65_532, 65_533, 65_534, 65_535, 65_536, 70_000] {
            check(&format!("/{}", "a".repeat(len)));
            check(&format!("/?{}", "a".repeat(len)));
        }
    }

    proptest! {
        #[test]
        fn any_target_gets_the_parsers_answer(target in "/[ -~]{0,12}(\\?[ -~]{0,12})?", other in "/\\PC{0,24}", all in ".{0,24}") {
            check(&target);
            check(&other);
            check(&format!("/{all}"));
        }
    }
}

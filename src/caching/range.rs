//! `Range` (RFC 9110 §14.2): which bytes of a copy a request is for.

/// What a `Range` field comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole object: several ranges, another unit, or no well-formed range at all.
    Whole,
    /// From the first to the last byte, both included.
    Part(u64, u64),
    /// Nothing of the object.
    Nothing,
}

/// Reads the value of `Range` for an object of `len` bytes.
pub(super) fn wanted(value: &str, len: u64) -> Wanted {
    let Some((unit, set)) = value.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Wanted::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Whole };
    match (first, last) {
        ("", suffix) => match position(suffix) {
            None => Wanted::Whole,
            Some(0) => Wanted::Nothing,
            Some(_) if len == 0 => Wanted::Nothing,
            Some(suffix) => Wanted::Part(len.saturating_sub(suffix), len - 1),
        },
        (first, last) => {
            let Some(first) = position(first) else { return Wanted::Whole };
            let last = if last.is_empty() { Some(u64::MAX) } else { position(last) };
            match last {
                None => Wanted::Whole,
                Some(last) if last < first => Wanted::Whole,
                Some(_) if first >= len => Wanted::Nothing,
                Some(last) => Wanted::Part(first, last.min(len - 1)),
            }
        }
    }
}

/// A number of digits, however many: one that is too large lies behind every end.
fn position(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_cut_to_the_object_and_everything_else_is_the_whole() {
        use Wanted::*;
        for (value, len, expected) in [
            ("bytes=0-0", 10, Part(0, 0)),
            ("bytes=2-5", 10, Part(2, 5)),
            ("Bytes= 2-5 ", 10, Part(2, 5)),
            ("bytes=9-", 10, Part(9, 9)),
            ("bytes=0-", 10, Part(0, 9)),
            ("bytes=5-99999999999999999999999", 10, Part(5, 9)),
            ("bytes=-3", 10, Part(7, 9)),
            ("bytes=-30", 10, Part(0, 9)),
            ("bytes=-0", 10, Nothing),
            ("bytes=10-", 10, Nothing),
            ("bytes=99999999999999999999999-", 10, Nothing),
            ("bytes=0-", 0, Nothing),
            ("bytes=-1", 0, Nothing),
            ("bytes=5-2", 10, Whole),
            ("bytes=0-1,3-4", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=1 -2", 10, Whole),
            ("bytes=1--2", 10, Whole),
            ("items=0-1", 10, Whole),
            ("bytes", 10, Whole),
            ("", 10, Whole),
        ] {
            assert_eq!(wanted(value, len), expected, "{value} of {len}");
        }
    }
}

//! What was shared before links had tokens: told by the object's own date.

use std::time::SystemTime;

use http::header::{HeaderMap, LAST_MODIFIED};

/// Whether the storage says of an object that it was last modified before `time` (RFC 9110 §8.8.2); one that does not
/// say so clearly says no.
pub fn was_modified_before(fields: &HeaderMap, time: SystemTime) -> bool {
    let mut values = fields.get_all(LAST_MODIFIED).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    value.to_str().ok().and_then(|date| httpdate::parse_http_date(date).ok()).is_some_and(|modified| modified < time)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_clear_date_before_the_time_counts() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let check = |values: &[&'static str], expected: bool| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(LAST_MODIFIED, HeaderValue::from_static(value));
            }
            assert_eq!(was_modified_before(&fields, time), expected, "{values:?}");
        };
        check(&["Wed, 31 Dec 2025 23:59:59 GMT"], true);
        check(&["Thu, 01 Jan 2026 00:00:00 GMT"], false);
        check(&["Thu, 01 Jan 2026 00:00:01 GMT"], false);
        check(&[], false);
        check(&["Wed, 31 Dec 2025 23:59:59 GMT", "Wed, 31 Dec 2025 23:59:59 GMT"], false);
        check(&["2025-12-31T23:59:59Z"], false);
        check(&["1766000000"], false);
        check(&[""], false);
    }
}

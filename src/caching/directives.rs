//! `Cache-Control` of an answer (RFC 9111 §5.2.2), as far as a cache that many share must know it.

use http::header::{self, HeaderMap, HeaderName};

/// What an answer says of being kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directives {
    /// Seconds; 0 where it is asked about before each use.
    pub(super) max_age: Option<u64>,
}

impl Directives {
    /// Reads all fields of that name; `None` where the answer must not be kept, or says something that is no text.
    pub(super) fn of(fields: &HeaderMap) -> Option<Directives> {
        let (mut max_age, mut shared, mut checked) = (None, None, false);
        for field in fields.get_all(header::CACHE_CONTROL) {
            for directive in parts(field.to_str().ok()?) {
                let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
                let seconds = || number(value.trim().trim_matches('"'));
                match name.trim().to_ascii_lowercase().as_str() {
                    "no-store" | "private" => return None,
                    "no-cache" => checked = true,
                    // The shortest of several (RFC 9111 §4.2.1 leaves the choice).
                    "max-age" => max_age = Some(max_age.map_or(seconds(), |held: u64| held.min(seconds()))),
                    "s-maxage" => shared = Some(shared.map_or(seconds(), |held: u64| held.min(seconds()))),
                    _ => {}
                }
            }
        }
        Some(Directives { max_age: if checked { Some(0) } else { shared.or(max_age) } })
    }
}

/// Splits at the commas outside of quotes.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    })
}

/// Seconds as RFC 9111 §1.2.2 has them: what is too large is very long, what is no number is 0.
pub(super) fn number(text: &str) -> u64 {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().unwrap_or(u64::MAX) } else { 0 }
}

/// The text of a field that stands once.
pub(super) fn single<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = fields.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

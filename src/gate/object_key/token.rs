//! Whether a token stands in a path, where it would travel upstream and into logs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Places of a path that are looked at for a token; with more that could begin one, it is taken for holding one.
const MAX_TOKEN_LOOKS: usize = 16;

/// Whether a compact JWS stands in `path`: three parts between dots, the first of them a JOSE header.
pub(super) fn holds_token(path: &str) -> bool {
    let dots = |text: &str| text.bytes().filter(|byte| *byte == b'.').count();
    if dots(path) < 2 {
        return false;
    }
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let runs = path.split(|c| !is_inside(c)).filter(|run| dots(run) >= 2);
    let mut looks_left = MAX_TOKEN_LOOKS;
    for run in runs {
        // `{` is followed by white space or a quote: `ew` or `ey`.
        let starts = run.match_indices('e').filter(|(at, _)| matches!(run.as_bytes().get(at + 1), Some(b'y' | b'w')));
        for (at, _) in starts {
            if looks_left == 0 {
                return true;
            }
            looks_left -= 1;
            let mut parts = run[at..].splitn(3, '.');
            if let (Some(header), Some(_), Some(_)) = (parts.next(), parts.next(), parts.next())
                && is_jose_header(header)
            {
                return true;
            }
        }
    }
    false
}

/// Whether `encoded` is a JSON object with `alg`, in base64url.
fn is_jose_header(encoded: &str) -> bool {
    let Ok(json) = URL_SAFE_NO_PAD.decode(encoded) else { return false };
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(&json);
    object.is_ok_and(|object| object.contains_key("alg"))
}

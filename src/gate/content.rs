//! What a browser may do with an object: show it, or save it, and under which name.

use std::borrow::Cow;

use http::header::HeaderValue;
use percent_encoding::percent_decode_str;

use super::denial::{BadRequest, Denial};
use super::presigned::encoded_value;

/// Longest file name that a client may ask for, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// Longest extension of a file's name: what is longer is a part of the name.
const MAX_EXTENSION_BYTES: usize = 16;

/// Whether a browser that shows this type runs nothing of it in the origin of the gate.
///
/// A short list of what is known to be passive; everything else (HTML, SVG, XML, scripts, the unknown) is
/// downloaded, into a sandbox.
pub(super) fn is_passive(content_type: &str) -> bool {
    if !is_one_type(content_type) {
        return false;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let lower_case;
    let essence = if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        lower_case = essence.to_ascii_lowercase();
        lower_case.as_str()
    } else {
        essence
    };
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    // RFC 6838 §4.2
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    if subtype.is_empty() || !subtype.bytes().all(in_name) {
        return false;
    }
    match kind {
        "image" => !subtype.contains("xml") && !subtype.contains("svg"),
        "audio" | "video" | "font" => !subtype.contains("xml"),
        "text" => matches!(subtype, "plain" | "csv" | "vtt"),
        "application" => matches!(
            subtype,
            "octet-stream" | "pdf" | "json" | "zip" | "vnd.apple.mpegurl" | "x-mpegurl" | "ogg" | "mp4"
        ),
        "multipart" => subtype == "byteranges",
        _ => false,
    }
}

/// Whether `content_type` is one type to every browser: they take a comma outside quotes for the beginning of another,
/// and believe the last (Fetch standard, "extract a MIME type").
fn is_one_type(content_type: &str) -> bool {
    let quotes = content_type.bytes().filter(|byte| *byte == b'"').count();
    let has_comma = content_type.split('"').step_by(2).any(|unquoted| unquoted.contains(','));
    quotes.is_multiple_of(2) && !has_comma && !content_type.contains('\\')
}

/// Returns the `Content-Disposition` (RFC 6266) of the object `key` for a client that asks for it with `download`: under
/// the name that stands there, as forms and URLs encode it, or under the object's own where there is none or `1`.
///
/// Whatever the name, the extension is the object's: a link must not make a program of a text.
///
/// # Errors
///
/// A name that is not UTF-8 or longer than 200 bytes.
pub(super) fn attachment(download: &str, key: &str) -> Result<HeaderValue, Denial> {
    let own = key.rsplit('/').next().unwrap_or_default();
    let mut name = match download {
        "" | "1" => file_name(own),
        wanted => file_name(&decoded(wanted).ok_or(Denial::BadRequest(BadRequest::Download))?),
    };
    if let Some(extension) = extension(&file_name(own))
        && !self::extension(&name).is_some_and(|asked| asked.eq_ignore_ascii_case(extension))
    {
        name.push('.');
        name.push_str(extension);
    }
    // Some undo a percent-encoding that is none here (RFC 6266 appendix D).
    let plain = |c: char| if c.is_ascii() && c != '%' { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let mut text = format!("attachment; filename=\"{ascii}\"");
    if ascii != name {
        text.push_str("; filename*=UTF-8''");
        text.push_str(&encoded_value(&name));
    }
    Ok(HeaderValue::try_from(text).expect("visible ASCII characters and spaces"))
}

/// Decodes a value of a query; `None` unless it is short text.
fn decoded(value: &str) -> Option<String> {
    let spaced = value.replace('+', " ");
    let name = percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned);
    name.filter(|name| name.len() <= MAX_NAME_BYTES)
}

/// Returns `name` as the name of a file on every system: in no folder, not hidden, reading as it is.
fn file_name(name: &str) -> String {
    let safe: String = name.chars().map(|c| if is_misleading(c) { '_' } else { c }).collect();
    let trimmed = safe.trim_matches(|c: char| c == '.' || c.is_whitespace());
    if trimmed.is_empty() { "download".to_owned() } else { trimmed.to_owned() }
}

/// Whether a system takes `c` for something else than a letter of a name, or a person does not see it.
fn is_misleading(c: char) -> bool {
    let is_unseen = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}');
    c.is_control() || is_unseen || r#""/\:*?<>|"#.contains(c)
}

/// What stands behind the last dot of a name, where that is short and plain.
fn extension(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    let is_plain = extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_one = !stem.is_empty() && is_plain && (1..=MAX_EXTENSION_BYTES).contains(&extension.len());
    is_one.then_some(extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_passive_is_shown() {
        for passive in [
            "image/png",
            "IMAGE/JPEG",
            "video/mp4; codecs=x",
            "video/mp4; codecs=\"avc1.42E01E, mp4a.40.2\"",
            "text/plain;charset=utf-8",
            "application/pdf",
            "application/vnd.apple.mpegurl",
            "audio/mpegurl",
            "video/mp2t",
        ] {
            assert!(is_passive(passive), "{passive}");
        }
        for active in [
            "text/html",
            "TEXT/HTML ; charset=x",
            "image/svg+xml",
            "image/SVG",
            "text/xml",
            "application/xhtml+xml",
            "application/dash+xml",
            "text/javascript",
            "application/javascript",
            "application/wasm",
            "application/x-shockwave-flash",
            "multipart/x-mixed-replace",
            "message/rfc822",
            "text/css",
            "",
            "/",
            "image/",
            "image",
            "nonsense",
            "*/*",
        ] {
            assert!(!is_passive(active), "{active}");
        }
    }

    #[test]
    fn a_type_that_hides_another_is_not_passive() {
        for hidden in [
            "image/png, text/html",
            "image/png,text/html",
            "image/png; x=y, text/html",
            "image/png; x=\"y\", text/html",
            "image/png; x=\"y, text/html",
            "image/png; x=\"\\\", text/html; y=\"",
            "image/png text/html",
            "image/png\ttext/html",
            "image/png(text/html)",
        ] {
            assert!(!is_passive(hidden), "{hidden}");
        }
    }

    #[track_caller]
    fn check(download: &str, key: &str, expected: &str) {
        let found = attachment(download, key).map(|value| value.to_str().expect("ASCII").to_owned());
        assert_eq!(found.as_deref(), Ok(format!("attachment; filename={expected}").as_str()), "{download} {key}");
    }

    #[test]
    fn a_file_has_its_own_name_or_the_one_asked_for() {
        check("", "media/a.jpg", "\"a.jpg\"");
        check("1", "media/a b.jpg", "\"a b.jpg\"");
        check("1", "a", "\"a\"");
        check("holiday.jpg", "media/7f3a", "\"holiday.jpg\"");
        check("our+holiday%2B.JPG", "media/7f3a.jpg", "\"our holiday+.JPG\"");
        check("%E6%96%87.jpg", "media/7f3a.jpg", "\"_.jpg\"; filename*=UTF-8''%E6%96%87.jpg");
        check("1", "media/50% a.txt", "\"50_ a.txt\"; filename*=UTF-8''50%25%20a.txt");
    }

    #[test]
    fn the_extension_is_the_objects() {
        check("run.exe", "media/a.txt", "\"run.exe.txt\"");
        check("run", "media/a.txt", "\"run.txt\"");
        check("run.TXT", "media/a.txt", "\"run.TXT\"");
        check("a.txt.", "media/a.txt", "\"a.txt\"");
        check("a.txt%E2%80%AE", "media/a.txt", "\"a.txt_.txt\"");
        check(".htaccess", "media/.htaccess", "\"htaccess\"");
        check("x", "media/a.b c", "\"x\"");
    }

    #[test]
    fn a_name_is_nothing_but_a_name() {
        check("..%2F..%2Fetc%2Fpasswd", "a", "\"_.._etc_passwd\"");
        check("a%0d%0aSet-Cookie:+x", "a", "\"a__Set-Cookie_ x\"");
        check("a%22;+filename=%22b", "a", "\"a_; filename=_b\"");
        check("a%5Cb%00%7F%C2%85", "a", "\"a_b___\"");
        check("gpj%E2%80%AEexe", "a", "\"gpj_exe\"");
        check("...", "a", "\"download\"");
        check("+", "a", "\"download\"");
        for bad in ["%ff".to_owned(), "%C3".to_owned(), "a".repeat(MAX_NAME_BYTES + 1)] {
            assert_eq!(attachment(&bad, "a"), Err(Denial::BadRequest(BadRequest::Download)), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_quotes(name in "\\PC{0,40}|[ -~]{0,60}", key in "\\PC{1,40}") {
            let raw = encoded_value(&name);
            let value = attachment(&raw, &key).expect("short text");
            let text = value.to_str().expect("visible ASCII");
            let quoted = text.strip_prefix("attachment; filename=\"").expect("a name");
            let (inside, rest) = quoted.split_once('"').expect("quotes");
            prop_assert!(!inside.is_empty() && !inside.contains(['/', '\\', '%', '\r', '\n']));
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~%'*=; ".contains(c);
            prop_assert!(rest.is_empty() || rest.starts_with("; filename*=UTF-8''") && rest.chars().all(is_plain));
        }
    }
}

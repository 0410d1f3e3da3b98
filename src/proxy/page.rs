//! The page that a person sees who opened a link and was refused.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use super::respond::Answer;

/// In the colours that the person's system has, dark or light.
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1.0625rem/1.6 system-ui,sans-serif;margin:0;display:grid;min-height:100vh;place-items:center;\
background:light-dark(#f4f5f7,#15181c);color:light-dark(#1d2329,#e4e7eb)}\
main{max-width:32rem;margin:1.5rem;padding:2rem 2.25rem;border-radius:.75rem;\
background:light-dark(#fff,#1f242a);border:1px solid light-dark(#dde1e6,#333a43)}\
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem}\
p{margin:0}\
footer{margin-top:1.5rem;padding-top:1rem;border-top:1px solid light-dark(#dde1e6,#333a43);\
font-size:.8125rem;color:light-dark(#59636e,#9aa4af)}";

/// Nothing is loaded, sent or run; the style is known by its digest (Content Security Policy Level 3 §6.7.3.2).
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'");
    HeaderValue::try_from(policy).expect("visible ASCII")
});

/// Whether a browser is about to show the answer as a page: it says what it asks for (Fetch Metadata), or is an older one
/// that takes HTML.
pub(super) fn is_asked_for(request: &HeaderMap) -> bool {
    match request.get("sec-fetch-dest") {
        Some(dest) => ["document", "iframe", "frame"].iter().any(|page| dest == page),
        None => request.get(header::ACCEPT).is_some_and(|accept| {
            accept.to_str().is_ok_and(|accept| accept.to_ascii_lowercase().contains("text/html"))
        }),
    }
}

/// Returns the page for `answer`. Only constants stand in it: nothing to escape, nothing of the request.
pub(super) fn of(answer: Answer) -> Bytes {
    let Answer { status, code, message, advice, .. } = answer;
    let (title, text) = (advice.title, advice.text);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><main><h1>{title}</h1>\n<p>{text}</p>\n<footer>{status} {code}: {message}</footer></main></body></html>\n"
    )
    .into()
}

/// Returns what the page may do.
pub(super) fn policy() -> HeaderValue {
    POLICY.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Denial;

    #[test]
    fn a_page_is_for_whoever_shows_one() {
        let check = |fields: &[(&'static str, &'static str)], expected| {
            let of = |(name, value): &(&'static str, &'static str)| {
                (header::HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            assert_eq!(is_asked_for(&fields.iter().map(of).collect()), expected, "{fields:?}");
        };
        const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        check(&[], false);
        check(&[HTML], true);
        check(&[("accept", "*/*")], false);
        check(&[("sec-fetch-dest", "document")], true);
        check(&[("sec-fetch-dest", "iframe"), HTML], true);
        check(&[("sec-fetch-dest", "image"), HTML], false);
        check(&[("sec-fetch-dest", "video"), ("accept", "*/*")], false);
        check(&[("sec-fetch-dest", "empty"), HTML], false);
    }

    #[test]
    fn a_page_says_what_happened_and_what_to_do_and_its_style_is_allowed() {
        let page = String::from_utf8(of(Denial::UrlExpired.into()).into()).expect("UTF-8");
        for part in
            ["<html lang=\"en\">", "<title>This link has expired</title>", "ask for a new one", "403 ERR_URL_EXPIRED"]
        {
            assert!(page.contains(part), "{part} in {page}");
        }
        let style = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
        let digest = STANDARD.encode(Sha256::digest(style));
        let policy = policy();
        let policy = policy.to_str().expect("text");
        assert!(
            policy.starts_with("default-src 'none'; ") && policy.contains(&format!("'sha256-{digest}'")),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !page.contains("script") && !page.contains("src="));
    }
}

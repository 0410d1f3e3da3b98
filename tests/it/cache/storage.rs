//! A storage with objects, conditions and ranges as RFC 9110 has them, written apart from the gate's own.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use crate::support::origin::Origin;

pub(super) const OLD: &str = "Wed, 31 Dec 2025 23:59:59 GMT";
pub(super) const NEW: &str = "Fri, 20 Nov 2026 09:11:40 GMT";

/// An object and what is said of it.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) body: Arc<Vec<u8>>,
    pub(super) etag: &'static str,
    pub(super) modified: &'static str,
    /// More fields, each with its line's end.
    pub(super) more: &'static str,
}

impl Object {
    pub(super) fn new(body: impl Into<Vec<u8>>) -> Object {
        Object { body: Arc::new(body.into()), etag: "\"a\"", modified: NEW, more: "Content-Type: image/png\r\n" }
    }
}

/// Objects by their path in the storage, and the storage that serves them.
pub(super) struct Storage {
    pub(super) origin: Origin,
    objects: Arc<Mutex<HashMap<String, Object>>>,
}

impl Storage {
    pub(super) fn start() -> Storage {
        let objects: Arc<Mutex<HashMap<String, Object>>> = Arc::default();
        let held = Arc::clone(&objects);
        let origin = Origin::start(move |head, stream| {
            let path = head.split(' ').nth(1).and_then(|target| target.split('?').next()).expect("a target");
            let object = held.lock().expect("no panic").get(path).cloned();
            answer(head, object, stream);
        });
        Storage { origin, objects }
    }

    /// Puts an object where the gate looks for `/app/key`.
    pub(super) fn put(&self, path: &str, object: Object) {
        self.objects.lock().expect("no panic").insert(format!("/media{path}"), object);
    }

    pub(super) fn delete(&self, path: &str) {
        self.objects.lock().expect("no panic").remove(&format!("/media{path}"));
    }

    /// How often the storage was asked for `/app/key`.
    pub(super) fn asked(&self, path: &str) -> usize {
        let path = format!(" /media{path}?");
        self.origin.requests().iter().filter(|head| head.contains(&path)).count()
    }
}

fn answer(head: &str, object: Option<Object>, stream: &mut TcpStream) {
    let Some(Object { body, etag, modified, more }) = object else {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone");
        return;
    };
    let field = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let is_head = head.starts_with("HEAD ");
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let not_after = |text: &str| date(text).is_some_and(|since| date(modified).expect("a date") <= since);
    let among = |list: &str, weak: bool| {
        let plain = |tag: &str| if weak { tag.trim_start_matches("W/").to_owned() } else { tag.to_owned() };
        let is_strong = weak || !etag.starts_with("W/");
        list == "*" || (is_strong && list.split(',').any(|tag| plain(tag.trim()) == plain(etag)))
    };
    let mut send = |status: &str, fields: String, body: &[u8]| {
        let is_bare = is_head || status.starts_with("304");
        let head = format!(
            "HTTP/1.1 {status}\r\nETag: {etag}\r\nLast-Modified: {modified}\r\nx-amz-request-id: 1\r\n{fields}\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(if is_bare { &[] } else { body });
    };
    let failed = match (field("if-match"), field("if-unmodified-since")) {
        (Some(tags), _) => !among(tags, false),
        (None, Some(since)) => date(since).is_some() && !not_after(since),
        (None, None) => false,
    };
    if failed {
        return send("412 Precondition Failed", "Content-Length: 5\r\n".into(), b"<XML>");
    }
    let same = match (field("if-none-match"), field("if-modified-since")) {
        (Some(tags), _) => among(tags, true),
        (None, Some(since)) => not_after(since),
        (None, None) => false,
    };
    if same {
        return send("304 Not Modified", String::new(), &[]);
    }
    let len = body.len();
    let whole = || format!("Accept-Ranges: bytes\r\nContent-Length: {len}\r\n{more}");
    let current = field("if-range").is_none_or(|validator| {
        if validator.contains('"') { !validator.starts_with("W/") && validator == etag } else { validator == modified }
    });
    let range = field("range").filter(|_| current && !is_head).and_then(|range| span(range, len));
    match range {
        None => send("200 OK", whole(), &body),
        Some(None) => {
            send(
                "416 Range Not Satisfiable",
                format!("Content-Range: bytes */{len}\r\nContent-Length: 5\r\n"),
                b"<XML>",
            );
        }
        Some(Some((first, last))) => send(
            "206 Partial Content",
            format!(
                "Accept-Ranges: bytes\r\nContent-Range: bytes {first}-{last}/{len}\r\nContent-Length: {}\r\n{more}",
                last - first + 1
            ),
            &body[first..=last],
        ),
    }
}

/// First and last byte; `Some(None)` where there are none, `None` where the field is passed over.
fn span(range: &str, len: usize) -> Option<Option<(usize, usize)>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let suffix: usize = last.parse().ok()?;
        return Some((suffix > 0 && len > 0).then(|| (len - suffix.min(len), len - 1)));
    }
    let first: usize = first.parse().ok()?;
    let last: usize = if last.is_empty() { usize::MAX } else { last.parse().ok()? };
    if last < first {
        return None;
    }
    Some((first < len).then(|| (first, last.min(len - 1))))
}

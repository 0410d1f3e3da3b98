//! What goes to the storage, and how often a connection to it is opened.

use std::collections::HashSet;
use std::io::Write;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{answer, gate, signed};
use crate::support::client::{Connection, get, raw, request};
use crate::support::fat;
use crate::support::origin::Origin;
use crate::support::process::Mediagate;

/// Fields of the client's that the storage may see, with values that pass.
const ALLOWED: [(&str, &str); 9] = [
    ("range", "bytes=0-9"),
    ("if-range", "\"v1\""),
    ("if-match", "\"v1\""),
    ("if-none-match", "\"v2\""),
    ("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
    ("if-unmodified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),
    ("accept", "image/*"),
    ("accept-encoding", "gzip, br"),
    ("accept-language", "de-CH"),
];

/// Fields that it may not.
const FORBIDDEN: [(&str, &str); 38] = [
    ("Cookie", "session=secret"),
    ("Proxy-Authorization", "Basic c2VjcmV0"),
    ("Referer", "https://site.example/?fat=secret"),
    ("User-Agent", "tests/1"),
    ("Origin", "https://site.example"),
    ("Connection", "keep-alive, range, if-none-match, host, x-amz-date"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("Trailer", "x-trailer"),
    ("Content-Length", "0"),
    ("Content-Type", "text/plain"),
    ("Cache-Control", "no-cache"),
    ("Pragma", "no-cache"),
    ("Via", "1.1 other"),
    ("Forwarded", "for=1.2.3.4;host=evil.example"),
    ("X-Forwarded-For", "1.2.3.4"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Real-IP", "1.2.3.4"),
    ("X-Original-URL", "/demo/other"),
    ("X-Rewrite-URL", "/demo/other"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Amz-Date", "20200101T000000Z"),
    ("X-Amz-Security-Token", "secret"),
    ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
    ("X-Amz-Copy-Source", "/media/other"),
    ("X-Amz-Server-Side-Encryption-Customer-Key", "secret"),
    ("X-Amz-Request-Payer", "requester"),
    ("X-Amz-Expected-Bucket-Owner", "1"),
    ("x_amz_date", "20200101T000000Z"),
    ("if_match", "\"v9\""),
    ("Range-Unit", "bytes"),
    ("Request-Range", "bytes=5-6"),
    ("Sec-Fetch-Mode", "navigate"),
    ("DNT", "1"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("X-Custom", "anything"),
];

/// Takes a recorded head apart: method, path, query, and all fields in order of their names.
fn parts(head: &str) -> (&str, &str, &str, Vec<(String, &str)>) {
    let mut lines = head.strip_suffix("\r\n\r\n").expect("a whole head").split("\r\n");
    let line: Vec<&str> = lines.next().expect("a request line").split(' ').collect();
    let [method, target, "HTTP/1.1"] = line[..] else { panic!("{line:?}") };
    let (path, query) = target.split_once('?').expect("a query");
    let fields: Vec<_> = lines.map(|line| line.split_once(": ").expect("a field")).collect();
    let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    fields.sort_unstable();
    (method, path, query, fields)
}

/// Checks that `query` is a signature and nothing else.
fn check_presigned(query: &str) {
    let pairs: Vec<_> = query.split('&').map(|pair| pair.split_once('=').expect("a pair")).collect();
    let names: Vec<_> = pairs.iter().map(|pair| pair.0).collect();
    let expected = ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"];
    assert_eq!(names, expected.map(|name| format!("X-Amz-{name}")));
    let day = &pairs[2].1[..8];
    assert_eq!(pairs[0].1, "AWS4-HMAC-SHA256");
    assert_eq!(pairs[1].1, format!("AKIDEXAMPLE%2F{day}%2Fus-east-1%2Fs3%2Faws4_request"));
    assert_eq!([pairs[3].1, pairs[4].1], ["60", "host"]);
    assert!(pairs[5].1.len() == 64 && pairs[5].1.bytes().all(|byte| byte.is_ascii_hexdigit()), "{query}");
}

#[test]
fn a_request_to_the_storage_is_built_from_nothing() {
    let storage = Origin::constant(answer("200 OK", "0123456789"));
    let gate = gate(&storage);
    let (host, token) = (storage.address.to_string(), fat("alice"));
    let (bearer, cookie) = (format!("Bearer {token}"), format!("a=b; fat={token}"));
    for (query, credential) in [
        (format!("?fat={token}"), None),
        (String::new(), Some(("fat", token.as_str()))),
        (String::new(), Some(("authorization", bearer.as_str()))),
        (String::new(), Some(("cookie", cookie.as_str()))),
    ] {
        for method in ["GET", "HEAD"] {
            let mut sent: Vec<_> = ALLOWED.into_iter().chain(FORBIDDEN).chain(credential).collect();
            // A second `Cookie` is a field of its own, and no second credential.
            sent.rotate_left(5);
            let response = Connection::open(gate.media).ask(method, &format!("/demo/media/a%20b+c.jpg{query}"), &sent);
            assert_eq!(response.status, 200, "{}", response.text());
            let head = storage.requests().pop().expect("a request");
            let (recorded, path, query, fields) = parts(&head);
            assert_eq!((recorded, path), (method, "/media/demo/media/a%20b%2Bc.jpg"));
            check_presigned(query);
            let mut expected: Vec<_> = ALLOWED.map(|(name, value)| (name.to_owned(), value)).to_vec();
            expected.push(("host".to_owned(), &host));
            expected.sort_unstable();
            assert_eq!(fields, expected);
            assert!(!head.contains(&token));
        }
    }
    assert_eq!(storage.requests().len(), 8);
}

#[test]
fn a_plain_request_gets_no_fields_of_the_gates_own() {
    let storage = Origin::constant(answer("200 OK", "x"));
    let gate = gate(&storage);
    assert_eq!(get(gate.media, &signed("/demo/a")).status, 200);
    let old = raw(gate.media, format!("GET {} HTTP/1.0\r\n\r\n", signed("/demo/a")));
    assert_eq!(old.status, 200, "{}", old.text());
    let absolute = format!("http://{}{}", gate.media, signed("/demo/a"));
    assert_eq!(get(gate.media, &absolute).status, 200);
    let host = storage.address.to_string();
    let requests = storage.requests();
    assert_eq!(requests.len(), 3);
    for head in &requests {
        let (_, path, query, fields) = parts(head);
        assert_eq!((path, fields), ("/media/demo/a", vec![("host".to_owned(), host.as_str())]));
        check_presigned(query);
    }
}

#[test]
fn doubtful_fields_are_left_out() {
    let storage = Origin::constant(answer("200 OK", "0123456789"));
    let gate = gate(&storage);
    let (many, long) = (format!("bytes=0-0{}", ",1-1".repeat(16)), format!("\"{}\"", "x".repeat(1024)));
    for fields in [
        &[("Range", many.as_str())][..],
        &[("Range", "bytes=0-1"), ("Range", "bytes=2-3")],
        &[("If-None-Match", &long)],
        &[("If-Match", "\"a\""), ("if-match", "\"b\"")],
        &[("Accept-Language", "\u{fc}")],
    ] {
        let response = request(gate.media, "GET", &signed("/demo/a"), fields);
        assert_eq!((response.status, response.text().as_str()), (200, "0123456789"), "{fields:?}");
        let head = storage.requests().pop().expect("a request");
        assert_eq!(parts(&head).3.len(), 1, "{fields:?} {head}");
    }
    let sixteen = format!("bytes=0-0{}", ",1-1".repeat(15));
    request(gate.media, "GET", &signed("/demo/a"), &[("Range", &sixteen)]);
    assert!(storage.requests().pop().expect("a request").contains(&sixteen));
}

#[test]
fn client_parameters_never_reach_the_storage() {
    let storage = Origin::constant(answer("200 OK", "x"));
    let gate = gate(&storage);
    for parameters in [
        "X-Amz-Signature=0&X-Amz-Expires=604800&X-Amz-Algorithm=none",
        "x-amz-security-token=t&X-Amz-SignedHeaders=host%3Brange",
        "response-content-type=text%2Fhtml&response-content-disposition=inline",
        "versionId=1&partNumber=2",
        "acl&uploads&tagging&policy&delete&list-type=2&prefix=%2F",
        "method=DELETE&_method=PUT&bucket=other&key=other",
        "a=%26X-Amz-Date%3D0&&=&a;b#".trim_end_matches('#'),
    ] {
        for target in
            [format!("{}&{parameters}", signed("/demo/a")), format!("/demo/a?{parameters}&fat={}", fat("alice"))]
        {
            let response = get(gate.media, &target);
            assert_eq!(response.status, 200, "{parameters}: {}", response.text());
            let head = storage.requests().pop().expect("a request");
            let (_, path, query, _) = parts(&head);
            assert_eq!(path, "/media/demo/a");
            check_presigned(query);
        }
    }
}

#[test]
fn options_are_answered_by_the_gate_alone() {
    let storage = Origin::constant(answer("200 OK", "x"));
    let list = "cors_origins = [\"https://app.example\", \"https://other.example:8443\"]";
    let configured = |cors: &str| {
        let media = format!("[media]\n{cors}\n");
        Mediagate::serve(storage.address, |config| config.replace("[media]\n", &media))
    };
    let (any, some) = (configured("cors_origins = [\"*\"]"), configured(list));
    for (gate, origin, allowed) in [
        (&any, "https://site.example", Some("*")),
        (&some, "https://app.example", Some("https://app.example")),
        (&some, "https://other.example:8443", Some("https://other.example:8443")),
        (&some, "https://other.example", None),
        (&some, "https://app.example.evil.example", None),
        (&some, "http://app.example", None),
        (&some, "null", None),
    ] {
        let preflight = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "authorization, range"),
        ];
        let before = storage.requests().len();
        for target in ["/demo/a".to_owned(), signed("/demo/a"), "/nowhere/b".to_owned(), "*".to_owned()] {
            let response = request(gate.media, "OPTIONS", &target, &preflight);
            assert_eq!((response.status, response.body.len()), (204, 0), "{origin} {target}");
            assert_eq!(response.header("access-control-allow-origin"), allowed, "{origin} {target}");
            let methods = response.header("access-control-allow-methods");
            assert_eq!(methods, allowed.map(|_| "GET, HEAD, OPTIONS"));
            let fields = response.header("access-control-allow-headers");
            assert_eq!(
                fields.is_some_and(|fields| fields.contains("authorization") && fields.contains("range")),
                allowed.is_some()
            );
            assert!(response.header("access-control-allow-credentials").is_none());
        }
        assert_eq!(storage.requests().len(), before, "nothing is sent on");
        // Answers and refusals say the same as the preflight.
        for (target, status) in [(signed("/demo/a"), 200), ("/demo/a".to_owned(), 401)] {
            let response = request(gate.media, "GET", &target, &[("Origin", origin)]);
            assert_eq!(response.status, status);
            assert_eq!(response.header("access-control-allow-origin"), allowed, "{origin} {status}");
            let varies = response.header("vary").is_some_and(|vary| vary.eq_ignore_ascii_case("origin"));
            assert_eq!(varies, allowed != Some("*"), "{origin} {status}");
        }
    }
}

#[test]
fn requests_in_turn_share_one_connection_to_the_storage() {
    let xml = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>";
    let chunked =
        format!("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{xml}\r\n0\r\n\r\n", xml.len());
    let storage = Origin::start(move |head, stream| {
        let whole = match head.split(['?', '/']).nth(3) {
            Some("found") => answer("200 OK", "0123456789"),
            Some("missing") => answer("404 Not Found", xml),
            Some("chunked") => chunked.clone().into_bytes(),
            Some("range") => answer("416 Range Not Satisfiable\r\nContent-Range: bytes */10", xml),
            Some("same") => b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n".to_vec(),
            other => panic!("{other:?}"),
        };
        let end = whole.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let sent = if head.starts_with("HEAD ") { &whole[..end] } else { &whole };
        let _ = stream.write_all(sent);
    });
    let gate = gate(&storage);
    let mut client = Connection::open(gate.media);
    let fields = [("Range", "bytes=20-"), ("If-None-Match", "\"v1\"")];
    let kinds = [
        ("GET", "found", 200),
        ("GET", "missing", 404),
        ("HEAD", "found", 200),
        ("GET", "range", 416),
        ("GET", "same", 304),
    ];
    let more = [
        ("GET", "chunked", 404),
        ("HEAD", "missing", 404),
        ("HEAD", "range", 416),
        ("HEAD", "same", 304),
        ("GET", "found", 200),
    ];
    for (method, name, status) in kinds.into_iter().chain(more).cycle().take(50) {
        let response = client.ask(method, &signed(&format!("/demo/{name}")), &fields);
        assert_eq!(response.status, status, "{method} {name}");
        assert!(!response.text().contains("NoSuchKey"));
    }
    assert_eq!((storage.requests().len(), storage.connections()), (50, 1));
}

#[test]
fn a_connection_that_the_storage_has_closed_is_replaced() {
    // Each connection serves one request and then ends: while it is idle, or in the face of the next request.
    for ends_while_idle in [true, false] {
        let served = Mutex::new(HashSet::new());
        let storage = Origin::start(move |_, stream| {
            let Ok(peer) = stream.peer_addr() else { return };
            let is_first = served.lock().expect("no panic").insert(peer);
            if is_first {
                let _ = stream.write_all(&answer("200 OK", "0123456789"));
            }
            if is_first == ends_while_idle {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        let gate = gate(&storage);
        let mut client = Connection::open(gate.media);
        for _ in 0..20 {
            let response = client.ask("GET", &signed("/demo/a"), &[]);
            assert_eq!((response.status, response.text().as_str()), (200, "0123456789"));
        }
        assert!(storage.connections() > 1);
    }
}

#[test]
fn a_storage_that_ends_each_connection_is_tried_no_more_than_three_times() {
    let tries = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&tries);
    let storage = Origin::start(move |_, stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = stream.shutdown(Shutdown::Both);
    });
    let gate = gate(&storage);
    let response = get(gate.media, &signed("/demo/a"));
    assert_eq!((response.status, response.code().as_str()), (502, "ERR_STORAGE_ANSWER"));
    assert!((1..=3).contains(&tries.load(Ordering::SeqCst)));
}

//! What a client gets for ranges and conditions, and which of the storage's fields it sees.

use std::io::Write;

use super::{Dev, answer, gate, signed};
use crate::support::client::{Connection, Response, get, raw, request};
use crate::support::origin::Origin;

const DIGITS: &[u8] = b"0123456789";

/// Each test keeps one connection: an answer that is a byte too long or too short spoils the next.
struct Client<'a> {
    connection: Connection,
    dev: &'a Dev,
}

impl<'a> Client<'a> {
    fn of(dev: &'a Dev) -> Client<'a> {
        Client { connection: Connection::open(dev.gate.media), dev }
    }

    fn ask(&mut self, method: &str, name: &str, fields: &[(&str, &str)]) -> Response {
        self.connection.ask(method, &format!("/demo/{name}?fat={}", self.dev.fat), fields)
    }
}

#[test]
fn ranges() {
    let dev = Dev::start(&[("a.mp4", DIGITS), ("empty.mp4", b"")]);
    let mut client = Client::of(&dev);
    let many = format!("bytes=0-0{}", ",1-1".repeat(16));
    for (range, status, body, content_range) in [
        ("bytes=3-3", 206, "3", Some("bytes 3-3/10")),
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=8-99", 206, "89", Some("bytes 8-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-99", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=0-1,4-5", 200, "0123456789", None),
        (&many, 200, "0123456789", None),
        ("bytes=4-2", 200, "0123456789", None),
        ("bytes=", 200, "0123456789", None),
        ("bytes=a-b", 200, "0123456789", None),
        ("bytes=1-2-3", 200, "0123456789", None),
        ("bytes=99999999999999999999-", 200, "0123456789", None),
        ("0-1", 200, "0123456789", None),
        ("lines=0-1", 200, "0123456789", None),
        ("", 200, "0123456789", None),
    ] {
        let response = client.ask("GET", "a.mp4", &[("Range", range)]);
        assert_eq!((response.status, response.text().as_str()), (status, body), "{range}");
        assert_eq!(response.header("content-range"), content_range, "{range}");
        assert_eq!(response.header("content-length"), Some(body.len().to_string().as_str()), "{range}");
        assert_eq!(response.header("accept-ranges"), Some("bytes"));
        assert_eq!(response.header("content-type"), Some("video/mp4"));
    }
    for (name, range, content_range) in [
        ("a.mp4", "bytes=10-", "bytes */10"),
        ("a.mp4", "bytes=10-20", "bytes */10"),
        ("a.mp4", "bytes=-0", "bytes */10"),
        ("empty.mp4", "bytes=0-", "bytes */0"),
    ] {
        let response = client.ask("GET", name, &[("Range", range)]);
        assert_eq!((response.status, response.code().as_str()), (416, "ERR_RANGE_NOT_SATISFIABLE"), "{name} {range}");
        assert_eq!(response.header("content-range"), Some(content_range), "{name} {range}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
}

#[test]
fn conditions() {
    let dev = Dev::start(&[("a.png", DIGITS)]);
    let mut client = Client::of(&dev);
    let first = client.ask("GET", "a.png", &[]);
    let (etag, modified) = (first.header("etag").expect("an ETag"), first.header("last-modified").expect("a date"));
    let (weak, two) = (format!("W/{etag}"), format!("\"other\", {etag}"));
    let (old, future) = ("Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    let (range, whole) = (("Range", "bytes=0-1"), "0123456789");
    for (fields, status, body) in [
        (&[range, ("If-Range", etag)][..], 206, "01"),
        (&[range, ("If-Range", modified)], 206, "01"),
        (&[range, ("If-Range", "\"other\"")], 200, whole),
        (&[range, ("If-Range", &weak)], 200, whole),
        (&[range, ("If-Range", old)], 200, whole),
        (&[("If-None-Match", etag)], 304, ""),
        (&[("If-None-Match", &weak)], 304, ""),
        (&[("If-None-Match", &two)], 304, ""),
        (&[("If-None-Match", "*")], 304, ""),
        (&[("If-None-Match", etag), range], 304, ""),
        (&[("If-None-Match", "\"other\"")], 200, whole),
        (&[("If-None-Match", "\"other\""), ("If-Modified-Since", future)], 200, whole),
        (&[("If-Modified-Since", modified)], 304, ""),
        (&[("If-Modified-Since", future)], 304, ""),
        (&[("If-Modified-Since", old)], 200, whole),
        (&[("If-Modified-Since", "yesterday")], 200, whole),
        (&[("If-Match", etag)], 200, whole),
        (&[("If-Match", "*")], 200, whole),
        (&[("If-Match", &two), range], 206, "01"),
        (&[("If-Unmodified-Since", modified)], 200, whole),
    ] {
        let response = client.ask("GET", "a.png", fields);
        assert_eq!((response.status, response.text().as_str()), (status, body), "{fields:?}");
        assert_eq!(response.header("etag"), Some(etag), "{fields:?}");
        assert_eq!(response.header("last-modified"), Some(modified), "{fields:?}");
        let head = client.ask("HEAD", "a.png", fields);
        assert_eq!(head.status, if status == 206 { 200 } else { status }, "HEAD has no ranges: {fields:?}");
    }
    for fields in [&[("If-Match", "\"other\"")][..], &[("If-Match", &weak)], &[("If-Unmodified-Since", old)]] {
        let response = client.ask("GET", "a.png", fields);
        assert_eq!((response.status, response.code().as_str()), (412, "ERR_PRECONDITION_FAILED"), "{fields:?}");
        assert_eq!(client.ask("HEAD", "a.png", fields).status, 412);
    }
}

#[test]
fn a_head_says_what_a_get_sends_and_sends_nothing() {
    let dev = Dev::start(&[("a.png", DIGITS), ("empty.txt", b""), ("one.txt", b"1"), ("page.html", b"<p>")]);
    let mut client = Client::of(&dev);
    for (name, body) in [("a.png", "0123456789"), ("empty.txt", ""), ("one.txt", "1"), ("page.html", "<p>")] {
        let head = client.ask("HEAD", name, &[]);
        let get = client.ask("GET", name, &[]);
        assert_eq!((head.status, get.status, get.text().as_str()), (200, 200, body), "{name}");
        assert_eq!(head.header("content-length"), Some(body.len().to_string().as_str()), "{name}");
        let fields = |response: &Response| -> Vec<_> {
            response.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date")).cloned().collect()
        };
        assert_eq!(fields(&head), fields(&get), "{name}");
    }
    let missing = client.ask("HEAD", "none", &[]);
    assert_eq!((missing.status, missing.header("content-type")), (404, Some("application/json")));
    assert_eq!(client.ask("GET", "none", &[]).code(), "ERR_NOT_FOUND");
}

#[test]
fn several_ranges_of_a_storage_that_sends_them_pass_as_they_are() {
    let body =
        "--b\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--b\r\nContent-Range: bytes 4-5/10\r\n\r\n45\r\n--b--\r\n";
    let storage =
        Origin::constant(answer("206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=b", body));
    let gate = gate(&storage);
    let response = request(gate.media, "GET", &signed("/demo/a"), &[("Range", "bytes=0-1,4-5")]);
    assert_eq!((response.status, response.text().as_str()), (206, body));
    assert_eq!(response.header("content-type"), Some("multipart/byteranges; boundary=b"));
    assert!(storage.requests()[0].contains("bytes=0-1,4-5"));
}

#[test]
fn only_named_fields_of_the_storage_pass() {
    let passed = [
        ("content-type", "image/png"),
        ("content-encoding", "br"),
        ("content-language", "de"),
        ("content-range", "bytes 0-9/20"),
        ("accept-ranges", "bytes"),
        ("etag", "\"v1\""),
        ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT"),
    ];
    let kept = [
        "Server: AmazonS3",
        "x-amz-request-id: 1",
        "x-amz-id-2: 2",
        "x-amz-meta-owner: o",
        "x-amz-version-id: v",
        "x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:eu:1:key/k",
        "x-amz-website-redirect-location: http://bucket.example/",
        "x-minio-deployment-id: d",
        "Set-Cookie: a=b",
        "Location: http://bucket.example/",
        "Refresh: 0; url=http://bucket.example/",
        "Link: <http://bucket.example/>; rel=preload",
        "Cache-Control: public, max-age=31536000",
        "Expires: Fri, 01 Jan 2100 00:00:00 GMT",
        "Age: 5",
        "Content-Disposition: inline; filename=\"x\"",
        "Content-Location: /media/demo/a",
        "Access-Control-Allow-Origin: https://evil.example",
        "Access-Control-Allow-Credentials: true",
        "Content-Security-Policy: default-src *",
        "Strict-Transport-Security: max-age=1",
        "WWW-Authenticate: Basic",
        "Alt-Svc: h3=\":443\"",
        "Clear-Site-Data: \"*\"",
        "Service-Worker-Allowed: /",
        "Vary: Cookie",
        "Via: 1.1 storage",
        "Keep-Alive: timeout=5",
        "Trailer: x-trailer",
        "X-Custom: anything",
    ];
    let head = passed.map(|(name, value)| format!("{name}: {value}")).join("\r\n") + "\r\n" + &kept.join("\r\n");
    let storage = Origin::constant(answer(&format!("206 Partial Content\r\n{head}"), DIGITS));
    let gate = gate(&storage);
    let response = Connection::open(gate.media).ask("GET", &signed("/demo/a"), &[("Range", "bytes=0-9")]);
    let mut found: Vec<_> =
        response.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect();
    found.retain(|(name, _)| !["date", "connection", "access-control-expose-headers"].contains(&name.as_str()));
    found.sort_unstable();
    let ours = [
        ("access-control-allow-origin", "*"),
        ("cache-control", "private, no-cache"),
        ("content-length", "10"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ];
    let mut expected: Vec<_> = passed.into_iter().chain(ours).map(|(name, value)| (name.to_owned(), value)).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(response.body, DIGITS);
}

#[test]
fn active_content_is_downloaded_into_a_sandbox() {
    let types = [
        ("image/png", true),
        ("image/jpeg", true),
        ("image/webp", true),
        ("video/mp4; codecs=\"avc1\"", true),
        ("audio/mpeg", true),
        ("text/plain; charset=utf-8", true),
        ("text/csv", true),
        ("application/pdf", true),
        ("application/json", true),
        ("text/html", false),
        ("Text/HTML; charset=utf-8", false),
        ("application/xhtml+xml", false),
        ("image/svg+xml", false),
        ("IMAGE/SVG+XML; x=y", false),
        ("text/xml", false),
        ("application/xml", false),
        ("text/xsl", false),
        ("text/javascript", false),
        ("application/javascript", false),
        ("text/css", false),
        ("application/x-shockwave-flash", false),
        ("application/wasm", false),
        ("text/plain, text/html", false),
        ("x-unknown/x", false),
        ("nonsense", false),
        ("", false),
    ];
    let storage = Origin::start(move |head, stream| {
        let at: usize = head.split(['?', '/']).nth(3).expect("a name").parse().expect("a number");
        let _ = stream.write_all(&answer(&format!("200 OK\r\nContent-Type: {}", types[at].0), "<script>"));
    });
    let gate = gate(&storage);
    let mut client = Connection::open(gate.media);
    for (at, (content_type, is_inline)) in types.into_iter().enumerate() {
        for method in ["GET", "HEAD"] {
            let response = client.ask(method, &signed(&format!("/demo/{at}")), &[("Accept", "text/html")]);
            assert_eq!(response.header("content-type"), Some(content_type));
            assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
            let (disposition, policy) = match is_inline {
                true => (None, None),
                false => (Some("attachment"), Some("default-src 'none'; sandbox")),
            };
            assert_eq!(response.header("content-disposition"), disposition, "{content_type}");
            assert_eq!(response.header("content-security-policy"), policy, "{content_type}");
        }
    }
}

#[test]
fn content_without_a_type_is_bytes() {
    for head in ["200 OK", "200 OK\r\nContent-Type: text/html\r\nContent-Type: image/png"] {
        let storage = Origin::constant(answer(head, "<script>"));
        let response = get(gate(&storage).media, &signed("/demo/a"));
        assert_eq!(response.header("content-type"), Some("application/octet-stream"));
        assert_eq!(
            (response.header("x-content-type-options"), response.text().as_str()),
            (Some("nosniff"), "<script>")
        );
    }
}

#[test]
fn what_a_storage_says_when_it_fails_stays_with_the_gate() {
    let secret = "<Error><Code>AccessDenied</Code><BucketName>media</BucketName><HostId>h</HostId></Error>";
    let cases = [
        ("400 Bad Request", 502, "ERR_STORAGE_ANSWER"),
        ("401 Unauthorized\r\nWWW-Authenticate: AWS", 502, "ERR_STORAGE_REFUSED"),
        ("403 Forbidden", 502, "ERR_STORAGE_REFUSED"),
        ("404 Not Found", 404, "ERR_NOT_FOUND"),
        ("429 Too Many Requests", 503, "ERR_STORAGE_BUSY"),
        ("500 Internal Server Error", 502, "ERR_STORAGE_ANSWER"),
        ("503 Slow Down\r\nRetry-After: 77", 503, "ERR_STORAGE_BUSY"),
        ("301 Moved Permanently\r\nLocation: http://media.s3.example/", 502, "ERR_STORAGE_ANSWER"),
        ("307 Temporary Redirect\r\nLocation: http://media.s3.example/", 502, "ERR_STORAGE_ANSWER"),
        ("206 Partial Content\r\nContent-Range: bytes 0-9/20", 502, "ERR_STORAGE_ANSWER"),
        ("304 Not Modified", 502, "ERR_STORAGE_ANSWER"),
        ("412 Precondition Failed", 502, "ERR_STORAGE_ANSWER"),
        ("416 Range Not Satisfiable\r\nContent-Range: bytes */10", 502, "ERR_STORAGE_ANSWER"),
        ("204 No Content", 502, "ERR_STORAGE_ANSWER"),
        ("299 Whatever", 502, "ERR_STORAGE_ANSWER"),
    ];
    for has_body in [true, false] {
        let storage = Origin::start(move |head, stream| {
            let at: usize = head.split(['?', '/']).nth(3).expect("a name").parse().expect("a number");
            let bodiless = ["304", "204"].iter().any(|status| cases[at].0.starts_with(status));
            let is_head = head.starts_with("HEAD ");
            let head = format!("{}\r\nx-amz-request-id: secret\r\nSet-Cookie: a=b", cases[at].0);
            let whole = match (bodiless, has_body) {
                (true, _) => format!("HTTP/1.1 {head}\r\n\r\n").into_bytes(),
                (false, true) => answer(&head, secret),
                (false, false) => answer(&head, ""),
            };
            let end = whole.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
            let _ = stream.write_all(if is_head { &whole[..end] } else { &whole });
        });
        let gate = gate(&storage);
        for (at, (head, status, code)) in cases.into_iter().enumerate() {
            let response = get(gate.media, &signed(&format!("/demo/{at}")));
            assert_eq!((response.status, response.code().as_str()), (status, code), "{head}");
            let head_of_ours = response.headers.iter().filter(|(name, _)| name != "access-control-expose-headers");
            let all = head_of_ours.fold(response.text(), |all, (name, value)| format!("{all}\n{name}: {value}"));
            let all = all.to_ascii_lowercase();
            for word in ["amz", "set-cookie", "location:", "<error>", "s3.example", "content-range", "aws", "media"] {
                assert!(!all.contains(word), "{head}: {word} in {all}");
            }
            assert_eq!(response.header("retry-after"), (502..=504).contains(&status).then_some("5"), "{head}");
            let response = request(gate.media, "HEAD", &signed(&format!("/demo/{at}")), &[]);
            assert_eq!((response.status, response.body.len()), (status, 0), "{head}");
        }
    }
}

#[test]
fn hints_before_the_answer_are_not_passed_on() {
    let early =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <http://bucket.example/>; rel=preload\r\n\r\n";
    let storage = Origin::constant([early.as_bytes(), &answer("200 OK", DIGITS)].concat());
    let gate = gate(&storage);
    for version in ["1.1", "1.0"] {
        let response = raw(gate.media, format!("GET {} HTTP/{version}\r\nHost: gate.test\r\n\r\n", signed("/demo/a")));
        assert_eq!((response.status, response.body.as_slice()), (200, DIGITS), "{version}");
    }
}

//! Other proxies that ask the gate and fetch by themselves: every way to ask, and nginx and Caddy as `conf/` has them.

use std::net::{SocketAddr, TcpStream};
use std::io::Write;

use crate::support::client::{Response, raw, request};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::proxy_servers::ProxyServer;
use crate::support::{eventually, fat, now, sign, SECRET};

const BODY: &str = "what the storage has";

/// A gate with a listener for proxies, in front of `storage`.
fn gate(storage: &Origin) -> Mediagate {
    Mediagate::serve(storage.address, |config| {
        let public = "id = \"demo\"\npublic_prefixes = [\"legacy/\"]";
        format!("{}\n[auth]\nlisten = \"127.0.0.1:0\"\n", config.replace("id = \"demo\"", public))
    })
}

/// A storage that has everything but what is called `missing`, and refuses what is called `refused`, as S3 does.
fn storage() -> Origin {
    Origin::start(|head: &str, stream: &mut TcpStream| {
        let path = head.split(['?', ' ']).nth(1).unwrap_or_default();
        let (status, body) = match path.rsplit('/').next() {
            Some("missing") => ("404 Not Found", "<Error><BucketName>media</BucketName></Error>"),
            Some("refused") => ("403 Forbidden", "<Error><BucketName>media</BucketName></Error>"),
            _ => ("200 OK", BODY),
        };
        let sent = if head.starts_with("HEAD ") { "" } else { body };
        let _ = stream.write_all(
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nx-amz-request-id: r\r\nETag: \"e\"\r\n\
                 Content-Length: {}\r\n\r\n{sent}",
                body.len()
            )
            .as_bytes(),
        );
    })
}

/// One way to ask about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Original,
    Forwarded,
    Path,
}

fn ask(face: SocketAddr, way: Way, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
    let (own_method, own_target, said) = match way {
        Way::Original => ("GET", "/auth".to_owned(), vec![("X-Original-URI", target), ("X-Original-Method", method)]),
        Way::Forwarded => ("GET", "/auth".to_owned(), vec![("X-Forwarded-Uri", target), ("X-Forwarded-Method", method)]),
        Way::Path => (method, format!("/auth{target}"), Vec::new()),
    };
    request(face, own_method, &own_target, &[&said, fields].concat())
}

const WAYS: [Way; 3] = [Way::Original, Way::Forwarded, Way::Path];

#[test]
fn each_proxy_is_answered_in_its_way() {
    let storage = storage();
    let gate = gate(&storage);
    let good = fat("alice");
    let expired = sign(&serde_json::json!({ "sub": "alice", "app": "demo", "exp": now() - 60 }), SECRET);
    let link = format!("/demo/media/a%20b.txt?fat={good}");
    for way in WAYS {
        for method in ["GET", "HEAD"] {
            let granted = ask(gate.auth, way, method, &link, &[]);
            assert_eq!((granted.status, granted.header("x-mediagate-user")), (204, Some("alice")), "{way:?} {method}");
            let target = granted.header("x-mediagate-target").expect("a target");
            let beginning = format!("http://{}/media/demo/media/a%20b.txt?X-Amz-Algorithm=", storage.address);
            assert!(target.starts_with(&beginning), "{target}");
            assert_eq!(granted.header("cache-control"), Some("no-store"));
            assert!(!String::from_utf8_lossy(&granted.head).contains(&good));
        }
        let by_header = ask(gate.auth, way, "GET", "/demo/a", &[("Authorization", &format!("Bearer {good}"))]);
        assert_eq!(by_header.status, 204, "{way:?}");
        let nobody = ask(gate.auth, way, "GET", "/demo/legacy/a", &[]);
        assert_eq!((nobody.status, nobody.header("x-mediagate-user")), (204, None), "{way:?}");
        let preflight = ask(gate.auth, way, "OPTIONS", "/demo/a", &[]);
        assert_eq!((preflight.status, preflight.header("x-mediagate-target")), (204, None), "{way:?}");

        let plain = |status| if way == Way::Original { 403 } else { status };
        let of_bob = format!("/demo/a?fat={}", fat("bob"));
        gate.deactivate("bob");
        for (method, target, status, code) in [
            ("GET", "/demo/a", 401, "ERR_FAT_MISSING"),
            ("GET", &format!("/demo/a?fat={expired}"), 401, "ERR_FAT_EXPIRED"),
            ("GET", &of_bob, 403, "ERR_USER_DEACTIVATED"),
            ("GET", &format!("/demo/a/../b?fat={good}"), plain(400), "ERR_BAD_REQUEST"),
            ("GET", &format!("/demo/legacy/..%2fa?fat={good}"), plain(400), "ERR_BAD_REQUEST"),
            ("GET", &format!("{link}&fat={good}"), plain(400), "ERR_BAD_REQUEST"),
            ("GET", &format!("{link}&redirect=1"), plain(400), "ERR_BAD_REQUEST"),
            ("GET", &format!("/nobody/a?fat={good}"), plain(404), "ERR_NOT_FOUND"),
            ("POST", &link, plain(405), "ERR_METHOD_NOT_ALLOWED"),
            ("DELETE", "/demo/legacy/a", plain(405), "ERR_METHOD_NOT_ALLOWED"),
        ] {
            let refused = ask(gate.auth, way, method, target, &[]);
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{way:?} {method} {target}");
            assert_eq!(refused.header("x-mediagate-target"), None);
            assert_eq!(refused.header("www-authenticate").is_some(), status == 401);
        }
        gate.activate("bob");
    }
    assert!(storage.requests().is_empty(), "only the proxy fetches");
    let lines = gate.access_log();
    let granted = lines.iter().find(|line| line["reason"] == "forward_auth" && line["uid"] == "alice").expect("logged");
    assert_eq!((&granted["object"], &granted["status"]), (&"demo/media/a b.txt".into(), &204.into()));
    assert!(lines.iter().any(|line| line["reason"] == "user_deactivated" && line["outcome"] == "denied"));
    assert!(!gate.log().contains(&good) && !gate.log().contains("X-Amz"));
}

#[test]
fn a_question_in_two_ways_is_refused() {
    let storage = storage();
    let gate = gate(&storage);
    let good = fat("alice");
    let public = "/demo/legacy/a";
    let two_ways: [(&str, &[(&str, &str)]); 6] = [
        ("/auth", &[("X-Forwarded-Uri", public), ("X-Forwarded-Method", "GET"), ("X-Original-URI", "/demo/a")]),
        ("/auth", &[("X-Original-URI", public), ("X-Original-Method", "GET"), ("X-Forwarded-Method", "GET")]),
        ("/auth", &[("X-Original-URI", public), ("X-Original-URI", "/demo/a"), ("X-Original-Method", "GET")]),
        ("/auth/demo/legacy/a", &[("X-Original-URI", public)]),
        ("/auth", &[("X-Original-URI", public)]),
        ("/auth", &[]),
    ];
    for (target, fields) in two_ways {
        let refused = request(gate.auth, "GET", target, &[fields, &[("fat", &good)]].concat());
        assert_eq!((refused.status, refused.code().as_str()), (403, "ERR_BAD_REQUEST"), "{target} {fields:?}");
    }
    // A client of Traefik cannot have another host decided about, where hosts are named.
    assert_eq!(ask(gate.auth, Way::Forwarded, "GET", public, &[("X-Forwarded-Host", "a, b")]).status, 400);
}

#[test]
fn a_question_that_is_no_http_harms_nobody() {
    let storage = storage();
    let gate = gate(&storage);
    let long = format!("GET /auth HTTP/1.1\r\nHost: a\r\nX-Original-URI: /{}\r\n\r\n", "a".repeat(100_000));
    for text in ["nonsense\r\n\r\n", "GET /auth HTTP/1.1\r\nHost a\r\n\r\n", &long] {
        assert!((400..=431).contains(&raw(gate.auth, text).status), "{}", &text[..30.min(text.len())]);
    }
    assert_eq!(ask(gate.auth, Way::Path, "GET", "/demo/legacy/a", &[]).status, 204);
}

/// What holds behind both proxies: `unclear` is the status for a request that cannot mean one thing.
fn check_proxy(proxy: &ProxyServer, gate: &Mediagate, storage: &Origin, unclear: u16) {
    let good = fat("alice");
    let link = |path: &str| format!("{path}?fat={good}");
    let granted = request(proxy.address, "GET", &link("/demo/media/a%20b+%2B%E6%96%87.txt"), &[
        ("Range", "bytes=0-4"),
        ("Cookie", "session=secret-of-the-client"),
        ("X-Amz-Date", "20000101T000000Z"),
        ("X-Mediagate-User", "root"),
    ]);
    assert_eq!((granted.status, granted.text().as_str()), (200, BODY), "{}", proxy.log());
    let heads = storage.requests();
    let head = heads.last().expect("it was asked");
    let beginning = "GET /media/demo/media/a%20b%2B%2B%E6%96%87.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F";
    assert!(head.starts_with(beginning), "{head}");
    assert!(head.contains(&format!("\r\nHost: {}\r\n", storage.address)), "what is signed: {head}");
    let lower = head.to_ascii_lowercase();
    assert!(lower.contains("\r\nrange: bytes=0-4\r\n"), "{head}");
    for word in [&good, "secret-of", "20000101", "fat", "\r\nx-mediagate", "root"] {
        assert!(!lower.contains(&word.to_ascii_lowercase()), "{word}: {head}");
    }
    for (name, value) in [
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(granted.header(name), Some(value), "{name}");
    }
    assert_eq!((granted.header("x-amz-request-id"), granted.header("x-mediagate-target")), (None, None));

    let asked = storage.requests().len();
    let refused = |method: &str, target: &str, fields: &[(&str, &str)], status: u16| {
        let refused = request(proxy.address, method, target, fields);
        assert_eq!(refused.status, status, "{method} {target} {fields:?}: {}", refused.text());
        assert!(!refused.text().contains(BODY));
        assert_eq!(storage.requests().len(), asked, "{method} {target} {fields:?}");
        refused
    };
    refused("GET", "/demo/a", &[], 401);
    refused("GET", "/demo/a?fat=nonsense", &[], 401);
    refused("GET", &link("/nobody/a"), &[], if unclear == 403 { 403 } else { 404 });
    refused("GET", &format!("{}&fat={good}", link("/demo/a")), &[], unclear);
    refused("POST", &link("/demo/a"), &[("Content-Length", "0")], if unclear == 403 { 403 } else { 405 });
    // Nothing that a client says moves the question to another object.
    let moved: [&[(&str, &str)]; 5] = [
        &[("X-Original-URI", "/demo/legacy/a"), ("X-Original-Method", "GET")],
        &[("X-Forwarded-Uri", "/demo/legacy/a"), ("X-Forwarded-Method", "GET")],
        &[("X-Forwarded-Host", "other.example")],
        &[("X-Mediagate-Target", &format!("http://{}/media/demo/a", storage.address)), ("X-Mediagate-User", "alice")],
        &[("X-Rewrite-Url", "/demo/legacy/a")],
    ];
    for fields in moved {
        refused("GET", "/demo/a", fields, 401);
    }
    assert_eq!(request(proxy.address, "GET", "/demo/legacy/a", &[]).status, 200);
    gate.deactivate("alice");
    let asked = storage.requests().len();
    assert_eq!(request(proxy.address, "GET", &link("/demo/a"), &[]).status, 403);
    assert_eq!(storage.requests().len(), asked);
    gate.activate("alice");
    let head = request(proxy.address, "HEAD", &link("/demo/a"), &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("20")));

    let playlist = request(proxy.address, "GET", &link("/demo/v/a.m3u8"), &[]);
    assert_eq!(playlist.status, 200);
    for (name, status) in [("missing", 404), ("refused", 503)] {
        let failed = request(proxy.address, "GET", &link(&format!("/demo/{name}")), &[]);
        assert_eq!(failed.status, status, "{name}");
    }
    eventually("the log is written", || !proxy.log().is_empty());
    assert!(!proxy.log().contains(&good), "{}", proxy.log());
}

#[test]
fn nginx_asks_and_fetches_by_itself() {
    let storage = storage();
    let gate = gate(&storage);
    let nginx = ProxyServer::nginx(gate.auth);
    check_proxy(&nginx, &gate, &storage, 403);
    // What the gate says of an answer, nginx passes on.
    let good = fat("alice");
    let playlist = request(nginx.address, "GET", &format!("/demo/v/a.m3u8?fat={good}"), &[]);
    let cookie = playlist.header("set-cookie").expect("a cookie");
    let own = cookie.split(';').next().expect("a value");
    assert!(cookie.contains("; Path=/demo/v/; ") && own == format!("fat={good}~"), "{cookie}");
    assert_eq!(request(nginx.address, "GET", "/demo/v/1.ts", &[("Cookie", own)]).status, 200);
    let saved = request(nginx.address, "GET", &format!("/demo/a.txt?fat={good}&download=1"), &[]);
    assert_eq!(saved.header("content-disposition"), Some("attachment; filename=\"a.txt\""));
    let missing = request(nginx.address, "GET", &format!("/demo/missing?fat={good}"), &[]);
    assert_eq!(missing.code(), "ERR_NOT_FOUND");
}

#[test]
fn caddy_asks_and_fetches_by_itself() {
    let storage = storage();
    let gate = gate(&storage);
    let caddy = ProxyServer::caddy(gate.auth, storage.address);
    check_proxy(&caddy, &gate, &storage, 400);
    let refused = request(caddy.address, "GET", "/demo/a", &[]);
    assert_eq!(refused.code(), "ERR_FAT_MISSING");
    let page = request(caddy.address, "GET", "/demo/a", &[("Accept", "text/html")]);
    assert!(page.text().contains("<title>This link is not complete</title>"), "{}", page.text());
}

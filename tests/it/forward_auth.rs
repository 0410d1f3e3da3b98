//! Other proxies that ask the gate and fetch by themselves: every way to ask, and nginx and Caddy as `conf/` has them.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use tempfile::TempDir;

use crate::support::client::{Response, raw, request};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::proxy_servers::ProxyServer;
use crate::support::{SECRET, eventually, fat, now, sign};

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
        Way::Forwarded => {
            ("GET", "/auth".to_owned(), vec![("X-Forwarded-Uri", target), ("X-Forwarded-Method", method)])
        }
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
        // Let in, it would be answered with the file by a server of files.
        let plain = |status| if way == Way::Original { 403 } else { status };
        assert_eq!((preflight.status, preflight.header("x-mediagate-target")), (plain(405), None), "{way:?}");

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

/// What is refused behind both proxies; `plain` is the status for what the gate refuses otherwise than with 401 and 403.
fn check_refusals(proxy: &ProxyServer, gate: &Mediagate, plain: impl Fn(u16) -> u16) {
    let good = fat("alice");
    let link = |path: &str| format!("{path}?fat={good}");
    let refused = |method: &str, target: &str, fields: &[(&str, &str)], status: u16| {
        let refused = request(proxy.address, method, target, fields);
        assert_eq!(refused.status, status, "{method} {target} {fields:?}: {}", refused.text());
        assert!(!refused.text().contains(BODY) && refused.header("x-mediagate-target").is_none());
    };
    refused("GET", "/demo/a.txt", &[], 401);
    refused("GET", "/demo/a.txt?fat=nonsense", &[], 401);
    refused("GET", &link("/nobody/a.txt"), &[], plain(404));
    refused("GET", &format!("{}&fat={good}", link("/demo/a.txt")), &[], plain(400));
    refused("GET", &link("/demo/legacy/..%2fa.txt"), &[], plain(400));
    refused("GET", &link("/demo//a.txt"), &[], plain(400));
    refused("POST", &link("/demo/a.txt"), &[("Content-Length", "0")], plain(405));
    // Nothing that a client says moves the question to another object, or answers it.
    let target = format!("http://{}/media/demo/a.txt", gate.auth);
    let moved: [&[(&str, &str)]; 5] = [
        &[("X-Original-URI", "/demo/legacy/a.txt"), ("X-Original-Method", "GET")],
        &[("X-Forwarded-Uri", "/demo/legacy/a.txt"), ("X-Forwarded-Method", "GET")],
        &[("X-Forwarded-Host", "other.example")],
        &[("X-Mediagate-Target", &target), ("X-Mediagate-User", "alice")],
        &[("X-Rewrite-Url", "/demo/legacy/a.txt"), ("X-Http-Method-Override", "OPTIONS")],
    ];
    for fields in moved {
        refused("GET", "/demo/a.txt", fields, 401);
    }
    gate.deactivate("alice");
    refused("GET", &link("/demo/a.txt"), &[], 403);
    gate.activate("alice");
}

/// What an answer says in front of an object, whoever fetches it.
fn check_fields(answer: &Response) {
    for (name, value) in [
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

/// What the gate says of an answer, a proxy passes on: a cookie, and the name of a download.
fn check_passed_on(proxy: &ProxyServer) {
    let good = fat("alice");
    let plain = request(proxy.address, "GET", &format!("/demo/a.txt?fat={good}"), &[]);
    assert_eq!((plain.header("set-cookie"), plain.header("content-disposition")), (None, None));
    assert_eq!((plain.status, plain.header("cache-control")), (200, Some("private, no-cache")));
    check_fields(&plain);
    let playlist = request(proxy.address, "GET", &format!("/demo/v/a.m3u8?fat={good}"), &[]);
    let cookie = playlist.header("set-cookie").expect("a cookie");
    let own = cookie.split(';').next().expect("a value");
    assert!(cookie.contains("; Path=/demo/v/; ") && own == format!("fat={good}~"), "{cookie}");
    assert_eq!(playlist.header("cache-control"), Some("no-store"));
    let segment = request(proxy.address, "GET", "/demo/v/1.ts", &[("Cookie", own)]);
    assert_eq!((segment.status, segment.text().as_str()), (200, BODY));
    let saved = request(proxy.address, "GET", &format!("/demo/a.txt?fat={good}&download=b"), &[]);
    assert_eq!(saved.header("content-disposition"), Some("attachment; filename=\"b.txt\""));
    let public = request(proxy.address, "GET", "/demo/legacy/a.txt", &[]);
    assert_eq!((public.status, public.text().as_str()), (200, BODY));
    assert!(!proxy.log().contains(&good), "{}", proxy.log());
}

#[test]
fn nginx_asks_and_fetches_by_itself() {
    let storage = storage();
    let gate = gate(&storage);
    let nginx = ProxyServer::nginx(gate.auth);
    check_refusals(&nginx, &gate, |_| 403);
    assert!(storage.requests().is_empty(), "{:?}", storage.requests());
    let good = fat("alice");
    let fields = [
        ("Range", "bytes=0-4"),
        ("Cookie", "session=secret-of-the-client"),
        ("X-Amz-Date", "20000101T000000Z"),
        ("X-Mediagate-User", "root"),
    ];
    let target = format!("/demo/media/a%20b+%2B%E6%96%87.txt?fat={good}");
    let granted = request(nginx.address, "GET", &target, &fields);
    assert_eq!((granted.status, granted.text().as_str()), (200, BODY), "{}", nginx.log());
    assert_eq!((granted.header("x-amz-request-id"), granted.header("x-mediagate-target")), (None, None));
    let heads = storage.requests();
    let head = heads.last().expect("it was asked");
    let path =
        "/media/demo/media/a%20b%2B%2B%E6%96%87.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F";
    assert!(head.starts_with(&format!("GET {path}")), "{head}");
    assert!(head.contains(&format!("\r\nHost: {}\r\n", storage.address)), "what is signed: {head}");
    assert!(head.contains("\r\nRange: bytes=0-4\r\n"), "{head}");
    for word in [&good, "secret-of", "20000101", "fat", "Mediagate", "root"] {
        assert!(!head.contains(word), "{word}: {head}");
    }
    check_passed_on(&nginx);
    let head = request(nginx.address, "HEAD", &format!("/demo/a.txt?fat={good}"), &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("20")));
    for (name, status, code) in [("missing", 404, "ERR_NOT_FOUND"), ("refused", 503, "ERR_STORAGE_ANSWER")] {
        let failed = request(nginx.address, "GET", &format!("/demo/{name}?fat={good}"), &[]);
        assert_eq!((failed.status, failed.code().as_str()), (status, code), "{name}");
    }
    eventually("who it was is in nginx's log", || nginx.log().contains("\"GET /demo/a.txt\" 200 20 \"alice\""));
}

#[test]
fn caddy_asks_and_serves_by_itself() {
    let (storage, root) = (storage(), TempDir::new().expect("a folder"));
    let gate = gate(&storage);
    for file in ["demo/a.txt", "demo/v/a.m3u8", "demo/v/1.ts", "demo/legacy/a.txt", "nobody/a.txt"] {
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().expect("a folder")).and_then(|()| fs::write(file, BODY)).expect("a file");
    }
    let caddy = ProxyServer::caddy(gate.auth, root.path());
    check_refusals(&caddy, &gate, |status| status);
    check_passed_on(&caddy);
    let link = format!("/demo/a.txt?fat={}", fat("alice"));
    let part = request(caddy.address, "GET", &link, &[("Range", "bytes=0-3")]);
    assert_eq!((part.status, part.text().as_str()), (206, "what"));
    let refused = request(caddy.address, "GET", "/demo/a.txt", &[]);
    assert_eq!((refused.code().as_str(), refused.header("www-authenticate").is_some()), ("ERR_FAT_MISSING", true));
    for target in ["/demo/a.txt", &link] {
        let options = request(caddy.address, "OPTIONS", target, &[]);
        assert_eq!((options.status, options.text().as_str()), (405, ""), "{target}");
    }
    let page = request(caddy.address, "GET", "/demo/a.txt", &[("Accept", "text/html")]);
    assert!(page.text().contains("<title>This link is not complete</title>"), "{}", page.text());
    assert!(storage.requests().is_empty());
}

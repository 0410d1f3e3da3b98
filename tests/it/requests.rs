//! HTTP as it comes over the wire: one strict form, and whatever differs from it is answered once, closed, and never
//! read on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::client::{Connection, Response, raw};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{certificate, fat, now, sign};

/// A storage that answers with the last segment of the path that it is asked for.
fn named(head: &str, stream: &mut TcpStream) {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let name = path.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let body = if head.starts_with("HEAD ") { "" } else { name };
    let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", name.len()).as_bytes());
}

struct World {
    origin: Origin,
    gate: Mediagate,
    token: String,
}

impl World {
    fn new(edit: impl FnOnce(String) -> String) -> World {
        let origin = Origin::start(named);
        let gate = Mediagate::serve(origin.address, edit);
        World { origin, gate, token: fat("alice") }
    }

    /// A good request with `fields` in it.
    fn get(&self, fields: &str) -> String {
        format!("GET /demo/a HTTP/1.1\r\nHost: files.example\r\n{fields}fat: {}\r\n\r\n", self.token)
    }

    /// A good request of its own, to stand behind a bad one.
    fn smuggled(&self) -> String {
        format!("GET /demo/smuggled?fat={} HTTP/1.1\r\nHost: files.example\r\n\r\n", self.token)
    }

    /// Sends `bytes` with a good request behind them: one refusal comes, and then the end.
    fn check_refused(&self, bytes: impl AsRef<[u8]>, status: u16) {
        let bytes = bytes.as_ref();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let mut connection = Connection::open(self.gate.media);
        connection.send([bytes, self.smuggled().as_bytes()].concat());
        let answer = connection.read(bytes.starts_with(b"HEAD ")).unwrap_or_else(|| panic!("no answer: {shown:?}"));
        assert_eq!(answer.status, status, "{shown:?}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{shown:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{shown:?}");
        assert!(connection.is_closed(), "{shown:?}");
        assert_eq!(self.origin.requests(), Vec::<String>::new(), "{shown:?}");
    }

    /// Sends a request as it is: the object `a` comes.
    fn check_served(&self, request: &str) -> Response {
        let answer = raw(self.gate.media, request);
        assert_eq!((answer.status, answer.text().as_str()), (200, "a"), "{request}");
        answer
    }
}

#[test]
fn ambiguous_framing_is_refused_and_nothing_behind_it_is_read() {
    let world = World::new(|config| config);
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 0\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +0\r\n",
        "Content-Length: 0, 0\r\n",
        "Content-Length: 0x0\r\n",
        "Content-Length: 0 0\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "TrAnSfEr-EnCoDiNg: ChUnKeD\r\n",
        "Transfer-Encoding\r\n : chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length : 5\r\n",
    ] {
        world.check_refused(world.get(fields), 400);
        world.check_refused(world.get(fields) + "0\r\n\r\n", 400);
        let head = world.get(fields).replacen("GET", "HEAD", 1);
        world.check_refused(head, 400);
    }
    // A method that is none here is refused before its body is looked at, and the body is no request.
    for fields in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 100000\r\n", ""] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            world.check_refused(world.get(fields).replacen("GET", method, 1), 405);
        }
    }
    let old = |fields: &str| world.get(fields).replacen("HTTP/1.1", "HTTP/1.0", 1);
    world.check_refused(old("Transfer-Encoding: chunked\r\n"), 400);
    world.check_refused(old("Connection: keep-alive\r\nTransfer-Encoding: identity\r\n"), 400);
    // The alias with an underscore frames nothing, and the storage never hears of it.
    let mut alias = Connection::open(world.gate.media);
    alias.send(world.get("Transfer_Encoding: chunked\r\nContent_Length: 9\r\n"));
    assert_eq!(alias.read(false).map(|answer| answer.text()).as_deref(), Some("a"));
    alias.send("0\r\n\r\n".to_owned() + &world.smuggled());
    assert_eq!(alias.read(false).map(|answer| answer.status), Some(400));
    assert!(alias.is_closed());
    let heads = world.origin.requests();
    assert!(heads.len() == 1 && !heads[0].to_ascii_lowercase().contains("encoding"), "{heads:?}");
}

#[test]
fn malformed_lines_are_refused_and_nothing_behind_them_is_read() {
    let world = World::new(|config| config);
    let token = &world.token;
    for line in [
        "GET /demo/a",
        "GET",
        "",
        "GET  /demo/a HTTP/1.1",
        "GET /demo/a  HTTP/1.1",
        "GET /demo/a HTTP/1.1 ",
        " GET /demo/a HTTP/1.1",
        "GET /demo/a b HTTP/1.1",
        "GET\t/demo/a\tHTTP/1.1",
        "GET /demo/a HTTP/1.2",
        "GET /demo/a HTTP/2.0",
        "GET /demo/a HTTP/11",
        "GET /demo/a http/1.1",
        "GET /demo/a ICY/1.1",
        "G@T /demo/a HTTP/1.1",
        "GET /demo/a#b HTTP/1.1",
        "GET /demo/a\0b HTTP/1.1",
        "GET /demo/a\x7fb HTTP/1.1",
        "GET /demo/\ta HTTP/1.1",
        "GET /demo/a?<b> HTTP/1.1",
        "GET /demo/<a> HTTP/1.1",
        "GET /demo/a?\"b\" HTTP/1.1",
        "GET demo/a HTTP/1.1",
        "GET files.example:80 HTTP/1.1",
        "GET * HTTP/1.1",
        "GET ftp://files.example/demo/a HTTP/1.1",
        "GET file:///demo/a HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        // An empty line may stand before a request line (RFC 9112 §2.2); the fields that follow here are none.
        world.check_refused(format!("{line}\r\nHost: files.example\r\nfat: {token}\r\n\r\n"), 400);
    }
    for fields in [
        "X : a\r\n",
        "X\r\n",
        ": a\r\n",
        " X: a\r\n",
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        "X: a\r\n \r\n",
        "X: a\n",
        "X: a\nfat2: b\r\n",
        "X: a\rb\r\n",
        "X:\ra\r\n",
        "X:\x0ca\r\n",
        "X: a\r\r\n",
        "X: a\0b\r\n",
        "X: a\x01b\r\n",
        "X: a\x7fb\r\n",
        "X\0: a\r\n",
        "X(: a\r\n",
        "X\u{fc}: a\r\n",
    ] {
        world.check_refused(world.get(fields), 400);
    }
    world.check_refused(world.get("").replacen("HTTP/1.1\r\n", "HTTP/1.1\n", 1), 400);
    world.check_refused(world.get("").replace("\r\n", "\n"), 400);
    world.check_refused(world.get("").replace("\r\n", "\r"), 400);
    let latin = [b"GET /demo/\xfc HTTP/1.1\r\nHost: h\r\nfat: ", token.as_bytes(), b"\r\n\r\n"].concat();
    world.check_refused(latin, 400);
    world.check_refused([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, b'\r', b'\n'], 400);
}

#[test]
fn tunnels_upgrades_and_other_methods_are_refused() {
    let world = World::new(|config| config);
    let token = &world.token;
    let ask =
        |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: files.example\r\nfat: {token}\r\n{fields}\r\n");
    world.check_refused(ask("CONNECT files.example:80", ""), 405);
    world.check_refused(ask("CONNECT /demo/a", ""), 405);
    for method in ["TRACE", "TRACK", "PROPFIND", "POST", "PURGE", "get", "HEAD2", "GET/", "OPTIONSX"] {
        let status = if method.contains('/') { 400 } else { 405 };
        world.check_refused(ask(&format!("{method} /demo/a"), ""), status);
    }
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for fields in [h2c, websocket, "Upgrade: TLS/1.0\r\n", "upgrade:\r\n"] {
        world.check_refused(ask("GET /demo/a", fields), 400);
        world.check_refused(ask("OPTIONS /demo/a", fields), 400);
    }
}

#[test]
fn a_request_names_one_host_and_one_that_is_served() {
    let world = World::new(|config| config.replace("[media]", "[media]\nhosts = [\"files.example\", \"[::1]\"]"));
    let token = &world.token;
    let ask = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\n{fields}fat: {token}\r\n\r\n");
    for fields in [
        "",
        "Host:\r\n",
        "Host: files.example\r\nHost: files.example\r\n",
        "Host: files.example\r\nhost: evil.example\r\n",
        "Host: files.example, evil.example\r\n",
        "Host: files.example evil.example\r\n",
        "Host: files.example:\r\n",
        "Host: files.example:x\r\n",
        "Host: files.example:99999\r\n",
        "Host: files.example/x\r\n",
        "Host: http://files.example\r\n",
        "Host: user@files.example\r\n",
        "Host: files.example?\r\n",
        "Host: files.example#\r\n",
        "Host: [::1\r\n",
        "Host: [files.example]\r\n",
        "Host: :80\r\n",
        "Host: files.example\\x\r\n",
        "Host: f%69les.example\r\n",
    ] {
        world.check_refused(ask("/demo/a", fields), 400);
    }
    for host in ["evil.example", "files.example.evil.example", "xfiles.example", "127.0.0.1", "[::2]", "files.example."]
    {
        world.check_refused(ask("/demo/a", &format!("Host: {host}\r\n")), 421);
    }
    world.check_refused(ask("http://evil.example/demo/a", "Host: files.example\r\n"), 400);
    world.check_refused(ask("http://files.example/demo/a", "Host: evil.example\r\n"), 400);
    world.check_refused(ask("http://evil.example/demo/a", "Host: evil.example\r\n"), 421);
    world.check_refused(ask("http://files.example@evil.example/demo/a", "Host: files.example\r\n"), 400);
    world.check_refused(ask("http://files.example:80/demo/a", "Host: files.example\r\n"), 400);
    world.check_refused(ask("http://FILES.example/demo/a", "Host: files.example\r\n"), 400);
    world.check_refused(ask("http:///demo/a", "Host: files.example\r\n"), 400);
    // Nothing else that names a host is one.
    let forwarded = "Host: evil.example\r\nX-Forwarded-Host: files.example\r\nForwarded: host=files.example\r\n\
                     X-Host: files.example\r\nX-Original-Host: files.example\r\n";
    world.check_refused(ask("/demo/a", forwarded), 421);
    // HTTP/1.0 may come without a host, which is then none of those that are served.
    world.check_refused(format!("GET /demo/a HTTP/1.0\r\nfat: {token}\r\n\r\n"), 421);
    let close = "Connection: close\r\n";
    for host in ["files.example", "FILES.example", "files.example:8080", "[::1]", "[::1]:443"] {
        world.check_served(&ask("/demo/a", &format!("Host: {host}\r\n{close}")));
    }
    world.check_served(&ask("http://files.example/demo/a", &format!("Host: files.example\r\n{close}")));
    world.check_served(&ask("https://files.example:8/demo/a", &format!("Host: files.example:8\r\n{close}")));
}

/// Sends `bytes` one by one.
fn dribble(connection: &mut Connection, bytes: &[u8]) {
    let stream = connection.0.get_mut();
    let _ = stream.set_nodelay(true);
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
    }
}

#[test]
fn heads_are_bounded_however_they_come() {
    let world = World::new(|config| config);
    let token = &world.token;
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\nfat: {token}\r\n{fields}\r\n");
    let target = format!("/demo/a?{}", "a".repeat(8185));
    let cases = [
        (get(&target, ""), 414),
        (get(&format!("{target}{}", "a".repeat(1000)), ""), 414),
        (get("/demo/a", &format!("X: {}\r\n", "a".repeat(33_000))), 431),
        (get("/demo/a", &"X: a\r\n".repeat(99)), 431),
        (get("/demo/a", &format!("X: {}\r\n", "a".repeat(1000)).repeat(33)), 431),
    ];
    for (request, status) in &cases {
        world.check_refused(request, *status);
        let mut connection = Connection::open(world.gate.media);
        dribble(&mut connection, request.as_bytes());
        assert_eq!(connection.read(false).map(|answer| answer.status), Some(*status), "{}", request.len());
        assert!(connection.is_closed());
    }
    // Lines without an end are not collected either.
    for (start, status) in [("GET /", 414), ("GET /demo/a HTTP/1.1\r\nX: ", 431), ("GET /demo/a HTTP/1.1\r\nX", 431)] {
        world.check_refused(start.to_owned() + &"a".repeat(1 << 20), status);
    }
    assert_eq!(world.origin.requests().len(), 0);
    // What is just short enough is served, in one piece and in many.
    let target = format!("/demo/a?{}", "a".repeat(8192 - "/demo/a?".len()));
    let fits = get(&target, &format!("{}Connection: close\r\n", "X: a\r\n".repeat(97)));
    world.check_served(&fits);
    let mut connection = Connection::open(world.gate.media);
    dribble(&mut connection, fits.as_bytes());
    assert_eq!(connection.read(false).map(|answer| answer.status), Some(200));
}

#[test]
fn what_a_client_forwards_nominates_or_overrides_changes_nothing() {
    let world = World::new(|config| {
        config.replace("id = \"demo\"", "id = \"demo\"\npublic_prefixes = [\"open/\"]").replace(
            "[storage.main]",
            "[[apps]]\nid = \"free\"\naccess = \"off\"\nstorage = \"main\"\n\n[storage.main]",
        )
    });
    world.gate.deactivate("mallory");
    let overrides = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: files.example\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-User: admin\r\nX-Forwarded-Uri: /demo/open/a\r\nX-Original-URL: /demo/open/a\r\n\
         X-Rewrite-URL: /demo/open/a\r\nX-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: PUT\r\n\
         X-Method-Override: PUT\r\nX-Real-IP: 127.0.0.1\r\nX-Remote-User: admin\r\nRemote-User: admin\r\n\
         X-Amz-Date: 20200101T000000Z\r\nX-Amz-Security-Token: x\r\nx-amz-acl: public-read\r\n\
         X-Health-Check: 1\r\nUser-Agent: ELB-HealthChecker/2.0\r\nTransfer_Encoding: chunked\r\n\
         Authorization: Basic eA==\r\nForwarded: for=127.0.0.1;host=files.example\r\nVia: 1.1 gate\r\n\
         Expect: x\r\nTE: trailers\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: Basic eA==\r\nCookie: a=b\r\n\
         Referer: https://files.example/demo/open/a\r\nOrigin: https://files.example\r\n";
    let bare = |fields: &str| format!("GET /demo/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n");
    let refused = raw(world.gate.media, bare(overrides));
    assert_eq!((refused.status, refused.code().as_str()), (401, "ERR_FAT_MISSING"));
    let mallory = raw(world.gate.media, bare(&format!("{overrides}fat: {}\r\n", fat("mallory"))));
    assert_eq!((mallory.status, mallory.code().as_str()), (403, "ERR_USER_DEACTIVATED"));
    assert_eq!(world.origin.requests().len(), 0);
    // Not for those who are let in either: the storage sees a plain request for what the path says.
    world.check_served(&world.get(&format!("{overrides}Range: bytes=0-\r\nConnection: close\r\n")));
    let heads = world.origin.requests();
    let head = heads[0].to_ascii_lowercase();
    assert!(head.starts_with("get /media/demo/a?x-amz-"), "{head}");
    let names: Vec<_> = head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert_eq!(names, ["host", "range"], "{head}");

    // A nomination is not a removal (RFC 9110 §7.6.1 is about forwarding): the token is read, the range is passed on.
    for nominated in [
        "fat",
        "host, range",
        "keep-alive, host, x-forwarded-for, x-forwarded-host",
        ":authority",
        "\"fat\", (x)",
        "a, b, c, d, e, f, g, h, i, j, k, l",
        "close, fat, authorization",
        "cookie",
        "x-amz-date",
        "content-length",
    ] {
        let served = world.get(&format!("Connection: {nominated}\r\nRange: bytes=0-\r\n"));
        let mut connection = Connection::open(world.gate.media);
        connection.send(&served);
        assert_eq!(connection.read(false).map(|answer| answer.status), Some(200), "{nominated}");
        let heads = world.origin.requests();
        let head = heads.last().expect("a request").to_ascii_lowercase();
        assert!(
            head.contains(&format!("\r\nhost: {}", world.origin.address)) && head.contains("\r\nrange: "),
            "{head}"
        );
        assert!(!head.contains("\r\nconnection:"), "{head}");
        let mallory = bare(&format!("Connection: {nominated}\r\nfat: {}\r\n", fat("mallory")))
            .replace("Connection: close\r\n", "");
        let mut connection = Connection::open(world.gate.media);
        connection.send(mallory);
        assert_eq!(connection.read(false).map(|answer| answer.status), Some(403), "{nominated}");
    }
    // What is public is so by its path alone.
    for target in [
        "/demo/a?path=open/a",
        "/demo/a?/demo/open/",
        "/demo/openx/a",
        "/demo/OPEN/a",
        "/demo/open",
        "/demo/x/open/a",
        "/demo/a?x=/free/a",
        "/other/open/a",
    ] {
        let answer = raw(world.gate.media, bare(overrides).replacen("/demo/a", target, 1));
        assert!(matches!(answer.status, 401 | 404), "{target}: {}", answer.status);
    }
    world.check_served(&bare("").replacen("/demo/a", "/demo/open/a", 1));
    world.check_served(&bare("").replacen("/demo/a", "/free/a", 1));
}

#[test]
fn each_request_of_a_connection_is_authorised_by_itself() {
    let world = World::new(|config| config);
    world.gate.deactivate("bob");
    let (alice, bob, carol) = (fat("alice"), fat("bob"), fat("carol"));
    let expired =
        sign(&serde_json::json!({ "sub": "alice", "app": "demo", "exp": now() - 60 }), crate::support::SECRET);
    let mut connection = Connection::open(world.gate.media);
    let mut served = Vec::new();
    for (name, token, status) in [
        ("one", alice.as_str(), 200),
        ("two", "", 401),
        ("three", &carol, 200),
        ("four", &bob, 403),
        ("five", &expired, 401),
        ("six", &alice, 200),
        ("seven", "junk", 401),
        ("eight", &carol, 200),
    ] {
        let field = if token.is_empty() { String::new() } else { format!("fat: {token}\r\n") };
        connection.send(format!("GET /demo/{name} HTTP/1.1\r\nHost: h\r\n{field}\r\n"));
        let answer = connection.read(false).unwrap_or_else(|| panic!("closed at {name}"));
        assert_eq!(answer.status, status, "{name}");
        if status == 200 {
            assert_eq!(answer.text(), name);
            served.push(name);
        }
    }
    connection.send(format!("GET /nobody/a HTTP/1.1\r\nHost: h\r\nfat: {alice}\r\n\r\n"));
    assert_eq!(connection.read(false).map(|answer| answer.status), Some(404));
    connection.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(connection.read(false).map(|answer| answer.status), Some(204));
    connection.send(format!("HEAD /demo/nine HTTP/1.1\r\nHost: h\r\nfat: {alice}\r\n\r\n"));
    let head = connection.read(true).expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    served.push("nine");
    // Deactivated between two requests of one connection.
    world.gate.deactivate("alice");
    connection.send(format!("GET /demo/ten HTTP/1.1\r\nHost: h\r\nfat: {alice}\r\n\r\n"));
    assert_eq!(connection.read(false).map(|answer| answer.status), Some(403));
    // The last one breaks the form, which holds for the eleventh request as for the first.
    connection.send(format!("GET /demo/eleven HTTP/1.1\r\nHost: h\nfat: {carol}\r\n\r\n{}", world.smuggled()));
    assert_eq!(connection.read(false).map(|answer| answer.status), Some(400));
    assert!(connection.is_closed());
    let asked: Vec<_> = world.origin.requests().iter().map(|head| object_of(head)).collect();
    assert_eq!(asked, served);
}

/// The object that a request to the storage is for.
fn object_of(head: &str) -> String {
    let path = head.split([' ', '?']).nth(1).expect("a path");
    path.strip_prefix("/media/demo/").unwrap_or_else(|| panic!("{head}")).to_owned()
}

#[test]
fn pipelined_requests_are_answered_in_order_by_themselves_or_not_at_all() {
    let world = World::new(|config| config);
    let (alice, bob) = (fat("alice"), fat("bob"));
    world.gate.deactivate("bob");
    let get = |name: &str, token: &str| format!("GET /demo/{name} HTTP/1.1\r\nHost: h\r\nfat: {token}\r\n\r\n");
    let burst = |requests: &[(&str, &str)]| {
        let mut connection = Connection::open(world.gate.media);
        connection.send(requests.iter().map(|(name, token)| get(name, token)).collect::<String>());
        let mut answers = Vec::new();
        while let Some(answer) = connection.read(false) {
            answers.push((answer.status, if answer.status == 200 { answer.text() } else { String::new() }));
            if answer.header("connection") == Some("close") || answers.len() == requests.len() {
                break;
            }
        }
        answers
    };
    let good = |name: &str| (200, name.to_owned());
    let refused = |status| (status, String::new());
    let expected = [good("p1"), refused(403), good("p3"), refused(401), good("p5")];
    let answers = burst(&[("p1", &alice), ("p2", &bob), ("p3", &alice), ("p4", "x"), ("p5", &alice)]);
    assert!(!answers.is_empty() && expected.starts_with(&answers), "{answers:?}");
    let answers = burst(&[("q1", &bob), ("q2", &alice)]);
    assert!(!answers.is_empty() && [refused(403), good("q2")].starts_with(&answers), "{answers:?}");
    // A second head that is malformed is no less so for having come along with the first.
    let mut connection = Connection::open(world.gate.media);
    connection.send(get("r1", &alice) + &get("r2", &alice).replacen("HTTP/1.1\r\n", "HTTP/1.1\n", 1));
    assert_eq!(connection.read(false).map(|answer| answer.text()).as_deref(), Some("r1"));
    assert!(connection.read(false).is_none_or(|answer| answer.status == 400));
    assert!(
        world.origin.requests().iter().all(|head| !head.contains("r2") && !head.contains("p2") && !head.contains("p4"))
    );
}

/// A gate that speaks TLS.
fn tls_gate(dir: &Path, origin: &Origin) -> (Mediagate, PathBuf) {
    let (cert, key) = certificate(dir);
    let tls = format!("[media]\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"\n", cert.display(), key.display());
    let gate =
        Mediagate::serve(origin.address, |config| config.replace("[media]\n", &(tls + "hosts = [\"127.0.0.1\"]\n")));
    (gate, cert)
}

fn has_http2() -> bool {
    let version = Command::new("curl").arg("--version").output().expect("curl runs");
    String::from_utf8_lossy(&version.stdout).contains("HTTP2")
}

/// Runs curl over one connection; returns `version status connects` of each transfer.
fn curl(cert: &Path, args: &[&str], urls: &[String]) -> Vec<String> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--path-as-is", "--max-time", "50", "--cacert"]).arg(cert).args(args);
    command.args(["-w", "%{stderr}%{http_version} %{response_code} %{num_connects}\\n"]);
    for url in urls {
        command.args(["-o", "/dev/null"]).arg(url);
    }
    let output = command.output().expect("curl runs");
    String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect()
}

#[test]
fn over_tls_each_request_and_each_stream_is_authorised_by_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let origin = Origin::start(named);
    let (gate, cert) = tls_gate(dir.path(), &origin);
    gate.deactivate("bob");
    let (alice, bob) = (fat("alice"), fat("bob"));
    let url = |path: &str| format!("https://{}{path}", gate.media);
    let urls = [
        url(&format!("/demo/a?fat={alice}")),
        url("/demo/a"),
        url(&format!("/demo/b?fat={bob}")),
        url(&format!("/demo/c?fat={alice}")),
        url(&format!("/nobody/c?fat={alice}")),
    ];
    let expected = |version| ["200 1", "401 0", "403 0", "200 0", "404 0"].map(|end| format!("{version} {end}"));
    assert_eq!(curl(&cert, &["--http1.1"], &urls), expected("1.1"));
    assert_eq!(origin.requests().iter().map(|head| object_of(head)).collect::<Vec<_>>(), ["a", "c"]);
    if !has_http2() {
        eprintln!("this curl has no HTTP/2");
        return;
    }
    assert_eq!(curl(&cert, &["--http2"], &urls), expected("2"));
    assert_eq!(origin.requests().len(), 4);

    // The form holds there, too, although no line of text is ever parsed.
    let fat_field = format!("fat: {alice}");
    let check = |args: &[&str], path: &str, status: u16| {
        let args = [&["--http2", "-H", fat_field.as_str()], args].concat();
        assert_eq!(curl(&cert, &args, &[url(path)]), [format!("2 {status} 1")], "{args:?} {path}");
    };
    check(&["-X", "POST"], "/demo/a", 405);
    check(&["-X", "TRACE"], "/demo/a", 405);
    check(&[], "/demo/x/../a", 400);
    check(&[], "/demo//a", 400);
    check(&[], "/demo/a%2fb", 400);
    check(&[], "/demo/%ff", 400);
    check(&[], &format!("/demo/a?fat={alice}"), 400);
    check(&[], &format!("/demo/{}", "a".repeat(1025)), 414);
    check(&[], &format!("/demo/a?{}", "a".repeat(8192)), 414);
    check(&["-H", "Host: evil.example"], "/demo/a", 421);
    check(&["-H", "Host: a@b"], "/demo/a", 400);
    // A body that nobody reads, or fields without end: answered or reset, and never served.
    let wide = format!("X: {}", "a".repeat(40_000));
    for (args, answer) in [
        (["-X", "POST", "-d", "x"], "2 405 1"),
        (["-X", "GET", "-d", "x"], "2 400 1"),
        (["-X", "GET", "-H", &wide], "2 431 1"),
    ] {
        let args = [&["--http2", "-H", fat_field.as_str()], args.as_slice()].concat();
        let lines = curl(&cert, &args, &[url("/demo/a")]);
        let last = lines.last().expect("a line");
        assert!(last == answer || (last == "0 000 1" && lines.len() == 2), "{lines:?}");
    }
    assert_eq!(origin.requests().len(), 4, "{:?}", origin.requests().last());
    check(&[], "/demo/a", 200);
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}

#[test]
fn a_running_http2_transfer_of_a_deactivated_user_is_cut_and_another_goes_on() {
    if !has_http2() {
        eprintln!("this curl has no HTTP/2");
        return;
    }
    const LENGTH: usize = 256 << 20;
    let dir = tempfile::tempdir().expect("a folder");
    let origin = Origin::start(|_, stream| {
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes());
        let chunk = vec![b'x'; 64 * 1024];
        for _ in 0..LENGTH / chunk.len() {
            if stream.write_all(&chunk).is_err() {
                return;
            }
        }
    });
    let (gate, cert) = tls_gate(dir.path(), &origin);
    let mut transfers = ["bob", "alice"].map(|uid| {
        let mut curl = Command::new("curl")
            .args(["-sS", "--http2", "--cacert"])
            .arg(&cert)
            .arg(format!("https://{}/demo/a?fat={}", gate.media, fat(uid)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("curl runs");
        let mut body = curl.stdout.take().expect("a pipe");
        body.read_exact(&mut [0; 100_000]).expect("the transfer runs");
        (curl, body)
    });
    // Both stand still now: nobody reads them.
    gate.deactivate("bob");
    let mut rests = transfers.iter_mut().map(|(curl, body)| {
        let mut buffer = vec![0; 1 << 20];
        let mut rest = 0;
        while let Ok(read @ 1..) = body.read(&mut buffer) {
            rest += read;
        }
        (rest, curl.wait().expect("a status").success())
    });
    let (bob, ended_well) = rests.next().expect("bob's");
    assert!(bob < LENGTH - 100_000 && !ended_well, "{bob} bytes");
    assert_eq!(rests.next(), Some((LENGTH - 100_000, true)));
    assert_eq!(gate.metric("mediagate_requests_total{outcome=\"cut\",reason=\"restricted\"}"), Some(1.0));
}

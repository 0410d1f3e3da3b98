//! Every refusal, earned through the front door: what the client sees, what is counted, what is logged, and that the
//! storage hears nothing of it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mediagate::restrictions::{Effect, Scope};
use mediagate::store::{Store, Wanted};
use serde_json::json;

use crate::support::client::{Connection, Response, get, raw, request};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{SECRET, eventually, fat, now, sign};

/// Apps beside `demo`: one with the same key, one that is deactivated, one that wants an issuer and an audience.
const MORE_APPS: &str = r#"
[[apps]]
id = "other"
storage = "main"
[[apps.keys]]
kid = "k1"
alg = "HS256"
secret_file = "k1.key"

[[apps]]
id = "gone"
storage = "main"
[[apps.keys]]
kid = "k1"
alg = "HS256"
secret_file = "k1.key"

[[apps]]
id = "strict"
storage = "main"
[[apps.keys]]
kid = "k1"
alg = "HS256"
secret_file = "k1.key"
issuer = "https://backend.example"
audience = "media"

[storage.main]"#;

/// One refusal: the request that earns it and what it is told.
struct Case {
    method: &'static str,
    target: String,
    /// `Host` among them replaces the usual one.
    fields: Vec<(&'static str, String)>,
    status: u16,
    code: &'static str,
    reason: &'static str,
    /// Whether the head is refused before anything in it is believed, such as what the client would like to read.
    by_head: bool,
}

impl Case {
    fn new(target: impl Into<String>, status: u16, code: &'static str, reason: &'static str) -> Case {
        let target = target.into();
        Case { method: "GET", target, fields: Vec::new(), status, code, reason, by_head: false }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Case {
        self.fields.push((name, value.into()));
        self
    }

    fn by_head(self) -> Case {
        Case { by_head: true, ..self }
    }

    fn text(&self, method: &str, more: &str) -> String {
        let mut text = format!("{method} {} HTTP/1.1\r\n{more}", self.target);
        if !self.fields.iter().any(|(name, _)| *name == "Host") {
            text.push_str("Host: files.example\r\n");
        }
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text + "\r\n"
    }
}

fn encoded(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

/// Claims of a good token of `demo`, with `more` put over them.
fn token(more: serde_json::Value) -> String {
    let mut claims = json!({ "sub": "alice", "app": "demo", "iat": now(), "exp": now() + 600 });
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    sign(&claims, SECRET)
}

/// A token with this header and good claims; its signature is of no account.
fn with_header(header: &str) -> String {
    let claims = json!({ "sub": "alice", "app": "demo", "exp": now() + 600 }).to_string();
    format!("{}.{}.{}", encoded(header), encoded(&claims), URL_SAFE_NO_PAD.encode([7; 32]))
}

fn shapes() -> Vec<Case> {
    let good = fat("alice");
    let bad = |target: &str, reason| Case::new(target, 400, "ERR_BAD_REQUEST", reason);
    let signed = |target: &str, reason| bad(target, reason).with("fat", good.clone());
    let mut post = Case::new("/demo/a", 405, "ERR_METHOD_NOT_ALLOWED", "method").with("fat", good.clone());
    post.method = "POST";
    let mut connect = Case::new("/demo/a", 405, "ERR_METHOD_NOT_ALLOWED", "method").by_head();
    connect.method = "CONNECT";
    let long_key = format!("/demo/{}", "a".repeat(1025));
    let long_target = format!("/demo/a?{}", "a".repeat(8192));
    let longer_target = format!("/demo/a?{}", "a".repeat(9000));
    let mut many = Case::new("/demo/a", 431, "ERR_HEADERS_TOO_LARGE", "headers_too_large").by_head();
    for _ in 0..100 {
        many = many.with("X", "y");
    }
    vec![
        Case::new("/demo", 404, "ERR_NOT_FOUND", "no_object").with("fat", good.clone()),
        Case::new("/", 404, "ERR_NOT_FOUND", "no_object"),
        Case::new("/nobody/a", 404, "ERR_NOT_FOUND", "app_unknown").with("fat", good.clone()),
        signed("/demo//a", "path_ambiguous"),
        signed("/demo/b/../a", "path_ambiguous"),
        signed("/demo/%2E%2e/a", "path_ambiguous"),
        signed("/demo/%zz", "path_ambiguous"),
        signed("/demo/a%2fb", "path_ambiguous"),
        signed("/demo/a;b", "path_ambiguous"),
        signed("/demo/%ff", "path_ambiguous"),
        bad(&format!("/demo/{good}"), "path_holds_token"),
        Case::new(long_key, 414, "ERR_URI_TOO_LONG", "key_too_long").with("fat", good.clone()),
        signed(&format!("/demo/a?fat={good}"), "several_credentials"),
        bad(&format!("/demo/a?FAT={good}"), "misspelled_parameter"),
        signed("/demo/a?redirect=1", "presigned_unavailable"),
        signed("/demo/a", "body").with("Content-Length", "1"),
        signed("/demo/a", "body").with("Content-Length", "-1").by_head(),
        signed("/demo/a", "upgrade").with("Upgrade", "websocket"),
        signed("/demo/a", "host_invalid").with("Host", "a@b").by_head(),
        signed("/demo/a#b", "malformed").by_head(),
        Case::new("/demo/a", 421, "ERR_BAD_REQUEST", "host_unknown").with("fat", good).with("Host", "evil.example"),
        post,
        connect,
        Case::new(long_target, 414, "ERR_URI_TOO_LONG", "uri_too_long"),
        Case::new(longer_target, 414, "ERR_URI_TOO_LONG", "uri_too_long").by_head(),
        many,
        Case::new("/demo/a", 431, "ERR_HEADERS_TOO_LARGE", "headers_too_large").with("X", "y".repeat(40_000)).by_head(),
    ]
}

fn tokens() -> Vec<Case> {
    let case = |token: String, reason| Case::new("/demo/a", 401, "ERR_FAT_INVALID", reason).with("fat", token);
    let forged = format!("{}.{}", fat("alice").rsplit_once('.').expect("a token").0, URL_SAFE_NO_PAD.encode([7; 32]));
    let strict = |more: serde_json::Value, reason| {
        Case::new("/strict/a", 401, "ERR_FAT_INVALID", reason).with("fat", token(more))
    };
    vec![
        Case::new("/demo/a", 401, "ERR_FAT_MISSING", "token_missing"),
        Case::new("/demo/a?fat=", 401, "ERR_FAT_INVALID", "token_malformed"),
        case("a.b.c".into(), "token_malformed"),
        case(
            with_header(r#"{"alg":"none","kid":"k1"}"#).rsplit_once('.').expect("parts").0.to_owned() + ".",
            "token_unsigned",
        ),
        case(with_header(r#"{"alg":"HS256","kid":"k1","crit":["exp"]}"#), "token_header"),
        case(with_header(r#"{"alg":"HS256","kid":"k1","typ":"at+jwt"}"#), "token_type"),
        case(with_header(r#"{"alg":"HS256","kid":"../k1"}"#), "token_key"),
        case(with_header(r#"{"alg":"HS512","kid":"k1"}"#), "token_algorithm"),
        case(forged, "token_signature"),
        strict(json!({ "app": "strict", "iss": "https://other.example", "aud": "media" }), "token_issuer"),
        strict(json!({ "app": "strict", "iss": "https://backend.example", "aud": "other" }), "token_audience"),
        case(token(json!({ "sub": "a b" })), "token_uid"),
        case(token(json!({ "uid": "bob" })), "token_uid_conflict"),
        case(sign(&json!({ "sub": "alice", "iat": now(), "exp": now() + 600 }), SECRET), "token_app_missing"),
        case(token(json!({ "iat": now() + 300 })), "token_from_future"),
        case(token(json!({ "nbf": now() + 300 })), "token_not_yet_valid"),
        case(token(json!({ "iat": now(), "exp": now() + 90_000 })), "token_lives_too_long"),
        Case::new("/demo/a", 401, "ERR_FAT_EXPIRED", "token_expired")
            .with("fat", token(json!({ "iat": now() - 600, "exp": now() - 10 }))),
    ]
}

fn restricted() -> Vec<Case> {
    let case = |target: &str, token: String, code, reason| Case::new(target, 403, code, reason).with("fat", token);
    vec![
        case("/other/a", fat("alice"), "ERR_PATH_NOT_ALLOWED", "other_app"),
        case("/demo/a", token(json!({ "path": "/demo/b/*" })), "ERR_PATH_NOT_ALLOWED", "path_not_allowed"),
        case("/gone/a", token(json!({ "app": "gone" })), "ERR_USER_DEACTIVATED", "app_deactivated"),
        case("/demo/a", fat("bob"), "ERR_USER_DEACTIVATED", "user_deactivated"),
        case("/demo/a", token(json!({ "sid": "s1" })), "ERR_SESSION_REVOKED", "session_revoked"),
        case("/demo/a", token(json!({ "jti": "t1" })), "ERR_SESSION_REVOKED", "token_revoked"),
        case("/demo/a", fat("carol"), "ERR_SESSION_REVOKED", "token_revoked"),
    ]
}

/// Writes the restrictions that the cases meet into a new store.
fn prepare_store(path: &Path) {
    let demo = || "demo".to_owned();
    let wanted = vec![
        Wanted::impose(Scope::App { app: "gone".into() }, Effect::Deactivated),
        Wanted::impose(Scope::User { app: demo(), uid: "bob".into() }, Effect::Deactivated),
        Wanted::impose(Scope::Session { app: demo(), sid: "s1".into() }, Effect::Deactivated),
        Wanted::impose(Scope::Token { app: demo(), jti: "t1".into() }, Effect::Deactivated),
        Wanted::impose(Scope::User { app: demo(), uid: "carol".into() }, Effect::IssuedBefore { before: now() + 60 }),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(path).await.expect("a store");
        store.apply(wanted).await.expect("restrictions");
    });
}

/// What every answer of the gate's own has, whatever it says.
fn check_common(answer: &Response, case: &str) {
    let is = |name: &str, value: Option<&str>| assert_eq!(answer.header(name), value, "{name}: {case}");
    is("access-control-allow-origin", Some("*"));
    is("cache-control", Some("no-store"));
    is("referrer-policy", Some("no-referrer"));
    is("x-content-type-options", Some("nosniff"));
    is("retry-after", matches!(answer.status, 502..=504).then_some("5"));
    is("allow", (answer.status == 405).then_some("GET, HEAD, OPTIONS"));
    assert!(answer.header("access-control-expose-headers").is_some(), "{case}");
    let challenge = answer.header("www-authenticate");
    assert_eq!(challenge.is_some_and(|challenge| challenge.starts_with("Bearer ")), answer.status == 401, "{case}");
    assert_eq!(challenge.is_some(), answer.status == 401, "{case}");
    for absent in ["server", "location", "set-cookie", "x-amz-request-id", "etag", "last-modified"] {
        is(absent, None);
    }
}

/// A JSON error and nothing else.
fn check_json(answer: &Response, status: u16, code: &str, case: &str) {
    assert_eq!(answer.status, status, "{case}: {}", answer.text());
    check_common(answer, case);
    assert_eq!(answer.header("content-type"), Some("application/json"), "{case}");
    let body = answer.json();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(message.ends_with('.'), "{case}: {body}");
    assert_eq!(body, json!({ "error": { "code": code, "message": message } }), "{case}");
}

fn is_closing(status: u16) -> bool {
    matches!(status, 400 | 405 | 414 | 421 | 431)
}

#[test]
fn every_refusal_is_complete_counted_logged_and_unknown_to_the_storage() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = dir.path().join("restrictions.db");
    prepare_store(&store);
    let origin = Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gate = Mediagate::serve(origin.address, |config| {
        config
            .replace("[media]", "[media]\nhosts = [\"files.example\"]")
            .replace("sqlite:mediagate.db", &format!("sqlite:{}", store.display()))
            .replace("\n[storage.main]", MORE_APPS)
    });
    let cases: Vec<_> = shapes().into_iter().chain(tokens()).chain(restricted()).collect();
    let mut denied = 0;
    let mut by_reason: HashMap<&str, usize> = HashMap::new();
    let mut seen = |case: &Case, method: &str| {
        denied += 1;
        *by_reason.entry(case.reason).or_default() += 1;
        let mut last = serde_json::Value::Null;
        eventually("the refusal is logged", || {
            let mut log: Vec<_> = gate.access_log().into_iter().filter(|entry| entry["outcome"] == "denied").collect();
            last = log.last().cloned().unwrap_or_default();
            log.drain(..).count() == denied
        });
        let found = (&last["reason"], &last["status"], &last["method"], &last["bytes"]);
        let method = if case.by_head { "-" } else { method };
        let bytes = if case.by_head || method == "HEAD" { json!(0) } else { last["bytes"].clone() };
        assert_eq!(found, (&json!(case.reason), &json!(case.status), &json!(method), &bytes), "{last}");
        assert!(last["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{last}");
    };
    for case in &cases {
        let name = format!("{} {} {:?}", case.method, case.target, case.reason);
        let mut connection = Connection::open(gate.media);
        connection.send(case.text(case.method, ""));
        let answer = connection.read(false).unwrap_or_else(|| panic!("no answer: {name}"));
        check_json(&answer, case.status, case.code, &name);
        seen(case, case.method);
        if is_closing(case.status) {
            assert_eq!(answer.header("connection"), Some("close"), "{name}");
            assert!(connection.is_closed(), "{name}");
        } else {
            connection.send("OPTIONS /demo/a HTTP/1.1\r\nHost: files.example\r\n\r\n");
            assert_eq!(connection.read(false).map(|answer| answer.status), Some(204), "{name}");
        }

        // A browser that opens the link gets a page; one that loads an image gets what a program gets.
        let page = "Accept: text/html,*/*\r\nSec-Fetch-Dest: document\r\n";
        let page = raw(gate.media, case.text(case.method, page));
        assert_eq!(page.status, case.status, "{name}");
        check_common(&page, &name);
        seen(case, case.method);
        if case.by_head {
            assert_eq!(page.code(), case.code, "{name}");
        } else {
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{name}");
            assert!(page.text().starts_with("<!doctype html>") && page.text().contains(case.code), "{name}");
            assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("'none'")), "{name}");
            let image = raw(gate.media, case.text(case.method, "Accept: text/html\r\nSec-Fetch-Dest: image\r\n"));
            assert_eq!(image.code(), case.code, "{name}");
            seen(case, case.method);
        }

        if case.method == "GET" {
            let mut connection = Connection::open(gate.media);
            connection.send(case.text("HEAD", "Connection: close\r\n"));
            let head = connection.read(true).unwrap_or_else(|| panic!("no answer: {name}"));
            assert_eq!(head.status, case.status, "{name}");
            check_common(&head, &name);
            assert_eq!(head.header("content-length"), answer.header("content-length"), "HEAD {name}");
            assert!(connection.is_closed(), "HEAD {name}: a body");
            seen(case, "HEAD");
        }
    }
    for (reason, count) in &by_reason {
        let name = format!("mediagate_requests_total{{outcome=\"denied\",reason=\"{reason}\"}}");
        assert_eq!(gate.metric(&name), Some(*count as f64), "{name}");
    }
    assert_eq!((origin.connections(), origin.requests().len()), (0, 0), "{:?}", origin.requests());
    // And it is the same gate that lets in whom it should.
    let served = raw(gate.media, Case::new("/demo/a", 200, "", "").with("fat", fat("alice")).text("GET", ""));
    assert_eq!((served.status, served.text().as_str(), origin.connections()), (200, "ok", 1));
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}

#[test]
fn a_gate_that_hears_nothing_of_its_store_lets_nobody_in() {
    let origin = Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gate =
        Mediagate::serve(origin.address, |config| config + "\n[feed]\nurl = \"local:\"\nmax_staleness_secs = 3\n");
    let ask = || request(gate.media, "GET", "/demo/a", &[("fat", &fat("alice"))]);
    assert_eq!(ask().status, 200);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let sql = |statement: &'static str| {
        use sqlx::Connection;
        runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(gate.state.join("mediagate.db"));
            let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("the store");
            sqlx::raw_sql(statement).execute(&mut connection).await.expect("a statement");
        });
    };
    // No heartbeat comes without it.
    sql("ALTER TABLE counter RENAME TO lost");
    eventually("the gate closes", || ask().status != 200);
    check_json(&ask(), 503, "ERR_RESTRICTIONS_STALE", "stale");
    assert_eq!(get(gate.metrics, "/readyz").status, 503);
    let asked = origin.requests().len();
    assert_eq!((ask().status, origin.requests().len()), (503, asked));
    assert!(gate.metric("mediagate_requests_total{outcome=\"denied\",reason=\"restrictions_stale\"}") >= Some(3.0));
    // What is no question of who asks is answered as ever.
    assert_eq!(get(gate.media, "/demo/a").code(), "ERR_FAT_MISSING");
    sql("ALTER TABLE lost RENAME TO counter");
    eventually("the gate opens", || ask().status == 200);
}

/// Stands in everything that a storage says about itself.
const MARK: &str = "STORAGE-INTERNAL";

/// What the stub storage does, chosen by the object's name.
fn misbehave(head: &str, stream: &mut TcpStream) {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let name = path.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let is_head = head.starts_with("HEAD ");
    let error = |stream: &mut TcpStream, status: &str, more: &str| {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{MARK}</Code></Error>");
        let length = body.len();
        let body = if is_head { "" } else { &body };
        let _ = stream.write_all(
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nServer: {MARK}\r\nx-amz-request-id: {MARK}\r\n\
                 Set-Cookie: {MARK}=1\r\n{more}Content-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        );
    };
    let mut send = |text: &str| {
        let _ = stream.write_all(text.as_bytes());
    };
    match name {
        "good" => send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        "closing" => {
            let _ = stream.shutdown(Shutdown::Both);
        }
        "half" => {
            send(&format!("HTTP/1.1 200 OK\r\nServer: {MARK}"));
            let _ = stream.shutdown(Shutdown::Both);
        }
        "garbage" => {
            send(&format!("{MARK} is not HTTP\r\n\r\n"));
            let _ = stream.shutdown(Shutdown::Both);
        }
        "endless-head" => {
            send("HTTP/1.1 200 OK\r\n");
            let field = format!("X-Field: {MARK}{}\r\n", "x".repeat(8000));
            while stream.write_all(field.as_bytes()).is_ok() {}
        }
        "403" => error(stream, "403 Forbidden", ""),
        "401" => error(stream, "401 Unauthorized", &format!("WWW-Authenticate: {MARK}\r\n")),
        "404" => error(stream, "404 Not Found", ""),
        "500" => error(stream, "500 Internal Server Error", ""),
        "503" => error(stream, "503 Slow Down", "Retry-After: 77\r\n"),
        "429" => error(stream, "429 Too Many Requests", ""),
        "301" => error(stream, "301 Moved Permanently", &format!("Location: http://{MARK}/\r\n")),
        "307" => error(stream, "307 Temporary Redirect", &format!("Location: http://{MARK}/\r\n")),
        "206" => error(stream, "206 Partial Content", "Content-Range: bytes 0-1/2\r\n"),
        "412" => error(stream, "412 Precondition Failed", ""),
        "416" => error(stream, "416 Range Not Satisfiable", "Content-Range: bytes */7\r\n"),
        "299" => error(stream, "299 Odd", ""),
        "204" => send(&format!("HTTP/1.1 204 No Content\r\nServer: {MARK}\r\n\r\n")),
        "304" => send(&format!("HTTP/1.1 304 Not Modified\r\nServer: {MARK}\r\n\r\n")),
        "101" => send(&format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: {MARK}\r\nConnection: upgrade\r\n\r\n")),
        "hints" => send(&format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: {MARK}\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )),
        "both-lengths" => {
            send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        }
        "two-lengths" => {
            send(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nok{MARK}"));
            let _ = stream.shutdown(Shutdown::Both);
        }
        "odd-length" => {
            send(&format!("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok{MARK}"));
            let _ = stream.shutdown(Shutdown::Both);
        }
        "bad-chunk" => {
            send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
            let _ = stream.shutdown(Shutdown::Both);
        }
        "truncated" => {
            send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello");
            let _ = stream.shutdown(Shutdown::Both);
        }
        "surplus" => send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{MARK}"
        )),
        "fields" => send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nSet-Cookie: {MARK}=1\r\nServer: {MARK}\r\n\
             x-amz-request-id: {MARK}\r\nx-amz-meta-owner: {MARK}\r\nLocation: http://{MARK}/\r\nVia: {MARK}\r\n\
             Cache-Control: public, {MARK}\r\nAccess-Control-Allow-Origin: http://{MARK}\r\nLink: {MARK}\r\n\
             Content-Disposition: inline; filename={MARK}\r\nAlt-Svc: {MARK}\r\nETag: \"e\"\r\n\
             Content-Length: 2\r\n\r\nok"
        )),
        "huge-error" => {
            send(&format!("HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", 64 << 20));
            let chunk = MARK.repeat(1024);
            for _ in 0..(64 << 20) / chunk.len() {
                if stream.write_all(chunk.as_bytes()).is_err() {
                    break;
                }
            }
        }
        "endless-error" => {
            send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n");
            let chunk = MARK.repeat(1024);
            while stream.write_all(chunk.as_bytes()).is_ok() {}
        }
        _ => {}
    }
}

fn storages(more: &[(&str, SocketAddr, &str)]) -> String {
    let mut text = String::new();
    for (name, address, options) in more {
        text.push_str(&format!(
            "\n[[apps]]\nid = \"{name}\"\nstorage = \"{name}\"\naccess = \"off\"\n[storage.{name}]\nkind = \"s3\"\n\
             endpoint = \"http://{address}\"\nbucket = \"media\"\naccess_key_id_file = \"s3.id\"\n\
             secret_access_key_file = \"s3.key\"\n{options}\n"
        ));
    }
    text
}

/// An address that nothing listens on.
fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

#[test]
fn a_storage_that_fails_is_our_error_and_never_its_own_words() {
    let origin = Origin::start(misbehave);
    let gate = Mediagate::serve(origin.address, |config| {
        let silent = ("silent", origin.address, "response_timeout_secs = 1");
        config + &storages(&[("down", nowhere(), ""), silent])
    });
    let token = fat("alice");
    let mut failed = 0;
    let mut check = |target: &str, fields: &[(&str, &str)], status: u16, code: &str, reason: &str| {
        let fields = [&[("fat", token.as_str())], fields].concat();
        let name = format!("mediagate_requests_total{{outcome=\"failed\",reason=\"{reason}\"}}");
        let before = gate.metric(&name).unwrap_or(0.0);
        let answer = request(gate.media, "GET", target, &fields);
        check_json(&answer, status, code, target);
        let shown = [answer.head.as_slice(), &answer.body].concat();
        assert!(!String::from_utf8_lossy(&shown).contains(MARK), "{target}: {answer:?}");
        eventually("the failure is counted", || gate.metric(&name) == Some(before + 1.0));
        failed += 1;
        let mut logged = Vec::new();
        eventually("the failure is logged", || {
            logged = gate.access_log();
            logged.retain(|entry| entry["outcome"] == "failed");
            logged.len() == failed
        });
        let logged = logged.last().expect("a line");
        assert_eq!((&logged["reason"], &logged["status"]), (&json!(reason), &json!(status)), "{target}: {logged}");
    };
    check("/down/a", &[], 502, "ERR_STORAGE_UNREACHABLE", "storage_unreachable");
    check("/silent/a", &[], 504, "ERR_STORAGE_TIMEOUT", "storage_timeout");
    for name in [
        "closing",
        "half",
        "garbage",
        "endless-head",
        "500",
        "301",
        "307",
        "206",
        "412",
        "416",
        "299",
        "204",
        "304",
        "101",
        "huge-error",
    ] {
        check(&format!("/demo/{name}"), &[], 502, "ERR_STORAGE_ANSWER", "storage_answer");
    }
    for name in ["403", "401", "endless-error"] {
        check(&format!("/demo/{name}"), &[], 502, "ERR_STORAGE_REFUSED", "storage_refused");
    }
    for name in ["503", "429"] {
        check(&format!("/demo/{name}"), &[], 503, "ERR_STORAGE_BUSY", "storage_busy");
    }
    check("/demo/404", &[], 404, "ERR_NOT_FOUND", "not_found");
    // Asked for ranges or conditions, it still cannot answer with a redirect.
    check("/demo/301", &[("Range", "bytes=0-1"), ("If-None-Match", "*")], 502, "ERR_STORAGE_ANSWER", "storage_answer");
    assert!(!gate.log().contains(MARK) && !gate.log().contains("panicked"), "{}", gate.log());
}

#[test]
fn a_storage_that_fails_a_head_request_is_answered_without_a_body() {
    let origin = Origin::start(misbehave);
    let gate = Mediagate::serve(origin.address, |config| config + &storages(&[("down", nowhere(), "")]));
    let fat = fat("alice");
    for (target, status) in
        [("/demo/403", 502), ("/demo/404", 404), ("/demo/500", 502), ("/demo/301", 502), ("/down/a", 502)]
    {
        let mut connection = Connection::open(gate.media);
        connection.send(format!("HEAD {target} HTTP/1.1\r\nHost: h\r\nfat: {fat}\r\nConnection: close\r\n\r\n"));
        let answer = connection.read(true).expect("an answer");
        assert_eq!(answer.status, status, "{target}");
        check_common(&answer, target);
        assert!(!String::from_utf8_lossy(&answer.head).contains(MARK), "{target}");
        assert!(connection.is_closed(), "{target}: a body");
    }
}

#[test]
fn verdicts_of_the_storage_come_in_our_words() {
    let origin = Origin::start(misbehave);
    let gate = Mediagate::serve(origin.address, |config| config);
    let fat = fat("alice");
    let ask =
        |name: &str, field: (&str, &str)| request(gate.media, "GET", &format!("/demo/{name}"), &[("fat", &fat), field]);
    let range = ask("416", ("Range", "bytes=9-"));
    check_json(&range, 416, "ERR_RANGE_NOT_SATISFIABLE", "416");
    assert_eq!(range.header("content-range"), Some("bytes */7"));
    check_json(&ask("412", ("If-Match", "\"x\"")), 412, "ERR_PRECONDITION_FAILED", "412");
    let unchanged = ask("304", ("If-None-Match", "\"x\""));
    assert_eq!((unchanged.status, unchanged.header("server")), (304, None));
}

#[test]
fn what_a_storage_says_beside_the_content_does_not_pass() {
    let origin = Origin::start(misbehave);
    let gate = Mediagate::serve(origin.address, |config| config);
    let token = fat("alice");
    let head = |name: &str| format!("GET /demo/{name} HTTP/1.1\r\nHost: h\r\nfat: {token}\r\n\r\n");
    let ask = |name: &str| raw(gate.media, head(name));

    let fields = ask("fields");
    assert_eq!((fields.status, fields.text().as_str(), fields.header("etag")), (200, "ok", Some("\"e\"")));
    assert!(!String::from_utf8_lossy(&fields.head).contains(MARK), "{fields:?}");
    assert_eq!(fields.header("cache-control"), Some("private, no-cache"));
    assert_eq!(fields.header("access-control-allow-origin"), Some("*"));
    assert_eq!(fields.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(fields.header("x-content-type-options"), Some("nosniff"));

    let mut hints = Connection::open(gate.media);
    hints.send(head("hints"));
    loop {
        let answer = hints.read(false).expect("an answer");
        assert!(!String::from_utf8_lossy(&answer.head).contains(MARK), "{answer:?}");
        if answer.status >= 200 {
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
            break;
        }
    }

    // Surplus bytes are nobody's answer: not on this connection, not on the next.
    let mut surplus = Connection::open(gate.media);
    for name in ["surplus", "good", "surplus", "good"] {
        surplus.send(head(name));
        let answer = surplus.read(false).expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{name}");
    }
    assert_eq!(ask("good").text(), "ok");
}

/// Everything that comes until the connection ends, its head cut off.
fn whole_body(address: SocketAddr, request: &str) -> (Response, Vec<u8>) {
    let mut connection = Connection::open(address);
    connection.send(request);
    let (status, headers, head) = connection.read_head().expect("a head");
    let mut body = Vec::new();
    // A reset is an end, too.
    let _ = connection.0.read_to_end(&mut body);
    (Response { status, headers, body: Vec::new(), head }, body)
}

#[test]
fn a_body_that_ends_early_is_seen_to_end_early() {
    let origin = Origin::start(misbehave);
    let gate = Mediagate::serve(origin.address, |config| config);
    let token = fat("alice");
    let ask =
        |name: &str| whole_body(gate.media, &format!("GET /demo/{name} HTTP/1.1\r\nHost: h\r\nfat: {token}\r\n\r\n"));
    // As long as nothing has gone out, an error can still say so.
    let (head, body) = ask("truncated");
    match head.status {
        200 => assert_eq!((head.header("content-length"), body.as_slice()), (Some("100000"), &b"hello"[..])),
        status => assert_eq!((status, head.header("content-type")), (502, Some("application/json"))),
    }
    let (head, body) = ask("bad-chunk");
    if head.status == 200 {
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        assert!(!body.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&body));
    }
    eventually("both are counted", || {
        let failed = "mediagate_requests_total{outcome=\"failed\",reason=\"storage_answer\"}";
        gate.metric(failed) == Some(2.0)
    });
}

#[test]
fn an_answer_with_two_lengths_is_not_passed_on_as_it_is() {
    let origin = Origin::start(misbehave);
    let gate = Mediagate::serve(origin.address, |config| config);
    let token = fat("alice");
    let ask = |name: &str| {
        raw(gate.media, format!("GET /demo/{name} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nfat: {token}\r\n\r\n"))
    };
    // RFC 9112 §6.3: `Transfer-Encoding` wins, and the length is removed before it is forwarded.
    let both = ask("both-lengths");
    assert_eq!((both.status, both.text().as_str(), both.header("content-length")), (200, "hello", None));
    for name in ["two-lengths", "odd-length"] {
        check_json(&ask(name), 502, "ERR_STORAGE_ANSWER", name);
    }
}

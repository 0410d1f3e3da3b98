//! No token, signature or secret leaves the gate: not to the storage, the log, the metrics or the client, wherever a
//! client puts it and however the request ends.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::client::{Connection, get};
use crate::support::origin::Origin;
use crate::support::process::{API_KEY, Mediagate};
use crate::support::{PRESIGNED_SECRET, SECRET, eventually, fat, now, sign};

/// So many bytes in a row of something secret are a leak.
const WINDOW: usize = 16;

/// Apps beside `demo`: one that only observes, one that asks for nothing, one whose storage is down.
fn more_apps(config: &str) -> String {
    // Nobody listens there; a port that was free a moment ago may be another test's by now.
    let nowhere = "127.0.0.1:1";
    let key = "[[apps.keys]]\nkid = \"k1\"\nalg = \"HS256\"\nsecret_file = \"k1.key\"\n";
    let presigned = "[presigned]\nkey_file = \"presigned.key\"\n\n";
    let config = config.replace("[storage.main]", &format!("{presigned}[storage.main]"));
    config.replace("[media]", "[media]\nhosts = [\"files.example\"]").replace(
        "[storage.main]",
        &format!(
            "[[apps]]\nid = \"watched\"\naccess = \"observe\"\nstorage = \"main\"\n{key}\n\
             [[apps]]\nid = \"free\"\naccess = \"off\"\nstorage = \"main\"\n\
             [[apps]]\nid = \"down\"\nstorage = \"down\"\n{key}\n\
             [storage.down]\nkind = \"s3\"\nendpoint = \"http://{nowhere}\"\nbucket = \"media\"\n\
             access_key_id_file = \"s3.id\"\nsecret_access_key_file = \"s3.key\"\n\n[storage.main]"
        ),
    )
}

/// A storage that fails as the object's name says, and repeats what it was asked in its errors, as S3 does.
fn echo(head: &str, stream: &mut TcpStream) {
    let body = format!("<Error><Request>{head}</Request></Error>");
    let status = match head.split(['?', ' ']).nth(1).and_then(|path| path.rsplit('/').next()) {
        Some("403") => "403 Forbidden",
        Some("404") => "404 Not Found",
        Some("500") => "500 Internal Server Error",
        Some("301") => "301 Moved Permanently",
        Some("closing") => {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        Some("garbage") => {
            let _ = stream.write_all(format!("{head}\r\n\r\n").as_bytes());
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        _ => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            return;
        }
    };
    let query = head.split([' ', '?']).nth(2).unwrap_or_default();
    let _ = stream.write_all(
        format!(
            "HTTP/1.1 {status}\r\nLocation: http://bucket.example/?{query}\r\nX-Amz-Echo: {query}\r\n\
             Content-Length: {}\r\n\r\n{}",
            body.len(),
            if head.starts_with("HEAD") { "" } else { &body }
        )
        .as_bytes(),
    );
}

/// Every run of [`WINDOW`] bytes of what must not be seen again.
#[derive(Default)]
struct Hidden {
    windows: HashSet<[u8; WINDOW]>,
}

impl Hidden {
    fn add(&mut self, secret: &[u8]) {
        self.windows.extend(secret.windows(WINDOW).map(|window| <[u8; WINDOW]>::try_from(window).expect("its length")));
    }

    /// The first leak in `text`.
    fn leak<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        text.windows(WINDOW).find(|window| self.windows.contains(*window))
    }

    fn check(&self, place: &str, text: &[u8]) {
        if let Some(leak) = self.leak(text) {
            let at = text.windows(WINDOW).position(|window| window == leak).expect("just found");
            let around = &text[at.saturating_sub(200)..(at + 200).min(text.len())];
            panic!("{} leaks into {place}: …{}…", String::from_utf8_lossy(leak), String::from_utf8_lossy(around));
        }
    }
}

/// Random text, another one each time.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    aws_lc_rs::rand::fill(&mut bytes).expect("randomness");
    bytes
}

/// Good and bad tokens, each one unlike all others, in the characters of a token.
fn tokens() -> Vec<String> {
    let jti = || URL_SAFE_NO_PAD.encode(noise(24));
    let claims = json!({ "sub": "alice", "app": "demo", "jti": jti(), "iat": now(), "exp": now() + 600 });
    let expired = json!({ "sub": "alice", "app": "demo", "jti": jti(), "exp": now() - 60 });
    let bob = json!({ "sub": "bob", "app": "demo", "jti": jti(), "exp": now() + 600 });
    let watched = json!({ "sub": "alice", "app": "watched", "jti": jti(), "exp": now() + 600 });
    let down = json!({ "sub": "alice", "app": "down", "jti": jti(), "exp": now() + 600 });
    let mut tokens: Vec<_> = [&claims, &expired, &bob, &watched, &down].map(|claims| sign(claims, SECRET)).into();
    tokens.push(sign(&claims, "another secret of the same length, which is nobody's"));
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k1"}"#);
    tokens.push(format!("{header}.{}.", URL_SAFE_NO_PAD.encode(claims.to_string())));
    let long = json!({ "sub": "alice", "app": "demo", "exp": now() + 600, "x": URL_SAFE_NO_PAD.encode(noise(2000)) });
    tokens.push(sign(&long, SECRET));
    tokens
}

/// What is no token at all, and sent as one.
fn garbage() -> Vec<Vec<u8>> {
    let text = |len| URL_SAFE_NO_PAD.encode(noise(len)).into_bytes();
    let odd = |len| noise(len).into_iter().map(|byte| byte | 0x80).collect::<Vec<u8>>();
    let spiked = [text(30), b"'\"<>&;,\\{}$(id)%00%0d%0a\xff\xfe".to_vec(), text(30)].concat();
    vec![text(30), text(6100), odd(64), spiked, [text(30), odd(40), text(30)].concat()]
}

/// Requests that carry `token` in every place that takes bytes, for an object of `app`.
fn requests(app: &str, object: &str, token: &[u8]) -> Vec<Vec<u8>> {
    let path = format!("/{app}/{object}");
    let fill = |template: &str| {
        let mut parts = template.split("{T}");
        let mut bytes = parts.next().expect("a first part").as_bytes().to_vec();
        for part in parts {
            bytes.extend_from_slice(token);
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    };
    let mut requests = Vec::new();
    let targets = [
        "?fat={T}",
        "?FAT={T}",
        "?Fat={T}",
        "?%66at={T}",
        "?f%61t={T}",
        "?fat={T}&fat={T}",
        "?fat={T}&FAT={T}",
        "?a=b&fat={T}&c",
        "?token={T}",
        "?access_token={T}",
        "?{T}",
        "?{T}={T}",
        "?a=1;fat={T}",
        "?fat=x{T}",
        "?fat={T}&redirect=1",
        "?Uid=alice&Signature={T}",
        "#fat={T}",
        "?x#{T}",
    ];
    for target in targets {
        for method in ["GET", "HEAD", "OPTIONS", "POST"] {
            requests.push(fill(&format!(
                "{method} {path}{target} HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n\r\n"
            )));
        }
    }
    let fields = [
        "fat: {T}",
        "FAT: {T}",
        "fat: {T}\r\nfat: {T}",
        "Authorization: Bearer {T}",
        "authorization: bearer   {T}",
        "authorization: Basic {T}",
        "Authorization: {T}",
        "Authorization: Digest username={T}",
        "Proxy-Authorization: Bearer {T}",
        "Cookie: fat={T}",
        "Cookie: a=b; fat={T}; c=d",
        "Cookie: fat={T}~",
        "Cookie: fat={T}~; fat={T}~",
        "Cookie: session={T}",
        "Cookie: {T}",
        "Referer: https://files.example/demo/a?fat={T}",
        "User-Agent: {T}",
        "X-Fat: {T}",
        "X-Forwarded-For: {T}",
        "X-Amz-Security-Token: {T}",
        "X-Request-Id: {T}",
        "Origin: https://{T}",
        "apikey: {T}",
        "Forwarded: for={T}",
        "Via: {T}",
        "Upgrade: {T}",
        "Transfer-Encoding: {T}",
        "Content-Length: {T}",
        "Expect: {T}",
        "X: a\r\n {T}",
        "X : {T}",
        "{T}: x",
        "{T}",
        "X-Bare: a\nfat: {T}",
        "X-Nul: \0{T}",
        "Host: {T}",
    ];
    for field in fields {
        requests
            .push(fill(&format!("GET {path} HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n{field}\r\n\r\n")));
    }
    for line in [
        "{T} /demo/a HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n\r\n",
        "GET {T} HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n\r\n",
        "GET /demo/a {T}\r\nHost: files.example\r\nConnection: close\r\n\r\n",
        "GET /demo/a?fat={T} HTTP/1.1\nHost: files.example\n\n",
        "GET /demo/a?fat={T}\r\n\r\n",
        "GET /demo/a HTTP/1.1\r\nHost: {T}\r\n\r\n",
        "GET /demo/a HTTP/1.1\r\nHost: {T}.example\r\n\r\n",
        "GET http://{T}/demo/a HTTP/1.1\r\nHost: {T}\r\n\r\n",
        "{T}\r\n\r\n",
        "POST /demo/a HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\nContent-Length: 9000\r\n\r\n{T}",
        "GET /demo/a HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{T}\r\n",
    ] {
        requests.push(fill(line));
    }
    requests
}

/// Requests with a token as a part of the path; only what looks like one is known as one there.
fn in_path(app: &str, token: &str) -> Vec<Vec<u8>> {
    let targets = [
        format!("/{app}/{token}"),
        format!("/{app}/media/{token}/a.jpg"),
        format!("/{app}/x;fat={token}"),
        format!("/{app}/a.jpg%3Ffat={token}"),
        format!("/{app}/a.jpg%3ffat%3d{token}"),
        format!("/{app}/a.jpg%253Ffat={token}"),
        format!("/{app}/a.jpg&fat={token}"),
        format!("/{app}/fat={token}.jpg"),
        format!("/{app}/%65{}", &token[1..]),
        format!("/{app}/{}", token.replace('.', "%2E")),
        format!("/{token}/a.jpg"),
        format!("/{token}"),
    ];
    targets
        .iter()
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n\r\n").into_bytes())
        .collect()
}

/// Requests with the presigned URL `url` (path and query) as it is, spoilt, and where it does not belong.
fn with_url(url: &str) -> Vec<Vec<u8>> {
    let (path, query) = url.split_once('?').expect("a query");
    let signature = query.split("Signature=").nth(1).and_then(|rest| rest.get(..43)).expect("a signature");
    let targets = [
        url.to_owned(),
        url.replace("Uid=", "Uid=x"),
        url.replace("Expires=1", "Expires=2"),
        url.replace("Signature=", "signature="),
        url.replace("Signature=", "%53ignature="),
        format!("{url}&"),
        format!("{url}&{query}"),
        format!("{url}&fat={signature}"),
        format!("{url}&redirect=0"),
        format!("{path}?redirect=1&{query}"),
        format!("{path}x?{query}"),
        format!("{path}?Signature={signature}"),
        format!("{path}?Key-Pair-Id={signature}"),
        format!("{path}?fat={signature}"),
        format!("{path}?x={signature}"),
        format!("{path}%3F{query}"),
        format!("{path}&{query}"),
        format!("{path}%253F{}", query.replace('=', "%3D").replace('&', "%26")),
        format!("/{query}"),
        format!("//{url}"),
        format!("http://files.example{url}"),
        format!("https://files.example:99999{url}"),
    ];
    let fields =
        ["Referer: https://files.example{U}", "X-Original-Url: {U}", "Cookie: fat={U}", "fat: {U}", "Host: {U}"];
    let bare = targets.iter().flat_map(|target| ["GET", "HEAD", "POST", "OPTIONS"].map(|method| (method, target, "")));
    let more = fields.iter().map(|field| ("GET", &targets[0], *field));
    let request = |(method, target, field): (&str, &String, &str)| {
        let field = field.replace("{U}", url);
        let end = if field.is_empty() { "\r\n" } else { "\r\n\r\n" };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n");
        (head + &field + end).into_bytes()
    };
    bare.chain(more).map(request).collect()
}

/// The presigned URL (path and query) that `uid` gets for `path`.
fn presigned(gate: &Mediagate, path: &str, uid: &str) -> String {
    let app = path.split('/').nth(1).expect("an app");
    let jti = URL_SAFE_NO_PAD.encode(noise(24));
    let token = sign(&json!({ "sub": uid, "app": app, "jti": jti, "exp": now() + 600 }), SECRET);
    let target = format!("{path}?redirect=0");
    let mut client = Connection::open(gate.media);
    client.send(format!("GET {target} HTTP/1.1\r\nHost: files.example\r\nfat: {token}\r\nConnection: close\r\n\r\n"));
    let answer = client.read(false).expect("an answer").json();
    let url = answer["data"]["url"].as_str().unwrap_or_else(|| panic!("no URL for {path}: {answer}"));
    assert!(!url.contains(&token[..16]));
    url.strip_prefix("http://files.example").expect("a URL of the gate").to_owned()
}

/// Sends each request on a connection of its own; returns everything that came back.
fn answers(gate: &Mediagate, requests: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    for request in requests {
        let mut connection = Connection::open(gate.media);
        connection.send(request);
        // A reset is an end like another.
        let _ = connection.0.read_to_end(&mut all);
    }
    all
}

#[test]
fn no_token_is_ever_seen_again() {
    let origin = Origin::start(echo);
    let gate = Mediagate::serve(origin.address, |config| more_apps(&config));
    let mut hidden = Hidden::default();
    hidden.add(SECRET.as_bytes());
    hidden.add(API_KEY.as_bytes());
    let mut sent = Vec::new();
    let tokens = tokens();
    let garbage = garbage();
    for token in tokens.iter().map(String::as_bytes).chain(garbage.iter().map(Vec::as_slice)) {
        hidden.add(token);
        sent.extend(requests("demo", "a.jpg", token));
    }
    // The other ways to end a request, for a token that is good there and for one that is not.
    for (app, object) in [
        ("watched", "a"),
        ("free", "a"),
        ("down", "a"),
        ("nobody", "a"),
        ("demo", "403"),
        ("demo", "404"),
        ("demo", "500"),
    ]
    .into_iter()
    .chain([("demo", "301"), ("demo", "closing"), ("demo", "garbage")])
    {
        let token = if app == "down" { &tokens[4] } else { &tokens[0] };
        sent.extend(requests(app, object, token.as_bytes()).into_iter().step_by(3));
    }
    for app in ["demo", "watched", "free"] {
        for token in &tokens {
            sent.extend(in_path(app, token));
        }
    }
    hidden.add(PRESIGNED_SECRET.as_bytes());
    for path in
        ["/demo/a", "/demo/403", "/demo/404", "/demo/500", "/demo/301", "/demo/closing", "/watched/a", "/down/a"]
    {
        for uid in ["alice", "gone"] {
            let url = presigned(&gate, path, uid);
            let signature = url.split("Signature=").nth(1).and_then(|rest| rest.get(..43)).expect("a signature");
            hidden.add(signature.as_bytes());
            sent.extend(with_url(&url));
        }
    }
    gate.deactivate("gone");
    // Four clients at once: what is looked for is in all that they get.
    let share = sent.len().div_ceil(4);
    let answered: Vec<u8> = std::thread::scope(|scope| {
        let clients: Vec<_> = sent.chunks(share).map(|requests| scope.spawn(|| answers(&gate, requests))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    });
    eventually("everything has ended", || gate.metric("mediagate_requests_in_flight") == Some(0.0));
    // A last line, so that what came before has been written.
    assert_eq!(get(gate.media, "/last/line").status, 421);
    eventually("everything is logged", || gate.log().contains("host_unknown"));
    let (log, metrics) = (gate.log(), get(gate.metrics, "/metrics").text());
    let upstream = origin.requests();

    // Enough has been seen for its absence to mean something.
    let statuses: HashSet<_> =
        gate.access_log().iter().filter_map(|entry| entry["reason"].as_str().map(str::to_owned)).collect();
    for reason in
        ["ok", "token_signature", "token_expired", "token_malformed", "path_holds_token", "several_credentials"]
            .into_iter()
            .chain([
                "malformed",
                "storage_unreachable",
                "storage_answer",
                "storage_refused",
                "not_found",
                "misspelled_parameter",
                "url_invalid",
                "presigned_malformed",
                "user_deactivated",
                "presigned",
            ])
    {
        assert!(statuses.contains(reason), "no {reason} in {statuses:?}");
    }
    assert!(upstream.len() > 50 && answered.len() > 100_000, "{} {}", upstream.len(), answered.len());

    for head in &upstream {
        hidden.check("the storage", head.as_bytes());
    }
    hidden.check("the log", log.as_bytes());
    hidden.check("the metrics", metrics.as_bytes());
    hidden.check("an answer", &answered);

    // Signatures and the storage's secret, too.
    let mut signed = Hidden::default();
    signed.add(b"secret-access-key");
    let mut signatures = 0;
    for head in &upstream {
        let signature = head.split("X-Amz-Signature=").nth(1).and_then(|rest| rest.get(..64)).expect("a signed URL");
        signed.add(signature.as_bytes());
        signatures += 1;
    }
    assert!(signatures > 50);
    for (place, text) in [("the log", log.as_bytes()), ("the metrics", metrics.as_bytes()), ("an answer", &answered)] {
        signed.check(place, text);
        let text = String::from_utf8_lossy(text);
        for part in ["X-Amz-", "x-amz-", "AKIDEXAMPLE", "secret-access-key", "panicked"] {
            assert!(!text.contains(part), "{part} in {place}");
        }
    }
    assert!(upstream.iter().all(|head| !head.contains("secret-access-key")));
}

#[test]
fn the_search_finds_what_is_there() {
    let mut hidden = Hidden::default();
    hidden.add(fat("alice").as_bytes());
    let token = fat("alice");
    assert!(hidden.leak(format!("x{}y", &token[..WINDOW]).as_bytes()).is_some());
    assert!(hidden.leak(&token.as_bytes()[..WINDOW - 1]).is_none());
}

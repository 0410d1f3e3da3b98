//! Prepend mode through the real binary: who gets in, what is fetched for them, and where nobody is ever sent.

mod forward_auth;
mod oidc;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::client::{Response, raw, request};
use crate::support::issuer::{Issuer, SigningKey};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{PRESIGNED_SECRET, SECRET, eventually, fat, now, sign};

const OBJECT: &str = "/https://files.example/demo/media/a.jpg";

/// What a browser says of a page that somebody opens.
const PAGE: [(&str, &str); 2] = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];

/// Sessions in a cookie; nothing else in these configurations uses the key.
const COOKIE: &str = "session_cookie = \"__Host-session\"\n[[prepend.keys]]\nkid = \"k1\"\nalg = \"HS256\"\n\
                      secret_file = \"presigned.key\"";

/// A gate with prepend mode for `files.example` and, as somebody else's, `foreign`; `more` says who knows visitors.
fn gate(storage: SocketAddr, foreign: SocketAddr, more: &str) -> Mediagate {
    Mediagate::serve(storage, |config| {
        format!(
            "{config}\n[prepend]\nenabled = true\nmedia_hosts = [\"files.example\"]\n\
             foreign_hosts = [\"http://{foreign}\"]\n{more}\n"
        )
    })
}

fn storage() -> Origin {
    Origin::constant("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\nhello")
}

/// A session of `uid`, as the platform signs it.
fn session(uid: &str) -> String {
    let claims = json!({ "sub": uid, "sid": format!("s-{uid}"), "iat": now(), "exp": now() + 600 });
    format!("__Host-session={}", sign(&claims, PRESIGNED_SECRET))
}

fn ask(gate: &Mediagate, target: &str, cookie: &str, more: &[(&str, &str)]) -> Response {
    let mut fields = more.to_vec();
    if !cookie.is_empty() {
        fields.push(("Cookie", cookie));
    }
    request(gate.media, "GET", target, &fields)
}

fn refusal(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_session_opens_the_link_of_its_own_user() {
    let storage = storage();
    let gate = gate(storage.address, storage.address, &format!("login_url = \"/login\"\n{COOKIE}"));
    let token = fat("alice");
    let encoded = format!("/?url=https%3A%2F%2Ffiles.example%2Fdemo%2Fmedia%2Fa.jpg%3Ffat%3D{token}");
    let alice = session("Alice");
    for target in
        [format!("{OBJECT}?fat={token}"), format!("/https:/files.example/demo/media/a.jpg?fat={token}"), encoded]
    {
        let answer = ask(&gate, &target, &alice, &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{target}");
        assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
        assert_eq!(refusal(&ask(&gate, &target, "", &[])), refused(401, "ERR_SESSION_MISSING"));
        assert_eq!(refusal(&ask(&gate, &target, &session("bob"), &[])), refused(403, "ERR_OTHER_USER"));
        let forged = format!("__Host-session={}", sign(&json!({ "sub": "alice", "exp": now() + 60 }), SECRET));
        assert_eq!(refusal(&ask(&gate, &target, &forged, &[])), refused(401, "ERR_SESSION_INVALID"));
        let twice = format!("{alice}; {alice}");
        assert_eq!(refusal(&ask(&gate, &target, &twice, &[])), refused(400, "ERR_BAD_REQUEST"));
    }
    assert_eq!(refusal(&ask(&gate, OBJECT, &alice, &[])), refused(401, "ERR_FAT_MISSING"));
    let session_as_token = format!("{OBJECT}?fat={}", alice.strip_prefix("__Host-session=").expect("a token"));
    assert_eq!(refusal(&ask(&gate, &session_as_token, &alice, &[])), refused(401, "ERR_FAT_INVALID"));
    // The media host itself goes on as ever, without a login.
    assert_eq!(ask(&gate, &format!("/demo/media/a.jpg?fat={token}"), "", &[]).status, 200);
    let heard = storage.requests().join("");
    assert!(heard.contains("GET /media/demo/media/a.jpg?X-Amz-Algorithm="), "{heard}");
    assert!(!heard.contains("ookie") && !heard.contains(&token[..20]) && !heard.contains("fat"), "{heard}");

    gate.deactivate("alice");
    let link = format!("{OBJECT}?fat={token}");
    assert_eq!(refusal(&ask(&gate, &link, &alice, &[])), refused(403, "ERR_USER_DEACTIVATED"));
    gate.activate("alice");
    assert_eq!(ask(&gate, &link, &alice, &[]).status, 200);
    let revoke = json!({ "scope": "session", "id": "s-Alice" });
    assert_eq!(gate.control("POST", "/v3/restrictions", &revoke).status, 200);
    assert_eq!(refusal(&ask(&gate, &link, &alice, &[])), refused(401, "ERR_SESSION_INVALID"));
    assert_eq!(ask(&gate, &link, &alice, &PAGE).status, 303);
}

#[test]
fn a_page_goes_through_the_login_and_its_token_stays_here() {
    let storage = storage();
    let login = "login_url = \"https://login.example/in?app=media\"";
    let gate = gate(storage.address, storage.address, &format!("{login}\n{COOKIE}"));
    let token = fat("alice");
    let link = format!("{OBJECT}?fat={token}");
    let sent = ask(&gate, &link, "", &PAGE);
    assert_eq!((sent.status, sent.body.len()), (303, 0));
    assert_eq!(sent.header("cache-control"), Some("no-store"));
    assert_eq!(sent.header("referrer-policy"), Some("no-referrer"));
    let head = String::from_utf8_lossy(&sent.head).into_owned();
    let parts: Vec<&str> = token.split('.').collect();
    assert!(
        !head.contains(parts[1]) && !head.contains(parts[2]) && !head.to_lowercase().contains("set-cookie"),
        "{head}"
    );
    let back = sent.header("location").and_then(|to| to.strip_prefix("https://login.example/in?app=media&return="));
    let back = back.expect("the login").replace("%2F", "/");
    assert!(back.starts_with("/.mediagate/continue/"), "{back}");

    let opened = ask(&gate, &back, &session("alice"), &PAGE);
    assert_eq!((opened.status, opened.text().as_str()), (200, "hello"));
    assert_eq!(ask(&gate, &format!("{back}?state=x"), &session("alice"), &PAGE).status, 200);
    assert_eq!(refusal(&ask(&gate, &back, &session("bob"), &[])), refused(403, "ERR_OTHER_USER"));
    assert_eq!(refusal(&ask(&gate, &back, "", &[])), refused(401, "ERR_SESSION_MISSING"));
    let another = format!("{}A{}", &back[..30], &back[31..]);
    assert_eq!(refusal(&ask(&gate, &another, &session("alice"), &[])), refused(403, "ERR_URL_INVALID"));
    // Expired is as good as none, and what is part of a page is never sent to a login.
    let old = format!("__Host-session={}", sign(&json!({ "sub": "alice", "exp": now() - 60 }), PRESIGNED_SECRET));
    assert_eq!(ask(&gate, &link, &old, &PAGE).status, 303);
    assert_eq!(ask(&gate, &link, "", &[("Accept", "text/html,*/*;q=0.8")]).status, 303);
    for (mode, dest) in [("no-cors", "image"), ("no-cors", "video"), ("cors", "empty"), ("navigate", "iframe")] {
        let fields = [("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", dest), ("Accept", "text/html")];
        assert_eq!(ask(&gate, &link, "", &fields).status, 401, "{mode} {dest}");
    }
    let preflight = request(gate.media, "OPTIONS", &link, &[("Origin", "https://app.example")]);
    assert_eq!(preflight.status, 204);

    let log = gate.log();
    assert!(!log.contains(parts[1]) && !log.contains(parts[2]), "{log}");
    eventually("the way to the login is logged", || {
        let is_login = |entry: &Value| entry["reason"] == "login" && entry["status"] == 303;
        gate.access_log().iter().filter(|entry| is_login(entry)).count() == 3
    });
    assert!(gate.access_log().iter().any(|entry| entry["object"] == "demo/media/a.jpg" && entry["uid"] == "alice"));
}

#[test]
fn what_others_serve_is_fetched_with_its_own_token_and_nothing_of_the_visitors() {
    let storage = storage();
    let foreign = Origin::start(|head, stream| {
        use std::io::Write;
        let answer = match head.split(['?', ' ']).nth(1) {
            Some("/gone.jpg") => "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nsecret",
            Some("/private.jpg") => "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nsecret",
            Some("/moved.jpg") => {
                "HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nSet-Cookie: a=b\r\nContent-Length: 6\r\n\r\nsecret"
            }
            Some("/page.html") => "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n<p>hi",
            _ => {
                "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nSet-Cookie: a=b\r\nServer: x\r\nETag: \"e\"\r\n\
                 Access-Control-Allow-Credentials: true\r\nContent-Length: 7\r\n\r\nforeign"
            }
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    let gate = gate(storage.address, foreign.address, COOKIE);
    let base = format!("/http://{}", foreign.address);
    let alice = session("alice");
    let fields =
        [("Authorization", "Basic eDp5"), ("X-Forwarded-For", "1.2.3.4"), ("Range", "bytes=0-3"), ("Referer", "x")];
    let answer = ask(&gate, &format!("{base}/x%20y.jpg?token=abc&fat=d&a=%2F"), &alice, &fields);
    assert_eq!((answer.status, answer.text().as_str()), (200, "foreign"));
    assert_eq!(
        (answer.header("set-cookie"), answer.header("server"), answer.header("etag")),
        (None, None, Some("\"e\""))
    );
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let heard = foreign.requests().remove(0).to_lowercase();
    assert!(heard.starts_with("get /x%20y.jpg?token=abc&fat=d&a=%2f http/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("host: {}\r\n", foreign.address)) && heard.contains("range: bytes=0-3"), "{heard}");
    for absent in ["cookie", "authorization", "forwarded", "referer"] {
        assert!(!heard.contains(absent), "{heard}");
    }
    for (path, expected) in [
        ("gone.jpg", refused(404, "ERR_NOT_FOUND")),
        ("private.jpg?token=abc", refused(403, "ERR_MEDIA_REFUSED")),
        ("moved.jpg", refused(502, "ERR_STORAGE_ANSWER")),
    ] {
        let answer = ask(&gate, &format!("{base}/{path}"), &alice, &[]);
        assert_eq!(refusal(&answer), expected);
        assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None));
    }
    let page = ask(&gate, &format!("{base}/page.html"), &alice, &[]);
    assert_eq!(page.header("content-disposition"), Some("attachment"));
    assert_eq!(request(gate.media, "POST", &format!("{base}/x"), &[("Cookie", &alice)]).status, 405);
    assert_eq!(refusal(&ask(&gate, &format!("{base}/x"), "", &[])), refused(401, "ERR_SESSION_MISSING"));
    assert!(!gate.log().contains("token=abc"));
}

#[test]
fn no_other_host_is_ever_contacted() {
    let (storage, other) = (storage(), storage());
    let gate = gate(storage.address, storage.address, &format!("login_url = \"/login\"\n{COOKIE}"));
    let (alice, port) = (session("alice"), other.address.port());
    for (url, status) in [
        (format!("http://127.0.0.1:{port}/demo/a"), 403),
        (format!("http://localhost:{port}/demo/a"), 403),
        (format!("http://0x7f.1:{port}/demo/a"), 400),
        (format!("http://2130706433:{port}/demo/a"), 400),
        (format!("http://files.example:{port}/demo/a"), 403),
        (format!("http://files.example@127.0.0.1:{port}/demo/a"), 400),
        (format!("http://127.0.0.1:{port}%2F@files.example/demo/a"), 400),
        (format!("https://files.example:{port}/demo/a"), 403),
        (format!("https://files.example/http://127.0.0.1:{port}/a"), 400),
        (format!("https://files.example/http:/127.0.0.1:{port}/a"), 400),
        ("http://169.254.169.254/latest/meta-data/a".to_owned(), 403),
        ("file:///etc/passwd".to_owned(), 403),
        ("https://files.example/demo/a%0d%0aX:%20y".to_owned(), 400),
        ("https://files.example/demo%2Fa".to_owned(), 400),
        ("https://files.example/../demo/a".to_owned(), 400),
        ("https://files.example./demo/a".to_owned(), 403),
    ] {
        let encoded: String = url.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let targets = [Some(format!("/?url={encoded}")), url.starts_with("http").then(|| format!("/{url}"))];
        for target in targets.into_iter().flatten() {
            for fields in [&[][..], &PAGE] {
                let answer = ask(&gate, &target, &alice, fields);
                assert_eq!(answer.status, status, "{target}: {}", answer.text());
                assert_eq!(answer.header("location"), None);
            }
            // Nobody is asked to log in for it either.
            assert_eq!(ask(&gate, &target, "", &PAGE).status, status, "{target}");
        }
    }
    // Whatever a client says about where it is: the way back has no host.
    let forwarded = [("X-Forwarded-Host", "evil.example"), PAGE[0], ("X-Original-URL", "//evil.example")];
    let sent = ask(&gate, &format!("{OBJECT}?fat=x"), "", &forwarded);
    assert!(sent.header("location").is_some_and(|to| to.starts_with("/login?return=%2F.mediagate%2Fcontinue%2F")));
    let smuggled =
        raw(gate.media, format!("GET {OBJECT} HTTP/1.1\r\nHost: own.example\r\nCookie: {alice}\r\nX: a\rb\r\n\r\n"));
    assert_eq!(smuggled.status, 400);
    assert_eq!((other.connections(), storage.connections()), (0, 0));
}

#[test]
fn sessions_may_be_signed_with_keys_of_a_set() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
    let (storage, issuer) = (storage(), Issuer::start(&[old.jwk()]));
    let keys = format!("[[prepend.keys]]\njwks_url = \"http://{}/jwks.json\"\njwks_refresh_secs = 1", issuer.address());
    let gate = gate(storage.address, storage.address, &format!("session_cookie = \"CF_Authorization\"\n{keys}"));
    let link = format!("{OBJECT}?fat={}", fat("alice"));
    let visit = |key: &SigningKey| {
        let session =
            key.sign(&json!({ "sub": "alice", "aud": ["a", "b"], "exp": now() + 60, "name": { "first": "A" } }));
        ask(&gate, &link, &format!("CF_Authorization={session}"), &[]).status
    };
    eventually("the set is there", || visit(&old) == 200);
    assert_eq!(visit(&new), 401);
    issuer.publishes(&[new.jwk()]);
    eventually("the new key is in force", || visit(&new) == 200);
    assert_eq!(visit(&old), 401);
    // The set of sessions is none of the app's.
    let token = new.sign(&json!({ "sub": "alice", "app": "demo", "exp": now() + 60 }));
    assert_eq!(ask(&gate, &format!("/demo/a?fat={token}"), "", &[]).status, 401);
}

#[test]
fn the_own_hosts_are_those_that_are_named() {
    let storage = storage();
    let gate = Mediagate::serve(storage.address, |config| {
        let config = config.replace("[media]", "[media]\nhosts = [\"files.example\"]");
        let own = "enabled = true\nhosts = [\"own.example\"]\nmedia_hosts = [\"files.example\"]";
        format!("{config}\n[prepend]\n{own}\n{COOKIE}\n")
    });
    let link = format!("{OBJECT}?fat={}", fat("alice"));
    let ask = |host: &str, target: &str| {
        let cookie = session("alice");
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n");
        raw(gate.media, head).status
    };
    assert_eq!(ask("own.example", &link), 200);
    assert_eq!(ask("OWN.example:8443", &link), 200);
    assert_eq!(ask("files.example", &link), 400);
    assert_eq!(ask("evil.example", &link), 421);
    assert_eq!(ask("own.example", &format!("/demo/media/a.jpg?fat={}", fat("alice"))), 421);
    assert_eq!(ask("files.example", &format!("/demo/media/a.jpg?fat={}", fat("alice"))), 200);
    // Reloaded, it is off.
    let file = gate.state.join("mediagate.toml");
    let config = std::fs::read_to_string(&file).expect("a file").replace("enabled = true", "enabled = false");
    std::fs::write(&file, config).expect("a file");
    gate.signal("HUP");
    eventually("the reload is in force", || ask("own.example", &link) == 421);
}

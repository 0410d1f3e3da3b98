//! Presigned URLs through the real binary: who gets one, what it opens, and how fast it dies.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Connection, Response, raw, request};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{PRESIGNED_SECRET, SECRET, eventually, fat, now, sign};

const OBJECT: &str = "/demo/media/a.jpg";

/// [`Mediagate::serve`] with presigned URLs; `more` is behind the key in their section.
fn gate(storage: SocketAddr, more: &str) -> Mediagate {
    Mediagate::serve(storage, |config| format!("{config}\n[presigned]\nkey_file = \"presigned.key\"\n{more}\n"))
}

fn storage() -> Origin {
    Origin::constant("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\nhello")
}

/// What the holder of `token` is answered, and the URL in it.
fn ask(address: SocketAddr, path: &str, token: &str) -> (Response, String) {
    let response = request(address, "GET", &format!("{path}?redirect=0"), &[("fat", token)]);
    assert_eq!(response.status, 200, "{}", response.text());
    let url = response.json()["data"]["url"].as_str().expect("a URL").to_owned();
    (response, url)
}

/// Path and query of the URL that the holder of `token` gets.
fn target(address: SocketAddr, path: &str, token: &str) -> String {
    let url = ask(address, path, token).1;
    url.strip_prefix(&format!("http://{address}")).unwrap_or_else(|| panic!("{url}")).to_owned()
}

fn status(address: SocketAddr, target: &str) -> u16 {
    request(address, "GET", target, &[]).status
}

#[test]
fn dev_hands_out_urls_that_open_their_object_and_die_with_their_user() {
    let state = TempDir::new().expect("a folder");
    let (gate, ready) = Mediagate::dev(state.path(), &[]);
    let token = |at: usize| ready["users"][at]["fat"].as_str().expect("a token").to_owned();
    let object = ready["objects"][0].as_str().expect("an object");
    let (answer, url) = ask(gate.media, object, &token(0));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let expires = answer.json()["data"]["expiresAt"].as_u64().expect("a time");
    assert!((now() + 600..=now() + 900).contains(&expires), "{expires}");
    assert!(url.contains(&format!("?Expires={expires}&")) && !url.contains(&token(0)[..16]), "{url}");
    let [alice, bob] = [0, 1].map(|at| target(gate.media, object, &token(at)));

    let direct = request(gate.media, "GET", object, &[("fat", &token(0))]);
    let opened = request(gate.media, "GET", &alice, &[]);
    assert_eq!((opened.status, &opened.body), (200, &direct.body));
    assert_eq!(opened.header("cache-control"), Some("private, no-cache"));
    let part = request(gate.media, "GET", &alice, &[("Range", "bytes=1-3")]);
    assert_eq!((part.status, &part.body[..]), (206, &direct.body[1..4]));
    let head = request(gate.media, "HEAD", &alice, &[]);
    assert_eq!((head.status, head.header("content-length")), (200, direct.header("content-length")));

    let apikey = ready["apikey"].as_str().expect("an API key");
    let tell = |method: &str, body: &str| {
        let head = format!("{method} /v3/users HTTP/1.1\r\nHost: control\r\nConnection: close\r\napikey: {apikey}\r\n");
        let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        assert_eq!(raw(gate.control, head + &fields + body).status, 200);
    };
    tell("DELETE", r#"{"uidsToDeactivate":["bob"]}"#);
    let refused = request(gate.media, "GET", &bob, &[]);
    assert_eq!((refused.status, refused.code().as_str()), (403, "ERR_USER_DEACTIVATED"));
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    let refused = request(gate.media, "GET", &format!("{object}?redirect=0"), &[("fat", &token(1))]);
    assert_eq!(refused.status, 403);
    assert_eq!(status(gate.media, &alice), 200);
    tell("PUT", r#"{"uidsToActivate":["bob"]}"#);
    assert_eq!(status(gate.media, &bob), 200);
}

#[test]
fn a_client_gets_its_url_as_it_asks_for_it() {
    let storage = storage();
    let gate = gate(storage.address, "window_secs = 0\nttl_secs = 2592000");
    let token = fat("alice");
    let ask = |method: &str, query: &str| {
        request(gate.media, method, &format!("{OBJECT}?fat={token}{query}"), &[("Origin", "https://app.example")])
    };
    let redirect = ask("GET", "&redirect=1");
    let location = redirect.header("location").expect("a location");
    assert_eq!((redirect.status, redirect.body.len(), redirect.header("content-length")), (302, 0, Some("0")));
    assert_eq!(redirect.header("cache-control"), Some("no-store"));
    assert_eq!(redirect.header("access-control-allow-origin"), Some("*"));
    assert!(!location.contains("fat=") && !location.contains(&token[..16]), "{location}");
    let target = location.strip_prefix(&format!("http://{}", gate.media)).expect("the gate");
    let opened = request(gate.media, "GET", target, &[]);
    assert_eq!((opened.status, opened.text().as_str()), (200, "hello"));
    // HEAD is answered like GET, without a body, and the connection goes on.
    let mut kept = Connection::open(gate.media);
    for (query, expected) in [("0", 200), ("1", 302), ("0", 200)] {
        let head = kept.ask("HEAD", &format!("{OBJECT}?fat={token}&redirect={query}"), &[]);
        assert_eq!((head.status, head.header("location").is_some()), (expected, expected == 302));
        let length: usize = head.header("content-length").and_then(|length| length.parse().ok()).expect("a length");
        assert_eq!(length > 100, expected == 200);
    }
    for query in ["&redirect=", "&redirect=2", "&redirect=0&redirect=0", "&Redirect=0"] {
        let refused = ask("GET", query);
        assert_eq!((refused.status, refused.code().as_str()), (400, "ERR_BAD_REQUEST"), "{query}");
    }
    let nobody = request(gate.media, "GET", &format!("{OBJECT}?redirect=0"), &[]);
    assert_eq!((nobody.status, nobody.code().as_str()), (401, "ERR_FAT_MISSING"));
    for (both, code) in [(format!("{target}&fat={token}"), 400), (format!("{target}&v=1"), 400)] {
        assert_eq!(status(gate.media, &both), code);
    }
    let forged = request(gate.media, "GET", &target.replace("Uid=alice", "Uid=bob"), &[]);
    assert_eq!((forged.status, forged.code().as_str()), (403, "ERR_URL_INVALID"));
    // A browser asks before it sends the header.
    let preflight = [("Origin", "https://app.example"), ("Access-Control-Request-Headers", "fat")];
    let preflight = request(gate.media, "OPTIONS", &format!("{OBJECT}?redirect=0"), &preflight);
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("*")));
    assert!(preflight.header("access-control-allow-headers").is_some_and(|fields| fields.contains("fat")));

    eventually("everything is logged", || gate.access_log().iter().any(|entry| entry["reason"] == "options"));
    let log = gate.access_log();
    let count = |reason: &str, credential: &str| {
        log.iter().filter(|entry| entry["reason"] == reason && entry["credential"] == credential).count()
    };
    assert_eq!((count("presigned", "fat"), count("ok", "presigned"), count("url_invalid", "presigned")), (4, 1, 1));
    let handed_out = log.iter().find(|entry| entry["reason"] == "presigned").expect("a line");
    assert_eq!((&handed_out["outcome"], &handed_out["uid"]), (&json!("answered"), &json!("alice")));
    assert_eq!(gate.metric("mediagate_presigned_urls_total"), Some(4.0));
}

#[test]
fn urls_begin_as_configured_whatever_the_client_forwards() {
    let storage = storage();
    let gate = gate(storage.address, "base_url = \"https://files.example\"");
    let fields = [
        ("fat", fat("alice")),
        ("X-Forwarded-Proto", "ftp".to_owned()),
        ("X-Forwarded-Host", "evil.example".to_owned()),
    ];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = request(gate.media, "GET", &format!("{OBJECT}?redirect=0"), &fields).json();
    let url = answer["data"]["url"].as_str().expect("a URL");
    let target = url.strip_prefix("https://files.example").unwrap_or_else(|| panic!("{url}"));
    assert_eq!(status(gate.media, target), 200);
}

#[test]
fn without_the_section_a_url_is_refused_with_the_reason() {
    let storage = storage();
    let gate = Mediagate::serve(storage.address, |config| config);
    let refused = request(gate.media, "GET", &format!("{OBJECT}?redirect=0"), &[("fat", &fat("alice"))]);
    assert_eq!((refused.status, refused.code().as_str()), (400, "ERR_BAD_REQUEST"));
    assert!(refused.text().contains("not configured"), "{}", refused.text());
}

#[test]
fn apps_that_ask_for_nothing_hand_out_the_plain_url() {
    let storage = storage();
    let gate = Mediagate::serve(storage.address, |config| {
        let open = config.replace("id = \"demo\"", "id = \"demo\"\naccess = \"off\"");
        format!("{open}\n[presigned]\nkey_file = \"presigned.key\"\n")
    });
    let answer = request(gate.media, "GET", &format!("{OBJECT}?redirect=0"), &[]);
    assert_eq!(answer.json(), json!({ "data": { "url": format!("http://{}{OBJECT}", gate.media) } }));
    let redirect = request(gate.media, "GET", &format!("{OBJECT}?redirect=1"), &[("fat", "x")]);
    assert_eq!(redirect.header("location"), Some(format!("http://{}{OBJECT}", gate.media).as_str()));
    assert_eq!(status(gate.media, OBJECT), 200);
}

#[test]
fn a_transfer_of_a_url_is_cut_with_its_user_and_another_goes_on() {
    let done = std::sync::Arc::new(AtomicBool::new(false));
    let is_done = std::sync::Arc::clone(&done);
    let storage = Origin::start(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        while !is_done.load(Ordering::SeqCst) && stream.write_all(&[0; 64 * 1024]).is_ok() {}
    });
    let gate = gate(storage.address, "");
    let mut clients = ["bob", "alice"].map(|uid| {
        let target = target(gate.media, OBJECT, &fat(uid));
        let mut client = Connection::open(gate.media);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: gate.test\r\n\r\n"));
        assert_eq!(client.read_head().expect("a head").0, 200);
        client
    });
    gate.deactivate("bob");
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0;
    let error = loop {
        match clients[0].0.read(&mut buffer) {
            Ok(0) => panic!("an end without an error after {read} bytes"),
            Ok(more) => read += more,
            Err(error) => break error,
        }
        assert!(read < 1 << 30, "no end in sight");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    for _ in 0..64 {
        clients[1].0.read_exact(&mut buffer).expect("alice's goes on");
    }
    done.store(true, Ordering::SeqCst);
    eventually("the cut is logged", || {
        let log = gate.access_log();
        log.iter().any(|entry| entry["outcome"] == "cut" && entry["uid"] == "bob" && entry["credential"] == "presigned")
    });
}

#[test]
fn a_flush_kills_urls_and_a_new_token_gets_one_that_lives_at_once() {
    let storage = storage();
    let gate = gate(storage.address, "");
    let token = |iat: u64, sid: &str| {
        sign(&json!({ "sub": "alice", "app": "demo", "sid": sid, "iat": iat, "exp": now() + 600 }), SECRET)
    };
    let flush = now();
    let (before, other) =
        (target(gate.media, OBJECT, &token(flush - 60, "s1")), target(gate.media, OBJECT, &fat("bob")));
    // A window that begins in this very second would be one that begins after the flush.
    let flush = flush + u64::from(before.contains(&format!("Issued={flush}&")));
    let restrict = |body: Value| {
        let answer = gate.control("POST", "/v3/restrictions", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    assert_eq!(status(gate.media, &before), 200);
    restrict(json!({ "scope": "user", "id": "alice", "issuedBefore": flush }));
    let refused = request(gate.media, "GET", &before, &[]);
    assert_eq!((refused.status, refused.code().as_str()), (403, "ERR_SESSION_REVOKED"));
    let after = target(gate.media, OBJECT, &token(flush, "s1"));
    assert_ne!(after, before);
    assert_eq!((status(gate.media, &after), status(gate.media, &other)), (200, 200));
    let second = target(gate.media, OBJECT, &token(flush, "s2"));
    restrict(json!({ "scope": "session", "id": "s1" }));
    assert_eq!((status(gate.media, &after), status(gate.media, &second)), (403, 200));
}

#[test]
fn keys_rotate_by_a_reload_and_old_urls_live_until_their_key_is_gone() {
    let storage = storage();
    let gate = gate(storage.address, "");
    let before = target(gate.media, OBJECT, &fat("alice"));
    let file = gate.state.join("mediagate.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let secret: String = PRESIGNED_SECRET.chars().rev().collect();
    std::fs::write(gate.state.join("new.key"), secret).expect("a file");
    let reload = |times: usize, section: &str| {
        std::fs::write(&file, text.replace("key_file = \"presigned.key\"", section)).expect("a file");
        gate.signal("HUP");
        eventually("it is reloaded", || gate.log().matches("\"reloaded ").count() == times);
    };
    reload(1, "key_file = \"new.key\"\nprevious_key_files = [\"presigned.key\"]");
    let after = target(gate.media, OBJECT, &fat("alice"));
    let id = |url: &str| url.split("Key-Pair-Id=").nth(1).and_then(|rest| rest.get(..12)).map(str::to_owned);
    assert_ne!(id(&before), id(&after));
    assert_eq!((status(gate.media, &before), status(gate.media, &after)), (200, 200));
    reload(2, "key_file = \"new.key\"");
    let gone = request(gate.media, "GET", &before, &[]);
    assert_eq!((gone.status, gone.code().as_str()), (403, "ERR_URL_INVALID"));
    assert_eq!(status(gate.media, &after), 200);
}

#[test]
fn the_storages_own_url_opens_at_the_storage() {
    let state = TempDir::new().expect("a folder");
    let (dev, ready) = Mediagate::dev(state.path(), &[]);
    let s3: SocketAddr = ready["s3"].as_str().and_then(|url| url.strip_prefix("http://")?.parse().ok()).expect("S3");
    let secrets = dev.state.join("secrets");
    let gate = Mediagate::serve(s3, |config| {
        let config = config
            .replace("\"s3.id\"", &format!("{:?}", secrets.join("s3.id")))
            .replace("\"s3.key\"", &format!("{:?}", secrets.join("s3.key")));
        format!("{config}strip_app = true\n\n[presigned]\ntarget = \"storage\"\n")
    });
    let object = ready["objects"][0].as_str().expect("an object");
    let token = fat("alice");
    let (answer, url) = ask(gate.media, object, &token);
    let target = url.strip_prefix(&format!("http://{s3}")).unwrap_or_else(|| panic!("{url}"));
    assert!(target.starts_with("/media/") && target.contains("&X-Amz-Expires=60&"), "{url}");
    let expires = answer.json()["data"]["expiresAt"].as_u64().expect("a time");
    assert!((now() + 30..=now() + 60).contains(&expires), "{expires}");
    let direct = request(gate.media, "GET", object, &[("fat", &token)]);
    let opened = request(s3, "GET", target, &[]);
    assert_eq!((opened.status, opened.body), (200, direct.body));
    let redirect = request(gate.media, "GET", &format!("{object}?redirect=1&fat={token}"), &[]);
    assert_eq!(redirect.status, 302);
    // It cannot be called back; a new one is not to be had.
    gate.deactivate("alice");
    assert_eq!(request(s3, "GET", target, &[]).status, 200);
    assert_eq!(request(gate.media, "GET", &format!("{object}?redirect=0"), &[("fat", &token)]).status, 403);
}

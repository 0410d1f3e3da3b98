//! The Rust client against the real gateway, and against servers that misbehave.

mod faults;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mediagate::client::{Client, ClientError, ClientOptions, SecureMediaMode};
use serde_json::{Value, json};

use crate::support::client::request;
use crate::support::origin::Origin;
use crate::support::process::{API_KEY, Mediagate, run};
use crate::support::{certificate, eventually, noise, now};

const MODES: [SecureMediaMode; 3] =
    [SecureMediaMode::Embedded, SecureMediaMode::HeaderBased, SecureMediaMode::Presigned];

const LEN: usize = 300_000;

/// A storage with one file.
fn storage() -> Origin {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {LEN}\r\n\r\n");
    Origin::constant([head.into_bytes(), noise(LEN)].concat())
}

/// [`Mediagate::serve`] with presigned URLs.
fn gate(storage: &Origin) -> Mediagate {
    Mediagate::serve(storage.address, |config| format!("{config}\n[presigned]\nkey_file = \"presigned.key\"\n"))
}

fn file(media: SocketAddr) -> String {
    format!("http://{media}/demo/media/a.jpg")
}

/// Registers a user; returns an auth token of the user's.
fn register(gate: &Mediagate, uid: &str) -> String {
    let user = json!({ "uid": uid, "name": uid, "withAuthToken": true });
    let answer = gate.control("POST", "/v3/users", &user);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"]["authToken"].as_str().expect("a token").to_owned()
}

fn client(control: SocketAddr, mode: SecureMediaMode) -> Client {
    Client::new(ClientOptions::new(format!("http://{control}/"), "demo", mode)).expect("a client")
}

async fn text(client: &Client) -> String {
    String::from_utf8(client.fat().await.expect("a token").expose().to_vec()).expect("text")
}

/// Opens `url` and compares every byte.
async fn opens(client: &Client, url: &str) {
    let media = client.get(url).await.unwrap_or_else(|error| panic!("{error}: {client:?}"));
    assert_eq!(media.status(), 200, "{client:?}");
    assert_eq!(media.headers()["content-type"], "image/jpeg");
    assert!(media.bytes(LEN).await.expect("a body") == noise(LEN), "{client:?}");
}

/// Refused by the media listener with 403 and this code.
async fn refused(client: &Client, url: &str, code: &str) {
    match client.get(url).await {
        Err(ClientError::Refused { status: 403, code: given, .. }) if given == code => {}
        other => panic!("{other:?}: {client:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_opens_a_file_byte_for_byte_over_tls() {
    let storage = storage();
    let dir = tempfile::tempdir().expect("a folder");
    let (cert, key) = certificate(dir.path());
    let tls = format!("tls_cert_file = \"{}\"\ntls_key_file = \"{}\"\n", cert.display(), key.display());
    let gate = Mediagate::serve(storage.address, |config| {
        let config = ["[media]\n", "[control]\n"].iter().fold(config, |all, at| all.replace(at, &format!("{at}{tls}")));
        format!("{config}\n[presigned]\nkey_file = \"presigned.key\"\n")
    });
    let auth_token = register_over_tls(&gate, &cert);
    let url = file(gate.media).replace("http:", "https:");
    let pem = std::fs::read(&cert).expect("a certificate");
    let options = |mode| ClientOptions::new(format!("https://{}", gate.control), "demo", mode);
    for mode in MODES {
        let mut options = options(mode);
        options.root_certificates = Some(pem.clone());
        let client = Client::new(options).expect("a client");
        assert!(!client.requires_secure_access(&url) && !client.is_header_mode_enabled());
        let session = client.login(&auth_token).await.expect("a session");
        assert_eq!((session.uid(), session.name()), ("alice", "Alice"));
        assert_eq!(session.settings().secured_media_host.as_deref(), Some(gate.media.to_string().as_str()));
        assert!(client.requires_secure_access(&url));
        assert_eq!(client.is_header_mode_enabled(), mode == SecureMediaMode::HeaderBased);
        opens(&client, &url).await;
        opens(&client, &url).await;
        // What a link shows already is replaced: two tokens at a time would be refused.
        opens(&client, &format!("{url}?fat=old#top")).await;
    }
    assert!(storage.requests().len() >= 9);

    let stranger = Client::new(options(SecureMediaMode::Embedded)).expect("a client");
    let error = stranger.login(&auth_token).await.expect_err("the system knows no such authority");
    assert!(matches!(&error, ClientError::Unreachable { why, .. } if why.contains("certificate")), "{error:?}");

    let control = format!("https://{}", gate.control);
    let deactivate = |more: &[&str]| {
        run(
            &[&["user", "deactivate", "alice", "--control", &control], more].concat(),
            &[("MEDIAGATE_API_KEY", API_KEY)],
        )
    };
    let (status, _, said) = deactivate(&[]);
    assert!(!status.success() && said.contains("certificate") && said.contains("--ca-file"), "{said}");
    let (status, _, said) = deactivate(&["--ca-file", key.to_str().expect("UTF-8")]);
    assert!(!status.success() && said.contains("no certificate in PEM"), "{said}");
    let (status, said, _) = deactivate(&["--ca-file", cert.to_str().expect("UTF-8")]);
    assert!(status.success() && said.starts_with("alice is deactivated"), "{said}");
}

fn register_over_tls(gate: &Mediagate, cert: &Path) -> String {
    let apikey = format!("apikey: {API_KEY}");
    let answer = Command::new("curl")
        .args(["-sS", "--max-time", "50", "-H", &apikey, "-H", "Content-Type: application/json"])
        .args(["-d", r#"{"uid":"alice","name":"Alice","withAuthToken":true}"#, "--cacert"])
        .args([cert.to_str().expect("UTF-8"), &format!("https://{}/v3/users", gate.control)])
        .output()
        .expect("curl runs");
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    answer["data"]["authToken"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_hands_out_opens_in_other_hands() {
    let storage = storage();
    let gate = gate(&storage);
    let auth_token = register(&gate, "alice");
    let url = file(gate.media);
    let status = |url: &str, headers: &[(&str, &str)]| {
        let target = url.strip_prefix(&format!("http://{}", gate.media)).unwrap_or_else(|| panic!("{url}"));
        request(gate.media, "GET", target, headers).status
    };
    for mode in MODES {
        let client = client(gate.control, mode);
        client.login(&auth_token).await.expect("a session");
        let fat = text(&client).await;

        let embedded = client.media_url(&url).await.expect("a URL");
        let expected = if mode == SecureMediaMode::Embedded { format!("{url}?fat={fat}") } else { url.clone() };
        assert_eq!(embedded, expected);
        assert_eq!(client.media_url(&embedded).await.as_deref(), Ok(embedded.as_str()), "once only");

        let headers = client.media_headers(&url).await.expect("fields");
        assert_eq!(headers.get("fat").is_some_and(|value| *value == *fat), mode == SecureMediaMode::HeaderBased);
        assert!(client.media_headers(&format!("{url}?fat={fat}")).await.expect("fields").is_empty());

        let presigned = client.fetch_presigned_url(&url).await.expect("a URL");
        assert!(presigned.contains("Signature=") && !presigned.contains(&fat[..16]), "{presigned}");
        for unchanged in [client.media_url(&presigned).await, client.fetch_presigned_url(&presigned).await] {
            assert_eq!(unchanged.as_deref(), Ok(presigned.as_str()));
        }
        assert!(client.media_headers(&presigned).await.expect("fields").is_empty());

        assert_eq!(status(&url, &[]), 401);
        assert_eq!(status(&url, &[("fat", &fat)]), 200);
        assert_eq!(status(&embedded, &[]), if mode == SecureMediaMode::Embedded { 200 } else { 401 });
        assert_eq!(status(&presigned, &[]), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivated_user_is_refused_and_let_in_again() {
    let storage = storage();
    let gate = gate(&storage);
    let tokens = ["alice", "bob"].map(|uid| register(&gate, uid));
    let url = file(gate.media);
    for mode in MODES {
        let [alice, bob] = [client(gate.control, mode), client(gate.control, mode)];
        alice.login(&tokens[0]).await.expect("a session");
        bob.login(&tokens[1]).await.expect("a session");
        opens(&bob, &url).await;
        gate.deactivate("bob");
        refused(&bob, &url, "ERR_USER_DEACTIVATED").await;
        refused(&bob, &url, "ERR_USER_DEACTIVATED").await;
        assert!(matches!(bob.login(&tokens[1]).await, Err(ClientError::Refused { status: 401, .. })));
        opens(&alice, &url).await;
        gate.activate("bob");
        opens(&bob, &url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_revoked_is_renewed_once() {
    let storage = storage();
    let gate = gate(&storage);
    let auth_token = register(&gate, "alice");
    let url = file(gate.media);
    for mode in MODES {
        let client = client(gate.control, mode);
        client.login(&auth_token).await.expect("a session");
        opens(&client, &url).await;
        let first = text(&client).await;
        let claims = URL_SAFE_NO_PAD.decode(first.split('.').nth(1).expect("claims")).expect("base64url");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        let restricted = json!({ "scope": "token", "id": claims["jti"] });
        assert_eq!(gate.control("POST", "/v3/restrictions", &restricted).status, 200);
        opens(&client, &url).await;
        assert_ne!(text(&client).await, first);
        // The session itself, and there is nothing to renew the token with that would be alive.
        let restricted = json!({ "scope": "session", "id": claims["sid"] });
        assert_eq!(gate.control("POST", "/v3/restrictions", &restricted).status, 200);
        refused(&client, &url, "ERR_SESSION_REVOKED").await;
        assert_eq!(gate.control("DELETE", "/v3/restrictions", &restricted).status, 200);
        opens(&client, &url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presigned_urls_are_kept_for_one_login() {
    let storage = storage();
    let gate = gate(&storage);
    let tokens = ["alice", "bob"].map(|uid| register(&gate, uid));
    let url = file(gate.media);
    let handed_out = || gate.metric("mediagate_presigned_urls_total");
    let client = client(gate.control, SecureMediaMode::Presigned);
    client.login(&tokens[0]).await.expect("a session");
    let alice = client.fetch_presigned_url(&url).await.expect("a URL");
    opens(&client, &url).await;
    opens(&client, &url).await;
    assert_eq!(client.fetch_presigned_url(&format!("{url}#top")).await.as_deref(), Ok(alice.as_str()));
    assert_eq!(handed_out(), Some(1.0));
    client.login(&tokens[1]).await.expect("a session");
    let bob = client.fetch_presigned_url(&url).await.expect("a URL");
    assert!(alice.contains("Uid=alice") && bob.contains("Uid=bob"));
    assert_eq!(handed_out(), Some(2.0));
    let fat = text(&client).await;
    client.logout().await.expect("it is told");
    assert_eq!(client.fetch_presigned_url(&url).await.as_deref(), Ok(url.as_str()));
    assert_eq!(handed_out(), Some(2.0));

    // What the session had is dead, and so is what it was made with.
    for dead in [format!("{url}?fat={fat}"), bob] {
        let target = dead.strip_prefix(&format!("http://{}", gate.media)).expect("the gate's");
        assert_eq!(request(gate.media, "GET", target, &[]).status, 403);
    }
    assert_eq!(client.fat().await.err(), Some(ClientError::NotLoggedIn));
    assert!(matches!(client.login(&tokens[1]).await, Err(ClientError::Refused { status: 401, .. })));
    assert_eq!(client.logout().await, Ok(()));
    assert_eq!(client.get(&url).await.expect("an answer").status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_token_is_asked_for_urls_stay_as_they_are() {
    let storage = storage();
    let gate =
        Mediagate::serve(storage.address, |config| config.replace("id = \"demo\"", "id = \"demo\"\naccess = \"off\""));
    let auth_token = register(&gate, "alice");
    let url = file(gate.media);
    for mode in MODES {
        let client = client(gate.control, mode);
        let session = client.login(&auth_token).await.expect("a session");
        assert_eq!(session.settings().secured_media_host, None);
        assert!(!client.requires_secure_access(&url) && !client.is_header_mode_enabled());
        for unchanged in [client.media_url(&url).await, client.fetch_presigned_url(&url).await] {
            assert_eq!(unchanged.as_deref(), Ok(url.as_str()));
        }
        assert!(client.media_headers(&url).await.expect("fields").is_empty());
        opens(&client, &url).await;
    }
    eventually("everything is logged", || gate.access_log().len() == MODES.len());
    let log = gate.access_log();
    assert!(log.iter().all(|entry| entry["credential"] != "fat"), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_go_to_no_other_host() {
    let foreign = storage();
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: http://{}/x\r\nContent-Length: 0\r\n\r\n", foreign.address);
    let storage = storage();
    let gate = gate(&storage);
    let auth_token = register(&gate, "alice");
    let (media, port) = (gate.media, foreign.address.port());
    let urls = [
        format!("http://{}/?u={media}", foreign.address),
        format!("http://{}/{media}/a.jpg", foreign.address),
        format!("http://{}#@{media}/", foreign.address),
        format!("http://localhost:{port}/demo/media/a.jpg"),
        format!("http://{media}@127.0.0.1:{port}/demo/media/a.jpg"),
        format!("http://127.0.0.1:{port}\\@{media}/demo/media/a.jpg"),
        format!("http://{media}\\@127.0.0.1:{port}/demo/media/a.jpg"),
        format!("//{media}/demo/media/a.jpg"),
        "not a URL".to_owned(),
        String::new(),
    ];
    for mode in MODES {
        let client = client(gate.control, mode);
        client.login(&auth_token).await.expect("a session");
        for url in &urls {
            assert!(!client.requires_secure_access(url), "{url}");
            for unchanged in [client.media_url(url).await, client.fetch_presigned_url(url).await] {
                assert_eq!(unchanged.as_deref(), Ok(url.as_str()));
            }
            assert!(client.media_headers(url).await.expect("fields").is_empty(), "{url}");
        }
    }
    assert_eq!(foreign.connections(), 0);
    assert!(gate.access_log().is_empty());
    for mode in MODES {
        let client = client(gate.control, mode);
        client.login(&auth_token).await.expect("a session");
        let fat = text(&client).await;
        for url in &urls[..4] {
            opens(&client, url).await;
        }
        for url in &urls[4..] {
            assert_eq!(client.get(url).await.err(), Some(ClientError::Url), "{url}");
        }
        let heads = foreign.requests().concat().to_ascii_lowercase();
        assert!(!heads.contains("fat") && !heads.contains(&fat[..16].to_ascii_lowercase()), "{heads}");
    }
    assert_eq!(foreign.requests().len(), 4 * MODES.len());

    // A media host that sends a client on is not followed.
    let lying = faults::platform(move |_| redirect.clone());
    for mode in MODES {
        let client = client(lying.address, mode);
        client.login("alice_1").await.expect("a session");
        match (mode, client.get(&file(lying.address)).await) {
            (SecureMediaMode::Presigned, Err(ClientError::Refused { status: 302, .. })) => {}
            (_, Ok(media)) if media.status() == 302 => {}
            (_, other) => panic!("{other:?}"),
        }
    }
    assert_eq!(foreign.requests().len(), 4 * MODES.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_ended_is_renewed_by_the_real_gate() {
    let storage = storage();
    let gate = gate(&storage);
    let auth_token = register(&gate, "alice");
    // In between, the gate's tokens are said to end at once.
    let control = gate.control;
    let relay = Origin::start(move |head, stream| {
        let method = head.split(' ').next().expect("a method");
        let token = head.split("authtoken: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a token");
        let mut body = request(control, method, "/v3.0/me", &[("authToken", token)]).json();
        body["data"]["fatExpiresAt"] = now().into();
        faults::write(stream, &faults::answer("200 OK", &body.to_string()));
    });
    for mode in MODES {
        let client = client(relay.address, mode);
        client.login(&auth_token).await.expect("a session");
        let before = relay.requests().len();
        let [first, second] = [text(&client).await, text(&client).await];
        assert_ne!(first, second);
        opens(&client, &file(gate.media)).await;
        assert_eq!(relay.requests().len(), before + 3);
    }
}

//! Servers that count, wait, lie, or say too much.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::*;

pub(super) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(super) fn write(stream: &mut TcpStream, answer: &str) {
    // A client that has heard enough may be gone.
    let _ = stream.write_all(answer.as_bytes());
}

fn is_me(head: &str) -> bool {
    head.split(' ').nth(1) == Some("/v3.0/me")
}

/// The reply of a platform whose media listener is where the call went.
fn me(head: &str, fat: &str, expires_at: u64) -> String {
    let host = head.split("host: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a host");
    let settings = json!({ "CLIENT_API_HOST": host, "CHAT_API_VERSION": "v3.0", "SECURED_MEDIA_HOST": host });
    let data = json!({ "uid": "alice", "name": "Alice", "fat": fat, "fatExpiresAt": expires_at, "settings": settings });
    answer("200 OK", &json!({ "data": data }).to_string())
}

/// Lets everybody in, and answers requests for media with `media`.
pub(super) fn platform(media: impl Fn(&str) -> String + Send + Sync + 'static) -> Origin {
    Origin::start(move |head, stream| {
        let answer = if is_me(head) { me(head, "fat-of-alice", now() + 600) } else { media(head) };
        write(stream, &answer);
    })
}

/// How many requests there were with this method, for `/me` or for media.
fn count(origin: &Origin, method: &str, of_me: bool) -> usize {
    origin.requests().iter().filter(|head| head.starts_with(method) && is_me(head) == of_me).count()
}

#[tokio::test]
async fn callers_at_a_time_cause_one_renewal() {
    let origin = Origin::start(|head, stream| {
        let is_renewal = head.starts_with("GET");
        write(stream, &if is_renewal { me(head, "fresh", now() + 600) } else { me(head, "old", now()) });
    });
    let client = client(origin.address, SecureMediaMode::Embedded);
    client.login("alice_1").await.expect("a session");
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        callers.spawn(async move { text(&client).await });
    }
    assert!(callers.join_all().await.iter().all(|fat| fat == "fresh"));
    assert_eq!((count(&origin, "PUT", true), count(&origin, "GET", true)), (1, 1));
}

#[tokio::test]
async fn callers_at_a_time_share_a_failure_and_a_later_one_tries_again() {
    let origin = Origin::start(|head, stream| {
        let body = r#"{"error":{"code":"ERR_STORE_UNAVAILABLE","message":"m"}}"#;
        let is_renewal = head.starts_with("GET");
        write(stream, &if is_renewal { answer("503 Down", body) } else { me(head, "old", now()) });
    });
    let client = client(origin.address, SecureMediaMode::Embedded);
    client.login("alice_1").await.expect("a session");
    for round in 1..=2 {
        let mut callers = JoinSet::new();
        for _ in 0..50 {
            let client = client.clone();
            callers.spawn(async move { client.fat().await.map(drop) });
        }
        let host = origin.address.to_string();
        let failure = ClientError::Refused { host, status: 503, code: "ERR_STORE_UNAVAILABLE".into() };
        assert!(callers.join_all().await.iter().all(|outcome| *outcome == Err(failure.clone())));
        assert_eq!(count(&origin, "GET", true), round);
    }
}

#[tokio::test]
async fn a_refusal_is_met_with_one_retry() {
    for (mode, media) in MODES.into_iter().zip([2, 2, 4]) {
        for status in ["401 Unauthorized", "403 Forbidden"] {
            let origin = platform(move |head| {
                let host = head.split("host: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a host");
                let url =
                    json!({ "data": { "url": format!("http://{host}/a?Signature=s"), "expiresAt": now() + 600 } });
                let is_handout = head.contains("redirect=0");
                if is_handout { answer("200 OK", &url.to_string()) } else { answer(status, "no JSON") }
            });
            let client = client(origin.address, mode);
            client.login("alice_1").await.expect("a session");
            let outcome = client.get(&file(origin.address)).await;
            let given = match &outcome {
                Err(ClientError::Refused { status, code, .. }) if code.is_empty() => *status,
                other => panic!("{other:?}"),
            };
            assert!(status.starts_with(&given.to_string()));
            assert_eq!((count(&origin, "GET", true), count(&origin, "GET", false)), (1, media), "{mode:?}");
        }
    }
    // Presigning itself is refused.
    let origin = platform(|_| answer("403 Forbidden", r#"{"error":{"code":"ERR_USER_DEACTIVATED"}}"#));
    let client = client(origin.address, SecureMediaMode::Embedded);
    client.login("alice_1").await.expect("a session");
    let outcome = client.fetch_presigned_url(&file(origin.address)).await;
    let host = origin.address.to_string();
    assert_eq!(outcome, Err(ClientError::Refused { host, status: 403, code: "ERR_USER_DEACTIVATED".into() }));
    assert_eq!((count(&origin, "GET", true), count(&origin, "GET", false)), (1, 2));
    // Other statuses are the caller's.
    for status in ["404 Not Found", "500 Oh", "503 Down"] {
        let origin = platform(move |_| answer(status, "{}"));
        let client = super::client(origin.address, SecureMediaMode::HeaderBased);
        client.login("alice_1").await.expect("a session");
        let media = client.get(&file(origin.address)).await.expect("an answer");
        assert!(status.starts_with(media.status().as_str()));
        assert_eq!(count(&origin, "GET", false), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_or_login_in_the_middle_of_a_renewal_stands() {
    for with_login in [false, true] {
        let (go_on, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let origin = Origin::start(move |head, stream| {
            if head.starts_with("GET") {
                wait.lock().expect("no panic").recv().expect("a word");
            }
            let ends_at = if head.contains("alice_1") { now() } else { now() + 600 };
            write(stream, &me(head, "fat", ends_at));
        });
        let client = client(origin.address, SecureMediaMode::Embedded);
        client.login("alice_1").await.expect("a session");
        let renewal = tokio::spawn({
            let client = client.clone();
            async move { client.fat().await.map(drop) }
        });
        while count(&origin, "GET", true) == 0 {
            tokio::task::yield_now().await;
        }
        if with_login {
            client.login("alice_2").await.expect("a session");
        } else {
            client.logout().await.expect("it is told");
        }
        let standing = client.session();
        go_on.send(()).expect("somebody waits");
        assert_eq!(renewal.await.expect("no panic"), Err(ClientError::NotLoggedIn));
        assert_eq!(client.session().is_some(), with_login);
        assert!(client.session().zip(standing).is_none_or(|(now, then)| Arc::ptr_eq(&now, &then)));
    }
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let url = |origin: &Origin| file(origin.address);
    let logged_in = async |origin: &Origin| {
        let mut options =
            ClientOptions::new(format!("http://{}", origin.address), "demo", SecureMediaMode::HeaderBased);
        options.answer_timeout = Duration::from_millis(200);
        let client = Client::new(options).expect("a client");
        client.login("alice_1").await.map(|_| client)
    };
    let endless = Origin::start(|_, stream| {
        write(stream, "HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    assert!(matches!(logged_in(&endless).await, Err(ClientError::TooLarge { .. })));
    let silent = Origin::start(|_, _| {});
    assert!(matches!(logged_in(&silent).await, Err(ClientError::Timeout { .. })));

    let long = platform(|_| answer("200 OK", &"x".repeat(1001)));
    let client = logged_in(&long).await.expect("a session");
    let host = long.address.to_string();
    let get = async || client.get(&url(&long)).await.expect("an answer");
    assert_eq!(get().await.bytes(1000).await, Err(ClientError::TooLarge { host, limit: 1000 }));
    assert_eq!(get().await.bytes(1001).await.map(|body| body.len()), Ok(1001));

    let stalled = platform(|_| "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_owned());
    let client = logged_in(&stalled).await.expect("a session");
    let mut media = client.get(&url(&stalled)).await.expect("an answer");
    assert_eq!(media.chunk().await.map(|chunk| chunk.expect("a piece").to_vec()), Ok(b"hello".to_vec()));
    assert!(matches!(media.chunk().await, Err(ClientError::Timeout { .. })));

    let broken = Origin::start(|head, stream| {
        if is_me(head) {
            return write(stream, &me(head, "fat", now() + 600));
        }
        write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
        let _ = stream.shutdown(Shutdown::Both);
    });
    let client = logged_in(&broken).await.expect("a session");
    let media = client.get(&url(&broken)).await.expect("an answer");
    assert_eq!(media.bytes(100).await, Err(ClientError::Broken { host: broken.address.to_string() }));
}

#[tokio::test]
async fn nothing_that_is_printed_holds_a_token() {
    const TOKENS: [&str; 2] = ["alice_1hunter2", "EYJHUNTER2"];
    let check = |shown: String| {
        assert!(!shown.contains("unter2") && !shown.contains("HUNTER2"), "{shown}");
        assert!(!shown.is_empty());
    };
    // Repeats what it was sent, wherever a client may look.
    let echo = Origin::start(|head, stream| {
        if head.starts_with("PUT") {
            return write(stream, &me(head, TOKENS[1], now() + 600));
        }
        let body = json!({ "error": { "code": head, "message": head }, "data": { "url": head } });
        let status = if head.contains("/ok") { "200 OK" } else { "403 Forbidden" };
        let body = body.to_string();
        let field = head.split("\r\n").next().expect("a line");
        let head = format!("HTTP/1.1 {status}\r\nLocation: {field}\r\nContent-Length: {}\r\n\r\n", body.len());
        write(stream, &(head + &body));
    });
    for mode in MODES {
        let client = client(echo.address, mode);
        let session = client.login(TOKENS[0]).await.expect("a session");
        check(format!("{client:?} {session:?} {client:#?}"));
        check(format!("{:?}", client.fat().await));
        check(format!("{:?}", client.media_headers(&file(echo.address)).await));
        for path in ["ok", "no"] {
            let url = format!("http://{}/{path}?fat=hunter2", echo.address);
            match client.get(&url).await {
                Ok(media) => check(format!("{media:?} {media:#?}")),
                Err(error) => check(format!("{error} {error:?} {error:#?}")),
            }
            let error = client.fetch_presigned_url(&url).await.expect_err("that is no URL");
            check(format!("{error} {error:?}"));
        }
        check(format!("{:?}", client.logout().await));
    }
    let nowhere = client(([127, 0, 0, 1], 1).into(), SecureMediaMode::Embedded);
    check(format!("{:?}", nowhere.login(TOKENS[0]).await));
    for (option, wrong) in [("control", "http://u:hunter2@a.example"), ("control", "a.example"), ("app", "a\nb")] {
        let mut options = ClientOptions::new("http://a.example", "demo", SecureMediaMode::Embedded);
        *if option == "app" { &mut options.app } else { &mut options.control } = wrong.to_owned();
        let error = Client::new(options).expect_err("a wrong option");
        assert!(matches!(error, ClientError::Option { option: named, .. } if named == option), "{error}");
        check(format!("{error} {error:?}"));
    }
    check(format!("{:?}", nowhere.login("hunter2\r\nx: y").await));
}

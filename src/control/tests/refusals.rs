//! What is refused, how, and that nothing has happened then.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::harness::{self, FULL_KEY, SIGN_UP_KEY, exchange, request};
use super::{Gateway, JSON, KEY, ONE_APP};
use crate::control::error::{self, ApiError};

#[tokio::test]
async fn without_the_one_exact_key_nothing_is_told_and_nothing_done() {
    let gateway = Gateway::start(ONE_APP).await;
    let body = r#"{"uidsToDeactivate":["bob"]}"#;
    let paths = ["/v3/users", "/v3/users/bob", "/v3", "/v3/", "/v3/nothing", "/v3.0/users", "/v3.0/x/y?z", "/", "/v2"];
    for (method, target) in paths.iter().flat_map(|path| ["DELETE", "GET", "OPTIONS"].map(|method| (method, path))) {
        let send = |headers: &[(&str, &str)]| {
            let request = request(method, target, headers, body);
            let connection = gateway.connect();
            async move { harness::exchange(connection.await, &request).await }
        };
        send(&[JSON]).await.refused(401, "AUTH_ERR_EMPTY_APIKEY", "");
        send(&[JSON, ("apikey", "")]).await.refused(401, "AUTH_ERR_EMPTY_APIKEY", "");
        send(&[JSON, ("api_key", FULL_KEY), ("Authorization", FULL_KEY)]).await.refused(
            401,
            "AUTH_ERR_EMPTY_APIKEY",
            "",
        );
        let wrong = send(&[JSON, ("apikey", "full-access-kez")]).await;
        assert!(!wrong.text.contains("full-access"), "{}", wrong.text);
        wrong.refused(401, "AUTH_ERR_APIKEY_NOT_FOUND", "");
        send(&[JSON, KEY, KEY]).await.refused(400, "ERR_BAD_REQUEST", "apikey");
    }
    let sign_up = [JSON, ("APIKEY", SIGN_UP_KEY)];
    for (method, target) in [("DELETE", "/v3/users"), ("PUT", "/v3/users"), ("DELETE", "/v3/users/bob")] {
        gateway.send(&request(method, target, &sign_up, body)).await.refused(403, "AUTH_ERR_NO_ACCESS", "");
    }
    gateway.check("bob", Ok(()));
}

#[tokio::test]
async fn an_unknown_path_or_method_is_no_endpoint() {
    let gateway = Gateway::start(ONE_APP).await;
    let unknown = [
        ("PATCH", "/v3/users"),
        ("OPTIONS", "/v3/users"),
        ("POST", "/v3/users/bob"),
        ("HEAD", "/v3/fats"),
        ("GET", "/v3/me/"),
        ("DELETE", "/v3"),
        ("DELETE", "/v3/"),
        ("DELETE", "/v3/users/"),
        ("DELETE", "/v3/users/bob/"),
        ("DELETE", "/v3//users"),
        ("DELETE", "/v3/Users"),
        ("DELETE", "/v3.0/users/bob/deactivate"),
        ("DELETE", "/v2/users"),
        ("DELETE", "/users"),
        ("GET", "/"),
        ("BREW", "/v3/users"),
    ];
    for (method, target) in unknown {
        let answer = gateway.call(method, target, "").await;
        if method == "HEAD" {
            assert_eq!((answer.status, answer.text.as_str()), (404, ""));
        } else {
            answer.refused(404, "ERR_API_NOT_FOUND", "");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_the_call_takes_is_refused_by_field() {
    let gateway = Gateway::start(ONE_APP).await;
    let many = |count: usize| json!({"uidsToDeactivate": vec!["bob"; count]}).to_string();
    let refused = [
        ("", "uidsToDeactivate"),
        ("{}", "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":[]}"#, "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":"bob"}"#, "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":null}"#, "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":["bob",1]}"#, "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":["bob",["carol"]]}"#, "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":["bob",""]}"#, "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":["bob","a b"]}"#, "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":["bob","\u0000"]}"#, "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":["bob"],"uidsToDeactivate":["bob"]}"#, "uidsToDeactivate"),
        (r#"{"uidsToDeactivate":["bob"],"force":true}"#, "force"),
        (r#"{"uidsToActivate":["bob"]}"#, "uidsToActivate"),
        (r#"{"uidsToDeactivate":["bob"]} x"#, "body"),
        (r#"["bob"]"#, "body"),
        ("uidsToDeactivate=bob", "body"),
        (&many(1001), "uidsToDeactivate"),
    ];
    for (body, field) in refused {
        gateway.call("DELETE", "/v3/users", body).await.refused(400, "ERR_BAD_REQUEST", field);
    }
    let complaints = gateway.call("DELETE", "/v3/users", r#"{"uidsToDeactivate":["bob",1,"a b"]}"#).await;
    let expected = json!([
        "The uidsToDeactivate.1 must be a string.",
        "The uidsToDeactivate.2 must be 1 to 255 visible ASCII characters.",
    ]);
    assert_eq!(complaints.body["error"]["details"]["uidsToDeactivate"], expected);
    let long = json!({"uidsToDeactivate": ["u".repeat(256)]}).to_string();
    gateway.call("DELETE", "/v3/users", &long).await.refused(400, "ERR_BAD_REQUEST", "uidsToDeactivate");
    gateway.call("DELETE", "/v3/users?force=1", &many(1)).await.refused(400, "ERR_BAD_REQUEST", "query");
    gateway.check("bob", Ok(()));
    let expected = json!({"data": {"deactivatedUids": ["bob"]}});
    gateway.call("DELETE", "/v3/users?", &many(1000)).await.expect(200, expected);
}

#[tokio::test]
async fn a_body_that_is_too_large_compressed_or_of_another_type_is_refused() {
    let gateway = Gateway::start(ONE_APP).await;
    let body = r#"{"uidsToDeactivate":["bob"]}"#;
    let padded = |bytes: usize| format!("{body}{}", " ".repeat(bytes - body.len()));
    gateway.call("DELETE", "/v3/users", &padded(1024 * 1024 + 1)).await.refused(413, "ERR_BAD_REQUEST", "");
    let types = ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"];
    for other in types {
        let headers = [KEY, ("Content-Type", other)];
        gateway.send(&request("DELETE", "/v3/users", &headers, body)).await.refused(415, "ERR_BAD_REQUEST", "");
    }
    gateway.send(&request("DELETE", "/v3/users", &[KEY], body)).await.refused(415, "ERR_BAD_REQUEST", "");
    for coding in ["gzip", "identity", "br, gzip"] {
        let headers = [KEY, JSON, ("Content-Encoding", coding)];
        gateway.send(&request("DELETE", "/v3/users", &headers, body)).await.refused(415, "ERR_BAD_REQUEST", "");
    }
    gateway.check("bob", Ok(()));
    assert_eq!(gateway.call("DELETE", "/v3/users", &padded(256 * 1024)).await.status, 200);
}

#[tokio::test]
async fn who_is_refused_early_has_the_answer_whatever_is_still_sent() {
    let gateway = Gateway::start(ONE_APP).await;
    let rest = "x".repeat(512 * 1024);
    let unknown = format!("POST /v3/users HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{rest}", rest.len());
    let wide = format!("GET /v3/users HTTP/1.1\r\nHost: a\r\nA: {rest}\r\n\r\n");
    for (raw, status) in [(unknown, 401), (wide, 431)] {
        let mut stream = gateway.connect().await;
        let (first, rest) = raw.as_bytes().split_at(64 * 1024);
        stream.write_all(first).await.unwrap();
        // It is answered by now, and goes on: all is taken, though none of it is read as anything.
        stream.readable().await.unwrap();
        stream.write_all(rest).await.unwrap();
        let answer = exchange(stream, b"").await;
        assert_eq!((answer.status, answer.answers), (status, 1));
        assert!(answer.head.to_lowercase().contains("\r\nconnection: close\r\n"), "{}", answer.head);
    }
    // A call that was read is no reason to close.
    let mut stream = gateway.connect().await;
    let whole = String::from_utf8(request("GET", "/v3/nothing", &[KEY], "")).unwrap();
    stream.write_all(whole.replace("Connection: close\r\n", "").as_bytes()).await.unwrap();
    let answer = exchange(stream, whole.as_bytes()).await;
    assert_eq!(answer.answers, 2, "{}", answer.text);
}

#[tokio::test]
async fn what_is_ambiguous_or_broken_is_never_two_requests() {
    let gateway = Gateway::start(ONE_APP).await;
    let head = format!("PUT /v3/users HTTP/1.1\r\nHost: a\r\napikey: {FULL_KEY}\r\nContent-Type: application/json\r\n");
    let body = r#"{"uidsToActivate":["bob"]}"#;
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let hidden = String::from_utf8(request("DELETE", "/v3/users/victim", &[KEY], "")).unwrap();
    // After a chunked body the connection ends, whatever lengths stand beside it.
    for framing in ["Transfer-Encoding: chunked\r\n", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"] {
        let answer = gateway.send(format!("{head}{framing}\r\n{chunked}{hidden}").as_bytes()).await;
        assert_eq!((answer.status, answer.answers), (200, 1), "{framing}");
    }
    let broken = [
        format!("{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\n{{}}  {hidden}"),
        format!("{head}Content-Length: +4\r\n\r\n{{}}  {hidden}"),
        format!("{head}Transfer-Encoding: chunked, gzip\r\n\r\n{chunked}{hidden}"),
        format!("{}Transfer-Encoding: chunked\r\n\r\n{chunked}{hidden}", head.replace("1.1", "1.0")),
        format!("{}Content-Length: 0\r\n\r\n{hidden}", head.replace("Host: a\r\n", "")),
        format!("{head}Host: b\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!("{head}A: {}\r\n\r\n{hidden}", "a".repeat(20_000)),
        format!("{head}{}\r\n{hidden}", "A: a\r\n".repeat(100)),
        format!("\u{0}\u{1}\r\n\r\n{hidden}"),
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n".to_owned(),
        "GET http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ];
    for raw in broken {
        let answer = gateway.send(raw.as_bytes()).await;
        assert!(answer.answers <= 1 && !(200..300).contains(&answer.status), "{raw:.300}: {}", answer.text);
        assert!(answer.status < 500, "{raw:.300}: {}", answer.text);
    }
    gateway.check("victim", Ok(()));
    assert_eq!(gateway.call("DELETE", "/v3/users/victim", "").await.status, 200);
}

#[test]
fn every_refusal_has_the_shape_that_clients_know() {
    let error = serde_json::to_value(error::envelope(&ApiError::invalid("uid", "The uid field is required."))).unwrap();
    let expected = json!({"error": {
        "message": "Failed to validate the data sent with the request.",
        "source": "mediagate",
        "code": "ERR_BAD_REQUEST",
        "details": {"uid": ["The uid field is required."]},
    }});
    assert_eq!(error, expected);
    let bare = serde_json::to_value(error::envelope(&ApiError::NotFound)).unwrap();
    assert_eq!(bare["error"].get("details"), None::<&Value>);
}

//! What SDKs send, and the answers that they need, byte for byte where they look at bytes.

use serde_json::json;

use super::gateway::{Gateway, MEDIA_HOST, as_it_is, on_each, storage, text};
use crate::support::client::request;
use crate::support::now;

/// The fields of a preflight for a call with `method` and `headers`.
fn preflight<'a>(method: &'a str, headers: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("Origin", "https://chat.demo.example"),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", headers),
    ]
}

/// Whether a preflight's answer allows `method` and each of `headers`.
#[track_caller]
fn allows(answer: &crate::support::client::Response, method: &str, headers: &str) {
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
    let list = |name: &str| answer.header(name).unwrap_or_default().to_ascii_lowercase();
    let (methods, allowed) = (list("access-control-allow-methods"), list("access-control-allow-headers"));
    assert!(methods.split(", ").any(|allowed| allowed.eq_ignore_ascii_case(method)), "{methods}");
    assert!(headers.split(',').all(|header| allowed.split(", ").any(|allowed| allowed == header)), "{allowed}");
}

/// A login as SDKs make it: `PUT /me` with these headers and this body.
fn login(gateway: &Gateway, token: &str) -> crate::support::client::Response {
    let body = json!({ "platform": "javascript", "deviceId": "d-1", "appInfo": { "version": "4.1.7", "origin": "o" } });
    let fields = [
        ("appId", "demo"),
        ("authToken", token),
        ("resource", "WEB-4_1_7-d-1"),
        ("sdk", "javascript@4.1.7"),
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("Origin", "https://chat.demo.example"),
    ];
    gateway.send("PUT", "/v3.0/me", &fields, &body.to_string())
}

#[test]
fn sdks_log_in_refresh_and_log_out() {
    on_each(storage, as_it_is, |gateway| {
        gateway.register(&["ann"]);
        for (method, path) in [("PUT", "/v3.0/me"), ("GET", "/v3.0/settings"), ("POST", "/v3.0/user_sessions")] {
            let headers = "appid,authtoken,content-type,resource,sdk";
            let answer = gateway.send("OPTIONS", path, &preflight(method, headers), "");
            allows(&answer, method, headers);
        }
        // `login(uid, authKey)` is this call first, without a body, whatever it is called.
        let form =
            [("apiKey", crate::support::process::API_KEY), ("Content-Type", "application/x-www-form-urlencoded")];
        let made = gateway.send("POST", "/v3.0/users/Ann/auth_tokens", &form, "").json()["data"].take();
        let token = text(&made["authToken"]);
        assert_eq!(made["uid"], "ann");
        let digits = token.strip_prefix("ann_").expect("the uid first");
        assert!(digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
        assert!(digits[..10].parse::<u64>().is_ok_and(|at| (now() - 60..=now()).contains(&at)), "{token}");

        let answer = login(&gateway, &token);
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (200, Some("*")),
            "{}",
            answer.text()
        );
        let mut data = answer.json()["data"].take();
        let fat = text(&data["fat"].take());
        assert!(!fat.contains('%'), "SDKs decode it once in headers, and not in queries");
        assert!(data["createdAt"].take().is_u64() && data["fatExpiresAt"].take().as_u64() > Some(now()));
        let hosts = json!({
            "CLIENT_API_HOST": gateway.process.control.to_string(),
            "CHAT_API_VERSION": "v3.0",
            "SECURED_MEDIA_HOST": MEDIA_HOST,
        });
        let expected = json!({
            "uid": "ann", "name": "ann of demo", "role": "default", "status": "available", "authToken": token,
            "settings": hosts, "fat": null, "createdAt": null, "fatExpiresAt": null,
        });
        assert_eq!(data, expected);
        let settings = gateway.send("GET", "/v3.0/settings", &[("appId", "demo"), ("authToken", &token)], "");
        assert_eq!(settings.json(), json!({ "data": hosts }));
        let told = gateway.send(
            "POST",
            "/v3.0/user_sessions",
            &[("appId", "demo"), ("authToken", &token), ("Content-Type", "application/json")],
            r#"{"anything":[1,{"of":"its own"}]}"#,
        );
        assert_eq!(told.status, 200, "{}", told.text());

        // Embedded, by header, as presigned URL; from pages of other sites.
        allows(&request(gateway.process.media, "OPTIONS", "/demo/a.jpg", &preflight("GET", "fat")), "GET", "fat");
        let refreshed = text(&gateway.me("GET", &token).json()["data"]["fat"]);
        for fat in [&fat, &refreshed] {
            assert_eq!(gateway.opens(&format!("/demo/a.jpg?fat={fat}"), &[]).0, 200);
            assert_eq!(gateway.opens("/demo/a.jpg", &[("fat", fat)]).0, 200);
            let url = gateway.open("/demo/a.jpg?redirect=0", &[("fat", fat)]).json()["data"]["url"].take();
            assert_eq!(gateway.opens(&text(&url), &[]).0, 200);
        }
        let out = gateway.me("DELETE", &token);
        assert_eq!(out.json(), json!({ "data": { "success": true, "message": "Logged out successfully." } }));
        for fat in [&fat, &refreshed] {
            let refused = gateway.open("/demo/a.jpg", &[("fat", fat)]);
            assert_eq!((refused.status, refused.code().as_str()), (403, "ERR_SESSION_REVOKED"));
            assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
        }
        let refused = login(&gateway, &token);
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some("*")));
        let error = &refused.json()["error"];
        assert_eq!(error["code"], "AUTH_ERR_AUTH_TOKEN_NOT_FOUND");
        assert!(error["message"].is_string() && error["details"].is_null());
    });
}

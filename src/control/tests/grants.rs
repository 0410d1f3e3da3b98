//! What is issued to users and services, and how an app is set: FATs, presigned URLs, API keys, the switch.

use serde_json::Value;

use super::harness::SIGN_UP_KEY;
use super::resources::fat_of;
use super::*;

const SIGN_UP: (&str, &str) = ("apikey", SIGN_UP_KEY);

#[tokio::test]
async fn each_receiver_gets_a_link_of_their_own() {
    let gateway = Gateway::start(ONE_APP).await;
    gateway.call("DELETE", "/v3/users/eve", "").await;
    let url = "https://files.acme.example/acme/media/7/a%20b.jpg";
    let body = json!({"uids": ["bob", "Carol", "eve", "nobody", "a b"], "url": url, "ttl": 60}).to_string();
    let answer = gateway.call("POST", "/v3/fats", &body).await;
    let data = &answer.body["data"];
    assert_eq!(data["notFound"], json!(["eve", "nobody", "a b"]));
    for (at, uid) in ["bob", "carol"].into_iter().enumerate() {
        let issued = &data["fats"][at];
        let fat = issued["fat"].as_str().unwrap();
        assert_eq!((issued["uid"].as_str(), issued["url"].as_str()), (Some(uid), Some(&*format!("{url}?fat={fat}"))));
        let claims: Value = serde_json::from_str(&crate::gate::unverified_payload(fat).unwrap()).unwrap();
        assert_eq!((&claims["sub"], &claims["path"]), (&json!(uid), &json!(["/acme/media/7/a%20b.jpg"])));
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    }
    for (field, body) in [
        ("uids", json!({})),
        ("uids", json!({"uids": "bob"})),
        ("uids", json!({"uids": vec!["bob"; 1001]})),
        ("ttl", json!({"uids": ["bob"], "ttl": 3601})),
        ("ttl", json!({"uids": ["bob"], "ttl": 0})),
        ("ttl", json!({"uids": ["bob"], "ttl": "60"})),
        ("path", json!({"uids": ["bob"], "path": "/other/a.jpg"})),
        ("path", json!({"uids": ["bob"], "path": ["../a.jpg"]})),
        ("url", json!({"uids": ["bob"], "url": "https://files.acme.example/other/a.jpg"})),
        ("url", json!({"uids": ["bob"], "url": "https://files.acme.example/acme/a.jpg?x=1"})),
        ("url", json!({"uids": ["bob"], "url": "https://files.acme.example/acme/../a.jpg"})),
    ] {
        gateway.call("POST", "/v3/fats", &body.to_string()).await.refused(400, "ERR_BAD_REQUEST", field);
    }
}

#[tokio::test]
async fn api_keys_are_shown_once_and_are_of_their_app() {
    let gateway = Gateway::start(TWO_APPS).await;
    let to = |app, key| [("apikey", key), JSON, ("appId", app)];
    let make = |body: &'static str| request("POST", "/v3/apikeys", &to("acme", FULL_KEY), body);
    let made = gateway.send(&make(r#"{"name":"worker","scope":"fullAccess"}"#)).await;
    let (key, id) = (made.body["data"]["apiKey"].as_str().unwrap(), made.body["data"]["id"].as_str().unwrap());
    assert!(
        gateway.set.service("acme", &crate::control::api_key::hash(key)).is_some()
            && gateway.set.service("exact", &crate::control::api_key::hash(key)).is_none()
    );
    let list = |key: &str, app| {
        let raw = request("GET", "/v3/users?perPage=1", &[("apikey", key), ("appId", app)], "");
        let gateway = &gateway;
        async move { gateway.send(&raw).await }
    };
    assert_eq!(list(key, "acme").await.status, 200);
    list(key, "exact").await.refused(400, "AUTH_ERR_INVALID_APPID", "");
    // The app is the key's own where the call names none.
    assert_eq!(gateway.send(&request("GET", "/v3/users", &[("apikey", key)], "")).await.status, 200);
    let keys = gateway.send(&request("GET", "/v3/apikeys", &to("acme", FULL_KEY), "")).await;
    assert!(!keys.text.contains(key) && keys.text.contains(id));
    list(id, "acme").await.refused(401, "AUTH_ERR_APIKEY_NOT_FOUND", "");
    let target = format!("/v3/apikeys/{id}");
    gateway.send(&request("DELETE", &target, &to("acme", key), "")).await.refused(400, "ERR_APIKEY_NO_SELF_ACTION", "");
    let renamed = gateway.send(&request("PUT", &target, &to("acme", FULL_KEY), r#"{"name":"w2"}"#)).await;
    assert_eq!(renamed.body["data"]["name"], "w2");
    assert_eq!(gateway.send(&request("DELETE", &target, &to("acme", FULL_KEY), "")).await.status, 200);
    list(key, "acme").await.refused(401, "AUTH_ERR_APIKEY_NOT_FOUND", "");
    assert_eq!(gateway.set.service("acme", &crate::control::api_key::hash(key)), None);
    gateway.send(&request("DELETE", &target, &to("acme", FULL_KEY), "")).await.refused(404, "ERR_APIKEY_NOT_FOUND", "");

    for bad in [r#"{"name":"x","scope":"root"}"#, r#"{"name":"x"}"#] {
        gateway.send(&make(bad)).await.refused(400, "ERR_BAD_REQUEST", "scope");
    }
    for _ in 0..25 {
        assert_eq!(gateway.send(&make(r#"{"name":"x","scope":"authOnly"}"#)).await.status, 200);
    }
    gateway.send(&make(r#"{"name":"x","scope":"authOnly"}"#)).await.refused(400, "ERR_BAD_REQUEST", "name");
}

#[tokio::test]
async fn a_sign_up_key_makes_users_and_auth_tokens_and_nothing_else() {
    let gateway = Gateway::start(ONE_APP).await;
    let call = |method, target, body| {
        let raw = request(method, target, &[SIGN_UP, JSON], body);
        let gateway = &gateway;
        async move { gateway.send(&raw).await }
    };
    let made = call("POST", "/v3/users", r#"{"uid":"zoe","name":"Zoe","withAuthToken":true}"#).await;
    let token = made.body["data"]["authToken"].as_str().unwrap().to_owned();
    assert_eq!(gateway.me("PUT", &token).await.status, 200);
    assert_eq!(call("POST", "/v3/users/zoe/auth_tokens", r#"{"force":true}"#).await.status, 200);
    for (method, target, body) in [
        ("GET", "/v3/users", ""),
        ("GET", "/v3/users/zoe", ""),
        ("PUT", "/v3/users/zoe", "{}"),
        ("DELETE", "/v3/users/zoe", ""),
        ("DELETE", "/v3/users", r#"{"uidsToDeactivate":["zoe"]}"#),
        ("PUT", "/v3/users", r#"{"uidsToActivate":["zoe"]}"#),
        ("GET", "/v3/users/zoe/auth_tokens", ""),
        ("DELETE", "/v3/users/zoe/auth_tokens", ""),
        ("GET", "/v3/users/zoe/auth_tokens/x", ""),
        ("PUT", "/v3/users/zoe/auth_tokens/x", "{}"),
        ("DELETE", "/v3/users/zoe/auth_tokens/x", ""),
        ("POST", "/v3/users/zoe/fat", ""),
        ("POST", "/v3/fats", r#"{"uids":["zoe"]}"#),
        ("GET", "/v3/apikeys", ""),
        ("POST", "/v3/apikeys", "{}"),
        ("GET", "/v3/apikeys/x", ""),
        ("PUT", "/v3/apikeys/x", "{}"),
        ("DELETE", "/v3/apikeys/x", ""),
        ("POST", "/v3/restrictions", "{}"),
        ("DELETE", "/v3/restrictions", "{}"),
        ("GET", "/v3/nodes", ""),
    ] {
        call(method, target, body).await.refused(403, "AUTH_ERR_NO_ACCESS", "");
    }
    // Who is deactivated stays so, whoever registers the uid.
    gateway.call("DELETE", "/v3/users/mallory", "").await;
    let made = call("POST", "/v3/users", r#"{"uid":"mallory","name":"M"}"#).await;
    assert_eq!(made.body["data"]["deactivated"], true);
    call("POST", "/v3/users/mallory/auth_tokens", "").await.refused(404, "ERR_UID_NOT_FOUND", "");
}

#[tokio::test]
async fn pages_of_other_sites_reach_what_users_call_and_nothing_else() {
    let gateway = Gateway::start(ONE_APP).await;
    let asks = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "PUT")];
    for (target, open) in [
        ("/v3.0/me", true),
        ("/v3/settings", true),
        ("/v3/user_sessions", true),
        ("/v3/users/bob/auth_tokens", true),
        ("/v3/users", false),
        ("/v3/users/bob", false),
        ("/v3/apikeys", false),
        ("/v3/nodes", false),
    ] {
        let answer = gateway.send(&request("OPTIONS", target, &asks, "")).await;
        assert_eq!(answer.head.contains("access-control-allow-origin: *\r\n"), open, "{target}: {}", answer.head);
        if open {
            assert_eq!(answer.status, 204);
            assert!(answer.head.contains("authtoken, content-type, resource, sdk"), "{}", answer.head);
        }
    }
    for raw in [request("GET", "/v3/me", &[], ""), request("GET", "/v3/me", &[("authToken", "x")], "")] {
        let refused = gateway.send(&raw).await;
        assert!(refused.status == 401 && refused.head.contains("access-control-allow-origin: *\r\n"));
    }
}

#[tokio::test]
async fn the_switch_goes_one_way_and_reaches_the_nodes() {
    let gateway = Gateway::start(ONE_APP).await;
    let app = |access, prefixes: &[&str]| json!({"data": {"id": "acme", "access": access, "configuredAccess": "off", "publicPrefixes": prefixes}});
    gateway.call("GET", "/v3/app", "").await.expect(200, app("off", &[]));
    for (body, expected) in [
        (r#"{"access":"observe"}"#, app("observe", &[])),
        (r#"{"access":"off"}"#, app("off", &[])),
        (r#"{"access":"observe","publicPrefixes":["b/","a/c/"]}"#, app("observe", &["a/c/", "b/"])),
        (r#"{"access":"enforce"}"#, app("enforce", &["a/c/", "b/"])),
        (r#"{"publicPrefixes":["b/"]}"#, app("enforce", &["b/"])),
        ("{}", app("enforce", &["b/"])),
    ] {
        gateway.call("PUT", "/v3/app", body).await.expect(200, expected);
    }
    for down in ["off", "observe"] {
        let body = format!(r#"{{"access":"{down}","tokenizedSince":5}}"#);
        gateway.call("PUT", "/v3/app", &body).await.refused(409, "ERR_ACCESS_STEP_DOWN", "");
    }
    assert!(gateway.set.app_settings("acme").is_enforced && !gateway.set.app_settings("acme").is_observed);
    assert!(gateway.set.is_exempt("acme", "b/x.jpg") && !gateway.set.is_exempt("acme", "a/c/x.jpg"));
    assert_eq!(gateway.set.app_settings("acme").tokenized_since, None);
    let dated = gateway.call("PUT", "/v3/app", r#"{"tokenizedSince":1767225600}"#).await;
    assert_eq!(dated.body["data"]["tokenizedSince"], 1_767_225_600);
    assert_eq!(gateway.set.app_settings("acme").tokenized_since, Some(1_767_225_600));
    gateway.call("PUT", "/v3/app", r#"{"tokenizedSince":0}"#).await.expect(200, app("enforce", &["b/"]));
    for (field, body) in [
        ("access", r#"{"access":"on"}"#),
        ("access", r#"{"access":1}"#),
        ("publicPrefixes", r#"{"publicPrefixes":["/"]}"#),
        ("publicPrefixes", r#"{"publicPrefixes":["a/../b/"]}"#),
        ("publicPrefixes", r#"{"publicPrefixes":["a"]}"#),
        ("publicPrefixes", r#"{"publicPrefixes":"a/"}"#),
        ("tokenizedSince", r#"{"tokenizedSince":-1}"#),
        ("storage", r#"{"storage":"main"}"#),
    ] {
        gateway.call("PUT", "/v3/app", body).await.refused(400, "ERR_BAD_REQUEST", field);
    }
}

#[tokio::test]
async fn an_app_that_could_verify_nothing_is_not_switched_on() {
    let gateway = Gateway::start(&[("keyless", UidCase::Folded)]).await;
    for access in ["observe", "enforce"] {
        let body = format!(r#"{{"access":"{access}"}}"#);
        gateway.call("PUT", "/v3/app", &body).await.refused(409, "ERR_NO_VERIFYING_KEY", "");
    }
    assert_eq!(gateway.call("PUT", "/v3/app", r#"{"access":"off"}"#).await.status, 200);
}

#[tokio::test]
async fn urls_are_presigned_many_at_a_time() {
    let gateway = Gateway::start(ONE_APP).await;
    gateway.call("PUT", "/v3/app", r#"{"access":"enforce"}"#).await;
    let urls = [
        "http://files.example/acme/a.jpg",
        "http://files.example/other/a.jpg",
        "nonsense",
        "http://files.example/acme/a.jpg?x",
    ];
    let body = json!({"uid": "BOB", "urls": urls}).to_string();
    let answer = gateway.call("POST", "/v3/presign", &body).await;
    let signed = answer.body["data"]["urls"].as_array().unwrap().clone();
    assert_eq!(signed.iter().map(|one| one["url"].as_str().unwrap()).collect::<Vec<_>>(), urls);
    let url = signed[0]["presigned"].as_str().unwrap();
    assert!(url.starts_with("http://files.example/acme/a.jpg?Expires=") && url.contains("Uid=bob"), "{url}");
    assert!(signed[0]["expiresAt"].is_u64());
    assert!(signed[1..].iter().all(|one| one["error"].is_string() && one["presigned"].is_null()), "{signed:?}");
    assert_eq!(gateway.call("POST", "/v3/presign", &body).await.body["data"]["urls"][0], signed[0]);
    assert_eq!(gateway.metrics.presigned_urls.get(), 2, "one a call");

    let explain = async |url: &str| {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("url", url).finish();
        gateway.call("GET", &format!("/v3/explain?{query}"), "").await.body["data"].clone()
    };
    let good = explain(url).await;
    assert_eq!(
        (&good["admitted"], &good["uid"], &good["credential"]),
        (&json!(true), &json!("bob"), &json!("presigned"))
    );
    gateway.call("DELETE", "/v3/users/bob", "").await;
    gateway.call("POST", "/v3/presign", &body).await.refused(404, "ERR_UID_NOT_FOUND", "");
    let dead = explain(url).await;
    assert_eq!((&dead["status"], &dead["reason"]), (&json!(403), &json!("user_deactivated")));
    let forged = explain(&url.replace("a.jpg", "b.jpg")).await;
    assert_eq!(forged["reason"], "url_invalid");

    for (field, body) in [
        ("urls", json!({"uid": "carol"})),
        ("urls", json!({"uid": "carol", "urls": vec!["http://files.example/acme/a.jpg"; 1001]})),
        ("urls", json!({"uid": "carol", "urls": [1]})),
        ("uid", json!({"urls": []})),
    ] {
        gateway.call("POST", "/v3/presign", &body.to_string()).await.refused(400, "ERR_BAD_REQUEST", field);
    }
}

#[tokio::test]
async fn an_explanation_says_why_and_shows_no_token() {
    let gateway = Gateway::start(ONE_APP).await;
    gateway.call("PUT", "/v3/app", r#"{"access":"observe"}"#).await;
    let explain = async |url: &str| {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("url", url).finish();
        gateway.call("GET", &format!("/v3/explain?{query}"), "").await
    };
    let plain = explain("https://files.example/acme/a%20b.jpg").await;
    let expected = json!({"data": {"admitted": true, "status": 200, "reason": "ok", "observed": "token_missing",
        "access": "observe", "app": "acme", "object": "acme/a b.jpg"}});
    plain.expect(200, expected);
    gateway.call("PUT", "/v3/app", r#"{"access":"enforce"}"#).await;
    let fat = fat_of(&gateway.call("POST", "/v3/users/bob/fat", "").await);
    let refused = explain(&format!("https://files.example/acme/a.jpg?fat={fat}x")).await;
    assert_eq!(
        (&refused.body["data"]["admitted"], &refused.body["data"]["code"]),
        (&json!(false), &json!("ERR_FAT_INVALID"))
    );
    assert!(!refused.text.contains(&fat[..20]));
    for bad in ["", "acme/a.jpg", "/acme/a.jpg", "ftp://files.example/acme/a.jpg"] {
        explain(bad).await.refused(400, "ERR_BAD_REQUEST", "url");
    }
    assert_eq!(explain("https://files.example/nobody/a.jpg").await.body["data"]["reason"], "app_unknown");
    let raw = request("GET", "/v3/explain?url=https%3A%2F%2Ff%2Facme%2Fa.jpg", &[KEY, ("appId", "nobody")], "");
    gateway.send(&raw).await.refused(400, "AUTH_ERR_INVALID_APPID", "");
    // Names that no database takes.
    let nul = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhXHUwMDAwYiIsInNpZCI6Ilx1MDAwMCIsImp0aSI6IlxuIn0.AAAA";
    assert_eq!(explain(&format!("https://files.example/acme/a.jpg?fat={nul}")).await.status, 200);
}

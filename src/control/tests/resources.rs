//! Users, auth tokens and logins, as platforms and their clients call for them.

use serde_json::Value;

use super::*;
use crate::store::auth_tokens::LIVE_TOKENS;

impl Gateway {
    pub(super) async fn me(&self, method: &str, token: &str) -> Answer {
        self.send(&request(method, "/v3.0/me", &[("authToken", token), ("appId", "acme"), JSON], "{}")).await
    }

    pub(super) async fn auth_token(&self, uid: &str) -> String {
        let made = self.call("POST", &format!("/v3/users/{uid}/auth_tokens"), "").await;
        assert_eq!(made.status, 200, "{}", made.text);
        made.body["data"]["authToken"].as_str().unwrap().to_owned()
    }

    /// What the set says of the token `fat` of `uid`.
    fn alive(&self, fat: &str) -> Result<(), Restricted> {
        let claims: Value = serde_json::from_str(&crate::gate::unverified_payload(fat).unwrap()).unwrap();
        let text = |name: &str| claims[name].as_str();
        let subject = self.set.subject("acme", text("sub").unwrap(), text("sid"), text("jti"), claims["iat"].as_u64());
        self.set.check(&subject)
    }
}

pub(super) fn fat_of(answer: &Answer) -> String {
    answer.body["data"]["fat"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

#[tokio::test]
async fn a_user_is_registered_shown_changed_and_forgotten() {
    let gateway = Gateway::start(ONE_APP).await;
    let zoe = r#"{"uid":"Zoe","name":"Zoë","avatar":"https://cdn.example/z.png","metadata":{"a":[1,"\u0000"]},
                  "tags":["x","100%"],"statusMessage":"hi"}"#;
    let created = gateway.call("POST", "/v3/users", zoe).await;
    assert_eq!(created.status, 200, "{}", created.text);
    let mut user = created.body["data"].clone();
    assert!(user["createdAt"].as_u64().unwrap() > 1_700_000_000);
    user.as_object_mut().unwrap().remove("createdAt");
    let expected = json!({"uid": "zoe", "name": "Zoë", "avatar": "https://cdn.example/z.png", "role": "default",
        "metadata": {"a": [1, "\u{0}"]}, "tags": ["x", "100%"], "statusMessage": "hi", "status": "offline"});
    assert_eq!(user, expected);
    gateway.call("POST", "/v3/users", zoe).await.refused(400, "ERR_UID_ALREADY_EXISTS", "");
    assert_eq!(gateway.call("GET", "/v3.0/users/ZOE", "").await.body, created.body);

    let changed = r#"{"name":"Z","unset":["avatar","tags"],"role":"admin"}"#;
    let changed = gateway.call("PUT", "/v3/users/zoe", changed).await.body["data"].clone();
    assert_eq!(
        (&changed["name"], &changed["role"], &changed["avatar"], &changed["tags"]),
        (&json!("Z"), &json!("admin"), &json!(null), &json!(null))
    );
    assert!(changed["updatedAt"].is_u64());
    for (method, body) in [("GET", ""), ("PUT", "{}")] {
        gateway.call(method, "/v3/users/nobody", body).await.refused(404, "ERR_UID_NOT_FOUND", "");
    }

    let token = gateway.auth_token("zoe").await;
    let fat = fat_of(&gateway.me("PUT", &token).await);
    let gone = gateway.call("DELETE", "/v3/users/zoe", r#"{"permanent":true}"#).await;
    gone.expect(200, json!({"data": {"success": true, "message": "User with zoe has been deleted successfully."}}));
    assert_eq!(gateway.alive(&fat), Err(Restricted::IssuedBefore));
    gateway.me("GET", &token).await.refused(401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND", "");
    gateway.call("GET", "/v3/users/zoe", "").await.refused(404, "ERR_UID_NOT_FOUND", "");
    // Registered again, the user is another one: what was issued to the first is dead, the second lives at once.
    gateway.call("POST", "/v3/users", r#"{"uid":"zoe","name":"Zoe"}"#).await;
    let token = gateway.auth_token("zoe").await;
    assert_eq!(gateway.alive(&fat_of(&gateway.me("PUT", &token).await)), Ok(()));
    assert_eq!(gateway.alive(&fat), Err(Restricted::IssuedBefore));
}

#[tokio::test]
async fn what_a_user_cannot_be_is_said_field_by_field() {
    let gateway = Gateway::start(ONE_APP).await;
    let empty = gateway.call("POST", "/v3/users", "{}").await;
    empty.refused(400, "ERR_BAD_REQUEST", "uid");
    assert_eq!(empty.body["error"]["details"]["uid"][0], "The uid field is required.");
    assert_eq!(empty.body["error"]["details"]["name"][0], "The name field is required.");
    for (field, value) in [
        ("uid", json!("with space")),
        ("uid", json!(7)),
        ("name", json!("")),
        ("name", json!("n".repeat(101))),
        ("name", json!("a\u{0}b")),
        ("avatar", json!("javascript:alert(1)")),
        ("avatar", json!("/relative")),
        ("link", json!(format!("https://x.example/{}", "a".repeat(3000)))),
        ("metadata", json!("[]")),
        ("metadata", json!({"a": "x".repeat(6000)})),
        ("tags", json!(vec!["x"; 26])),
        ("tags", json!([1])),
        ("withAuthToken", json!("yes")),
        ("role", json!([])),
        ("isAdmin", json!(true)),
        ("createdAt", json!(1)),
        ("deactivated", json!(false)),
    ] {
        let mut body = json!({"uid": "zoe", "name": "Zoe"});
        body[field] = value;
        gateway.call("POST", "/v3/users", &body.to_string()).await.refused(400, "ERR_BAD_REQUEST", field);
    }
    gateway.call("PUT", "/v3/users/bob", r#"{"unset":["uid"]}"#).await.refused(400, "ERR_BAD_REQUEST", "unset");
    gateway.call("PUT", "/v3/users/bob", r#"{"uid":"eve"}"#).await.refused(400, "ERR_BAD_REQUEST", "uid");
    gateway.call("GET", "/v3/users/zoe", "").await.refused(404, "ERR_UID_NOT_FOUND", "");
}

#[tokio::test]
async fn lists_have_pages_and_find_what_they_are_asked_for() {
    let gateway = Gateway::start(ONE_APP).await;
    for (uid, name, role, tags) in
        [("u1", "Anna_1", "a", r#"["x"]"#), ("u2", "Anna%2", "b", r#"["x","y"]"#), ("u3", "Bert", "a", "[]")]
    {
        let body = format!(r#"{{"uid":"{uid}","name":"{name}","role":"{role}","tags":{tags}}}"#);
        assert_eq!(gateway.call("POST", "/v3/users", &body).await.status, 200);
    }
    gateway.call("DELETE", "/v3/users", r#"{"uidsToDeactivate":["u2"]}"#).await;
    for (query, expected) in [
        ("searchKey=u", vec!["u1", "u3"]),
        ("searchKey=ANNA&withDeactivated=true", vec!["u1", "u2"]),
        ("searchKey=anna_", vec!["u1"]),
        ("searchKey=anna%25&onlyDeactivated=true", vec!["u2"]),
        ("searchKey=nn", vec![]),
        ("onlyDeactivated=1", vec!["u2"]),
        ("role=a", vec!["u1", "u3"]),
        ("roles=a,b&withDeactivated=true", vec!["u1", "u2", "u3"]),
        ("tags=x&withDeactivated=true", vec!["u1", "u2"]),
        ("tags=x,y&withDeactivated=true&withTags=true", vec!["u2"]),
        ("status=available", vec![]),
        ("searchKey=u&perPage=1&page=2", vec!["u3"]),
        ("searchKey=u&page=1000000", vec![]),
    ] {
        let answer = gateway.call("GET", &format!("/v3/users?{query}"), "").await;
        let uids: Vec<&str> =
            answer.body["data"].as_array().unwrap().iter().map(|user| user["uid"].as_str().unwrap()).collect();
        assert_eq!(uids, expected, "{query}");
    }
    let meta = gateway.call("GET", "/v3/users?searchKey=u&perPage=1", "").await.body["meta"].clone();
    let expected = json!({"pagination": {"total": 2, "count": 1, "per_page": 1, "current_page": 1, "total_pages": 2}});
    assert_eq!(meta, expected);
    for (query, field) in [
        ("page=0", "page"),
        ("page=1000001", "page"),
        ("page=-1", "page"),
        ("perPage=1001", "perPage"),
        ("onlyDeactivated=maybe", "onlyDeactivated"),
        ("status=away", "status"),
        ("searchIn=password", "searchIn"),
        ("sort=uid", "query"),
    ] {
        gateway.call("GET", &format!("/v3/users?{query}"), "").await.refused(400, "ERR_BAD_REQUEST", field);
    }
}

#[tokio::test]
async fn a_login_gives_a_fat_that_dies_with_its_session() {
    let gateway = Gateway::start(ONE_APP).await;
    let (first, second) = (gateway.auth_token("bob").await, gateway.auth_token("bob").await);
    assert!(first.starts_with("bob_1") && first.len() == "bob_".len() + 10 + 30);
    let login = gateway.me("PUT", &first).await;
    let data = &login.body["data"];
    assert_eq!((login.status, &data["uid"], &data["authToken"]), (200, &json!("bob"), &json!(first)));
    let settings = json!({"CLIENT_API_HOST": "gate.example", "CHAT_API_VERSION": "v3.0", "SECURED_MEDIA_HOST": "files.acme.example"});
    let off = json!({"CLIENT_API_HOST": "gate.example", "CHAT_API_VERSION": "v3.0"});
    // The harness's apps ask for no tokens, so clients are not to append them.
    assert!(data["settings"] == off || data["settings"] == settings, "{}", data["settings"]);
    let (one, two) = (fat_of(&login), fat_of(&gateway.me("GET", &second).await));
    assert_eq!((gateway.alive(&one), gateway.alive(&two)), (Ok(()), Ok(())));

    let deleted = gateway.call("DELETE", &format!("/v3/users/bob/auth_tokens/{first}"), "").await;
    assert_eq!((deleted.status, &deleted.body["data"]["success"]), (200, &json!(true)));
    assert_eq!((gateway.alive(&one), gateway.alive(&two)), (Err(Restricted::Session), Ok(())));
    gateway.me("GET", &first).await.refused(401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND", "");
    let again = gateway.call("DELETE", &format!("/v3/users/bob/auth_tokens/{first}"), "").await;
    again.refused(404, "ERR_AUTH_TOKEN_NOT_FOUND", "");

    // Not forgotten before a URL that was made with the last FAT of the session is dead, too.
    let longest = 3600 + super::harness::PRESIGNED_TTL.as_secs();
    let now = crate::relay::now_secs();
    assert_eq!(gateway.store.expired(now + longest, 10).await.unwrap(), []);
    assert_eq!(gateway.store.expired(now + longest + 3600, 10).await.unwrap().len(), 1);

    let third = fat_of(&gateway.me("GET", &gateway.auth_token("bob").await).await);
    let out = gateway.me("DELETE", &second).await;
    assert_eq!((out.status, &out.body["data"]["success"]), (200, &json!(true)));
    assert_eq!((gateway.alive(&two), gateway.alive(&third)), (Err(Restricted::Session), Ok(())));
    gateway.me("DELETE", &second).await.refused(401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND", "");
}

#[tokio::test]
async fn a_flush_kills_what_was_issued_and_not_what_comes_after() {
    let gateway = Gateway::start(ONE_APP).await;
    let token = gateway.auth_token("bob").await;
    let (of_session, bare) =
        (fat_of(&gateway.me("PUT", &token).await), fat_of(&gateway.call("POST", "/v3/users/bob/fat", "").await));
    let other = fat_of(&gateway.call("POST", "/v3/users/carol/fat", "").await);
    let flushed = gateway.call("DELETE", "/v3/users/bob/auth_tokens", "").await;
    flushed.expect(200, json!({"data": {"success": true, "message": "Cleared Auth Tokens successfully for uid bob."}}));
    assert!(gateway.alive(&of_session).is_err() && gateway.alive(&bare).is_err());
    assert_eq!(gateway.alive(&other), Ok(()));
    gateway.me("GET", &token).await.refused(401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND", "");
    // At once, within the same second.
    let token = gateway.auth_token("bob").await;
    assert_eq!(gateway.alive(&fat_of(&gateway.me("PUT", &token).await)), Ok(()));
    assert_eq!(gateway.alive(&fat_of(&gateway.call("POST", "/v3/users/bob/fat", "").await)), Ok(()));
    gateway.call("DELETE", "/v3/users/nobody/auth_tokens", "").await.refused(404, "ERR_UID_NOT_FOUND", "");
    let wrong = gateway.call("DELETE", "/v3/users/bob/auth_tokens", r#"{"force":1}"#).await;
    wrong.refused(400, "ERR_BAD_REQUEST", "force");
}

#[tokio::test]
async fn a_deactivated_user_neither_logs_in_nor_gets_a_fat() {
    let gateway = Gateway::start(ONE_APP).await;
    let token = gateway.auth_token("bob").await;
    gateway.call("DELETE", "/v3/users/bob", "").await;
    gateway.me("PUT", &token).await.refused(401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND", "");
    for target in
        ["/v3/users/bob/auth_tokens", "/v3/users/bob/fat", "/v3/users/nobody/auth_tokens", "/v3/users/nobody/fat"]
    {
        gateway.call("POST", target, "").await.refused(404, "ERR_UID_NOT_FOUND", "");
    }
    gateway.call("PUT", "/v3/users", r#"{"uidsToActivate":["bob"]}"#).await;
    assert_eq!(gateway.me("PUT", &token).await.status, 200);
}

#[tokio::test]
async fn the_newest_hundred_auth_tokens_live() {
    let gateway = Gateway::start(ONE_APP).await;
    let mut tokens = Vec::new();
    for _ in 0..=LIVE_TOKENS {
        tokens.push(gateway.auth_token("bob").await);
    }
    gateway.me("GET", &tokens[0]).await.refused(401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND", "");
    assert_eq!(gateway.me("GET", &tokens[1]).await.status, 200);
    let list = gateway.call("GET", "/v3/users/bob/auth_tokens?perPage=10&page=10", "").await;
    assert_eq!(list.body["meta"]["pagination"]["total"], 100);
    assert_eq!(list.body["data"].as_array().unwrap().len(), 10);
    assert!(tokens.iter().all(|token| !list.text.contains(token)), "a token is shown once");
    // What the list shows is good for calls and not for a login.
    let sid = list.body["data"][9]["authToken"].as_str().unwrap().to_owned();
    gateway.me("GET", &sid).await.refused(401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND", "");
    assert_eq!(gateway.call("DELETE", &format!("/v3/users/bob/auth_tokens/{sid}"), "").await.status, 200);
    gateway.me("GET", &tokens[1]).await.refused(401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND", "");
    let one = format!("/v3/users/bob/auth_tokens/{}", tokens[2]);
    let changed = gateway.call("PUT", &one, r#"{"platform":"ios","userAgent":"x","appInfo":{"v":1}}"#).await;
    assert_eq!(changed.body["data"]["appInfo"], json!({"v": 1}));
    assert_eq!(gateway.call("GET", &one, "").await.body, changed.body);
    let others = one.replace("bob", "carol");
    gateway.call("GET", &others, "").await.refused(404, "ERR_AUTH_TOKEN_NOT_FOUND", "");
}

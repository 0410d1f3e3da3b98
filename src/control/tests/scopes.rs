//! Restrictions of every scope, nodes and receipts.

use serde_json::json;

use super::harness::{PRESIGNED_TTL, SIGN_UP_KEY, request};
use super::{Gateway, JSON, ONE_APP};
use crate::restrictions::Restricted;

#[tokio::test]
async fn each_scope_is_restricted_and_lifted_by_its_id() {
    let gateway = Gateway::start(ONE_APP).await;
    let check = |expected| {
        let subject = gateway.set.subject("acme", "bob", Some("s1"), Some("t1"), Some(100));
        assert_eq!(gateway.set.check(&subject), expected);
    };
    for (body, restricted) in [
        (r#"{"scope":"app"}"#, Restricted::App),
        (r#"{"scope":"user","id":"BOB"}"#, Restricted::User),
        (r#"{"scope":"session","id":"s1","expiresAt":4000000000}"#, Restricted::Session),
        (r#"{"scope":"token","id":"t1"}"#, Restricted::Token),
        (r#"{"scope":"user","id":"bob","issuedBefore":101}"#, Restricted::IssuedBefore),
    ] {
        let answer = gateway.call("POST", "/v3/restrictions", body).await;
        check(Err(restricted));
        assert_eq!((answer.status, &answer.body["data"]["changed"]), (200, &json!(true)), "{}", answer.text);
        let again = gateway.call("POST", "/v3.0/restrictions", body).await;
        assert_eq!(again.body["data"], json!({"changed": false, "seq": answer.body["data"]["seq"]}));
        let lifted = gateway.call("DELETE", "/v3/restrictions", &body.replace(r#","expiresAt":4000000000"#, "")).await;
        check(Ok(()));
        assert_eq!(lifted.body["data"]["changed"], true);
    }
    assert!(gateway.set.is_empty());
}

#[tokio::test]
async fn a_restriction_is_kept_until_presigned_urls_of_its_token_are_dead() {
    let gateway = Gateway::start(ONE_APP).await;
    let answer =
        gateway.call("POST", "/v3/restrictions", r#"{"scope":"token","id":"t1","expiresAt":4000000000}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let end = 4_000_000_000 + PRESIGNED_TTL.as_secs();
    assert_eq!(gateway.store.expired(end - 1, 10).await.unwrap(), []);
    assert_eq!(gateway.store.expired(end, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_restriction_that_cannot_mean_one_thing_is_refused_by_field() {
    let gateway = Gateway::start(ONE_APP).await;
    for (body, field) in [
        ("", "scope"),
        ("{}", "scope"),
        (r#"{"scope":"planet","id":"mars"}"#, "scope"),
        (r#"{"scope":["user"],"id":"bob"}"#, "scope"),
        (r#"{"scope":"user"}"#, "id"),
        (r#"{"scope":"user","id":7}"#, "id"),
        (r#"{"scope":"user","id":"b ob"}"#, "id"),
        (r#"{"scope":"session","id":""}"#, "id"),
        (r#"{"scope":"token","id":"a\u0000b"}"#, "id"),
        (r#"{"scope":"app","id":"acme"}"#, "id"),
        (r#"{"scope":"session","id":"s","issuedBefore":-1}"#, "issuedBefore"),
        (r#"{"scope":"session","id":"s","issuedBefore":1.5}"#, "issuedBefore"),
        (r#"{"scope":"session","id":"s","expiresAt":"soon"}"#, "expiresAt"),
        (r#"{"scope":"session","id":"s","expiresAt":18446744073709551615}"#, "expiresAt"),
        (r#"{"scope":"user","id":"bob","expiresAt":1}"#, "expiresAt"),
        (r#"{"scope":"user","id":"bob","ttl":1}"#, "ttl"),
        (r#"{"scope":"user","scope":"app","id":"bob"}"#, "scope"),
    ] {
        gateway.call("POST", "/v3/restrictions", body).await.refused(400, "ERR_BAD_REQUEST", field);
    }
    let expiring = r#"{"scope":"session","id":"s","expiresAt":1}"#;
    gateway.call("DELETE", "/v3/restrictions", expiring).await.refused(400, "ERR_BAD_REQUEST", "expiresAt");
    let sign_up = request("POST", "/v3/restrictions", &[JSON, ("apikey", SIGN_UP_KEY)], r#"{"scope":"app"}"#);
    gateway.send(&sign_up).await.refused(403, "AUTH_ERR_NO_ACCESS", "");
    let nodes = request("GET", "/v3/nodes", &[("apikey", SIGN_UP_KEY)], "");
    gateway.send(&nodes).await.refused(403, "AUTH_ERR_NO_ACCESS", "");
    gateway.call("GET", "/v3/nodes?page=2", "").await.refused(400, "ERR_BAD_REQUEST", "query");
    assert!(gateway.set.is_empty());
}

#[tokio::test]
async fn a_call_that_waits_brings_its_receipt() {
    let gateway = Gateway::start(ONE_APP).await;
    let bad = gateway.call("DELETE", "/v3/users/bob?wait=1h", "").await;
    bad.refused(400, "ERR_BAD_REQUEST", "wait");
    gateway.check("bob", Ok(()));
    // Nobody reports here, and the call says so when its time is over.
    let answer = gateway.call("DELETE", "/v3/users/bob?wait=10ms", "").await;
    let receipt = json!({"seq": 1, "nodes": [], "missing": []});
    answer.expect(200, json!({"data": {"deactivatedUids": ["bob"], "receipt": receipt}}));
    gateway.call("GET", "/v3/nodes", "").await.expect(200, json!({"data": []}));
}

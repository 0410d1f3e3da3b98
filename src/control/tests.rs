//! Calls over real sockets, byte by byte.

mod grants;
pub(super) mod harness;
mod refusals;
mod resources;
mod scopes;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) use harness::Gateway;
use harness::{Answer, FULL_KEY, request};

use super::*;
use crate::gate::UidCase;
use crate::restrictions::Restricted;
use crate::restrictions::{Effect, Scope};

const ONE_APP: &[(&str, UidCase)] = &[("acme", UidCase::Folded)];
const TWO_APPS: &[(&str, UidCase)] = &[("acme", UidCase::Folded), ("exact", UidCase::Exact)];
const JSON: (&str, &str) = ("Content-Type", "application/json");
const KEY: (&str, &str) = ("apiKey", FULL_KEY);

impl Gateway {
    /// A call with the right key and a JSON body.
    async fn call(&self, method: &str, target: &str, body: &str) -> Answer {
        self.send(&request(method, target, &[KEY, JSON], body)).await
    }
}

#[tokio::test]
async fn a_deactivation_is_in_force_when_the_call_returns() {
    let gateway = Gateway::start(ONE_APP).await;
    let deactivate = r#"{"uidsToDeactivate":["bob","carol"]}"#;
    gateway.check("bob", Ok(()));
    let answer = gateway.call("DELETE", "/v3/users", deactivate).await;
    gateway.check("bob", Err(Restricted::User));
    gateway.check("carol", Err(Restricted::User));
    gateway.check("dave", Ok(()));
    answer.expect(200, json!({"data": {"deactivatedUids": ["bob", "carol"]}}));

    let more = gateway.call("DELETE", "/v3.0/users", r#"{"uidsToDeactivate":["carol","dave"]}"#).await;
    more.expect(200, json!({"data": {"deactivatedUids": ["dave"], "alreadyDeactivatedUids": ["carol"]}}));
    gateway.check("dave", Err(Restricted::User));

    let back = gateway.call("PUT", "/v3/users", r#"{"uidsToActivate":["bob","eve"]}"#).await;
    gateway.check("bob", Ok(()));
    gateway.check("carol", Err(Restricted::User));
    back.expect(200, json!({"data": {"reactivatedUids": ["bob"], "nonDeactivatedUids": ["eve"]}}));
}

#[tokio::test]
async fn one_user_is_deactivated_by_path() {
    let gateway = Gateway::start(ONE_APP).await;
    let done = |uid: &str| json!({"data": {"deactivatedUids": [uid]}});
    gateway.call("DELETE", "/v3/users/bob", "").await.expect(200, done("bob"));
    gateway.call("DELETE", "/v3/users/carol", "{}").await.expect(200, done("carol"));
    gateway.call("DELETE", "/v3.0/users/Dave", r#"{"permanent":false}"#).await.expect(200, done("dave"));
    gateway.call("DELETE", "/v3/users/a%2Fb%40c+d", "").await.expect(200, done("a/b@c+d"));
    gateway.check("a/b@c+d", Err(Restricted::User));
    let again = gateway.call("DELETE", "/v3/users/bob", "").await;
    again.expect(200, json!({"data": {"alreadyDeactivatedUids": ["bob"]}}));
    // Clients that send nothing may call it a form.
    let form = [KEY, ("Content-Type", "application/x-www-form-urlencoded")];
    gateway.send(&request("DELETE", "/v3/users/eve", &form, "")).await.expect(200, done("eve"));

    gateway.call("DELETE", "/v3/users/zoe", r#"{"permanent":true}"#).await.refused(404, "ERR_UID_NOT_FOUND", "");
    for wrong in ["null", "1", "\"true\"", "[]", "{}"] {
        let body = format!("{{\"permanent\":{wrong}}}");
        gateway.call("DELETE", "/v3/users/zoe", &body).await.refused(400, "ERR_BAD_REQUEST", "permanent");
    }
    for uid in ["a%20b", "%C3%A9", "%ff", "%00", &"u".repeat(256)] {
        let target = format!("/v3/users/{uid}");
        gateway.call("DELETE", &target, "").await.refused(400, "ERR_BAD_REQUEST", "uid");
    }
    gateway.check("zoe", Ok(()));
}

#[tokio::test]
async fn uids_compare_as_their_app_says() {
    let gateway = Gateway::start(TWO_APPS).await;
    let body = r#"{"uidsToDeactivate":["Bob","bob","BOB"]}"#;
    let to = |app| [KEY, JSON, ("appId", app)];
    let folded = gateway.send(&request("DELETE", "/v3/users", &to("acme"), body)).await;
    folded.expect(200, json!({"data": {"deactivatedUids": ["bob"]}}));
    let exact = gateway.send(&request("DELETE", "/v3/users", &to("exact"), body)).await;
    exact.expect(200, json!({"data": {"deactivatedUids": ["Bob", "bob", "BOB"], "notFound": ["BOB"]}}));
}

#[tokio::test]
async fn the_app_is_named_where_there_are_several() {
    let body = r#"{"uidsToDeactivate":["bob"]}"#;
    let two = Gateway::start(TWO_APPS).await;
    let one = Gateway::start(ONE_APP).await;
    let code = |app: Option<&'static str>, gateway: &Gateway| {
        let headers: Vec<_> = [KEY, JSON].into_iter().chain(app.map(|app| ("APPID", app))).collect();
        let request = request("DELETE", "/v3/users", &headers, body);
        let call = gateway.connect();
        async move {
            let answer = harness::exchange(call.await, &request).await;
            (answer.status, answer.body["error"]["code"].as_str().unwrap_or_default().to_owned())
        }
    };
    let invalid = (400, "AUTH_ERR_INVALID_APPID".to_owned());
    let empty = (400, "AUTH_ERR_EMPTY_APPID".to_owned());
    let good = (200, String::new());
    assert_eq!(code(None, &one).await, good);
    assert_eq!(code(Some("acme"), &one).await, good);
    assert_eq!(code(Some("acme"), &two).await, good);
    assert_eq!(code(None, &two).await, empty);
    for gateway in [&one, &two] {
        assert_eq!(code(Some(""), gateway).await, empty);
        for other in ["ACME", "other", "acme,exact", "\u{e9}"] {
            assert_eq!(code(Some(other), gateway).await, invalid);
        }
    }
    let twice = request("DELETE", "/v3/users", &[KEY, JSON, ("appId", "acme"), ("appid", "acme")], body);
    two.send(&twice).await.refused(400, "ERR_BAD_REQUEST", "appid");
    two.check("bob", Err(Restricted::User));
    assert_eq!(two.set.check(&two.set.subject("exact", "bob", None, None, None)), Ok(()));
}

#[tokio::test]
async fn a_store_that_fails_is_said_without_internals() {
    let gateway = Gateway::start(ONE_APP).await;
    gateway.sql("ALTER TABLE restrictions RENAME TO lost").await;
    let answer = gateway.call("DELETE", "/v3/users/bob", "").await;
    for internal in ["sqlite", "restrictions", "table", "mediagate.db"] {
        assert!(!answer.text.contains(internal), "{}", answer.text);
    }
    assert!(answer.head.contains("retry-after: 1\r\n"), "{}", answer.head);
    answer.refused(503, "ERR_STORE_UNAVAILABLE", "");
    gateway.check("bob", Ok(()));
    gateway.sql("ALTER TABLE lost RENAME TO restrictions").await;
    assert_eq!(gateway.call("DELETE", "/v3/users/bob", "").await.status, 200);
}

#[tokio::test]
async fn what_is_stored_and_not_in_force_is_not_called_done() {
    let gateway = Gateway::start(ONE_APP).await;
    gateway.end_feed().await;
    for _ in 0..2 {
        // Also when it was stored by the call before: that is not in force either.
        let answer = gateway.call("DELETE", "/v3/users/bob", "").await;
        assert!(answer.text.contains("is stored and will take effect"), "{}", answer.text);
        answer.refused(503, "ERR_NOT_IN_FORCE_YET", "");
    }
    let state = gateway.store.state().await.unwrap();
    let bob = Scope::User { app: "acme".into(), uid: "bob".into() };
    assert_eq!(state, (1, vec![(bob, Effect::Deactivated)]));

    let (sender, applied) = watch::channel(6);
    assert_eq!(has_come(applied.clone(), 7, Duration::ZERO).await, Err(ApiError::NotInForceYet));
    sender.send_replace(8);
    assert_eq!(has_come(applied, 7, Duration::ZERO).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_calls_at_once_are_each_in_force_when_they_return() {
    let gateway = Arc::new(Gateway::start(ONE_APP).await);
    let calls = (0..50).map(|call| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let own: Vec<String> = (0..5).map(|number| format!("u{call}-{number}")).collect();
            let uids: Vec<&str> = own.iter().map(String::as_str).chain(["shared"]).collect();
            let body = json!({"uidsToDeactivate": uids}).to_string();
            let answer = gateway.call("DELETE", "/v3/users", &body).await;
            uids.iter().for_each(|uid| gateway.check(uid, Err(Restricted::User)));
            let back = gateway.call("PUT", "/v3/users", &json!({"uidsToActivate": [uids[0]]}).to_string()).await;
            gateway.check(uids[0], Ok(()));
            assert_eq!((answer.status, back.status), (200, 200));
            answer.body["data"]["deactivatedUids"].as_array().map_or(0, Vec::len)
        })
    });
    let mut deactivated = 0;
    for call in calls.collect::<Vec<_>>() {
        deactivated += call.await.unwrap();
    }
    assert_eq!(deactivated, 251, "the shared one by one call only");
    let (seq, entries) = gateway.store.state().await.unwrap();
    assert_eq!((seq, entries.len(), gateway.set.len()), (301, 201, 201));
}

#[tokio::test]
async fn a_shutdown_lets_a_running_call_finish() {
    let gateway = Gateway::start(ONE_APP).await;
    let mut idle = gateway.connect().await;
    let mut stream = gateway.connect().await;
    let body = r#"{"uidsToDeactivate":["bob"]}"#;
    let head = format!(
        "DELETE /v3/users HTTP/1.1\r\nHost: a\r\napikey: {FULL_KEY}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let (set, finished, _dir) = gateway.stop();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "an idle connection is closed");
    let answer = harness::exchange(stream, body.as_bytes()).await;
    answer.expect(200, json!({"data": {"deactivatedUids": ["bob"]}}));
    assert!(set.check(&set.subject("acme", "bob", None, None, None)).is_err());
    finished.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_stored_and_not_in_force() {
    let gateway = Gateway::start(ONE_APP).await;
    let scope = Scope::User { app: "acme".into(), uid: "bob".into() };
    let bob = || vec![Wanted::impose(scope.clone(), Effect::Deactivated)];
    let mut call = Box::pin(gateway.state.commit(bob()));
    let begun = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context))).await;
    assert!(begun.is_pending());
    drop(call);
    let subject = gateway.set.subject("acme", "bob", None, None, None);
    while gateway.set.check(&subject).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.state.commit(bob()).await.map(|committed| committed.changes), Ok(vec![None]));
}

//! What a platform sets of its app, seen from the media listener: API keys, the switch, the date.

use std::io::Write;

use serde_json::{Value, json};

use super::gateway::{as_it_is, on_each, storage, text};
use crate::support::eventually;
use crate::support::origin::Origin;
use crate::support::process::API_KEY;

#[test]
fn an_api_key_opens_links_until_it_is_deleted() {
    on_each(storage, as_it_is, |gateway| {
        let made = gateway.call("POST", "/v3/apikeys", json!({ "name": "scanner", "scope": "fullAccess" }));
        let (key, id) = (text(&made["apiKey"]), text(&made["id"]));
        assert_eq!(gateway.opens("/demo/media/a.jpg", &[("apikey", &key)]).0, 200);
        assert_eq!(gateway.call_as(&key, "GET", "/v3/users", &Value::Null).status, 200);
        for wrong in [&id, &key[1..]] {
            assert_eq!(gateway.opens("/demo/media/a.jpg", &[("apikey", wrong)]).0, 401, "{wrong}");
        }
        eventually("the access log says what opened it", || {
            gateway.process.access_log().iter().any(|line| line["credential"] == "apikey" && line["status"] == 200)
        });
        gateway.call("DELETE", &format!("/v3/apikeys/{id}"), Value::Null);
        let refused = (401, "ERR_APIKEY_INVALID".to_owned());
        assert_eq!(gateway.opens("/demo/media/a.jpg", &[("apikey", &key)]), refused);
        assert_eq!(gateway.call_as(&key, "GET", "/v3/users", &Value::Null).status, 401);
        assert!(!gateway.process.log().contains(&key), "a key is in no log");
    });
}

#[test]
fn the_switch_reaches_the_media_listener_and_goes_one_way() {
    let observed =
        |config: String| config.replace("storage = \"main\"\n", "storage = \"main\"\naccess = \"observe\"\n");
    on_each(storage, observed, |mut gateway| {
        let access = |gateway: &super::gateway::Gateway| text(&gateway.call("GET", "/v3/app", Value::Null)["access"]);
        assert_eq!((gateway.opens("/demo/a.jpg", &[]).0, access(&gateway)), (200, "observe".to_owned()));
        gateway.call("PUT", "/v3/app", json!({ "publicPrefixes": ["legacy/"] }));
        let enforced = gateway.call("PUT", "/v3/app", json!({ "access": "enforce" }));
        assert_eq!(enforced["configuredAccess"], "observe");
        let refused = (401, "ERR_FAT_MISSING".to_owned());
        assert_eq!(gateway.opens("/demo/a.jpg", &[]), refused);
        assert_eq!(gateway.opens("/demo/legacy/a.jpg", &[]).0, 200);
        for down in ["observe", "off"] {
            let answer = gateway.call_as(API_KEY, "PUT", "/v3/app", &json!({ "access": down }));
            assert_eq!((answer.status, answer.code().as_str()), (409, "ERR_ACCESS_STEP_DOWN"));
        }
        // A configuration that said less would be an error at the start.
        let file = gateway.process.state.join("mediagate.toml");
        let config = std::fs::read_to_string(&file).expect("the configuration");
        std::fs::write(&file, config.replace("access = \"observe\"", "access = \"enforce\"")).expect("a file");
        gateway.process.restart();
        assert_eq!((gateway.opens("/demo/a.jpg", &[]), access(&gateway)), (refused, "enforce".to_owned()));
        assert_eq!(gateway.opens("/demo/legacy/a.jpg", &[]).0, 200);
    });
}

/// A storage that has files from 2025 under `old` and from 2026 elsewhere.
fn dated() -> Origin {
    Origin::start(|head, stream| {
        let year = if head.contains("/old") { "Wed, 01 Jan 2025" } else { "Thu, 01 Jan 2026" };
        let fields = format!("Last-Modified: {year} 00:00:00 GMT\r\nContent-Length: 5");
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\n\r\nbytes");
    })
}

#[test]
fn what_was_shared_before_a_date_needs_no_token() {
    on_each(dated, as_it_is, |gateway| {
        let refused = (401, "ERR_FAT_MISSING".to_owned());
        assert_eq!(gateway.opens("/demo/old.jpg", &[]), refused);
        assert!(gateway.storage.requests().is_empty());
        // 2025-06-01.
        gateway.call("PUT", "/v3/app", json!({ "tokenizedSince": 1_748_736_000 }));
        assert_eq!(gateway.opens("/demo/old.jpg", &[]).0, 200);
        assert_eq!(gateway.opens("/demo/new.jpg", &[]), refused);
        assert_eq!(gateway.storage.requests().len(), 2);
        for _ in 0..3 {
            assert_eq!(gateway.opens("/demo/new.jpg", &[]), refused);
        }
        assert_eq!(gateway.storage.requests().len(), 2, "what is known to be newer is not fetched to be refused");
        gateway.register(&["ann"]);
        let fat = gateway.fat(&gateway.auth_token("ann"));
        assert_eq!(gateway.opens("/demo/new.jpg", &[("fat", &fat)]).0, 200);
        gateway.call("PUT", "/v3/app", json!({ "tokenizedSince": 0 }));
        assert_eq!(gateway.opens("/demo/old.jpg", &[]), refused);
    });
}

#[test]
fn a_key_and_a_session_have_so_many_calls_a_minute() {
    let few = |config: String| config.replace("[control]\n", "[control]\ncalls_per_minute = 6\n");
    on_each(storage, few, |gateway| {
        gateway.register(&["ann"]);
        let token = gateway.auth_token("ann");
        for called in 2..6 {
            assert_eq!(gateway.call_as(API_KEY, "GET", "/v3/users", &Value::Null).status, 200, "{called}");
        }
        let refused = gateway.call_as(API_KEY, "GET", "/v3/users", &Value::Null);
        assert_eq!((refused.status, refused.code().as_str()), (429, "ERR_TOO_MANY_REQUESTS"));
        let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
        assert!((1..=10).contains(&wait), "{wait}");
        // Each is counted for itself.
        for called in 0..6 {
            assert_eq!(gateway.me("GET", &token).status, 200, "{called}");
        }
        assert_eq!(gateway.me("GET", &token).status, 429);
    });
}

//! The access switch, turned from outside: what it would refuse is told before it refuses, and it does not turn back.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::client::{get, request};
use crate::support::origin::Origin;
use crate::support::process::{Mediagate, binary, config, write_config};
use crate::support::{eventually, fat};

/// A storage where everything is from 2020, but for what is called new.
fn storage() -> Origin {
    Origin::start(|request, stream| {
        use std::io::Write;
        let year = if request.contains("/new") { 2030 } else { 2020 };
        let weekday = if year == 2020 { "Wed" } else { "Tue" };
        let dated = if request.contains("/undated") {
            String::new()
        } else {
            format!("Last-Modified: {weekday}, 01 Jan {year} 00:00:00 GMT\r\n")
        };
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{dated}Content-Length: 2\r\nContent-Type: text/plain\r\n\r\nok");
    })
}

fn observed(mediagate: &Mediagate) -> Value {
    mediagate.control("GET", "/v3/observed", &json!({})).json()["data"].clone()
}

#[test]
fn what_would_be_refused_is_told_before_it_is() {
    let storage = storage();
    let mut mediagate = Mediagate::serve(storage.address, |config| {
        // It is asked more often than one key may in a minute.
        let config = config.replace("[control]\n", "[control]\ncalls_per_minute = 0\n");
        config.replace("id = \"demo\"", "id = \"demo\"\naccess = \"off\"")
    });
    let (good, bad) = (format!("/demo/a.jpg?fat={}", fat("alice")), "/demo/secret.jpg?fat=nonsense");
    assert_eq!(get(mediagate.media, bad).status, 200);
    assert_eq!(mediagate.control("PUT", "/v3/app", &json!({"access": "observe"})).status, 200);
    for target in ["/demo/a.jpg", "/demo/b.jpg", bad, &good] {
        assert_eq!(get(mediagate.media, target).status, 200, "{target}");
    }
    let count = |rows: &Value, reason: &str| {
        let row = rows.as_array().unwrap().iter().find(|row| row["reason"] == reason).cloned();
        row.map_or(0, |row| row["count"].as_u64().unwrap())
    };
    eventually("both reasons are told", || {
        let rows = observed(&mediagate);
        count(&rows, "token_missing") == 2 && count(&rows, "token_malformed") == 1
    });
    let rows = observed(&mediagate);
    let first = &rows.as_array().unwrap().iter().find(|row| row["reason"] == "token_malformed").unwrap()["first"][0];
    assert_eq!((&first["object"], first["token"].as_str().unwrap().len()), (&json!("demo/secret.jpg"), 16));
    let metric = "mediagate_observed_denials_total{app=\"demo\",reason=\"token_missing\"}";
    assert_eq!(mediagate.metric(metric), Some(2.0));

    assert_eq!(mediagate.control("PUT", "/v3/app", &json!({"access": "enforce"})).status, 200);
    assert_eq!((get(mediagate.media, bad).status, get(mediagate.media, &good).status), (401, 200));
    let back = mediagate.control("PUT", "/v3/app", &json!({"access": "observe"}));
    assert_eq!((back.status, back.code()), (409, "ERR_ACCESS_STEP_DOWN".to_owned()));

    // A configuration that says less than that is an error at the start; one that says as much is none.
    mediagate.signal("TERM");
    assert!(mediagate.wait().success());
    let started = |access: &str| {
        let text = config(storage.address).replace("id = \"demo\"", &format!("id = \"demo\"\naccess = \"{access}\""));
        let file = write_config(&mediagate.state, text);
        Command::new(binary()).args(["serve", "--config"]).arg(file).output().expect("it runs")
    };
    let refused = started("observe");
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("which is for good"), "{error}");
}

#[test]
fn what_was_there_before_needs_no_token() {
    let storage = storage();
    let mediagate = Mediagate::serve(storage.address, |config| {
        config.replace("id = \"demo\"", "id = \"demo\"\ntokenized_since = 2026-01-01T00:00:00Z")
    });
    assert_eq!(get(mediagate.media, "/demo/old.jpg").text(), "ok");
    for target in ["/demo/new.jpg", "/demo/undated.jpg"] {
        let refused = get(mediagate.media, target);
        assert_eq!((refused.status, refused.code()), (401, "ERR_FAT_MISSING".to_owned()), "{target}");
        assert_eq!(request(mediagate.media, "GET", target, &[("fat", &fat("alice"))]).status, 200, "{target}");
        assert_eq!(request(mediagate.media, "HEAD", target, &[]).status, 401, "{target}");
        assert_eq!(get(mediagate.media, &format!("{target}?fat=x")).status, 401, "{target}");
    }
    // Too new once is too new for good: the storage is not asked again.
    let asked = storage.requests().len();
    assert_eq!(get(mediagate.media, "/demo/new.jpg").status, 401);
    assert_eq!(storage.requests().len(), asked);
    // The date that the control plane sets counts, on the next request.
    assert_eq!(mediagate.control("PUT", "/v3/app", &json!({"tokenizedSince": 2_000_000_000})).status, 200);
    assert_eq!(get(mediagate.media, "/demo/new.jpg").status, 200);
}

#[test]
fn a_service_opens_links_with_its_api_key_until_it_is_deleted() {
    let storage = storage();
    let mediagate = Mediagate::serve(storage.address, |config| config);
    let made = mediagate.control("POST", "/v3/apikeys", &json!({"name": "thumbnails", "scope": "fullAccess"})).json();
    let (key, id) = (made["data"]["apiKey"].as_str().unwrap(), made["data"]["id"].as_str().unwrap());
    let open = |key: &str| request(mediagate.media, "GET", "/demo/a.jpg", &[("apiKey", key)]).status;
    assert_eq!((open(key), open(id), open("")), (200, 401, 401));
    eventually("the log says who it was", || {
        mediagate.access_log().iter().any(|entry| entry["credential"] == "apikey" && entry["outcome"] == "served")
    });
    assert!(!mediagate.log().contains(key));
    assert!(storage.requests().iter().all(|request| !request.contains(key)), "the key goes nowhere");
    assert_eq!(mediagate.control("DELETE", &format!("/v3/apikeys/{id}"), &json!({})).status, 200);
    assert_eq!(open(key), 401);
}

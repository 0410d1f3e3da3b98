//! Copies that are purged: on the node that is asked, and on every other.

use serde_json::json;

use super::storage::{Object, Storage};
use super::{cached, fetch};
use crate::support::database::Database;
use crate::support::eventually;
use crate::support::process::Mediagate;
use crate::support::redis_server::{Disk, RedisServer};

fn purge(control: &Mediagate, query: &str, body: serde_json::Value) -> serde_json::Value {
    let answer = control.control("POST", &format!("/v3/cache/purge{query}"), &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"].clone()
}

#[test]
fn what_is_purged_is_fetched_anew_and_nothing_else() {
    let storage = Storage::start();
    let paths = ["/demo/media/a.jpg", "/demo/media/b/c.jpg", "/demo/other/a.jpg"];
    let gate = cached(&storage.origin, "ttl_secs = 3600");
    let put = |body: &str| paths.iter().for_each(|path| storage.put(path, Object::new(body)));
    let texts = || paths.map(|path| fetch(&gate, "alice", path).text());
    put("1");
    assert_eq!(texts(), ["1", "1", "1"]);
    // Overwritten, with the same tag: only a purge tells.
    put("2");
    assert_eq!(texts(), ["1", "1", "1"]);
    let first = purge(&gate, "", json!({ "app": "demo", "key": "media/a.jpg" }));
    assert_eq!((&first["changed"], texts()), (&json!(true), ["2", "1", "1"].map(str::to_owned)));
    purge(&gate, "", json!({ "app": "demo", "prefix": "media/" }));
    assert_eq!(texts(), ["2", "2", "1"]);
    put("3");
    // The same one again is another purge, however soon.
    for _ in 0..3 {
        assert_eq!(purge(&gate, "", json!({ "app": "demo", "key": "media/a.jpg" }))["changed"], json!(true));
    }
    assert_eq!(texts(), ["3", "2", "1"]);
    purge(&gate, "", json!({ "app": "demo", "prefix": "" }));
    assert_eq!(texts(), ["3", "3", "3"]);
    storage.delete("/demo/other/a.jpg");
    purge(&gate, "", json!({ "app": "demo", "key": "other/a.jpg" }));
    assert_eq!(fetch(&gate, "alice", "/demo/other/a.jpg").status, 404);
    // A purge is no setting of the app's: nothing becomes public by it.
    assert_eq!(gate.control("GET", "/v3/app", &json!(null)).json()["data"]["publicPrefixes"], json!([]));
    assert_eq!(gate.control("PUT", "/v3/app", &json!({ "publicPrefixes": [] })).status, 200);
    assert_eq!(crate::support::client::get(gate.media, "/demo/media/a.jpg").status, 401);
    for bad in [
        json!({ "app": "demo" }),
        json!({ "app": "nobody", "key": "a" }),
        json!({ "app": "demo", "key": "/a" }),
        json!({ "app": "demo", "prefix": "a" }),
        json!({ "app": "demo", "key": "a", "prefix": "a/" }),
        json!({ "key": "a" }),
        json!({ "app": "demo", "key": "a", "more": 1 }),
    ] {
        assert_eq!(gate.control("POST", "/v3/cache/purge", &bad).status, 400, "{bad}");
    }
}

#[test]
fn memory_of_what_was_purged_is_given_back() {
    let storage = Storage::start();
    storage.put("/demo/a", Object::new(crate::support::noise(1 << 20)));
    let gate = cached(&storage.origin, "");
    let held = || gate.metric("mediagate_cache_bytes");
    fetch(&gate, "alice", "/demo/a");
    eventually("it is held", || held().is_some_and(|bytes| bytes > 1e6));
    purge(&gate, "", json!({ "app": "demo", "key": "a" }));
    eventually("it is not", || held() == Some(0.0));
}

#[test]
fn a_purge_reaches_every_node_through_a_broker() {
    let (storage, redis, database) = (Storage::start(), RedisServer::start(Disk::AppendOnly), Database::sqlite());
    storage.put("/demo/a", Object::new("1"));
    let feed = format!("[feed]\nurl = \"redis://127.0.0.1:{}\"\n", redis.port);
    let edge = |name: &str| {
        Mediagate::serve(storage.origin.address, |config| {
            let (before, rest) = config.split_once("[control]").expect("a section");
            let (_, after) = rest.split_once("[metrics]").expect("a section");
            format!(
                "name = \"{name}\"\nroles = [\"edge\"]\n{before}{feed}[cache]\nenabled = true\nttl_secs = 3600\n[metrics]{after}"
            )
        })
    };
    let control = Mediagate::serve(storage.origin.address, |config| {
        let (_, after) = config.split_once("[control]").expect("a section");
        format!("roles = [\"control\"]\n{feed}[control]\ncalls_per_minute = 0{}", database.named_in(after))
    });
    let edges = ["edge-a", "edge-b"].map(edge);
    for edge in &edges {
        eventually("it has a state", || fetch(edge, "alice", "/demo/a").status == 200);
    }
    eventually("both are known", || {
        control.control("GET", "/v3/nodes", &json!(null)).json()["data"]
            .as_array()
            .is_some_and(|nodes| nodes.len() == 2)
    });
    for round in 2..4 {
        storage.put("/demo/a", Object::new(round.to_string()));
        let before = (round - 1).to_string();
        edges.iter().for_each(|edge| assert_eq!(fetch(edge, "alice", "/demo/a").text(), before));
        let done = purge(&control, "?wait=20s", json!({ "app": "demo", "key": "a" }));
        assert_eq!(done["receipt"]["nodes"].as_array().map(Vec::len), Some(2), "{done}");
        edges.iter().for_each(|edge| assert_eq!(fetch(edge, "alice", "/demo/a").text(), round.to_string()));
    }
}

//! A platform on one machine: edges, control nodes, a broker between them and a database behind them, all of them real
//! processes that die and come back.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Connection, Response, get};
use crate::support::database::Database;
use crate::support::nats_server::NatsServer;
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::redis_server::{Disk, RedisServer};
use crate::support::{SECRET, eventually, fat, now, sign};

/// What is between edges and control nodes.
enum Broker {
    Redis(RedisServer),
    Nats(NatsServer),
}

impl Broker {
    fn both() -> [Broker; 2] {
        [Broker::Redis(RedisServer::start(Disk::AppendOnly)), Broker::Nats(NatsServer::start())]
    }

    fn url(&self) -> String {
        match self {
            Broker::Redis(server) => format!("redis://127.0.0.1:{}", server.port),
            Broker::Nats(server) => server.url("nats"),
        }
    }

    fn signal(&self, name: &str) {
        match self {
            Broker::Redis(server) => server.signal(name),
            Broker::Nats(server) => server.signal(name),
        }
    }

    fn kill(&mut self) {
        match self {
            Broker::Redis(server) => server.kill(),
            Broker::Nats(server) => server.kill(),
        }
    }

    fn run(&mut self) {
        match self {
            Broker::Redis(server) => server.restart(),
            Broker::Nats(server) => server.run(),
        }
    }
}

fn storage() -> Origin {
    Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"1\"\r\n\r\nbytes")
}

fn feed(broker: &Broker, more: &str) -> String {
    format!("[feed]\nurl = \"{}\"\n{more}\n", broker.url())
}

fn edge(storage: &Origin, broker: &Broker, name: &str, more: &str) -> Mediagate {
    Mediagate::serve(storage.address, |config| {
        let (before, rest) = config.split_once("[control]").expect("a section");
        let (_, after) = rest.split_once("[metrics]").expect("a section");
        format!("name = \"{name}\"\nroles = [\"edge\"]\n{before}{}[metrics]{after}", feed(broker, more))
    })
}

fn control(storage: &Origin, broker: &Broker, database: &Database, name: &str) -> Mediagate {
    Mediagate::serve(storage.address, |config| {
        let (_, after) = config.split_once("[control]").expect("a section");
        let after = database.named_in(after);
        // The tests ask until it is so, more often than one key may.
        let control = format!("[control]\ncalls_per_minute = 0{after}");
        format!("name = \"{name}\"\nroles = [\"control\"]\n{}{control}", feed(broker, "max_staleness_secs = 10"))
    })
}

fn fetch(edge: &Mediagate, uid: &str) -> Response {
    get(edge.media, &format!("/demo/a?fat={}", fat(uid)))
}

fn check(edges: &[Mediagate], uid: &str, status: u16) {
    for edge in edges {
        assert_eq!(fetch(edge, uid).status, status, "{uid}");
    }
}

fn until_ready(processes: &[&Mediagate]) {
    for process in processes {
        eventually("it is ready", || get(process.metrics, "/readyz").status == 200);
    }
}

/// Makes a call that waits for receipts; returns what came back.
fn call(control: &Mediagate, method: &str, path: &str, body: Value) -> Value {
    let answer = control.control(method, path, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"].clone()
}

/// Deactivates `uid` and returns the nodes that have it when the call returns, and those that have not.
fn deactivate(control: &Mediagate, uid: &str) -> (usize, usize) {
    let data = call(control, "DELETE", "/v3/users?wait=20s", json!({ "uidsToDeactivate": [uid] }));
    let receipt = &data["receipt"];
    let len = |name: &str| receipt[name].as_array().unwrap_or_else(|| panic!("{data}")).len();
    assert!(receipt["slowestMs"].as_f64().is_some_and(|ms| ms > 0.0), "{data}");
    (len("nodes"), len("missing"))
}

/// How many nodes a control node knows, all of them at its newest change.
fn nodes(control: &Mediagate) -> usize {
    let listed = call(control, "GET", "/v3/nodes", Value::Null);
    let listed = listed.as_array().expect("a list").clone();
    if listed.iter().any(|node| node["lag"] != 0 || node["fresh"] != true) { 0 } else { listed.len() }
}

fn works_together(broker: Broker, database: Database) {
    let storage = storage();
    let mut controls =
        vec![control(&storage, &broker, &database, "control-a"), control(&storage, &broker, &database, "control-b")];
    let mut edges: Vec<_> = (0..3).map(|n| edge(&storage, &broker, &format!("edge-{n}"), "")).collect();
    until_ready(&edges.iter().chain(&controls).collect::<Vec<_>>());
    for control in &controls {
        eventually("the nodes are known", || nodes(control) == 3);
    }
    check(&edges, "bob", 200);
    assert_eq!(deactivate(&controls[0], "Bob"), (3, 0));
    check(&edges, "bob", 403);
    check(&edges, "alice", 200);
    call(&controls[1], "PUT", "/v3/users?wait=20s", json!({ "uidsToActivate": ["bob"] }));
    check(&edges, "bob", 200);
    assert_eq!(deactivate(&controls[1], "b!%@~ob/.."), (3, 0));
    check(&edges, "B!%@~ob/..", 403);

    // Sessions and tokens, and their lifting.
    let of_session = |edge: &Mediagate| {
        let claims = json!({ "sub": "eve", "app": "demo", "sid": "s1", "jti": "t1", "iat": now(), "exp": now() + 600 });
        get(edge.media, &format!("/demo/a?fat={}", sign(&claims, SECRET))).status
    };
    for scope in [json!({ "scope": "session", "id": "s1" }), json!({ "scope": "token", "id": "t1" })] {
        call(&controls[0], "POST", "/v3/restrictions?wait=20s", scope.clone());
        assert!(edges.iter().all(|edge| of_session(edge) == 403), "{scope}");
        call(&controls[1], "DELETE", "/v3/restrictions?wait=20s", scope);
        assert!(edges.iter().all(|edge| of_session(edge) == 200));
    }

    cuts_running_transfers(&broker, &controls[0]);

    // Whichever relays: the other takes over, and nothing is lost between.
    controls.remove(0);
    assert_eq!(deactivate(&controls[0], "carol"), (3, 0));
    controls.push(control(&storage, &broker, &database, "control-c"));
    controls.remove(0);
    assert_eq!(deactivate(&controls[0], "dave"), (3, 0));
    for uid in ["carol", "dave"] {
        check(&edges, uid, 403);
    }
    // An edge that is gone is forgotten; one that comes has it all before it serves.
    drop(edges.remove(0));
    edges.push(edge(&storage, &broker, "edge-new", ""));
    until_ready(&[&edges[2]]);
    check(&edges, "carol", 403);
    eventually("a node that is gone drops out", || nodes(&controls[0]) == 3);
}

/// Ends what runs, by user, session and token, and leaves the others alone.
fn cuts_running_transfers(broker: &Broker, control: &Mediagate) {
    // Half a body, and then nothing for as long as the test lasts.
    let silent = Origin::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbytes");
        let _ = stream.read(&mut [0]);
    });
    let edge = edge(&silent, broker, "edge-of-transfers", "");
    until_ready(&[&edge]);
    let begin = |claim: &str, id: &str| {
        let mut claims = json!({ "sub": "someone", "app": "demo", "iat": now(), "exp": now() + 600 });
        claims[claim] = id.into();
        let mut client = Connection::open(edge.media);
        client.send(format!("GET /demo/a?fat={} HTTP/1.1\r\nHost: gate.test\r\n\r\n", sign(&claims, SECRET)));
        assert_eq!(client.read_head().expect("a head").0, 200);
        client.0.read_exact(&mut [0; 5]).expect("half of the body");
        client
    };
    let mut other = begin("sub", "another");
    for (scope, claim) in [("user", "sub"), ("session", "sid"), ("token", "jti")] {
        let mut client = begin(claim, "to-be-cut");
        call(control, "POST", "/v3/restrictions", json!({ "scope": scope, "id": "to-be-cut" }));
        let ended = client.0.read(&mut [0]);
        assert!(!matches!(ended, Ok(1..)), "{scope}: {ended:?}");
    }
    other.0.get_ref().set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
    let waits = other.0.read(&mut [0]).expect_err("neither bytes nor an end");
    assert!(matches!(waits.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{waits}");
}

#[test]
fn edges_and_control_nodes_work_together_over_redis_and_postgresql() {
    works_together(Broker::Redis(RedisServer::start(Disk::None)), Database::postgres());
}

#[test]
fn edges_and_control_nodes_work_together_over_nats_and_sqlite() {
    works_together(Broker::Nats(NatsServer::start()), Database::sqlite());
}

#[test]
fn an_edge_that_is_cut_off_closes_and_recovers_by_itself() {
    for mut broker in Broker::both() {
        let (storage, database) = (storage(), Database::sqlite());
        let control = control(&storage, &broker, &database, "control");
        let edge = edge(&storage, &broker, "edge", "max_staleness_secs = 2");
        let open = self::edge(&storage, &broker, "open", "max_staleness_secs = 2\nwhen_stale = \"serve\"");
        until_ready(&[&control, &edge, &open]);
        for hangs in [true, false] {
            if hangs {
                broker.signal("STOP")
            } else {
                broker.kill()
            }
            eventually("the edge closes", || fetch(&edge, "alice").status == 503);
            assert_eq!(fetch(&edge, "alice").code(), "ERR_RESTRICTIONS_STALE");
            assert_eq!(get(edge.metrics, "/readyz").status, 503);
            assert!(edge.metric("mediagate_feed_age_seconds").is_some_and(|age| age > 2.0));
            assert_eq!(fetch(&open, "alice").status, 200, "as the operator chose");
            // Acknowledged while nobody can be told.
            let uid = format!("bob-{hangs}");
            call(&control, "DELETE", "/v3/users", json!({ "uidsToDeactivate": [uid] }));
            if hangs {
                broker.signal("CONT")
            } else {
                broker.run()
            }
            until_ready(&[&edge, &open]);
            for edge in [&edge, &open] {
                eventually("it is in force", || fetch(edge, &uid).status == 403);
                assert_eq!(fetch(edge, "alice").status, 200);
            }
        }
    }
}

#[test]
fn a_broker_that_is_down_at_the_start_is_waited_for_and_nobody_is_served() {
    for mut broker in Broker::both() {
        broker.kill();
        let (storage, database) = (storage(), Database::sqlite());
        let control = control(&storage, &broker, &database, "control");
        let edge = edge(&storage, &broker, "edge", "");
        assert_eq!(get(edge.metrics, "/readyz").status, 503);
        assert_eq!(fetch(&edge, "alice").status, 503);
        call(&control, "DELETE", "/v3/users", json!({ "uidsToDeactivate": ["bob"] }));
        broker.run();
        until_ready(&[&edge]);
        assert_eq!([fetch(&edge, "alice").status, fetch(&edge, "bob").status], [200, 403]);
    }
}

#[test]
fn a_control_node_that_is_killed_among_deactivations_has_lost_none_that_it_acknowledged() {
    for broker in Broker::both() {
        let (storage, database) = (storage(), Database::sqlite());
        let edge = edge(&storage, &broker, "edge", "");
        let mut acknowledged = Vec::new();
        for round in 0..3 {
            let control = control(&storage, &broker, &database, &format!("control-{round}"));
            let begun = Instant::now();
            let killer = std::thread::spawn({
                let id = control.id().to_string();
                move || {
                    // At another moment each time; when exactly does not matter.
                    while begun.elapsed() < Duration::from_millis(150 + 170 * round) {
                        std::thread::yield_now();
                    }
                    std::process::Command::new("kill").args(["-KILL", &id]).status().expect("kill runs")
                }
            });
            for call in 0..200 {
                let uids: Vec<String> = (0..50).map(|n| format!("u{round}-{call}-{n}")).collect();
                let body = json!({ "uidsToDeactivate": uids });
                let answer = std::panic::catch_unwind(|| control.control("DELETE", "/v3/users", &body).status);
                match answer {
                    Ok(200) => acknowledged.extend(uids),
                    _ => break,
                }
            }
            killer.join().expect("no panic");
        }
        assert!(acknowledged.len() >= 50, "killed too early");
        let control = control(&storage, &broker, &database, "control-last");
        assert_eq!(deactivate(&control, "last"), (1, 0));
        for uid in acknowledged.iter().step_by(17).chain(acknowledged.last()) {
            assert_eq!(fetch(&edge, uid).status, 403, "{uid} of {}", acknowledged.len());
        }
        let held = edge.metric("mediagate_restrictions{scope=\"user\"}").expect("a number");
        assert!(held >= acknowledged.len() as f64, "{held} of {}", acknowledged.len());
    }
}

#[test]
fn a_relay_that_is_paused_is_relieved_and_spoils_nothing_when_it_wakes() {
    for broker in Broker::both() {
        let (storage, database) = (storage(), Database::sqlite());
        let first = control(&storage, &broker, &database, "first");
        let edge = edge(&storage, &broker, "edge", "");
        until_ready(&[&first, &edge]);
        assert_eq!(deactivate(&first, "bob"), (1, 0));
        let second = control(&storage, &broker, &database, "second");
        eventually("the second hears the node", || nodes(&second) == 1);
        eventually("it is paused while it does not hold the database", || {
            first.signal("STOP");
            let paused = second.control("DELETE", "/v3/users", &json!({ "uidsToDeactivate": ["erin"] })).status == 200;
            if !paused {
                first.signal("CONT");
            }
            paused
        });
        assert_eq!(deactivate(&second, "carol"), (1, 0));
        call(&second, "PUT", "/v3/users?wait=20s", json!({ "uidsToActivate": ["bob"] }));
        first.signal("CONT");
        assert_eq!(deactivate(&first, "dave"), (1, 0));
        let statuses = ["bob", "carol", "dave"].map(|uid| fetch(&edge, uid).status);
        assert_eq!(statuses, [200, 403, 403]);
    }
}

#[test]
fn a_wrong_password_of_a_broker_is_an_error_at_the_start_that_says_so() {
    let redis = Broker::Redis(RedisServer::with(Disk::None, &["--requirepass", "the-right-one"]));
    let nats = Broker::Nats(NatsServer::with(&["--user", "gate", "--pass", "the-right-one"]));
    for (broker, user) in [(redis, ""), (nats, "gate@")] {
        for role in ["edge", "control"] {
            let dir = TempDir::new().expect("a folder");
            let other = if role == "edge" { "[control]" } else { "[media]" };
            let config = crate::support::process::config("127.0.0.1:9".parse().expect("an address"));
            let start = config.find(other).expect("a section");
            let end = config[start + 1..].find("\n\n").expect("an end") + start + 1;
            let url = broker.url().replace("://", &format!("://{user}"));
            let feed = format!("[feed]\nurl = \"{url}\"\npassword_file = \"wrong.key\"\n");
            let text = format!("roles = [\"{role}\"]\n{feed}{}{}", &config[..start], &config[end..]);
            std::fs::write(dir.path().join("wrong.key"), "not-the-password-5e1f").expect("a file");
            let file = crate::support::process::write_config(dir.path(), text);
            let (status, _, errors) =
                crate::support::process::run(&["serve", "--config", file.to_str().expect("UTF-8")], &[]);
            assert!(!status.success(), "{errors}");
            assert!(errors.contains("refuse") && !errors.contains("5e1f"), "{role}: {errors}");
        }
    }
}

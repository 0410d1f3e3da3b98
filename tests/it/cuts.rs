//! A transfer whose user is deactivated ends, whatever it is doing, and nobody else's does.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{Connection, get};
use crate::support::origin::Origin;
use crate::support::process::{API_KEY, Mediagate};
use crate::support::{eventually, fat, noise};

/// Generous: the design says a second.
const SOON: Duration = Duration::from_secs(10);

/// More than all buffers between the storage and a client hold.
const MUCH: usize = 64 << 20;

/// Holds back a storage until it is opened, once and for all.
#[derive(Clone, Default)]
struct Barrier(Arc<(Mutex<bool>, Condvar)>);

impl Barrier {
    fn open(&self) {
        *self.0.0.lock().expect("no panic") = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let is_open = self.0.0.lock().expect("no panic");
        drop(self.0.1.wait_timeout_while(is_open, Duration::from_secs(60), |is_open| !*is_open));
    }
}

fn gate(storage: &Origin) -> Mediagate {
    Mediagate::serve(storage.address, |config| config)
}

/// Asks for `/demo/a` as `uid`.
fn send(gate: &Mediagate, uid: &str, version: &str) -> Connection {
    let mut client = Connection::open(gate.media);
    client.send(format!("GET /demo/a?fat={} HTTP/{version}\r\nHost: gate.test\r\n\r\n", fat(uid)));
    client
}

/// Asks for `/demo/a` as `uid` and reads the head of the answer.
fn begin(gate: &Mediagate, uid: &str, version: &str) -> Connection {
    let mut client = send(gate, uid, version);
    assert_eq!(client.read_head().expect("a head").0, 200);
    client
}

/// Reads what still comes; returns how much it was and how it ended.
fn rest(client: &mut Connection) -> (usize, io::Result<()>) {
    let (mut bytes, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match client.0.read(&mut buffer) {
            Ok(0) => return (bytes, Ok(())),
            Ok(read) => bytes += read,
            Err(error) => return (bytes, Err(error)),
        }
        assert!(bytes < 16 * MUCH, "no end in sight");
    }
}

/// Checks that the connection is reset, not closed: a body without a length has no other way to say that it is broken.
fn check_reset(client: &mut Connection) -> usize {
    let (bytes, end) = rest(client);
    assert_eq!(end.expect_err("a reset").kind(), ErrorKind::ConnectionReset, "after {bytes} bytes");
    bytes
}

/// Waits for the line of the one request of `uid` that was cut.
fn check_logged_cut(gate: &Mediagate, uid: &str) {
    eventually("the cut is logged", || {
        gate.access_log()
            .iter()
            .any(|entry| entry["uid"] == uid && entry["outcome"] == "cut" && entry["reason"] == "restricted")
    });
    let cuts = gate.access_log().into_iter().filter(|entry| entry["outcome"] == "cut");
    assert_eq!(cuts.map(|entry| entry["uid"].clone()).collect::<Vec<_>>(), [uid], "and nobody else's");
    let metric = "mediagate_requests_total{outcome=\"cut\",reason=\"restricted\"}";
    assert_eq!(gate.metric(metric), Some(1.0));
    assert_eq!(gate.metric("mediagate_requests_in_flight"), Some(0.0));
}

/// A storage whose body has no end in sight.
fn endless(framing: &'static str) -> Origin {
    let block = noise(64 * 1024);
    Origin::start(move |_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
        let chunk = if framing.contains("chunked") {
            [b"10000\r\n", block.as_slice(), b"\r\n"].concat()
        } else {
            block.clone()
        };
        while stream.write_all(&chunk).is_ok() {}
    })
}

#[test]
fn a_transfer_is_cut_while_bytes_flow() {
    for (framing, version) in [
        ("Content-Length: 1000000000000", "1.1"),
        ("Transfer-Encoding: chunked", "1.1"),
        ("Transfer-Encoding: chunked", "1.0"),
    ] {
        let storage = endless(framing);
        let gate = gate(&storage);
        let mut client = begin(&gate, "bob", version);
        let read = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let reading = thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match client.0.read(&mut buffer) {
                    Ok(0) => return None,
                    Ok(got) => counter.fetch_add(got, Ordering::SeqCst),
                    Err(error) => return Some((error.kind(), Instant::now())),
                };
            }
        });
        eventually("bytes flow", || read.load(Ordering::SeqCst) > MUCH);
        gate.deactivate("bob");
        let acknowledged = Instant::now();
        eventually("the transfer ends", || reading.is_finished());
        let (kind, ended) = reading.join().expect("no panic").expect("an error, not an end");
        assert_eq!(kind, ErrorKind::ConnectionReset, "{framing} {version}");
        assert!(ended.saturating_duration_since(acknowledged) < SOON);
        check_logged_cut(&gate, "bob");
    }
}

#[test]
fn a_transfer_is_cut_while_the_client_reads_nothing() {
    let storage = endless("Content-Length: 1000000000000");
    let gate = gate(&storage);
    let mut client = begin(&gate, "bob", "1.1");
    gate.deactivate("bob");
    let acknowledged = Instant::now();
    check_logged_cut(&gate, "bob");
    assert!(acknowledged.elapsed() < SOON);
    // What the client's own machine had taken by then is all it gets.
    assert!(check_reset(&mut client) < MUCH);
}

#[test]
fn a_transfer_is_cut_while_the_storage_stalls() {
    let barrier = Barrier::default();
    for (framing, part) in
        [("Content-Length: 1000", "0123456789"), ("Transfer-Encoding: chunked", "a\r\n0123456789\r\n")]
    {
        let waits = barrier.clone();
        let storage = Origin::start(move |_, stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{part}");
            waits.wait();
        });
        let gate = gate(&storage);
        let mut client = begin(&gate, "bob", "1.1");
        client.0.read_exact(&mut vec![0; part.len()]).expect("what the storage sent");
        gate.deactivate("bob");
        let acknowledged = Instant::now();
        assert_eq!(check_reset(&mut client), 0, "{framing}");
        assert!(acknowledged.elapsed() < SOON, "{framing}");
        check_logged_cut(&gate, "bob");
    }
    barrier.open();
}

#[test]
fn a_request_that_the_storage_has_not_answered_is_refused() {
    let barrier = Barrier::default();
    let waits = barrier.clone();
    let storage = Origin::start(move |_, stream| {
        waits.wait();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    });
    let gate = gate(&storage);
    let mut clients = ["bob", "alice"].map(|uid| send(&gate, uid, "1.1"));
    eventually("the storage is asked", || storage.requests().len() == 2);
    gate.deactivate("bob");
    barrier.open();
    let [bob, alice] = clients.each_mut().map(|client| client.read(false));
    // Closed without a word would do as well; the bytes would not.
    let bob = bob.map(|response| (response.status, response.code()));
    assert!(bob.is_none_or(|answer| answer == (403, "ERR_USER_DEACTIVATED".to_owned())));
    assert_eq!(alice.expect("an answer").text(), "0123456789");
}

#[test]
fn a_request_whose_storage_never_answers_is_refused_in_the_end() {
    let barrier = Barrier::default();
    let waits = barrier.clone();
    let storage = Origin::start(move |_, _| waits.wait());
    let gate = Mediagate::serve(storage.address, |config| config + "response_timeout_secs = 1\n");
    let mut client = send(&gate, "bob", "1.1");
    eventually("the storage is asked", || !storage.requests().is_empty());
    gate.deactivate("bob");
    let answer = client.read(false).map(|response| (response.status, response.code()));
    assert!(answer.is_none_or(|answer| answer == (403, "ERR_USER_DEACTIVATED".to_owned())));
    barrier.open();
}

#[test]
fn another_users_transfer_of_the_same_file_completes() {
    let (body, barrier) = (Arc::new(noise(8 << 20)), Barrier::default());
    let (sent, waits) = (Arc::clone(&body), barrier.clone());
    let storage = Origin::start(move |_, stream| {
        let (first, second) = sent.split_at(sent.len() / 2);
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
        let _ = stream.write_all(first);
        waits.wait();
        let _ = stream.write_all(second);
    });
    let gate = gate(&storage);
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|uid| begin(&gate, uid, "1.1"));
    // Whose name only begins like his.
    let mut bobby = begin(&gate, "bobby", "1.1");
    let mut half = vec![0; body.len() / 2];
    for client in [&mut alice, &mut bob, &mut carol, &mut bobby] {
        client.0.read_exact(&mut half).expect("the first half");
        assert!(half == body[..half.len()]);
    }
    gate.deactivate("bob");
    assert_eq!(check_reset(&mut bob), 0);
    barrier.open();
    for client in [&mut alice, &mut carol, &mut bobby] {
        client.0.read_exact(&mut half).expect("the second half");
        assert!(half == body[half.len()..]);
    }
    check_logged_cut(&gate, "bob");
    gate.activate("bob");
    assert!(get(gate.media, &format!("/demo/a?fat={}", fat("bob"))).body == *body, "a new transfer works again");
}

#[test]
fn all_transfers_of_a_user_are_cut() {
    let storage = endless("Content-Length: 1000000000000");
    let gate = gate(&storage);
    let mut clients: Vec<_> = (0..20).map(|_| begin(&gate, "bob", "1.1")).collect();
    gate.deactivate("bob");
    for client in &mut clients {
        check_reset(client);
    }
}

#[test]
fn the_transfers_of_a_deleted_api_key_are_cut_and_those_of_others_go_on() {
    let storage = endless("Content-Length: 1000000000000");
    let gate = gate(&storage);
    let key = |name: &str| {
        let wanted = serde_json::json!({ "name": name, "scope": "fullAccess" });
        gate.control("POST", "/v3/apikeys", &wanted).json()
    };
    let (gone, kept) = (key("gone"), key("kept"));
    let begin = |key: &str| {
        let mut client = Connection::open(gate.media);
        client.send(format!("GET /demo/a HTTP/1.1\r\nHost: gate.test\r\napikey: {key}\r\n\r\n"));
        assert_eq!(client.read_head().expect("a head").0, 200);
        client
    };
    let shown = |key: &serde_json::Value, name: &str| key["data"][name].as_str().expect("a text").to_owned();
    let (mut cut, mut others) = (begin(&shown(&gone, "apiKey")), [begin(&shown(&kept, "apiKey")), begin(API_KEY)]);
    let deleted = gate.control("DELETE", &format!("/v3/apikeys/{}", shown(&gone, "id")), &serde_json::json!({}));
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    let acknowledged = Instant::now();
    check_reset(&mut cut);
    assert!(acknowledged.elapsed() < SOON);
    for client in &mut others {
        client.0.read_exact(&mut vec![0; MUCH]).expect("it goes on");
    }
}

#[test]
fn a_deactivated_user_is_refused_on_a_connection_that_is_open() {
    let storage = Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    let gate = gate(&storage);
    let (bob, alice) = (format!("/demo/a?fat={}", fat("bob")), format!("/demo/a?fat={}", fat("alice")));
    let mut client = Connection::open(gate.media);
    for _ in 0..3 {
        assert_eq!(client.ask("GET", &bob, &[]).text(), "0123456789");
        gate.deactivate("bob");
        let asked = storage.requests().len();
        for (method, fields) in
            [("GET", &[][..]), ("HEAD", &[]), ("GET", &[("Range", "bytes=0-1")]), ("GET", &[("If-None-Match", "*")])]
        {
            let response = client.ask(method, &bob, fields);
            assert_eq!(response.status, 403, "{method} {fields:?}");
            assert!(method == "HEAD" || response.code() == "ERR_USER_DEACTIVATED");
        }
        assert_eq!(storage.requests().len(), asked, "the storage hears nothing of it");
        assert_eq!(client.ask("GET", &alice, &[]).text(), "0123456789", "on the same connection");
        gate.activate("bob");
    }
    assert_eq!(client.ask("GET", &bob, &[]).status, 200);
}

#[test]
fn a_change_is_in_force_when_the_call_returns() {
    const ROUNDS: usize = 200;
    let storage = Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    let gate = gate(&storage);
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for uid in ["bob", "carol", "dave", "erin"] {
            let (gate, failed) = (&gate, &failed);
            scope.spawn(move || {
                let target = format!("/demo/a?fat={}", fat(uid));
                let mut kept = Connection::open(gate.media);
                for round in 0..ROUNDS {
                    gate.deactivate(uid);
                    let refused = [kept.ask("GET", &target, &[]).status, get(gate.media, &target).status];
                    gate.activate(uid);
                    let served = [kept.ask("GET", &target, &[]).status, get(gate.media, &target).status];
                    if (refused, served) != ([403; 2], [200; 2]) {
                        failed.store(true, Ordering::SeqCst);
                        panic!("round {round} of {uid}: {refused:?}, {served:?}");
                    }
                    if failed.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
    });
    assert_eq!(storage.requests().len(), 4 * ROUNDS * 2);
}

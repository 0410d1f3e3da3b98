//! Copies of objects: one for everybody, and nobody gets one who would not get the object.

mod purge;
mod storage;

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::client::{Connection, Response, get, request};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{eventually, fat, noise};
use storage::{NEW, OLD, Object, Storage};

/// A gate with copies; `cache` is behind `enabled` in their section.
fn cached_with(storage: &Origin, cache: &str, edit: impl FnOnce(String) -> String) -> Mediagate {
    Mediagate::serve(storage.address, |config| format!("{}\n[cache]\nenabled = true\n{cache}\n", edit(config)))
}

fn cached(storage: &Origin, cache: &str) -> Mediagate {
    cached_with(storage, cache, |config| config)
}

fn fetch(gate: &Mediagate, uid: &str, path: &str) -> Response {
    get(gate.media, &format!("{path}?fat={}", fat(uid)))
}

/// What the log says of copies, request by request, once it has `count` lines.
fn uses(gate: &Mediagate, count: usize) -> Vec<String> {
    eventually("all is logged", || gate.access_log().len() >= count);
    let text = |entry: &serde_json::Value| entry["cache"].as_str().unwrap_or("-").to_owned();
    gate.access_log().iter().map(text).collect()
}

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

#[test]
fn fifty_who_wait_are_one_fetch_and_one_who_leaves_does_not_end_it() {
    let body = noise(300_000);
    let (barrier, sent) = (Barrier::default(), body.clone());
    let opened = barrier.clone();
    let storage = Origin::start(move |_, stream| {
        opened.wait();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: {}\r\n\r\n", sent.len());
        let _ = stream.write_all(&sent);
    });
    let gate = cached(&storage, "");
    let ask = |n: usize| {
        let mut client = Connection::open(gate.media);
        client.send(format!("GET /demo/a?fat={} HTTP/1.1\r\nHost: gate.test\r\n\r\n", fat(&format!("u{n}"))));
        client
    };
    let first = ask(0);
    eventually("the storage is asked", || storage.requests().len() == 1);
    let mut others: Vec<_> = (1..50).map(ask).collect();
    eventually("all wait", || gate.metric("mediagate_requests_in_flight") == Some(50.0));
    drop(first);
    barrier.open();
    for client in &mut others {
        let answer = client.read(false).expect("an answer");
        assert!(answer.status == 200 && answer.body == body);
    }
    assert!(fetch(&gate, "late", "/demo/a").body == body);
    assert_eq!(storage.requests().len(), 1, "one fetch for all");
    assert!(!storage.requests()[0].contains("fat") && !storage.requests()[0].to_lowercase().contains("range"));
    let uses = uses(&gate, 51);
    assert_eq!(uses.iter().filter(|used| *used == "miss").count(), 50, "{uses:?}");
    assert_eq!(gate.metric("mediagate_cache_hits_total"), Some(1.0));
}

#[test]
fn a_deactivated_user_gets_nothing_of_a_hot_object_by_any_way_in() {
    let storage = Storage::start();
    storage.put("/demo/a", Object::new("bytes of the object"));
    let presigned = |config| format!("{config}\n[presigned]\nkey_file = \"presigned.key\"\n");
    let gate = cached_with(&storage.origin, "", presigned);
    let (token, cookie) = (fat("bob"), format!("fat={}", fat("bob")));
    let bearer = format!("Bearer {token}");
    let handed = request(gate.media, "GET", "/demo/a?redirect=0", &[("fat", &token)]).json();
    let url = handed["data"]["url"].as_str().expect("a URL");
    let url = url.split_once(&gate.media.to_string()).expect("the gate's own").1;
    let ways = || {
        [
            fetch(&gate, "bob", "/demo/a"),
            request(gate.media, "GET", "/demo/a", &[("fat", &token)]),
            request(gate.media, "GET", "/demo/a", &[("authorization", &bearer)]),
            request(gate.media, "GET", "/demo/a", &[("cookie", &cookie)]),
            request(gate.media, "GET", url, &[]),
            request(gate.media, "GET", "/demo/a", &[("fat", &token), ("range", "bytes=0-4")]),
            request(gate.media, "GET", "/demo/a", &[("fat", &token), ("if-none-match", "\"a\"")]),
            request(gate.media, "HEAD", "/demo/a", &[("fat", &token)]),
        ]
    };
    let statuses = ways().map(|answer| answer.status);
    assert_eq!(statuses, [200, 200, 200, 200, 200, 206, 304, 200]);
    assert_eq!(storage.asked("/demo/a"), 1, "all of them from one copy");
    gate.deactivate("bob");
    for answer in ways() {
        assert_eq!(answer.status, 403);
        assert!(!answer.text().contains("bytes of"), "{}", answer.text());
        assert_eq!((answer.header("etag"), answer.header("age")), (None, None));
    }
    assert_eq!(fetch(&gate, "alice", "/demo/a").text(), "bytes of the object");
    assert_eq!(get(gate.media, "/demo/a").status, 401);
    assert_eq!(get(gate.media, "/demo/a?fat=x.y.z").status, 401);
    assert_eq!(storage.asked("/demo/a"), 1);
}

#[test]
fn a_running_transfer_from_a_copy_is_cut_and_a_slow_one_holds_nobody() {
    let storage = Storage::start();
    let body = noise(24 << 20);
    storage.put("/demo/a", Object::new(body.clone()));
    let gate = cached(&storage.origin, "memory_bytes = \"128MiB\"\nmax_object_bytes = \"32MiB\"");
    let begin = |uid: &str| {
        let mut client = Connection::open(gate.media);
        client.send(format!("GET /demo/a?fat={} HTTP/1.1\r\nHost: gate.test\r\n\r\n", fat(uid)));
        assert_eq!(client.read_head().expect("a head").0, 200);
        client
    };
    // The first, for whom it is fetched, reads nothing.
    let mut slow = begin("bob");
    assert!(fetch(&gate, "alice", "/demo/a").body == body, "and the others have it");
    let mut hit = begin("bob");
    gate.deactivate("bob");
    for client in [&mut slow, &mut hit] {
        let (mut read, mut buffer) = (0, vec![0; 64 * 1024]);
        let end = loop {
            match client.0.read(&mut buffer) {
                Ok(0) => break None,
                Ok(bytes) => read += bytes,
                Err(error) => break Some(error.kind()),
            }
        };
        assert_eq!(end, Some(ErrorKind::ConnectionReset), "after {read} bytes");
        assert!(read < body.len());
    }
    eventually("both are logged", || gate.access_log().iter().filter(|entry| entry["outcome"] == "cut").count() == 2);
    assert_eq!(fetch(&gate, "alice", "/demo/a").body.len(), body.len());
    assert_eq!(storage.asked("/demo/a"), 1);
}

#[test]
fn two_apps_have_two_copies_and_two_hosts_one() {
    let storage = Storage::start();
    storage.put("/demo/a", Object::new("of demo"));
    storage.put("/acme/a", Object::new("of acme"));
    let gate = cached_with(&storage.origin, "", |config| {
        let (_, app) = config.split_once("[[apps]]").expect("an app");
        let (app, _) = app.split_once("[storage").expect("a storage");
        let app =
            app.replace("\"demo\"", "\"acme\"").replace("storage = \"main\"", "storage = \"main\"\naccess = \"off\"");
        config.replace("[storage.main]", &format!("[[apps]]{app}\n[storage.main]"))
    });
    for host in ["one.example", "two.example"] {
        let ask = |target: &str| {
            let mut client = Connection::open(gate.media);
            client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
            client.read(false).expect("an answer")
        };
        assert_eq!(ask(&format!("/demo/a?fat={}", fat("alice"))).text(), "of demo");
        assert_eq!(ask("/acme/a").text(), "of acme");
        assert_eq!(ask("/demo/a").status, 401, "the copy of one app opens nothing of another");
    }
    assert_eq!((storage.asked("/demo/a"), storage.asked("/acme/a")), (1, 1));
}

/// Requests that differ in method and fields.
fn table() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let fields: Vec<Vec<(&str, &str)>> = vec![
        vec![],
        vec![("range", "bytes=0-0")],
        vec![("range", "bytes=2-5")],
        vec![("range", "bytes=70000-140000")],
        vec![("range", "bytes=65535-65536")],
        vec![("range", "bytes=-7")],
        vec![("range", "bytes=-0")],
        vec![("range", "bytes=-999999999")],
        vec![("range", "bytes=150000-")],
        vec![("range", "bytes=999999999-")],
        vec![("range", "bytes=5-2")],
        vec![("range", "bytes=a-b")],
        vec![("range", "items=0-1")],
        vec![("range", "bytes=0-1"), ("range", "bytes=2-3")],
        vec![("if-none-match", "\"a\"")],
        vec![("if-none-match", "W/\"a\"")],
        vec![("if-none-match", "\"b\", \"a\"")],
        vec![("if-none-match", "\"b\"")],
        vec![("if-none-match", "*")],
        vec![("if-none-match", "\"a\""), ("range", "bytes=0-1")],
        vec![("if-none-match", "\"b\""), ("if-modified-since", NEW)],
        vec![("if-modified-since", NEW)],
        vec![("if-modified-since", OLD)],
        vec![("if-modified-since", "never")],
        vec![("if-match", "\"a\"")],
        vec![("if-match", "\"b\"")],
        vec![("if-match", "W/\"a\"")],
        vec![("if-match", "*")],
        vec![("if-match", "\"b\""), ("accept", "text/html"), ("sec-fetch-dest", "document")],
        vec![("if-unmodified-since", NEW)],
        vec![("if-unmodified-since", OLD)],
        vec![("if-range", "\"a\""), ("range", "bytes=1-2")],
        vec![("if-range", "\"b\""), ("range", "bytes=1-2")],
        vec![("if-range", "W/\"a\""), ("range", "bytes=1-2")],
        vec![("if-range", NEW), ("range", "bytes=1-2")],
        vec![("if-range", OLD), ("range", "bytes=1-2")],
        vec![("origin", "https://app.example")],
        vec![("accept-encoding", "gzip"), ("cache-control", "no-cache")],
    ];
    ["GET", "HEAD"].into_iter().flat_map(|method| fields.iter().map(move |fields| (method, fields.clone()))).collect()
}

#[test]
fn a_copy_answers_as_the_storage_does() {
    let storage = Storage::start();
    let html = Object {
        more: "Content-Type: text/html\r\nCache-Control: public, max-age=3600\r\nSet-Cookie: a=b\r\n",
        ..Object::new("<b>")
    };
    let coded = Object {
        more: "Content-Encoding: gzip\r\nContent-Language: de\r\n",
        etag: "W/\"a\"",
        ..Object::new(noise(200_000))
    };
    storage.put("/demo/large", Object::new(noise(200_000)));
    storage.put("/demo/html", html);
    storage.put("/demo/coded", coded);
    storage.put("/demo/empty", Object::new(""));
    let hosts = |config: String| config.replace("[media]", "[media]\ncors_origins = [\"https://app.example\"]");
    let plain = Mediagate::serve(storage.origin.address, hosts);
    let cached = cached_with(&storage.origin, "", hosts);
    let token = fat("alice");
    let paths = ["/demo/large", "/demo/html", "/demo/coded", "/demo/empty", "/demo/none"];
    for path in paths {
        let ask = |gate: &Mediagate, method: &str, fields: &[(&str, &str)]| {
            let mut all = vec![("fat", token.as_str())];
            all.extend_from_slice(fields);
            let mut answer = request(gate.media, method, path, &all);
            answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date") && !name.eq_ignore_ascii_case("age"));
            answer.headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
            answer.headers.sort();
            answer
        };
        ask(&cached, "GET", &[]);
        for (method, fields) in table() {
            let (expected, found) = (ask(&plain, method, &fields), ask(&cached, method, &fields));
            let what = format!("{method} {path} {fields:?}");
            assert_eq!((found.status, &found.headers), (expected.status, &expected.headers), "{what}");
            assert!(found.body == expected.body, "{what}");
        }
    }
    let lines = paths.len() * (1 + table().len());
    let uses = uses(&cached, lines);
    let count = |used: &str| uses.iter().filter(|found| *found == used).count();
    assert_eq!(count("hit"), 4 * table().len(), "all but the first of each, and what is not there");
    assert_eq!(count("miss"), 4);
}

#[test]
fn what_is_broken_off_refused_or_not_there_is_nobody_elses_answer() {
    const ANSWERS: [&str; 8] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 503 Slow Down\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 500 Error\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/9\r\n\r\nhalf",
        "HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: private\r\n\r\nmine",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nVary: Accept\r\n\r\nmine",
    ];
    let storage = Origin::start(|head, stream| {
        let kind: usize = head.split("/demo/").nth(1).and_then(|rest| rest[..1].parse().ok()).expect("a number");
        let _ = stream.write_all(ANSWERS[kind].as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    let gate = cached(&storage, "");
    for (kind, status) in [(1, 503), (2, 502), (3, 502), (4, 502), (5, 502), (6, 200), (7, 200)] {
        for round in 0..4 {
            let before = storage.requests().len();
            assert_eq!(fetch(&gate, "alice", &format!("/demo/{kind}")).status, status, "{kind}");
            assert!(storage.requests().len() > before, "{kind}: asked anew in round {round}");
        }
    }
    for _ in 0..3 {
        let before = storage.requests().len();
        let mut client = Connection::open(gate.media);
        client.send(format!("GET /demo/0?fat={} HTTP/1.1\r\nHost: gate.test\r\n\r\n", fat("alice")));
        let mut read = Vec::new();
        let _ = client.0.read_to_end(&mut read);
        assert!(
            !read.ends_with(b"half") || read.windows(9).any(|at| at == b"ength: 9\r"),
            "a broken body looks broken"
        );
        assert!(storage.requests().len() > before);
    }
    assert_eq!(gate.metric("mediagate_cache_hits_total"), Some(0.0));
    let held = gate.metric("mediagate_cache_bytes").expect("a metric");
    assert!(held < 8.0 * 1024.0, "{held}: no more than that there is nothing");
}

#[test]
fn a_copy_is_asked_about_when_it_is_old_and_replaced_when_it_is_another() {
    let storage = Storage::start();
    storage.put("/demo/a", Object::new("first"));
    storage.put("/demo/b", Object { more: "Cache-Control: no-cache\r\n", ..Object::new("checked") });
    let gate = cached(&storage.origin, "ttl_secs = 1");
    assert_eq!(fetch(&gate, "alice", "/demo/a").text(), "first");
    eventually("it is asked about", || {
        assert_eq!(fetch(&gate, "alice", "/demo/a").text(), "first");
        gate.metric("mediagate_cache_revalidations_total") == Some(1.0)
    });
    let asked = |storage: &Storage| {
        storage
            .origin
            .requests()
            .iter()
            .filter(|head| head.contains("If-None-Match: \"a\"") || head.contains("if-none-match: \"a\""))
            .count()
    };
    assert_eq!((storage.asked("/demo/a"), asked(&storage)), (2, 1));
    storage.put("/demo/a", Object { etag: "\"b\"", ..Object::new("second") });
    eventually("it is another", || fetch(&gate, "alice", "/demo/a").text() == "second");
    storage.delete("/demo/a");
    eventually("it is gone", || fetch(&gate, "alice", "/demo/a").status == 404);
    assert_eq!(fetch(&gate, "alice", "/demo/b").text(), "checked");
    // Each time, once the fetch before is over, which others may share.
    for _ in 0..2 {
        let before = storage.asked("/demo/b");
        eventually("it is asked about again", || {
            let answer = fetch(&gate, "alice", "/demo/b");
            assert_eq!((answer.text().as_str(), answer.header("age")), ("checked", None));
            storage.asked("/demo/b") > before
        });
    }
}

#[test]
fn memory_is_bounded_and_what_is_too_large_passes_by() {
    let bodies = Arc::new(AtomicUsize::new(0));
    let (block, counted) = (noise(200_000), Arc::clone(&bodies));
    let storage = Origin::start(move |head, stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let body = match head {
            head if head.contains("/large") => block.repeat(2),
            head if head.contains("/small") => block[..1000].to_vec(),
            _ => block.clone(),
        };
        // In one piece: the kernel holds back a second one until the first is acknowledged.
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    });
    const MEMORY: f64 = 4.0 * 1024.0 * 1024.0;
    let gate = cached(&storage, "memory_bytes = \"4MiB\"\nmax_object_bytes = 262144");
    let before = gate.resident_kib();
    let objects = 10 * 4 * 1024 * 1024 / 200_000;
    for n in 0..objects {
        assert_eq!(fetch(&gate, "alice", &format!("/demo/{n}")).body.len(), 200_000);
        if n % 20 == 0 {
            assert!(gate.metric("mediagate_cache_bytes").is_some_and(|bytes| bytes <= MEMORY));
        }
    }
    eventually("some are held", || gate.metric("mediagate_cache_bytes").is_some_and(|bytes| bytes > MEMORY / 4.0));
    assert!(gate.metric("mediagate_cache_bytes").is_some_and(|bytes| bytes <= MEMORY));
    assert!(gate.metric("mediagate_cache_evictions_total").is_some_and(|count| count > 100.0));
    let mut client = Connection::open(gate.media);
    let token = fat("alice");
    for n in 0..8_000 {
        assert_eq!(client.ask("GET", &format!("/demo/small{n}"), &[("fat", &token)]).body.len(), 1000);
    }
    assert!(gate.metric("mediagate_cache_bytes").is_some_and(|bytes| bytes <= MEMORY));
    let grown = gate.resident_kib().saturating_sub(before) / 1024;
    assert!(grown < 24, "{grown} MiB more for 4 MiB of copies, after 40 MiB of large objects and 8,000 small ones");
    for _ in 0..3 {
        let before = bodies.load(Ordering::SeqCst);
        assert_eq!(fetch(&gate, "alice", "/demo/large").body.len(), 400_000);
        assert!(bodies.load(Ordering::SeqCst) > before, "it passes by");
    }
}

#[test]
fn what_needs_no_token_needs_none_of_a_copy_and_what_is_newer_does() {
    let storage = Storage::start();
    for path in ["/demo/new", "/demo/pub/new"] {
        storage.put(path, Object::new("new"));
    }
    storage.put("/demo/old", Object { modified: OLD, ..Object::new("old") });
    let gate = cached_with(&storage.origin, "", |config| {
        config.replace(
            "id = \"demo\"",
            "id = \"demo\"\ntokenized_since = 2026-01-01T00:00:00Z\npublic_prefixes = [\"pub/\"]",
        )
    });
    for _ in 0..3 {
        assert_eq!(fetch(&gate, "alice", "/demo/new").text(), "new");
        for target in ["/demo/new", "/demo/none"] {
            assert_eq!(get(gate.media, target).status, 401, "{target}");
        }
        assert_eq!(request(gate.media, "GET", "/demo/new", &[("if-none-match", "\"a\"")]).status, 401);
        assert_eq!(get(gate.media, "/demo/old").text(), "old");
        assert_eq!(get(gate.media, "/demo/pub/new").text(), "new");
    }
    for path in ["/demo/new", "/demo/old", "/demo/pub/new"] {
        assert_eq!(storage.asked(path), 1, "{path}");
    }
}

#[test]
fn a_hit_has_an_age_and_stays_private_and_without_the_section_nothing_is_kept() {
    let storage = Storage::start();
    storage.put("/demo/a", Object { more: "Cache-Control: public, max-age=600\r\n", ..Object::new("x") });
    let gate = cached(&storage.origin, "");
    let (miss, hit) = (fetch(&gate, "alice", "/demo/a"), fetch(&gate, "bob", "/demo/a"));
    assert_eq!(miss.header("age"), None);
    assert!(hit.header("age").is_some_and(|age| age.parse::<u32>().is_ok_and(|age| age < 60)));
    assert_eq!(hit.header("cache-control"), Some("private, no-cache"));
    assert_eq!(uses(&gate, 2), ["miss", "hit"]);
    let plain = Mediagate::serve(storage.origin.address, |config| config);
    for _ in 0..2 {
        fetch(&plain, "alice", "/demo/a");
    }
    assert_eq!(storage.asked("/demo/a"), 3);
    assert_eq!(uses(&plain, 2), ["-", "-"]);
}

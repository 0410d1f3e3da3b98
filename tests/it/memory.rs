//! Memory and connections of the process stay where they are, whatever clients send, leave unread or leave behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::client::Connection;
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{SECRET, eventually, fat, now, sign};

const WARM_UP: usize = 20_000;
const REQUESTS: usize = 200_000;
const CLIENTS: usize = 4;

/// A length that no buffer on the way can hold.
const LARGE: usize = 64 << 20;

/// The `number`th token and the status that it gets: no two are alike.
fn token(number: usize) -> (String, u16) {
    let claims = |exp: u64| json!({ "sub": format!("user{number}"), "app": "demo", "exp": exp });
    match number % 10 {
        0 => (sign(&claims(now() + 600), SECRET), 200),
        1..=3 => (sign(&claims(now() - 600), SECRET), 401),
        4..=6 => {
            let token = sign(&claims(now() + 600), SECRET);
            let signature = [number.to_be_bytes(); 4].concat();
            (format!("{}.{}", token.rsplit_once('.').expect("a token").0, URL_SAFE_NO_PAD.encode(signature)), 401)
        }
        _ => {
            let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            (URL_SAFE_NO_PAD.encode(noise.repeat(1 + number % 40)), 401)
        }
    }
}

/// Sends the requests with these numbers one after the other on one connection.
fn send_all(gate: &Mediagate, numbers: impl Iterator<Item = usize>) {
    let mut connection = Connection::open(gate.media);
    for number in numbers {
        let (token, status) = token(number);
        connection.send(format!("GET /demo/a{number}?fat={token} HTTP/1.1\r\nHost: h{number}.example\r\n\r\n"));
        let answer = connection.read(false).expect("an answer");
        assert_eq!(answer.status, status, "{token}");
    }
}

fn send_from_all_clients(gate: &Mediagate, numbers: std::ops::Range<usize>) {
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let numbers = numbers.clone().skip(client).step_by(CLIENTS);
            scope.spawn(move || send_all(gate, numbers));
        }
    });
}

#[test]
fn memory_does_not_grow_with_the_number_of_tokens() {
    let origin = Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gate = Mediagate::serve(origin.address, |config| config);
    send_from_all_clients(&gate, 0..WARM_UP);
    let before = gate.resident_kib();
    send_from_all_clients(&gate, WARM_UP..REQUESTS);
    let grown = gate.resident_kib().saturating_sub(before) / 1024;
    // 50 bytes kept of each token, user, path or host would be 9 MiB and more: what is left for the allocator is less.
    assert!(grown < 8, "{grown} MiB more after {} requests", REQUESTS - WARM_UP);
    let served = gate.metric("mediagate_requests_total{outcome=\"served\",reason=\"ok\"}");
    assert_eq!(served, Some((REQUESTS / 10) as f64));
    assert!(gate.metric("mediagate_token_cache_bytes").is_some_and(|bytes| bytes < 1e6));
}

/// What became of the writes of a storage that has much to say.
#[derive(Default)]
struct Writes {
    /// Bodies that were taken whole.
    finished: AtomicUsize,
    /// Bodies that nobody takes any more of for now.
    stalled: AtomicUsize,
    /// Bodies whose connection was closed.
    dropped: AtomicUsize,
}

/// A storage whose objects are [`LARGE`].
fn large() -> (Origin, Arc<Writes>) {
    let writes = Arc::new(Writes::default());
    let counted = Arc::clone(&writes);
    let origin = Origin::start(move |_, stream| write_large(stream, &counted));
    (origin, writes)
}

fn write_large(stream: &mut TcpStream, writes: &Writes) {
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a time-out can be set");
    let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes());
    let chunk = vec![b'x'; 64 * 1024];
    let (mut written, mut stalled) = (0, false);
    while written < LARGE {
        match stream.write(&chunk[..chunk.len().min(LARGE - written)]) {
            Ok(count) => written += count,
            // Nobody took anything for a whole second. Slowness can only be taken for a stall too early.
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if !std::mem::replace(&mut stalled, true) {
                    writes.stalled.fetch_add(1, Ordering::SeqCst);
                }
            }
            Err(_) => {
                writes.dropped.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }
    writes.finished.fetch_add(1, Ordering::SeqCst);
}

/// Begins a transfer and reads its head and first bytes.
fn begin(gate: &Mediagate, token: &str) -> Connection {
    let mut connection = Connection::open(gate.media);
    connection.send(format!("GET /demo/large HTTP/1.1\r\nHost: h\r\nfat: {token}\r\n\r\n"));
    let (status, ..) = connection.read_head().expect("a head");
    assert_eq!(status, 200);
    connection.0.read_exact(&mut [0; 1000]).expect("the body begins");
    connection
}

#[test]
fn clients_that_do_not_read_cost_no_memory_and_are_waited_for() {
    const READERS: usize = 5;
    let (origin, writes) = large();
    let gate = Mediagate::serve(origin.address, |config| config);
    let token = fat("alice");
    drop(begin(&gate, &token));
    eventually("the first is gone", || writes.dropped.load(Ordering::SeqCst) == 1);
    let before = gate.resident_kib();
    let mut readers: Vec<_> = (0..READERS).map(|_| begin(&gate, &token)).collect();
    eventually("every transfer stands still", || writes.stalled.load(Ordering::SeqCst) >= READERS);
    let grown = gate.resident_kib().saturating_sub(before) / 1024;
    assert_eq!(writes.finished.load(Ordering::SeqCst), 0, "a body fits into buffers");
    assert!(grown < 2 * READERS as u64, "{grown} MiB more for {READERS} clients");
    // They were only slow: the one that reads on gets everything.
    let mut rest = 1000;
    let mut buffer = vec![0; 1 << 20];
    while rest < LARGE {
        let read = readers[0].0.read(&mut buffer).expect("the transfer goes on");
        assert_ne!(read, 0, "ended after {rest} bytes");
        rest += read;
    }
    eventually("it is served", || writes.finished.load(Ordering::SeqCst) == 1);
    drop(readers);
    eventually("the others are dropped", || writes.dropped.load(Ordering::SeqCst) == READERS);
}

#[test]
fn a_client_that_vanishes_frees_its_connection_to_the_storage() {
    let (origin, writes) = large();
    let gate = Mediagate::serve(origin.address, |config| config);
    let token = fat("alice");
    for gone in 1..=3 {
        let connection = begin(&gate, &token);
        // Unread bytes make this a reset.
        drop(connection);
        eventually("the storage's connection ends", || writes.dropped.load(Ordering::SeqCst) == gone);
    }
    eventually("nothing is in flight", || gate.metric("mediagate_requests_in_flight") == Some(0.0));
    assert_eq!(gate.metric("mediagate_requests_total{outcome=\"aborted\",reason=\"client_gone\"}"), Some(3.0));
    assert_eq!(origin.connections(), 3);
}

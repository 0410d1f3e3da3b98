//! Bodies: whole, in time, in bounded memory, and visibly broken where the storage broke off.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use socket2::{Domain, Socket, Type};

use super::{Dev, answer, gate, signed};
use crate::support::client::{Connection, get, raw};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{eventually, noise};

const MIB: usize = 1 << 20;

/// Most that the gate's memory may grow by while one object passes, in KiB.
const MAX_GROWTH_KIB: u64 = 20 * 1024;

/// Sends `body` in chunks of many sizes, down to a byte.
fn write_chunked(stream: &mut TcpStream, mut body: &[u8]) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for size in [1, 2, 3, 17, 1000, 4096, 65_537].into_iter().cycle() {
        let (chunk, rest) = body.split_at(size.min(body.len()));
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
        if chunk.is_empty() {
            return Ok(());
        }
        body = rest;
    }
    unreachable!("the sizes never end")
}

#[test]
fn a_chunked_body_arrives_whole_and_in_the_clients_own_framing() {
    let body: Arc<[u8]> = noise(3 * MIB + 1).into();
    let (sent, empty) = (Arc::clone(&body), b"".as_slice());
    let storage = Origin::start(move |head, stream| {
        let body = if head.contains("/empty") { empty } else { &sent };
        let _ = write_chunked(stream, body);
    });
    let gate = gate(&storage);
    let mut client = Connection::open(gate.media);
    for (name, expected) in [("a", &*body), ("empty", empty), ("a", &*body)] {
        let target = signed(&format!("/demo/{name}"));
        let new = client.ask("GET", &target, &[]);
        assert_eq!((new.status, new.header("transfer-encoding")), (200, Some("chunked")));
        assert_eq!(new.header("content-length"), None);
        assert!(new.body == expected, "{name}: {} bytes", new.body.len());
        let old = raw(gate.media, format!("GET {target} HTTP/1.0\r\n\r\n"));
        assert_eq!((old.status, old.header("transfer-encoding"), old.header("content-length")), (200, None, None));
        assert!(old.body == expected, "{name}: {} bytes", old.body.len());
    }
    let old = raw(gate.media, format!("GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", signed("/demo/a")));
    assert!(old.body == *body, "the end of the connection is the end of the body, whatever the client would like");
}

#[test]
fn small_objects_arrive_whole() {
    let files: [(&str, &[u8]); 3] = [("empty.bin", b""), ("one.bin", b"\0"), ("two.bin", b"\r\n")];
    let dev = Dev::start(&files);
    let mut client = Connection::open(dev.gate.media);
    for (name, body) in files {
        let response = client.ask("GET", &format!("/demo/{name}?fat={}", dev.fat), &[]);
        assert_eq!((response.status, response.body.as_slice()), (200, body), "{name}");
        assert_eq!(response.header("content-length"), Some(body.len().to_string().as_str()));
    }
}

#[test]
fn a_large_object_streams_in_little_memory() {
    const BLOCKS: usize = 300;
    let block: Arc<[u8]> = noise(MIB).into();
    let sent = Arc::clone(&block);
    let storage = Origin::start(move |head, stream| {
        let blocks = if head.contains("/small") { 4 } else { BLOCKS };
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blocks * MIB);
        for _ in 0..blocks {
            if stream.write_all(&sent).is_err() {
                return;
            }
        }
    });
    let gate = gate(&storage);
    let mut client = Connection::open(gate.media);
    assert_eq!(client.ask("GET", &signed("/demo/small"), &[]).body.len(), 4 * MIB);
    let before = gate.resident_kib();
    client.send(format!("GET {} HTTP/1.1\r\nHost: gate.test\r\n\r\n", signed("/demo/large")));
    let (status, ..) = client.read_head().expect("a head");
    assert_eq!(status, 200);
    let (mut buffer, mut most) = (vec![0; MIB], before);
    for at in 0..BLOCKS {
        client.0.read_exact(&mut buffer).expect("a whole block");
        assert!(buffer == *block, "block {at} is as it was sent");
        most = most.max(gate.resident_kib());
    }
    assert!(most - before < MAX_GROWTH_KIB, "from {before} to {most} KiB");
    assert_eq!(client.ask("GET", &signed("/demo/small"), &[]).body.len(), 4 * MIB, "and nothing is left over");
}

/// A storage that sends one byte, and the next only when it is told.
fn dribbling(framing: &'static str) -> (Origin, Sender<()>) {
    let (told, waits) = channel();
    let waits = Mutex::new(waits);
    let storage = Origin::start(move |_, stream| {
        let waits = waits.lock().expect("no panic");
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
        for byte in b"abcdefghij" {
            let byte = char::from(*byte);
            let _ =
                if framing.contains("chunked") { write!(stream, "1\r\n{byte}\r\n") } else { write!(stream, "{byte}") };
            if waits.recv_timeout(Duration::from_secs(60)).is_err() {
                return;
            }
        }
        if framing.contains("chunked") {
            let _ = write!(stream, "0\r\n\r\n");
        }
    });
    (storage, told)
}

#[test]
fn a_slow_body_is_passed_on_as_it_comes() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (storage, told) = dribbling(framing);
        let gate = gate(&storage);
        let mut client = Connection::open(gate.media);
        client.send(format!("GET {} HTTP/1.1\r\nHost: gate.test\r\n\r\n", signed("/demo/a")));
        assert_eq!(client.read_head().expect("a head").0, 200);
        for expected in b"abcdefghij" {
            let mut piece = vec![0; if framing.contains("chunked") { 6 } else { 1 }];
            client.0.read_exact(&mut piece).expect("the byte, before the next is sent");
            assert_eq!(piece[if piece.len() > 1 { 3 } else { 0 }], *expected);
            told.send(()).expect("the storage waits");
        }
    }
}

#[test]
fn a_slow_reader_gets_everything_and_holds_up_the_storage_alone() {
    const BLOCKS: usize = 64;
    let block = noise(MIB);
    let expected = (0..BLOCKS).fold(Sha256::new(), |hash, _| hash.chain_update(&block)).finalize();
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let storage = Origin::start(move |_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BLOCKS * MIB);
        for piece in std::iter::repeat_n(&block, BLOCKS).flat_map(|block| block.chunks(64 * 1024)) {
            if stream.write_all(piece).is_err() {
                return;
            }
            counter.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let gate = gate(&storage);
    let before = gate.resident_kib();
    let mut client = narrow(&gate);
    client.send(format!("GET {} HTTP/1.1\r\nHost: gate.test\r\n\r\n", signed("/demo/a")));
    assert_eq!(client.read_head().expect("a head").0, 200);
    eventually("the storage sends ahead", || written.load(Ordering::SeqCst) >= MIB / 2);
    let (mut hash, mut read, mut buffer) = (Sha256::new(), 0, vec![0; 256 * 1024]);
    while read < BLOCKS * MIB {
        // Sips first, then gulps.
        let most = if read < MIB { 1000 } else { buffer.len() };
        let got = client.0.read(&mut buffer[..most]).expect("more of the body");
        assert_ne!(got, 0, "the end after {read} bytes");
        hash.update(&buffer[..got]);
        read += got;
        if read < MIB {
            assert!(written.load(Ordering::SeqCst) < BLOCKS * MIB, "nobody holds what the client has not read");
        }
    }
    assert_eq!(hash.finalize(), expected);
    let after = gate.resident_kib();
    assert!(after.saturating_sub(before) < MAX_GROWTH_KIB, "from {before} to {after} KiB");
}

/// A connection whose receiving side is as small as it gets.
fn narrow(gate: &Mediagate) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&gate.media.into()).expect("the gate accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out can be set");
    Connection(BufReader::with_capacity(512, stream))
}

#[test]
fn a_body_that_the_storage_breaks_off_is_not_passed_off_as_whole() {
    let cases = [
        ("Content-Length: 1000", "0123456789"),
        ("Transfer-Encoding: chunked", "a\r\n0123456789\r\n"),
        ("Transfer-Encoding: chunked", "20\r\n0123456789"),
        ("Transfer-Encoding: chunked", "a\r\n0123456789\r\nnonsense\r\n"),
    ];
    for (framing, part) in cases {
        let storage = Origin::start(move |_, stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{part}");
            let _ = stream.shutdown(Shutdown::Both);
        });
        let gate = gate(&storage);
        for version in ["1.1", "1.0"] {
            let mut client = Connection::open(gate.media);
            client.send(format!("GET {} HTTP/{version}\r\nHost: gate.test\r\n\r\n", signed("/demo/a")));
            let mut all = Vec::new();
            let end = client.0.read_to_end(&mut all);
            let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
            assert!(!text.ends_with("\r\n0\r\n\r\n"), "{framing} {part:?} {version}: {text}");
            // HTTP/1.0 knows no chunks: there it takes a reset.
            let is_visible = match version {
                "1.1" => {
                    text.contains("\r\ncontent-length: 1000\r\n") || text.contains("\r\ntransfer-encoding: chunked\r\n")
                }
                _ => text.contains("\r\ncontent-length: 1000\r\n") || end.is_err(),
            };
            let is_visible = is_visible || text.starts_with("http/1.1 502");
            assert!(is_visible, "{framing} {part:?} {version}: {text}");
        }
    }
}

#[test]
fn what_stands_behind_an_answer_is_no_answer() {
    let evil = answer("200 OK", "evil");
    let storage = Origin::start(move |head, stream| {
        let mut both = answer("200 OK", "good");
        if head.contains("/more") {
            both.extend_from_slice(&evil);
        }
        let _ = stream.write_all(&both);
    });
    let gate = gate(&storage);
    let mut client = Connection::open(gate.media);
    for name in ["more", "a", "more", "more", "a", "a"] {
        let response = client.ask("GET", &signed(&format!("/demo/{name}")), &[]);
        assert_eq!((response.status, response.text().as_str()), (200, "good"));
    }
}

#[test]
fn malformed_answers_are_not_passed_on() {
    for whole in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nevil!",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: 4x\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 abc OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nevil",
        "evil",
        "\r\n\r\n",
    ] {
        let storage = Origin::start(move |_, stream| {
            let _ = stream.write_all(whole.as_bytes());
            let _ = stream.shutdown(Shutdown::Both);
        });
        let response = get(gate(&storage).media, &signed("/demo/a"));
        assert_eq!(response.status, 502, "{whole:?}: {}", response.text());
        assert_eq!(response.code(), "ERR_STORAGE_ANSWER", "{whole:?}");
    }
}

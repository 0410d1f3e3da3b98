//! The load generator: connections that are kept, each with one request at a time, each request the next of a list.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::children::Child;
use crate::gate::{APP, SECRET, restricted_uid};

/// How long connections are used before anything counts.
const WARM_UP: Duration = Duration::from_millis(100);

/// Requests, ready to be sent, and the answer that they get.
#[derive(Clone)]
pub(crate) struct Requests {
    texts: Rc<[Vec<u8>]>,
    status: &'static [u8; 3],
}

impl Requests {
    /// Requests with `count` good tokens, for objects of one size.
    pub(crate) fn admitted(count: usize, size: &str) -> Requests {
        let seconds = now();
        let texts = (0..count).map(|n| request(n, size, &token(&active_uid(n), seconds)));
        Requests { texts: texts.collect(), status: b"200" }
    }

    /// The same, for no more than `objects` different objects.
    pub(crate) fn of_few(count: usize, objects: usize, size: &str) -> Requests {
        let seconds = now();
        let texts = (0..count).map(|n| request(n % objects, size, &token(&active_uid(n), seconds)));
        Requests { texts: texts.collect(), status: b"200" }
    }

    /// Requests with tokens whose signature does not hold.
    pub(crate) fn forged(count: usize) -> Requests {
        let seconds = now();
        let forged = |n| {
            let token = token(&active_uid(n), seconds);
            let (input, _) = token.rsplit_once('.').expect("three parts");
            let (_, signature) = token.rsplit_once('.').expect("three parts");
            let other = if signature.starts_with('A') { 'B' } else { 'A' };
            request(n, "small", &format!("{input}.{other}{}", &signature[1..]))
        };
        Requests { texts: (0..count).map(forged).collect(), status: b"401" }
    }

    /// Requests of users who are deactivated.
    pub(crate) fn deactivated(count: usize) -> Requests {
        let seconds = now();
        let texts = (0..count).map(|n| request(n, "small", &token(&restricted_uid(n), seconds)));
        Requests { texts: texts.collect(), status: b"403" }
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }
}

#[expect(clippy::disallowed_methods, reason = "tokens are issued now")]
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn active_uid(n: usize) -> String {
    format!("5b0f{:08x}-7d52-4c1e-9a44-{n:012x}", n.wrapping_mul(0x9e37_79b1) as u32)
}

fn token(uid: &str, seconds: u64) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT","kid":"k1"}"#);
    let (iat, exp) = (seconds - 60, seconds + 3600);
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{uid}","app":"{APP}","iat":{iat},"exp":{exp}}}"#));
    let input = format!("{header}.{claims}");
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    let signature = mac.chain_update(&input).finalize().into_bytes();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A request as a phone's browser sends it.
fn request(n: usize, size: &str, token: &str) -> Vec<u8> {
    format!(
        "GET /{APP}/{size}/2026/11/{n:06}.jpg?fat={token} HTTP/1.1\r\n\
         Host: files.acme.example\r\n\
         User-Agent: Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 Chrome/140.0 Mobile\r\n\
         Accept: image/avif,image/webp,image/apng,image/*,*/*;q=0.8\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
         Referer: https://app.acme.example/\r\n\r\n"
    )
    .into_bytes()
}

/// Sends requests on a number of connections.
pub(crate) struct Load {
    connections: usize,
    runtime: tokio::runtime::Runtime,
}

/// What the connections of one run share.
struct Run {
    next: Cell<usize>,
    done: Cell<usize>,
}

impl Load {
    pub(crate) fn new(connections: usize) -> Load {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Load { connections, runtime }
    }

    /// Loads `proxy` for as long; returns microseconds of its processor time for a request, and requests in a second.
    pub(crate) fn run(&self, proxy: &Child, requests: &Requests, seconds: Duration) -> (f64, f64) {
        let local = LocalSet::new();
        local.block_on(&self.runtime, async {
            let run = Rc::new(Run { next: Cell::new(0), done: Cell::new(0) });
            let start = |_| tokio::task::spawn_local(connection(proxy.address, requests.clone(), Rc::clone(&run)));
            let connections: Vec<_> = (0..self.connections).map(start).collect();
            tokio::time::sleep(WARM_UP).await;
            let (cpu, done, begun) = (proxy.cpu(), run.done.get(), Instant::now());
            tokio::time::sleep(seconds).await;
            let (cpu, done, took) = (proxy.cpu() - cpu, run.done.get() - done, begun.elapsed());
            assert!(connections.iter().all(|connection| !connection.is_finished()), "every connection goes on");
            (cpu.as_secs_f64() * 1e6 / done as f64, done as f64 / took.as_secs_f64())
        })
    }
}

/// Sends one request after the other.
async fn connection(address: SocketAddr, requests: Requests, run: Rc<Run>) {
    let mut stream = TcpStream::connect(address).await.expect("the proxy accepts");
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let at = run.next.get();
        run.next.set((at + 1) % requests.len());
        stream.write_all(&requests.texts[at]).await.expect("the proxy reads");
        let mut filled = 0;
        let mut missing = loop {
            let read = stream.read(&mut buffer[filled..]).await.expect("the proxy answers");
            assert!(read > 0, "the proxy keeps the connection");
            filled += read;
            if let Some(head) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                let status = &buffer[9..12];
                assert!(status == requests.status, "{}", String::from_utf8_lossy(&buffer[..filled]));
                break head + 4 + content_length(&buffer[..head]) - filled;
            }
        };
        while missing > 0 {
            let read = stream.read(&mut buffer).await.expect("the proxy answers");
            assert!(read > 0, "the proxy sends the whole body");
            missing -= read;
        }
        run.done.set(run.done.get() + 1);
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).expect("a head is text");
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    value.and_then(|value| value.trim().parse().ok()).expect("every answer has a length")
}

//! Other proxies before the media listener: nginx and Caddy as `conf/` has them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::client::{get, raw, request};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::proxy_servers::ProxyServer;
use crate::support::{eventually, fat};

/// What a running transfer would come to.
const LARGE: usize = 256 << 20;

/// A storage whose objects are small, but for `large`.
fn storage() -> Origin {
    Origin::start(|head, stream| {
        if head.starts_with("GET /media/demo/large?") {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes());
            let piece = vec![b'x'; 64 << 10];
            while stream.write_all(&piece).is_ok() {}
        } else if head.to_ascii_lowercase().contains("\r\nrange: ") {
            let _ = stream.write_all(
                b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/6\r\nContent-Length: 2\r\n\r\nbj",
            );
        } else {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nobject");
        }
    })
}

fn check(start: impl FnOnce(SocketAddr) -> ProxyServer) {
    let storage = storage();
    let gate = Mediagate::serve(storage.address, |config| config + "\n[presigned]\nkey_file = \"presigned.key\"\n");
    let proxy = start(gate.media);
    let (alice, bob) = (fat("alice"), fat("bob"));
    let ask = |path: &str, token: &str| get(proxy.address, &format!("{path}?fat={token}"));

    assert_eq!((ask("/demo/a", &alice).status, ask("/demo/a", &alice).text().as_str()), (200, "object"));
    let part = request(proxy.address, "GET", "/demo/a", &[("fat", &alice), ("Range", "bytes=1-2")]);
    assert_eq!((part.status, part.text().as_str()), (206, "bj"));
    // The gate sees the URL as it was spelled.
    assert_eq!(ask("/demo/x/../a", &alice).status, 400);
    assert_eq!(ask("/demo/x%2Fa", &alice).status, 400);
    // A player's cookie, and a URL for the name that the client called.
    let playlist = ask("/demo/v/list.m3u8", &alice);
    assert!(playlist.header("set-cookie").is_some_and(|cookie| cookie.contains("Path=/demo/v/")));
    let answer = request(proxy.address, "GET", "/demo/a?redirect=0", &[("fat", &alice)]).json();
    let url = answer["data"]["url"].as_str().expect("a URL");
    let target = url.strip_prefix(&format!("http://{}", proxy.address)).expect("the name that was called");
    assert_eq!(get(proxy.address, target).status, 200, "{url}");

    let mut running = TcpStream::connect(proxy.address).expect("the proxy accepts");
    running.set_read_timeout(Some(Duration::from_secs(50))).expect("a time-out can be set");
    let host = proxy.address;
    let sent = running.write_all(format!("GET /demo/large?fat={bob} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    sent.expect("the proxy listens");
    let mut buffer = vec![0; 1 << 20];
    let mut received = running.read(&mut buffer).expect("the transfer begins");
    gate.deactivate("bob");
    assert_eq!(ask("/demo/a", &bob).code(), "ERR_USER_DEACTIVATED");
    loop {
        match running.read(&mut buffer) {
            Ok(more @ 1..) => received += more,
            Ok(0) => break,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                break;
            }
        }
    }
    assert!(received < LARGE / 4, "{received} bytes");
    assert_eq!(gate.metric("mediagate_requests_total{outcome=\"cut\",reason=\"restricted\"}"), Some(1.0));

    // Lines about a host that is not served are written by another logger.
    raw(proxy.address, format!("GET /demo/b?fat={bob} HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"));
    assert_eq!(ask("/demo/c", &alice).status, 200);
    eventually("the proxy has logged it", || proxy.log().contains("/demo/c"));
    eventually("the proxy has logged it", || proxy.log().contains("/demo/large"));
    for secret in [alice.as_str(), &bob, "Signature="] {
        assert!(!proxy.log().contains(secret), "{}", proxy.log());
    }
}

#[test]
fn nginx_passes_on_what_the_gate_says_and_logs_no_token() {
    check(ProxyServer::nginx_in_front);
}

#[test]
fn caddy_passes_on_what_the_gate_says_and_logs_no_token() {
    check(ProxyServer::caddy_in_front);
}

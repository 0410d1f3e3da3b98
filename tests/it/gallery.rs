//! The gallery of `mediagate dev`: what it shows, and who may use its buttons.

use std::net::SocketAddr;

use serde_json::json;
use tempfile::TempDir;

use crate::js_client::check;
use crate::support::client::{Response, raw, request};
use crate::support::process::Mediagate;

#[test]
fn it_shows_in_a_real_browser_what_a_deactivation_does() {
    let state = TempDir::new().expect("a folder");
    let (_gate, ready) = Mediagate::dev(state.path(), &[]);
    check(&["../../tests/browser/gallery.test.js"], &ready);
}

fn start(state: &TempDir, more: &[&str]) -> (Mediagate, SocketAddr, serde_json::Value) {
    let (gate, ready) = Mediagate::dev(state.path(), more);
    let address = ready["gallery"].as_str().and_then(|url| url.strip_prefix("http://")).expect("a URL");
    (gate, address.parse().expect("an address"), ready)
}

fn post(gallery: SocketAddr, path: &str, fields: &str) -> Response {
    raw(gallery, format!("POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n{fields}\r\n"))
}

#[test]
fn only_its_own_page_uses_its_buttons() {
    let state = TempDir::new().expect("a folder");
    let (gate, gallery, ready) = start(&state, &[]);
    let bob = ready["users"][1]["fat"].as_str().expect("a token");
    let open = || request(gate.media, "GET", "/demo/media/readme.txt", &[("fat", bob)]).status;
    for fields in [
        format!("Host: {gallery}\r\n"),
        format!("Host: {gallery}\r\nOrigin: http://evil.example\r\n"),
        format!("Host: {gallery}\r\nOrigin: http://{gallery}\r\nSec-Fetch-Site: cross-site\r\n"),
        format!("Host: {gallery}\r\nOrigin: http://{}\r\n", gate.media),
    ] {
        for path in ["/users/bob/deactivate", "/users/bob/login", "/users/bob/reactivate"] {
            assert_eq!(post(gallery, path, &fields).status, 403, "{path} {fields}");
        }
    }
    // A name that somebody else has resolve here is none of its own, whatever it says.
    let rebound = "Host: evil.example\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n";
    assert_eq!(post(gallery, "/users/bob/deactivate", rebound).status, 421);
    let page = "GET /setup.json HTTP/1.1\r\nConnection: close\r\n";
    assert_eq!(raw(gallery, format!("{page}Host: evil.example:{}\r\n\r\n", gallery.port())).status, 421);
    assert_eq!(raw(gallery, format!("{page}Host: localhost:{}\r\n\r\n", gallery.port())).status, 200);
    assert_eq!(open(), 200);
    let own = format!("Host: {gallery}\r\nOrigin: http://{gallery}\r\n");
    assert_eq!(request(gallery, "GET", "/users/bob/deactivate", &[]).status, 405);
    assert_eq!(post(gallery, "/users/carol/deactivate", &own).status, 404);
    let done = post(gallery, "/users/bob/deactivate", &own);
    assert_eq!((done.status, &done.json()["deactivatedUids"]), (200, &json!(["bob"])), "{}", done.text());
    assert_eq!(open(), 403);
    assert_eq!(post(gallery, "/users/bob/reactivate", &own).status, 200);
    assert_eq!(open(), 200);
}

#[test]
fn its_files_let_nothing_else_in_and_tell_no_secret() {
    let state = TempDir::new().expect("a folder");
    let (_gate, gallery, ready) = start(&state, &[]);
    let apikey = ready["apikey"].as_str().expect("a key");
    for path in ["/", "/page.js", "/page.css", "/style.css", "/mediagate.js", "/setup.json", "/nothing"] {
        let answer = request(gallery, "GET", path, &[("Origin", "http://evil.example")]);
        assert_eq!(answer.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert!(answer.header("access-control-allow-origin").is_none(), "{path}");
        assert!(!answer.text().contains(apikey) && !answer.text().contains("eyJ"), "{path}");
    }
    let setup = request(gallery, "GET", "/setup.json", &[]).json();
    let media = ready["media"].as_str().expect("a URL");
    assert_eq!(setup["picture"], format!("{media}/demo/media/picture.png"));
    assert_eq!(setup["video"], format!("{media}/demo/media/stream.mp4"));
}

#[test]
fn a_folder_of_one_s_own_shows_what_it_has() {
    let (state, folder) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    std::fs::write(folder.path().join("a b.JPG"), "no picture").expect("a file");
    let (_gate, gallery, ready) = start(&state, &["--dir", folder.path().to_str().expect("UTF-8")]);
    let setup = request(gallery, "GET", "/setup.json", &[]).json();
    assert_eq!(setup["picture"], format!("{}/demo/a%20b.JPG", ready["media"].as_str().expect("a URL")));
    assert_eq!(setup["video"], json!(null));
}

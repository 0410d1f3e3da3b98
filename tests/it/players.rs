//! What players and people get, in a real browser: pictures, videos, playlists, downloads and pages, over a real S3 server.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use mediagate::dev::s3::{S3Options, S3Server};
use mediagate::dev::samples::write_samples;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::client::request;
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{SECRET, certificate, eventually, fat, now, sign};

/// A storage with the sample files, the playlist and a page that somebody has put there.
struct Storage {
    runtime: Runtime,
    server: Option<S3Server>,
    _dir: TempDir,
}

impl Storage {
    fn start() -> Storage {
        let dir = TempDir::new().expect("a folder");
        let app = dir.path().join("demo");
        write_samples(&app).expect("samples");
        fs::create_dir(app.join("hls")).expect("a folder");
        for file in fs::read_dir(players().join("hls")).expect("a playlist") {
            let file = file.expect("a file").path();
            fs::copy(&file, app.join("hls").join(file.file_name().expect("a name"))).expect("a copy");
        }
        fs::write(app.join("media/page.html"), "<script>document.title = 'run'</script>").expect("a file");
        let runtime = Runtime::new().expect("a runtime");
        let options = S3Options {
            listen: ([127, 0, 0, 1], 0).into(),
            dir: dir.path().to_owned(),
            bucket: "media".into(),
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "secret-access-key".into(),
            paced: None,
        };
        let server = Some(runtime.block_on(S3Server::start(options)).expect("a server"));
        Storage { runtime, server, _dir: dir }
    }

    /// A gate in front of it that lets pages of `sites` read what players' cookies open; `more` goes into `[media]`.
    fn gate(&self, sites: &[String], more: &str) -> Mediagate {
        let storage = self.server.as_ref().expect("it runs").addr();
        let media = format!("[media]\ncors_origins = {}\n{more}", json!(sites));
        Mediagate::serve(storage, |config| config.replace("[media]\n", &media))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shutdown());
        }
    }
}

fn players() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/players")
}

/// A site of its own, with a page and the player.
fn site() -> Origin {
    let player = players().join("../servers/node_modules/hls.js/dist/hls.min.js");
    let player = fs::read(player).expect("hls.js is installed: scripts/install-deps.sh test");
    Origin::start(move |head: &str, stream: &mut TcpStream| {
        let (status, kind, body) = match head.split(' ').nth(1) {
            Some("/") => {
                ("200 OK", "text/html", &b"<!doctype html><meta charset=utf-8><script src=/hls.js></script><body>"[..])
            }
            Some("/hls.js") => ("200 OK", "text/javascript", &player[..]),
            // Browsers ask for an icon.
            _ => ("404 Not Found", "text/plain", &b""[..]),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    })
}

#[test]
fn players_and_people_get_what_they_need_in_a_real_browser() {
    let (storage, site, dir) = (Storage::start(), site(), TempDir::new().expect("a folder"));
    let port = site.address.port();
    // The gate's own site over HTTP, and another one over HTTPS.
    let sites = [format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")];
    let (cert, key) = certificate(dir.path());
    let plain = storage.gate(&sites, "");
    let tls = storage.gate(&sites, &format!("tls_cert_file = {cert:?}\ntls_key_file = {key:?}\n"));
    let expired = sign(&json!({ "sub": "alice", "app": "demo", "exp": now() - 60 }), SECRET);
    let given = json!({
        "sites": sites,
        "plain": format!("http://{}", plain.media),
        "tls": format!("https://{}", tls.media),
        "alice": fat("alice"),
        "bob": fat("bob"),
        "expired": expired,
        "downloads": dir.path(),
    });
    let output = Command::new("node")
        .args(["--test", "--test-reporter=tap", "players.test.js"])
        .env("MEDIAGATE_PLAYERS", given.to_string())
        .current_dir(players())
        .output()
        .expect("node is installed: scripts/install-deps.sh test");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse::<usize>().ok());
    let counts = ["# pass ", "# fail ", "# cancelled ", "# skipped ", "# todo "].map(number);
    assert!(matches!(counts, [Some(1..), Some(0), Some(0), Some(0), Some(0)]), "{text}");

    // As the gate saw it: parts of the video, and segments of whoever had opened the playlist.
    let lines = plain.access_log();
    let of = |object: &str| lines.iter().filter(|line| line["object"] == object).collect::<Vec<_>>();
    let video = of("demo/media/clip.mp4");
    // A browser asks again for what it has of a range, too.
    let statuses: Vec<_> = video.iter().filter_map(|line| line["status"].as_u64()).collect();
    assert!(statuses.len() > 1 && statuses.contains(&206), "{video:?}");
    assert!(statuses.iter().all(|status| [206, 304].contains(status)), "{video:?}");
    for uid in ["alice", "bob"] {
        let segments = of("demo/hls/part2.m4s");
        let is_theirs = |line: &&&Value| line["uid"] == uid && (line["status"] == 200 || line["status"] == 304);
        assert!(segments.iter().any(|line| is_theirs(&line)), "{uid}: {segments:?}");
    }
    for gate in [&plain, &tls] {
        assert!(!gate.log().contains(given["alice"].as_str().expect("a token")));
    }
}

#[test]
fn the_cookie_of_a_playlist_is_set_once_it_is_there() {
    let storage = Storage::start();
    let gate = storage.gate(&["https://app.example".to_owned()], "player_cookie_secs = 60\n");
    let token = fat("alice");
    let ask = |method: &str, target: &str, fields: &[(&str, &str)]| request(gate.media, method, target, fields);
    let playlist = format!("/demo/hls/index.m3u8?fat={token}");
    let expected = format!("fat={token}~; Path=/demo/hls/; Max-Age=60; HttpOnly; SameSite=Lax");
    for (method, fields, status) in [
        ("GET", &[][..], 200),
        ("HEAD", &[], 200),
        ("GET", &[("Range", "bytes=0-9")], 206),
        ("GET", &[("Cookie", "fat=another~; session=x")], 200),
    ] {
        let answer = ask(method, &playlist, fields);
        assert_eq!((answer.status, answer.header("set-cookie")), (status, Some(expected.as_str())), "{fields:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let missing = ask("GET", &format!("/demo/hls/none.m3u8?fat={token}"), &[]);
    assert_eq!((missing.status, missing.header("set-cookie")), (404, None));
    let own = expected.split(';').next().expect("a value");
    let segment = ask("GET", "/demo/hls/part0.m4s", &[("Cookie", own), ("Origin", "https://app.example")]);
    assert_eq!((segment.status, segment.header("cache-control")), (200, Some("private, no-cache")));
    assert_eq!(segment.header("access-control-allow-credentials"), Some("true"));
    assert_eq!((segment.header("vary"), segment.header("set-cookie")), (Some("Origin"), None));
    // Elsewhere it is nobody's to read.
    let other = ask("GET", "/demo/hls/part0.m4s", &[("Cookie", own), ("Origin", "https://evil.example")]);
    assert_eq!(
        (other.header("access-control-allow-origin"), other.header("access-control-allow-credentials")),
        (None, None)
    );
    gate.deactivate("alice");
    let dead = ask("GET", "/demo/hls/part0.m4s", &[("Cookie", own)]);
    assert_eq!((dead.status, dead.code().as_str()), (403, "ERR_USER_DEACTIVATED"));
    let off = storage.gate(&[], "player_cookie_secs = 0\n");
    assert_eq!(request(off.media, "GET", &playlist, &[]).header("set-cookie"), None);
    let behind = storage.gate(&[], "behind_tls = true\n");
    let set = request(behind.media, "GET", &playlist, &[]);
    let set = set.header("set-cookie").expect("a cookie");
    assert!(set.ends_with("; HttpOnly; Secure; SameSite=None; Partitioned"), "{set}");
}

#[test]
fn copies_are_downloaded_and_bring_cookies_like_the_objects_themselves() {
    let storage = Storage::start();
    let more = "\n[cache]\nenabled = true\n\n[control]";
    let server = storage.server.as_ref().expect("it runs").addr();
    let gate = Mediagate::serve(server, |config| config.replace("\n[control]", more));
    let token = fat("alice");
    for used in ["miss", "hit"] {
        let playlist = request(gate.media, "GET", &format!("/demo/hls/index.m3u8?fat={token}&download=our+list"), &[]);
        assert!(playlist.header("set-cookie").is_some_and(|cookie| cookie.contains(&token)), "{used}");
        assert_eq!(playlist.header("cache-control"), Some("no-store"));
        assert_eq!(playlist.header("content-disposition"), Some("attachment; filename=\"our list.m3u8\""), "{used}");
        let plain = request(gate.media, "GET", "/demo/hls/index.m3u8", &[("fat", &token)]);
        assert_eq!((plain.header("set-cookie"), plain.header("content-disposition")), (None, None), "{used}");
        eventually("the log says so", || gate.access_log().iter().any(|line| line["cache"] == used));
    }
}

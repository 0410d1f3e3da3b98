//! What operators and newcomers do: start, look, reload, stop, start again; and the commands around it.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::client::{Connection, get, request};
use crate::support::origin::Origin;
use crate::support::process::{API_KEY, Mediagate, binary, config, run, write_config};
use crate::support::{SECRET, eventually, fat, now, sign};

/// A storage that has every object.
fn storage() -> Origin {
    Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok")
}

#[test]
fn dev_says_everything_that_is_needed_and_its_links_work() {
    let state = TempDir::new().unwrap();
    let (mediagate, ready) = Mediagate::dev(state.path(), &[]);
    assert_eq!(ready["app"], "demo");
    let objects: Vec<&str> = ready["objects"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert_eq!(objects.len(), 4);
    let links = ready["links"].as_array().unwrap();
    assert_eq!(links.len(), 2 * objects.len());
    for link in links {
        let target = link.as_str().unwrap().strip_prefix(ready["media"].as_str().unwrap()).unwrap();
        let answer = get(mediagate.media, target);
        assert_eq!(answer.status, 200, "{link}");
        assert!(!answer.body.is_empty());
    }
    assert_eq!(ready["users"][0]["uid"], "alice");
    let fat = ready["users"][1]["fat"].as_str().unwrap();
    for path in &objects {
        assert_eq!(request(mediagate.media, "GET", path, &[("fat", fat)]).status, 200, "{path}");
    }
    // The storage itself lets nobody in without a signature.
    let s3 = ready["s3"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    assert_eq!(get(s3, "/media/media/readme.txt").status, 403);
}

#[test]
fn dev_starts_again_on_the_same_state() {
    let state = TempDir::new().unwrap();
    let (mut first, ready) = Mediagate::dev(state.path(), &[]);
    let (apikey, alice, bob) = (&ready["apikey"], &ready["users"][0]["fat"], &ready["users"][1]["fat"]);
    let control = format!("http://{}", first.control);
    let env = [("MEDIAGATE_API_KEY", apikey.as_str().unwrap())];
    let (status, said, error) = run(&["user", "deactivate", "bob", "--control", &control], &env);
    assert!(status.success() && said.contains("bob"), "{said}{error}");
    first.signal("INT");
    assert!(first.wait().success());

    let (second, again) = Mediagate::dev(state.path(), &[]);
    assert_eq!(&again["apikey"], apikey);
    // Tokens from before go on being good, and a deactivation goes on being in force.
    let ask = |fat: &serde_json::Value| {
        request(second.media, "GET", "/demo/media/readme.txt", &[("fat", fat.as_str().unwrap())]).status
    };
    assert_eq!((ask(alice), ask(bob)), (200, 403));
    let control = format!("http://{}", second.control);
    let (status, ..) = run(&["user", "activate", "bob", "--control", &control], &env);
    assert!(status.success());
    assert_eq!((ask(alice), ask(bob)), (200, 200));
}

#[test]
fn dev_serves_a_folder_of_the_user_s() {
    let (state, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::create_dir(folder.path().join("sub dir")).unwrap();
    std::fs::write(folder.path().join("sub dir/näme.txt"), "mine").unwrap();
    let (mediagate, ready) = Mediagate::dev(state.path(), &["--dir", folder.path().to_str().unwrap()]);
    assert_eq!(ready["objects"], json!(["/demo/sub%20dir/n%C3%A4me.txt"]));
    let fat = ready["users"][0]["fat"].as_str().unwrap();
    assert_eq!(get(mediagate.media, &format!("/demo/sub%20dir/n%C3%A4me.txt?fat={fat}")).text(), "mine");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is written into it");
}

#[test]
fn config_check_reports_every_error_with_status_2() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/mediagate.toml");
    let (status, said, _) = run(&["config", "check", example], &[]);
    assert_eq!(status.code(), Some(0), "{said}");
    let (status, _, error) = run(&["serve", "--config", example], &[]);
    assert!(!status.success() && error.contains("example secret"), "{error}");

    let dir = TempDir::new().unwrap();
    let text =
        config("127.0.0.1:9".parse().unwrap()).replace("alg = \"HS256\"", "alg = \"none\"\nsecret = \"hunter2\"");
    let file = write_config(dir.path(), text.replace("region", "regoin"));
    let (status, said, error) = run(&["config", "check", file.to_str().unwrap()], &[]);
    assert_eq!(status.code(), Some(2));
    let errors: Vec<&str> = error.lines().filter(|line| line.contains("mediagate.toml:")).collect();
    assert!(errors.len() >= 3, "{error}");
    for key in ["apps[0].keys[0].alg", "apps[0].keys[0].secret", "storage.main.regoin"] {
        assert!(errors.iter().any(|line| line.contains(key)), "{key}: {error}");
    }
    assert!(!error.contains("hunter2") && !said.contains("hunter2"));
    let (status, ..) = run(&["serve", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(status.code(), Some(2));
}

#[test]
fn an_address_that_is_taken_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let file = write_config(dir.path(), config(taken.local_addr().unwrap()).replacen("127.0.0.1:0", &address, 1));
    let (status, _, error) = run(&["serve", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(status.code(), Some(1));
    assert!(error.contains(&address) && error.contains("media.listen"), "{error}");
}

#[test]
fn minted_tokens_open_media_and_can_be_inspected() {
    let origin = storage();
    let mediagate = Mediagate::serve(origin.address, |text| text);
    let file = mediagate.state.join("mediagate.toml");
    let file = file.to_str().unwrap();
    let (status, token, error) =
        run(&["token", "mint", "--config", file, "--app", "demo", "--uid", "Carol", "--path", "/demo/a/*"], &[]);
    assert!(status.success(), "{error}");
    let ask = |path: &str| request(mediagate.media, "GET", path, &[("fat", token.trim())]);
    assert_eq!(ask("/demo/a/b").status, 200);
    assert_eq!(ask("/demo/b").code(), "ERR_PATH_NOT_ALLOWED");
    mediagate.deactivate("carol");
    assert_eq!(ask("/demo/a/b").code(), "ERR_USER_DEACTIVATED");

    let (status, said, error) = run(&["token", "inspect", token.trim(), "--config", file], &[]);
    assert!(status.success() && said.contains("carol"), "{said}{error}");
    let forged = sign(&json!({ "sub": "eve", "app": "demo", "exp": now() + 60 }), &SECRET.replace('8', "9"));
    let (status, said, _) = run(&["token", "inspect", &forged, "--config", file], &[]);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("signature"), "{said}");
}

#[test]
fn user_commands_say_what_went_wrong_and_what_to_do() {
    let origin = storage();
    let mediagate = Mediagate::serve(origin.address, |text| text);
    let control = format!("http://{}", mediagate.control);
    let good = [("MEDIAGATE_API_KEY", API_KEY)];
    let (status, said, _) = run(&["user", "deactivate", "dora", "emil", "--control", &control], &good);
    assert!(status.success() && said.contains("dora") && said.contains("emil"), "{said}");
    let dora = fat("dora");
    assert_eq!(request(mediagate.media, "GET", "/demo/a", &[("fat", &dora)]).status, 403);
    let (status, _, error) =
        run(&["user", "deactivate", "dora", "--control", &control], &[("MEDIAGATE_API_KEY", "wrong-key-wrong-key")]);
    assert!(!status.success() && error.contains("MEDIAGATE_API_KEY"), "{error}");
    assert!(!error.contains("wrong-key-wrong-key"), "{error}");
    let (status, _, error) = run(&["user", "deactivate", "dora", "--control", "http://127.0.0.1:1"], &good);
    assert!(!status.success() && error.contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_reload_takes_over_keys_and_a_bad_file_changes_nothing() {
    let origin = storage();
    let mediagate = Mediagate::serve(origin.address, |text| text);
    let file = mediagate.state.join("mediagate.toml");
    let old = fat("alice");
    let ask = |token: &str| request(mediagate.media, "GET", "/demo/a", &[("fat", token)]).status;
    let mut kept = Connection::open(mediagate.media);
    let mut ask_kept = |token: &str| {
        kept.send(format!("GET /demo/a HTTP/1.1\r\nHost: h\r\nfat: {token}\r\n\r\n"));
        kept.read(false).expect("an answer on a kept connection").status
    };
    assert_eq!((ask(&old), ask_kept(&old)), (200, 200));

    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, before.replace("storage = \"main\"", "storage = \"mian\"\nsecret = \"hunter2\"")).unwrap();
    mediagate.signal("HUP");
    eventually("the errors are logged", || mediagate.log().contains("not reloaded"));
    assert!(mediagate.log().contains("apps[0].storage") && !mediagate.log().contains("hunter2"));
    assert_eq!((ask(&old), ask_kept(&old)), (200, 200));

    let secret = SECRET.chars().rev().collect::<String>();
    std::fs::write(mediagate.state.join("k1.key"), &secret).unwrap();
    std::fs::write(&file, before).unwrap();
    mediagate.signal("HUP");
    eventually("it is reloaded", || mediagate.log().contains("\"reloaded "));
    let new = sign(&json!({ "sub": "alice", "app": "demo", "iat": now(), "exp": now() + 60 }), &secret);
    assert_eq!((ask(&old), ask(&new)), (401, 200));
    assert_eq!((ask_kept(&old), ask_kept(&new)), (401, 200));
    // What was restricted before goes on being so.
    mediagate.deactivate("alice");
    mediagate.signal("HUP");
    eventually("it is reloaded again", || mediagate.log().matches("\"reloaded ").count() == 2);
    assert_eq!(ask(&new), 403);
}

#[test]
fn a_shutdown_lets_running_transfers_end() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::start(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        let _ = released.lock().unwrap().recv_timeout(Duration::from_secs(60));
        let _ = stream.write_all(b"rest");
    });
    let mut mediagate = Mediagate::serve(origin.address, |text| text);
    let mut idle = Connection::open(mediagate.media);
    idle.send("OPTIONS /demo/a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(idle.read(false).expect("an answer").status, 204);
    let mut running = Connection::open(mediagate.media);
    running.send(format!("GET /demo/a?fat={} HTTP/1.1\r\nHost: h\r\n\r\n", fat("alice")));
    let (status, ..) = running.read_head().expect("a head");
    assert_eq!(status, 200);
    let mut body = [0; 4];
    running.0.read_exact(&mut body).unwrap();
    mediagate.signal("TERM");
    eventually("nobody new is let in", || std::net::TcpStream::connect(mediagate.media).is_err());
    assert!(idle.is_closed(), "a connection without a request is not waited for");
    release.send(()).unwrap();
    let mut rest = [0; 4];
    running.0.read_exact(&mut rest).unwrap();
    assert_eq!((&body, &rest), (b"half", b"rest"));
    assert!(mediagate.wait().success());
    // What the process wrote last may be on its way to this one.
    eventually("it is logged", || {
        mediagate.access_log().iter().any(|entry| entry["outcome"] == "served" && entry["bytes"] == 8)
    });
}

#[test]
fn the_metrics_listener_tells_how_it_goes() {
    let origin = storage();
    let mediagate = Mediagate::serve(origin.address, |text| text);
    assert_eq!(get(mediagate.metrics, "/healthz").status, 200);
    assert_eq!(get(mediagate.metrics, "/readyz").status, 200);
    assert_eq!(get(mediagate.media, "/metrics").status, 404, "not on the media listener");
    mediagate.deactivate("bob");
    let (alice, bob) = (fat("alice"), fat("bob"));
    for (token, status) in [(&alice, 200), (&alice, 200), (&bob, 403)] {
        assert_eq!(request(mediagate.media, "GET", "/demo/a", &[("fat", token)]).status, status);
    }
    eventually("all three are counted", || {
        mediagate.metric("mediagate_requests_total{outcome=\"served\",reason=\"ok\"}") == Some(2.0)
            && mediagate.metric("mediagate_requests_total{outcome=\"denied\",reason=\"user_deactivated\"}") == Some(1.0)
    });
    assert_eq!(mediagate.metric("mediagate_restrictions{scope=\"user\"}"), Some(1.0));
    assert!(mediagate.metric("mediagate_feed_age_seconds").unwrap() >= 0.0);
    assert_eq!(mediagate.metric("mediagate_upstream_seconds_count"), Some(2.0));
    assert!(mediagate.metric("mediagate_decision_seconds_count").unwrap() >= 3.0);
    assert!(mediagate.metric("mediagate_response_bytes_total").unwrap() >= 4.0);
    assert!(mediagate.metric("mediagate_token_cache_bytes").is_some());
}

#[test]
fn help_teaches() {
    for args in [&["--help"][..], &["dev", "--help"], &["serve", "--help"], &["token", "mint", "--help"]] {
        let output = Command::new(binary()).args(args).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("mediagate") && text.contains("Usage"), "{text}");
    }
}

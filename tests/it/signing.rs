//! Awkward object keys: signed as AWS's own code signs them, and fetched byte for byte.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use mediagate::gate::{
    Access, Addressing, AppFolder, AppOptions, Credentials, Decision, Endpoint, Gate, GateOptions, Now, PublicPrefixes,
    S3Options, S3Storage, TimeRules, UidCase,
};
use mediagate::restrictions::RestrictionSet;
use mediagate::secret::Secret;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::client::Connection;
use crate::support::fat;
use crate::support::origin::Origin;
use crate::support::process::Mediagate;

/// Everything encoded but what never is (RFC 3986 §2.3).
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Only what a request target cannot hold, or what the gate refuses as it is.
const LAX: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'?').add(b';').add(b'%').add(b'<').add(b'>').add(b'`');

fn path_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn odd_keys() -> Vec<String> {
    let text = fs::read(path_of("tests/oracle/odd_keys.json")).expect("the keys are part of the sources");
    let keys: Vec<String> = serde_json::from_slice(&text).expect("a list of keys");
    assert!(keys.len() >= 1500, "{} keys", keys.len());
    keys
}

/// Returns the URLs that AWS's own code makes of `requests`.
fn oracle(requests: &[Value]) -> Vec<String> {
    let python = path_of(".venv/bin/python");
    assert!(python.exists(), "the presigning oracle is not installed: run `make test`, which does it");
    let mut command = Command::new(python);
    command.arg(path_of("tests/oracle/presign.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().expect("the presigning oracle starts");
    let mut stdin = process.stdin.take().expect("standard input is a pipe");
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let writing = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).expect("the oracle reads"));
    let stdout = BufReader::new(process.stdout.take().expect("standard output is a pipe"));
    let answers: Vec<String> = stdout
        .lines()
        .map(|line| {
            let answer: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
            answer["url"].as_str().unwrap_or_else(|| panic!("the oracle cannot sign: {answer}")).to_owned()
        })
        .collect();
    writing.join().expect("no panic");
    let status = process.wait().expect("a status");
    assert!(status.success(), "the presigning oracle: {status}; run `make test`, which installs it");
    assert_eq!(answers.len(), requests.len());
    answers
}

/// What the oracle signs as the tests' configuration does.
fn question(method: &str, endpoint: &str, key: &str, date: &str) -> Value {
    json!({
        "endpoint": endpoint, "region": "us-east-1", "bucket": "media", "key": key, "method": method,
        "access_key": "AKIDEXAMPLE", "secret_key": "secret-access-key", "session_token": null,
        "expires": 60, "date": date, "path_style": true,
    })
}

/// The value of `X-Amz-Date` in a URL.
fn date_in(url: &str) -> &str {
    let rest = url.split("X-Amz-Date=").nth(1).unwrap_or_else(|| panic!("no date in {url}"));
    &rest[..16]
}

/// Asks a gate in front of a storage that records for all of `requests` (method, encoded key, key in the bucket) and compares
/// the URLs that it asked the storage for with the oracle's.
fn check_through_the_gate(edit: impl FnOnce(String) -> String, requests: &[(&str, String, String)]) {
    let storage = Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gate = Mediagate::serve(storage.address, edit);
    let (mut client, token) = (Connection::open(gate.media), fat("alice"));
    for (method, path, key) in requests {
        let response = client.ask(method, &format!("/demo/{path}?fat={token}"), &[]);
        assert_eq!(response.status, 200, "{method} {key:?} as {path}: {}", response.text());
    }
    let endpoint = format!("http://{}", storage.address);
    let recorded = storage.requests();
    assert_eq!(recorded.len(), requests.len());
    let asked: Vec<String> =
        recorded.iter().zip(requests).map(|(head, (method, ..))| url_of(head, method, storage.address)).collect();
    let questions: Vec<Value> = asked
        .iter()
        .zip(requests)
        .map(|(url, (method, _, key))| question(method, &endpoint, key, date_in(url)))
        .collect();
    for ((url, expected), (method, path, key)) in asked.iter().zip(oracle(&questions)).zip(requests) {
        assert_eq!(*url, expected, "{method} {key:?} as {path}");
    }
}

/// The URL that a recorded request was for.
fn url_of(head: &str, method: &str, storage: SocketAddr) -> String {
    let (line, fields) = head.split_once("\r\n").expect("a request line");
    let [sent, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert_eq!(sent, method);
    let host = fields.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
    assert_eq!(host, Some(storage.to_string()), "the host that was signed");
    format!("http://{storage}{target}")
}

#[test]
fn every_key_is_signed_as_aws_signs_it() {
    let keys = odd_keys();
    let requests: Vec<_> = ["GET", "HEAD"]
        .into_iter()
        .flat_map(|method| {
            keys.iter().map(move |key| (method, utf8_percent_encode(key, STRICT).to_string(), format!("demo/{key}")))
        })
        .collect();
    check_through_the_gate(|config| config, &requests);
}

#[test]
fn a_key_is_the_same_however_the_client_encodes_it() {
    let requests: Vec<_> = odd_keys()
        .iter()
        .map(|key| ("GET", utf8_percent_encode(key, LAX).to_string(), format!("demo/{key}")))
        .filter(|(_, lax, key)| *lax != utf8_percent_encode(&key["demo/".len()..], STRICT).to_string())
        .collect();
    assert!(requests.len() > 1000, "{}", requests.len());
    check_through_the_gate(|config| config, &requests);
}

#[test]
fn a_prefix_and_the_app_stand_where_the_configuration_puts_them() {
    let keys = odd_keys();
    for (prefix, strip_app) in [("tenant 7/ä+%25/", false), ("tenant 7/ä+%25/", true), ("", true)] {
        // Some of the keys each: how keys are encoded does not depend on it.
        let requests: Vec<_> = keys
            .iter()
            .step_by(7)
            .map(|key| {
                let app = if strip_app { "" } else { "demo/" };
                ("GET", utf8_percent_encode(key, STRICT).to_string(), format!("{prefix}{app}{key}"))
            })
            .collect();
        check_through_the_gate(|config| format!("{config}prefix = \"{prefix}\"\nstrip_app = {strip_app}\n"), &requests);
    }
}

/// Names below a bucket's need DNS, so this asks the core: what it decides is all that the gate sends.
#[test]
fn a_bucket_in_the_hosts_name_is_signed_as_aws_signs_it() {
    let keys = odd_keys();
    for (endpoint, prefix, app_folder) in [
        ("https://s3.us-east-1.amazonaws.com", "", AppFolder::Kept),
        ("http://storage.example:9000", "p q/", AppFolder::Stripped),
    ] {
        let gate = core(endpoint, prefix, app_folder);
        let now = Now { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_267_467), monotonic: Instant::now() };
        let restrictions = RestrictionSet::new([1, 2], now.monotonic);
        let scheme = endpoint.split("://").next().expect("a scheme");
        let mut urls = Vec::new();
        let mut questions = Vec::new();
        for key in keys.iter().step_by(2) {
            let request =
                http::Request::get(format!("/demo/{}", utf8_percent_encode(key, STRICT))).header("host", "gate.test");
            let decision = gate.admit(&request.body(()).expect("a request").into_parts().0, &restrictions, now);
            let Ok(Decision::Forward(admission)) = decision else { panic!("{key:?}: {decision:?}") };
            urls.push(format!("{scheme}://{}{}", admission.target.host(), admission.target.path_and_query()));
            let key = if app_folder == AppFolder::Kept { format!("demo/{key}") } else { format!("{prefix}{key}") };
            let mut question = question("GET", endpoint, &key, "20261121T132427Z");
            question["path_style"] = json!(false);
            questions.push(question);
        }
        for ((url, expected), question) in urls.iter().zip(oracle(&questions)).zip(&questions) {
            assert_eq!(*url, expected, "{}", question["key"]);
        }
    }
}

/// A gate over the bucket `media` in virtual-host style that asks for no token.
fn core(endpoint: &str, prefix: &str, app_folder: AppFolder) -> Gate {
    let storage = S3Storage::new(S3Options {
        endpoint: Endpoint::parse(endpoint).expect("an endpoint"),
        region: "us-east-1".into(),
        bucket: "media".into(),
        addressing: Addressing::VirtualHost,
        prefix: prefix.into(),
        app_folder,
        credentials: Credentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: Secret::new("secret-access-key"),
        },
        presign_ttl: Duration::from_secs(60),
    });
    let app = AppOptions {
        id: "demo".into(),
        access: Access::Off,
        keys: Vec::new(),
        time: TimeRules { leeway: Duration::ZERO, max_ttl: Duration::from_secs(60) },
        uid_case: UidCase::default(),
        public_prefixes: PublicPrefixes::default(),
        tokenized_since: None,
        storage: storage.into(),
    };
    Gate::new(GateOptions { apps: vec![app], ..GateOptions::default() }).expect("a gate")
}

#[test]
fn every_key_is_fetched_from_a_real_server_byte_for_byte() {
    let keys = odd_keys();
    let [dir, state] = [(); 2].map(|()| TempDir::new().expect("a folder"));
    let content = |key: &str| {
        let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hash}\n{key}\n")
    };
    // What this file system cannot hold is left out.
    let written: Vec<&String> = keys
        .iter()
        .filter(|key| {
            let path = dir.path().join(key);
            let made = fs::create_dir_all(path.parent().expect("below the folder"));
            made.and_then(|()| fs::write(&path, content(key))).is_ok()
        })
        .collect();
    assert!(written.len() >= 400, "only {} of {} keys can be files here", written.len(), keys.len());
    let (gate, ready) = Mediagate::dev(state.path(), &["--dir", dir.path().to_str().expect("UTF-8")]);
    let token = ready["users"][0]["fat"].as_str().expect("a token");
    let mut client = Connection::open(gate.media);
    for key in written {
        let target = format!("/demo/{}?fat={token}", utf8_percent_encode(key, STRICT));
        let (expected, response) = (content(key), client.ask("GET", &target, &[]));
        assert_eq!((response.status, response.text()), (200, expected.clone()), "{key:?}");
        let head = client.ask("HEAD", &target, &[]);
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some(expected.len().to_string().as_str())),
            "{key:?}"
        );
    }
}

//! Tokens minted by Twilio's own libraries open media, and die with their user.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::get;
use crate::support::now;
use crate::support::origin::Origin;
use crate::support::process::{Mediagate, run};

const SID: &str = "SK0123456789abcdef0123456789abcdef";

/// Of the form that Twilio gives.
const SECRET: &str = "kT4wNz0QeYvB8mRj2LsXc6HgUa9PdF7i";

const PYTHON: &str = r#"
import json, sys
from twilio.jwt.access_token import AccessToken
from twilio.jwt.access_token.grants import ChatGrant, VideoGrant
sid, secret, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
grants = [ChatGrant(service_sid="IS0"), VideoGrant(room="r")]
print(AccessToken("AC0", sid, secret, grants=options.pop("grants", True) and grants or [], **options).to_jwt())
"#;

const NODE: &str = r#"
const AccessToken = require("twilio").jwt.AccessToken;
const [sid, secret, options] = [process.argv[1], process.argv[2], JSON.parse(process.argv[3])];
const token = new AccessToken("AC0", sid, secret, options);
token.addGrant(new AccessToken.ChatGrant({ serviceSid: "IS0", endpointId: "e" }));
console.log(token.toJwt(options.algorithm));
"#;

/// A library, by what runs it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Library {
    Python,
    Node,
}

impl Library {
    /// Mints a token with `options`, which are the library's own names.
    fn mint(self, secret: &str, options: &Value) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = match self {
            Library::Python => Command::new(root.join(".venv/bin/python")),
            Library::Node => Command::new("node"),
        };
        let script = match self {
            Library::Python => ["-c", PYTHON],
            Library::Node => ["-e", NODE],
        };
        command.args(script).args([SID, secret, &options.to_string()]);
        let output = command.current_dir(root.join("tests/servers")).output();
        let output = output.expect("it is installed: scripts/install-deps.sh test");
        assert!(output.status.success(), "{self:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

fn gate(alg: &str, dir: &TempDir) -> Mediagate {
    let storage = Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes");
    Mediagate::serve(storage.address, |config| {
        let key =
            format!("kid = \"{SID}\"\nalg = \"{alg}\"\nprofile = \"twilio\"\nsecret_file = \"{}\"", secret_file(dir));
        config.replace("\n[storage.main]", &format!("[[apps.keys]]\n{key}\n\n[storage.main]"))
    })
}

/// A file in `dir` with the secret.
fn secret_file(dir: &TempDir) -> String {
    let file = dir.path().join("twilio.key");
    std::fs::write(&file, SECRET).expect("a file");
    file.display().to_string()
}

fn status(gate: &Mediagate, token: &str) -> u16 {
    get(gate.media, &format!("/demo/media/a.jpg?fat={token}")).status
}

#[test]
fn tokens_of_both_libraries_open_media_and_die_with_their_user() {
    let dir = TempDir::new().expect("a folder");
    let gate = gate("HS256", &dir);
    let python = |options| Library::Python.mint(SECRET, &options);
    let node = |options| Library::Node.mint(SECRET, &options);
    for token in [
        python(json!({ "identity": "alice" })),
        python(json!({ "identity": "alice", "ttl": 1.5e3 })),
        python(json!({ "identity": "alice", "ttl": 60.5, "nbf": null })),
        python(json!({ "identity": "alice", "nbf": now() - 60, "region": "ie1" })),
        python(json!({ "identity": "alice", "ttl": 86400, "grants": false })),
        node(json!({ "identity": "alice" })),
        node(json!({ "identity": "Alice", "ttl": 86400, "nbf": now(), "region": "ie1" })),
    ] {
        assert_eq!(status(&gate, &token), 200, "{token}");
    }
    // What the libraries mint and nobody should be given, or could be.
    for token in [
        python(json!({ "identity": "alice", "ttl": 86401 })),
        python(json!({ "identity": "alice", "ttl": 1_000_000_000 })),
        python(json!({ "identity": "alice", "ttl": -60 })),
        python(json!({ "identity": "alice", "nbf": now() - 86400 })),
        python(json!({ "identity": "alice", "nbf": now() + 600 })),
        python(json!({ "ttl": 60 })),
        python(json!({ "identity": "a b" })),
        Library::Python.mint("another-secret-of-32-characters!", &json!({ "identity": "alice" })),
        node(json!({ "identity": "alice", "ttl": 86401 })),
        node(json!({ "identity": "alice", "algorithm": "HS512" })),
        Library::Node.mint("another-secret-of-32-characters!", &json!({ "identity": "alice" })),
    ] {
        assert_eq!(status(&gate, &token), 401, "{token}");
    }
    let tokens = |uid: &str| [python(json!({ "identity": uid })), node(json!({ "identity": uid }))];
    let (alice, bob) = (tokens("Alice"), tokens("bob"));
    gate.deactivate("alice");
    assert!(alice.iter().all(|token| status(&gate, token) == 403));
    assert!(bob.iter().all(|token| status(&gate, token) == 200));
    gate.activate("alice");
    assert!(alice.iter().all(|token| status(&gate, token) == 200));
    // A flush kills what was issued before, whichever claim says so; what is issued from then on lives.
    let flush = |at: u64| {
        let body = json!({ "scope": "user", "id": "bob", "issuedBefore": at });
        assert_eq!(gate.control("POST", "/v3/restrictions", &body).status, 200);
    };
    let undated = python(json!({ "identity": "bob", "nbf": null }));
    assert_eq!(status(&gate, &undated), 200);
    flush(now() + 1);
    assert!(bob.iter().chain([&undated]).all(|token| status(&gate, token) == 403));
}

#[test]
fn nodes_other_algorithms_are_good_where_the_key_says_so() {
    let dir = TempDir::new().expect("a folder");
    let gate = gate("HS512", &dir);
    for (algorithm, expected) in [("HS512", 200), ("HS384", 401), ("HS256", 401)] {
        let token = Library::Node.mint(SECRET, &json!({ "identity": "alice", "algorithm": algorithm }));
        assert_eq!(status(&gate, &token), expected, "{algorithm}");
    }
}

#[test]
fn token_mint_writes_what_the_python_library_writes() {
    let dir = TempDir::new().expect("a folder");
    let file = secret_file(&dir);
    let args = ["token", "mint", "--profile", "twilio", "--alg", "HS256", "--secret-file", &file, "--kid", SID];
    let more = ["--app", "demo", "--uid", "Alice", "--account-sid", "AC0", "--ttl", "1h"];
    let minted = || {
        let (status, token, error) = run(&[args.as_slice(), more.as_slice()].concat(), &[]);
        assert!(status.success(), "{error}");
        token.trim().to_owned()
    };
    // Both within one second, in one of a few attempts.
    let same = (0..20).any(|_| {
        let ours = minted();
        Library::Python.mint(SECRET, &json!({ "identity": "Alice", "grants": false })) == ours
    });
    assert!(same, "ours: {}", minted());
}

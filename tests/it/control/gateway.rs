//! A gateway whose control listener talks TLS, and its callers.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::certificates::certificates;
use crate::support::client::{Response, Tls, request};
use crate::support::database::Database;
use crate::support::origin::Origin;
use crate::support::process::{API_KEY, Mediagate};

/// The host of the media URLs that the tests hand out.
pub(super) const MEDIA_HOST: &str = "files.demo.example";

/// One process with both roles.
pub(super) struct Gateway {
    pub(super) process: Mediagate,
    pub(super) storage: Origin,
    tls: Tls,
    /// The certificate of the authority that vouches for the control listener.
    pub(super) authority: PathBuf,
    _certificates: TempDir,
    _database: Database,
}

/// Runs `test` on each database, over `storage` and with the configuration changed by `edit`.
pub(super) fn on_each(storage: fn() -> Origin, edit: fn(String) -> String, test: fn(Gateway)) {
    for database in [Database::sqlite(), Database::postgres()] {
        // For the output of a test that fails.
        println!("on {}", database.name());
        test(Gateway::start(database, storage(), edit));
    }
}

/// A storage in which every object is five bytes.
pub(super) fn storage() -> Origin {
    Origin::constant("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\nbytes")
}

/// Leaves a configuration as it is.
pub(super) fn as_it_is(config: String) -> String {
    config
}

/// The URL of a file, as a platform has it in its messages.
pub(super) fn url(file: &str) -> String {
    format!("https://{MEDIA_HOST}/demo/media/{file}")
}

impl Gateway {
    /// Starts it over a database and a storage, with the configuration changed by `edit`.
    pub(super) fn start(database: Database, storage: Origin, edit: fn(String) -> String) -> Gateway {
        let folder = TempDir::new().expect("a folder");
        let [ca, certificate, key] = certificates(folder.path());
        let process = Mediagate::serve(storage.address, |config| {
            let tls = format!(
                "[control]\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"\nmedia_host = \"{MEDIA_HOST}\"\n",
                certificate.display(),
                key.display()
            );
            let config = database.named_in(&config).replace("[control]\n", &tls);
            edit(format!("{config}\n[presigned]\nkey_file = \"presigned.key\"\n"))
        });
        let tls = Tls::trusting(&ca);
        Gateway { process, storage, tls, authority: ca, _certificates: folder, _database: database }
    }

    /// Calls the control listener with exactly these fields and this body.
    pub(super) fn send(&self, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Response {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (host, length) = (self.process.control, body.len());
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}");
        self.tls.raw(host, format!("{head}Content-Length: {length}\r\n\r\n{body}"))
    }

    /// The same with this API key and a JSON body, or none for `null`.
    pub(super) fn call_as(&self, key: &str, method: &str, target: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, target, &[("apikey", key), ("Content-Type", "application/json")], &body)
    }

    /// Makes a call as the platform, which succeeds; returns its `data`.
    #[track_caller]
    pub(super) fn call(&self, method: &str, target: &str, body: Value) -> Value {
        let answer = self.call_as(API_KEY, method, target, &body);
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        answer.json()["data"].take()
    }

    /// Registers users.
    pub(super) fn register(&self, uids: &[&str]) {
        for uid in uids {
            let user = self.call("POST", "/v3/users", json!({ "uid": uid, "name": format!("{uid} of demo") }));
            assert_eq!(user["uid"], *uid);
        }
    }

    /// A fresh auth token of a user's.
    pub(super) fn auth_token(&self, uid: &str) -> String {
        text(&self.call("POST", &format!("/v3/users/{uid}/auth_tokens"), Value::Null)["authToken"])
    }

    /// A user's call, as a client makes it.
    pub(super) fn me(&self, method: &str, token: &str) -> Response {
        self.send(method, "/v3.0/me", &[("appId", "demo"), ("authToken", token)], "")
    }

    /// The FAT of a login with this auth token.
    #[track_caller]
    pub(super) fn fat(&self, token: &str) -> String {
        let login = self.me("PUT", token);
        assert_eq!(login.status, 200, "{}", login.text());
        text(&login.json()["data"]["fat"])
    }

    /// What the media listener answers to a path, or to a URL of [`MEDIA_HOST`] or of itself.
    pub(super) fn open(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        let own = format!("http://{}", self.process.media);
        let hosts = [own, format!("https://{MEDIA_HOST}")];
        let path = hosts.iter().find_map(|host| target.strip_prefix(host.as_str())).unwrap_or(target);
        request(self.process.media, "GET", path, fields)
    }

    /// Status and error code of that; the code is empty for what succeeds.
    pub(super) fn opens(&self, target: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let answer = self.open(target, fields);
        (answer.status, if answer.status < 400 { String::new() } else { answer.code() })
    }
}

/// The text that a value is.
#[track_caller]
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

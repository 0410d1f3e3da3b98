//! The `mediagate` binary as a user runs it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::{PRESIGNED_SECRET, SECRET, eventually};

/// The API key of the tests' configurations.
pub const API_KEY: &str = "4f9c2d7e1b8a4c6f9d0e3b5a7c8f1e2d";

/// The configuration in the folder of a process.
const CONFIG_FILE: &str = "mediagate.toml";

/// A running process, and everything that it wrote to standard error. Ended when dropped.
pub struct Mediagate {
    child: Child,
    log: Arc<Mutex<String>>,
    pub media: SocketAddr,
    pub control: SocketAddr,
    pub metrics: SocketAddr,
    pub auth: SocketAddr,
    pub state: PathBuf,
    _dir: Option<TempDir>,
}

/// The path of the binary.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_mediagate")
}

impl Mediagate {
    /// Starts `mediagate dev --json` on free ports; returns what it printed, too.
    pub fn dev(state: &Path, more: &[&str]) -> (Mediagate, Value) {
        let mut command = Command::new(binary());
        command.args(["dev", "--json", "--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]);
        command
            .args(["--metrics-listen", "127.0.0.1:0", "--gallery-listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .args(more);
        let (mut child, log) = spawn(&mut command);
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{error}: {line:?}; {}", log.lock().expect("no panic")));
        let address = |name: &str| {
            let url = ready[name].as_str().expect("a URL");
            url.strip_prefix("http://").expect("http").parse().expect("an address")
        };
        let (media, control, metrics) = (address("media"), address("control"), address("metrics"));
        let auth = SocketAddr::from(([0, 0, 0, 0], 0));
        (Mediagate { child, log, media, control, metrics, auth, state: state.to_owned(), _dir: None }, ready)
    }

    /// Starts `mediagate serve` over the storage at `storage`, with the configuration changed by `edit`.
    pub fn serve(storage: SocketAddr, edit: impl FnOnce(String) -> String) -> Mediagate {
        Mediagate::serve_with(storage, &[], edit)
    }

    /// The same with variables in its environment.
    pub fn serve_with(storage: SocketAddr, env: &[(&str, &Path)], edit: impl FnOnce(String) -> String) -> Mediagate {
        let dir = TempDir::new().expect("a folder");
        let file = write_config(dir.path(), edit(config(storage)));
        let (child, log) =
            spawn(Command::new(binary()).args(["serve", "--config"]).arg(&file).envs(env.iter().copied()));
        let mut mediagate = Mediagate {
            child,
            log,
            media: SocketAddr::from(([0, 0, 0, 0], 0)),
            control: SocketAddr::from(([0, 0, 0, 0], 0)),
            metrics: SocketAddr::from(([0, 0, 0, 0], 0)),
            auth: SocketAddr::from(([0, 0, 0, 0], 0)),
            state: dir.path().to_owned(),
            _dir: Some(dir),
        };
        mediagate.learn_addresses();
        mediagate
    }

    /// Ends a [`Mediagate::serve`] as an operator does, and starts it again over what it has kept, on other ports.
    pub fn restart(&mut self) {
        self.signal("TERM");
        assert!(self.wait().success(), "{}", self.log());
        let file = self.state.join(CONFIG_FILE);
        (self.child, self.log) = spawn(Command::new(binary()).args(["serve", "--config"]).arg(file));
        self.learn_addresses();
    }

    fn learn_addresses(&mut self) {
        eventually("the addresses are logged", || {
            if let Some(status) = self.child.try_wait().expect("a status") {
                panic!("{status}: {}", self.log());
            }
            let log = self.log();
            // The last line may still be in the making.
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            let Some(line) = whole.lines().find(|line| line.contains("listening: ")) else { return false };
            let address = |name: &str| {
                // A process without the role has no such listener.
                let Some(rest) = line.split(name).nth(1) else { return SocketAddr::from(([0, 0, 0, 0], 0)) };
                let end = rest.find([',', '"']).unwrap_or(rest.len());
                rest[..end].trim().parse().unwrap_or_else(|error| panic!("{error}: {line}"))
            };
            self.media = address("media ");
            self.control = address("control ");
            self.metrics = address("metrics ");
            self.auth = address("auth ");
            true
        });
    }

    /// Everything written to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// The access log so far: the lines with an `outcome`.
    pub fn access_log(&self) -> Vec<Value> {
        let log = self.log();
        // The last line may still be in the making.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let entries = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        entries.filter(|entry| entry.get("outcome").is_some()).collect()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name: `TERM`, `HUP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a status")
    }

    /// Resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a running process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// The value of a metric, by its name and labels as `/metrics` writes them.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = super::client::get(self.metrics, "/metrics").text();
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Calls the control listener with the tests' API key and a JSON body, for the app `demo`.
    pub fn control(&self, method: &str, path: &str, body: &Value) -> super::client::Response {
        let body = body.to_string();
        super::client::raw(
            self.control,
            format!(
                "{method} {path} HTTP/1.1\r\nHost: control\r\nConnection: close\r\napikey: {API_KEY}\r\n\
                 appId: demo\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    }

    /// Deactivates a user; it is in force when this returns.
    pub fn deactivate(&self, uid: &str) {
        let response = self.control("DELETE", "/v3/users", &serde_json::json!({ "uidsToDeactivate": [uid] }));
        assert_eq!(response.status, 200, "{}", response.text());
    }

    /// Lets a user in again; in force when this returns.
    pub fn activate(&self, uid: &str) {
        let response = self.control("PUT", "/v3/users", &serde_json::json!({ "uidsToActivate": [uid] }));
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

impl Drop for Mediagate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The configuration that [`Mediagate::serve`] starts from: one app `demo`, one key `k1`, one storage.
pub fn config(storage: SocketAddr) -> String {
    format!(
        r#"[media]
listen = ["127.0.0.1:0"]

[control]
listen = "127.0.0.1:0"
store = "sqlite:mediagate.db"
[[control.api_keys]]
name = "tests"
scope = "fullAccess"
key_file = "api.key"

[metrics]
listen = "127.0.0.1:0"

[[apps]]
id = "demo"
storage = "main"
[[apps.keys]]
kid = "k1"
alg = "HS256"
secret_file = "k1.key"

[storage.main]
kind = "s3"
endpoint = "http://{storage}"
region = "us-east-1"
bucket = "media"
path_style = true
access_key_id_file = "s3.id"
secret_access_key_file = "s3.key"
"#
    )
}

/// Writes `text` and the secrets that it names into `dir`; returns the configuration's path.
pub fn write_config(dir: &Path, text: String) -> PathBuf {
    for (name, content) in [
        ("api.key", API_KEY),
        ("k1.key", SECRET),
        ("presigned.key", PRESIGNED_SECRET),
        ("s3.id", "AKIDEXAMPLE"),
        ("s3.key", "secret-access-key"),
    ] {
        std::fs::write(dir.join(name), content).expect("a file");
    }
    let file = dir.join(CONFIG_FILE);
    std::fs::write(&file, text).expect("a file");
    file
}

/// Runs the binary to its end; returns its status, standard output and standard error.
pub fn run(args: &[&str], env: &[(&str, &str)]) -> (ExitStatus, String, String) {
    let output = Command::new(binary()).args(args).envs(env.iter().copied()).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status, text(output.stdout), text(output.stderr))
}

fn spawn(command: &mut Command) -> (Child, Arc<Mutex<String>>) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut stderr = child.stderr.take().expect("standard error is a pipe");
    let log = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&log);
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = stderr.read(&mut buffer) {
            written.lock().expect("no panic").push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    });
    (child, log)
}

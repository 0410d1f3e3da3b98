//! A real `nats-server` with JetStream.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mediagate::feed::nats::NatsOptions;
use tempfile::TempDir;

use super::eventually;

/// A running server. Ended when dropped, and its data with it.
pub struct NatsServer {
    child: Option<Child>,
    pub port: u16,
    dir: TempDir,
    more: Vec<String>,
}

impl NatsServer {
    /// Starts a server that lets everybody in.
    pub fn start() -> NatsServer {
        NatsServer::with(&[])
    }

    /// Starts a server with more arguments.
    pub fn with(more: &[&str]) -> NatsServer {
        let mut server = NatsServer::stopped(more);
        server.run();
        server
    }

    /// A server that does not run yet.
    pub fn stopped(more: &[&str]) -> NatsServer {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address").port();
        let more = more.iter().map(ToString::to_string).collect();
        NatsServer { child: None, port, dir: TempDir::new().expect("a folder"), more }
    }

    /// How clients find it.
    pub fn options(&self) -> NatsOptions {
        NatsOptions::parse(&self.url("nats")).expect("a URL")
    }

    /// Its URL.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// A folder of this server's, for whatever its configuration needs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it with one more argument.
    pub fn run_with(&mut self, more: &[&str]) {
        self.more.extend(more.iter().map(ToString::to_string));
        self.run();
    }

    /// Starts it.
    pub fn run(&mut self) {
        // No other has the same folder.
        let name = self.dir.path().file_name().expect("a name").to_string_lossy().into_owned();
        eventually("nats-server listens", || {
            let mut child = self.child.take().unwrap_or_else(|| self.spawn(&name));
            if child.try_wait().expect("a status").is_some() {
                // Somebody had the port for a moment.
                return false;
            }
            self.child = Some(child);
            is_greeted_by(&name, self.port)
        });
    }

    fn spawn(&self, name: &str) -> Child {
        Command::new(program())
            .args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-n", name, "-sd"])
            .arg(self.data())
            .args(&self.more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server runs: see tests/servers/requirements.txt")
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("ours to end");
            child.wait().expect("ours to end");
        }
    }

    /// Takes its data away; it must not run.
    pub fn lose_data(&self) {
        assert!(self.child.is_none(), "it runs");
        std::fs::remove_dir_all(self.data()).expect("there is data");
    }

    /// Copies its data, or puts a copy in their place; it must not run.
    pub fn copy_data(&self, from: &Path, to: &Path) {
        assert!(self.child.is_none(), "it runs");
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs").success());
    }

    /// Where its data are.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Sends it a signal: `STOP` makes it hang, `CONT` lets it go on.
    pub fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let status = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the server at `port` is the one called `name`: it says so at once, also before TLS.
fn is_greeted_by(name: &str, port: u16) -> bool {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.contains(&format!("\"{name}\""))
}

/// The server that the tests' requirements bring, or the one that is installed.
fn program() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/nats-server");
    if ours.exists() {
        return ours;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.exists());
    let named = || std::env::var_os("MEDIAGATE_NATS_SERVER").map(PathBuf::from);
    installed.or_else(named).unwrap_or_else(|| "nats-server".into())
}

//! The brokers: real servers on free ports of 127.0.0.1, ended with what started them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A broker and where it is.
pub(crate) struct Server {
    pub(crate) url: String,
    process: Child,
    _dir: TempDir,
}

impl Server {
    /// A Redis server as Debian configures it, without writing to the disk: what is lost is filled again.
    pub(crate) fn redis() -> Server {
        let (dir, address) = (TempDir::new().expect("a folder"), free_address());
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--dir"]);
        command.arg(dir.path());
        Server::start(command, "redis", address, dir)
    }

    /// A NATS server with JetStream and its files in a folder.
    pub(crate) fn nats() -> Server {
        let (dir, address) = (TempDir::new().expect("a folder"), free_address());
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/nats-server");
        let mut command = if ours.exists() { Command::new(ours) } else { Command::new("nats-server") };
        command.args(["-js", "-a", "127.0.0.1", "-p", &address.port().to_string(), "-sd"]).arg(dir.path());
        Server::start(command, "nats", address, dir)
    }

    fn start(mut command: Command, scheme: &str, address: SocketAddr, dir: TempDir) -> Server {
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process =
            process.unwrap_or_else(|error| panic!("{error}: run `make test` once, which installs the servers"));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{scheme} does not listen");
            std::thread::yield_now();
        }
        Server { url: format!("{scheme}://{address}"), process, _dir: dir }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

//! A real `redis-server` that a test may kill, stop, restart and take the data of.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mediagate::feed::redis::{RedisOptions, RedisTls};
use tempfile::TempDir;

use super::eventually;

/// Whether what is written survives a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// In memory only.
    None,
    /// An append-only file, synced with each write.
    AppendOnly,
}

/// A server on a port of its own. Ended when dropped.
pub struct RedisServer {
    child: Option<Child>,
    dir: TempDir,
    pub port: u16,
    arguments: Vec<String>,
    tls: bool,
}

impl RedisServer {
    /// Starts a server that keeps its data as `disk` says.
    pub fn start(disk: Disk) -> RedisServer {
        RedisServer::with(disk, &[])
    }

    /// Starts a server with more arguments.
    pub fn with(disk: Disk, more: &[&str]) -> RedisServer {
        let mut server = RedisServer::prepared(disk, more);
        server.restart();
        server
    }

    /// A server that is not started yet; its port is free.
    pub fn prepared(disk: Disk, more: &[&str]) -> RedisServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let mut arguments = vec!["--save".to_owned(), String::new()];
        if disk == Disk::AppendOnly {
            arguments.extend(["--appendonly", "yes", "--appendfsync", "always"].map(str::to_owned));
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        RedisServer { child: None, dir: TempDir::new().expect("a folder"), port, arguments, tls: false }
    }

    /// Starts a server with TLS on its only port; returns the authority's certificate, too.
    pub fn with_tls() -> (RedisServer, Vec<u8>) {
        let mut server = RedisServer::prepared(Disk::None, &[]);
        let dir = server.dir.path().to_owned();
        openssl(
            &dir,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca",
        );
        openssl(
            &dir,
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=server",
        );
        std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
        openssl(
            &dir,
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
        );
        let file = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
        for (option, name) in
            [("--tls-cert-file", "server.pem"), ("--tls-key-file", "server.key"), ("--tls-ca-cert-file", "ca.pem")]
        {
            server.arguments.extend([option.to_owned(), file(name)]);
        }
        server.arguments.extend(["--tls-auth-clients", "no"].map(str::to_owned));
        server.tls = true;
        server.restart();
        let ca = std::fs::read(dir.join("ca.pem")).expect("a certificate");
        (server, ca)
    }

    /// Starts it again on the same port, with what it has on disk.
    pub fn restart(&mut self) {
        self.kill();
        let port = self.port.to_string();
        let ports =
            if self.tls { ["--port", "0", "--tls-port", &port] } else { ["--port", &port, "--tcp-backlog", "64"] };
        let spawn = || {
            Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--daemonize", "no"])
                .args(ports)
                .arg("--dir")
                .arg(self.dir.path())
                .args(&self.arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("redis-server is installed")
        };
        let mut child = spawn();
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        // Another test's server may have got the port first: then this one ends in a moment, and is not the one that answers.
        let answers = |mut stream: TcpStream, id: u32| {
            let asked = stream.write_all(b"INFO server\r\nPING\r\nQUIT\r\n");
            let mut answer = String::new();
            let is_read = asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok();
            // Redis that wants a password says so, and no more.
            let is_ours = answer.contains(&format!("process_id:{id}\r\n")) || answer.starts_with("-NOAUTH");
            is_read && is_ours && !answer.contains("-LOADING")
        };
        let is_tls = self.tls;
        eventually("redis-server answers", || {
            let is_there = TcpStream::connect(address).is_ok_and(|stream| is_tls || answers(stream, child.id()));
            if child.try_wait().expect("a status").is_some() {
                // Somebody had the port for a moment.
                child = spawn();
                return false;
            }
            is_there
        });
        self.child = Some(child);
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().expect("a child that was killed");
        }
    }

    /// Takes its data away; it must not run.
    #[allow(dead_code, reason = "the model loses data")]
    pub fn lose_data(&self) {
        assert!(self.child.is_none(), "it runs");
        for entry in std::fs::read_dir(self.dir.path()).expect("its folder").flatten() {
            let path = entry.path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.expect("its own");
        }
    }

    /// Sends `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
        assert!(status.success());
    }

    /// The file of [`Disk::None`] servers that `SAVE` writes and a start reads.
    pub fn dump(&self) -> PathBuf {
        self.dir.path().join("dump.rdb")
    }

    /// How to reach it.
    pub fn options(&self) -> RedisOptions {
        let mut options = RedisOptions::parse(&format!("redis://127.0.0.1:{}", self.port)).expect("a URL");
        if self.tls {
            options.tls = RedisTls::On { ca_pem: None };
        }
        options
    }

    /// Runs one command, as an operator would.
    pub async fn command<T: redis::FromRedisValue>(&self, arguments: &[&str]) -> T {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let (name, arguments) = arguments.split_first().expect("a command");
        redis::cmd(name).arg(arguments).query_async(&mut connection).await.expect("an answer")
    }

    /// Asks `condition` again and again until it holds.
    pub async fn eventually(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let asking = async { while !condition().await {} };
        assert!(tokio::time::timeout(Duration::from_secs(60), asking).await.is_ok(), "never: {what}");
    }

    /// The keys of states: one for each bucket.
    pub async fn buckets(&self) -> Vec<String> {
        self.command(&["KEYS", "{mediagate}:state:*"]).await
    }

    /// What the keys of each state begin with.
    pub async fn generations(&self) -> BTreeSet<String> {
        let name = |bucket: &String| bucket.rsplit_once(':').expect("the number of a bucket").0.to_owned();
        self.buckets().await.iter().map(name).collect()
    }

    /// The bucket that has this field.
    pub async fn bucket_of(&self, field: &str) -> String {
        for bucket in self.buckets().await {
            if self.command(&["HEXISTS", &bucket, field]).await {
                return bucket;
            }
        }
        panic!("no bucket has {field}");
    }

    /// Whether the last command of some client was this.
    pub async fn has_client(&self, command: &str) -> bool {
        let clients: String = self.command(&["CLIENT", "LIST"]).await;
        clients.contains(&format!(" cmd={command} "))
    }

    /// How often a command was called, whatever became of it.
    pub async fn calls(&self, command: &str) -> u64 {
        let stats: String = self.command(&["INFO", "commandstats"]).await;
        let calls = stats.split_once(&format!("cmdstat_{command}:calls=")).and_then(|(_, rest)| rest.split_once(','));
        calls.map_or(0, |(calls, _)| calls.parse().expect("a number"))
    }

    /// Waits for a client whose last command was this.
    pub async fn wait_for_client(&self, command: &str) {
        self.eventually(command, async || self.has_client(command).await).await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

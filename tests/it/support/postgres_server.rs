//! A real PostgreSQL on a free port of 127.0.0.1, with a data folder of its own.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mediagate::secret::Secret;
use mediagate::store::Location;
use tempfile::TempDir;

use super::eventually;

/// The password of the user `gate`.
const PASSWORD: &str = "p@ss:w/rd";

/// A running server. Ended when dropped.
pub struct PostgresServer {
    dir: TempDir,
    address: SocketAddr,
    process: Child,
}

impl PostgresServer {
    /// Makes a cluster and starts it.
    pub fn start() -> PostgresServer {
        let dir = TempDir::new().expect("a folder");
        let (data, password) = (dir.path().join("data"), dir.path().join("password"));
        std::fs::create_dir(&data).expect("a folder");
        std::fs::write(&password, PASSWORD).expect("a file");
        if let Some((user, group)) = unprivileged() {
            for path in [dir.path(), &data, &password] {
                chown(path, Some(user), Some(group)).expect("root may give files away");
            }
        }
        let mut make = run("initdb");
        make.args(["--no-sync", "-U", "gate", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "--pwfile"]);
        let made = make.arg(&password).arg("-D").arg(&data).stdout(Stdio::null()).status();
        assert!(made.expect("initdb runs").success(), "initdb");
        let address = free_address();
        let process = serve(&data, address);
        PostgresServer { dir, address, process }
    }

    /// Where the database `postgres` is, for the user `gate`.
    pub fn location(&self) -> Location {
        Location::Postgres { url: self.url(), password: Some(Secret::new(PASSWORD)) }
    }

    /// The same without the password, as configurations have it.
    pub fn url(&self) -> String {
        format!("postgres://gate@{}/postgres", self.address)
    }

    /// A file that holds the password.
    pub fn password_file(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// Sends a signal by its name to every process of it: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let parent = self.process.id().to_string();
        let send = |name: &str, to: &[&str]| {
            let _ = Command::new("kill").arg(format!("-{name}")).args(to).stderr(Stdio::null()).status();
        };
        // Its list of children is whole only while it stands still and cannot let one go.
        send("STOP", &[&parent]);
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        send(name, &children.split_whitespace().collect::<Vec<_>>());
        send(name, &[&parent]);
    }

    /// Kills every process of it at once and starts it again over what is on the disk.
    pub fn crash(&mut self) {
        // The postmaster's death ends its children.
        self.process.kill().expect("it ran");
        self.process.wait().expect("it ended");
        let data = self.dir.path().join("data");
        eventually("the old server has let go of its data", || {
            let _ = std::fs::remove_file(data.join("postmaster.pid"));
            let mut again = serve(&data, self.address);
            let ended = again.try_wait().expect("a status").is_some();
            std::mem::swap(&mut self.process, &mut again);
            !ended
        });
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // One that stands still would not see its parent die.
        self.signal("CONT");
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(data: &Path, address: SocketAddr) -> Child {
    let mut process = run("postgres")
        .arg("-D")
        .arg(data)
        .args(["-p", &address.port().to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres runs");
    eventually("PostgreSQL takes connections", || {
        let mut ready = Command::new(program("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &address.port().to_string()]);
        process.try_wait().expect("a status").is_some() || ready.status().expect("pg_isready runs").success()
    });
    process
}

/// A command of PostgreSQL's, as a user who may run it: the server refuses to be root.
fn run(name: &str) -> Command {
    let program = program(name);
    let Some((user, group)) = unprivileged() else { return Command::new(program) };
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.uid(user).gid(group).current_dir("/");
    command
}

/// The user and group `postgres`, for root only.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    (id(&["-u"]) == Some(0))
        .then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
        .map(|(user, group)| (user.expect("Debian's package makes the user postgres"), group.expect("and its group")))
}

/// Debian keeps the server's programs out of `PATH`, a folder for each version.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

/// An address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

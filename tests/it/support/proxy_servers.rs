//! nginx and Caddy from Debian, as the configurations in `conf/` run them.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::eventually;

/// A proxy that runs. Ended when dropped.
pub struct ProxyServer {
    pub address: SocketAddr,
    child: Child,
    log: std::path::PathBuf,
    _dir: TempDir,
}

impl ProxyServer {
    /// Starts nginx with `conf/nginx-auth-request.conf` beside the gate that is asked at `auth`.
    pub fn nginx(auth: SocketAddr) -> ProxyServer {
        ProxyServer::nginx_as("nginx-auth-request.conf", ("127.0.0.1:8082", auth), "/tmp/mediagate-nginx.pid")
    }

    /// Starts nginx with `conf/nginx-in-front.conf` before the gate's media listener.
    pub fn nginx_in_front(media: SocketAddr) -> ProxyServer {
        ProxyServer::nginx_as("nginx-in-front.conf", ("127.0.0.1:8080", media), "/tmp/mediagate-nginx-in-front.pid")
    }

    fn nginx_as(name: &str, (there, gate): (&str, SocketAddr), pid_file: &str) -> ProxyServer {
        let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let nginx = nginx.expect("nginx is installed: scripts/install-deps.sh test");
        ProxyServer::start(name, |text, dir, address| {
            let pid = dir.join("nginx.pid").display().to_string();
            let (gate, address) = (gate.to_string(), address.to_string());
            let text = replaced(text, &[(there, &gate), ("127.0.0.1:8088", &address), (pid_file, &pid)]);
            let mut command = Command::new(nginx);
            command.args(["-g", "daemon off;", "-p"]).arg(dir).arg("-c");
            (text, command)
        })
    }

    /// Starts Caddy with `conf/Caddyfile.forward-auth`, likewise, over the files in `root`.
    pub fn caddy(auth: SocketAddr, root: &Path) -> ProxyServer {
        ProxyServer::start("Caddyfile.forward-auth", |text, dir, address| {
            let text = replaced(
                text,
                &[
                    ("127.0.0.1:8082", &auth.to_string()),
                    ("127.0.0.1:8089", &address.to_string()),
                    ("root * /srv/media\n", &format!("root * {}\n", root.display())),
                ],
            );
            let mut command = Command::new("caddy");
            command.env("HOME", dir).args(["run", "--adapter", "caddyfile", "--config"]);
            (text, command)
        })
    }

    /// Starts Caddy with `conf/Caddyfile.in-front` before the gate's media listener.
    pub fn caddy_in_front(media: SocketAddr) -> ProxyServer {
        ProxyServer::start("Caddyfile.in-front", |text, dir, address| {
            let (media, address) = (media.to_string(), address.to_string());
            let text = replaced(text, &[("127.0.0.1:8080", &media), ("127.0.0.1:8089", &address)]);
            let mut command = Command::new("caddy");
            command.env("HOME", dir).args(["run", "--adapter", "caddyfile", "--config"]);
            (text, command)
        })
    }

    fn start(name: &str, configure: impl FnOnce(&str, &Path, SocketAddr) -> (String, Command)) -> ProxyServer {
        let dir = TempDir::new().expect("a folder");
        let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name);
        let text = fs::read_to_string(conf).expect("a configuration");
        // Neither can be told to take a free port; that one was a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let (text, mut command) = configure(&text, dir.path(), address);
        let (file, log) = (dir.path().join(name), dir.path().join("log"));
        fs::write(&file, text).expect("a file");
        let output = fs::File::create(&log).expect("a file");
        command.arg(&file).stdin(Stdio::null()).stdout(output.try_clone().expect("a file")).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("{error}: {name}: scripts/install-deps.sh test"));
        let mut server = ProxyServer { address, child, log, _dir: dir };
        eventually("the proxy accepts", || {
            if let Some(status) = server.child.try_wait().expect("a status") {
                panic!("{status}: {}", server.log());
            }
            TcpStream::connect(address).is_ok()
        });
        server
    }

    /// Everything that it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a file")
    }
}

impl Drop for ProxyServer {
    fn drop(&mut self) {
        // nginx is a master with workers, which end with it when it is asked to.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// `text` with each of `pairs` put in place; each stands there.
fn replaced(text: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    })
}

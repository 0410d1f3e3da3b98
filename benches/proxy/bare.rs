//! Pingora without a gate: every request goes to one storage, and nothing is looked at.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::Result;
use pingora::apps::ServerApp;
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::proxy::{HttpProxy, ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use tokio::net::TcpListener;

use crate::buffered::Buffered;
use crate::children::{runtime, threads};

/// A proxy that only forwards.
struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        session.set_write_timeout(Some(Duration::from_secs(60)));
        Ok(false)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.upstream, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_secs(5));
        peer.options.total_connection_timeout = Some(Duration::from_secs(5));
        peer.options.read_timeout = Some(Duration::from_secs(10));
        peer.options.write_timeout = Some(Duration::from_secs(10));
        peer.options.idle_timeout = Some(Duration::from_secs(60));
        Ok(Box::new(peer))
    }
}

/// The options of the gate.
fn conf() -> ServerConf {
    ServerConf { threads: threads(), max_retries: 3, upstream_keepalive_pool_size: 512, ..ServerConf::default() }
}

/// Serves as the gate does: an accept loop, a runtime and a write buffer of one's own around Pingora's proxy.
pub(crate) fn run(upstream: SocketAddr) {
    runtime().block_on(async {
        let mut proxy = HttpProxy::new(Bare { upstream }, Arc::new(conf()));
        proxy.handle_init_modules();
        let proxy = Arc::new(proxy);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address"));
        // Kept, because the end of its sender would be taken for a shutdown.
        let (_never, shutdown) = tokio::sync::watch::channel(false);
        loop {
            let Ok((stream, client)) = listener.accept().await else { continue };
            let stream = Buffered::new(stream, client);
            let (proxy, shutdown) = (Arc::clone(&proxy), shutdown.clone());
            tokio::spawn(async move { proxy.process_new(Box::new(stream), &shutdown).await });
        }
    });
}

/// Serves as Pingora's documentation has it: its server, its service, its defaults.
pub(crate) fn run_service(upstream: SocketAddr) {
    let free = StdListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let conf = ServerConf { threads: threads(), ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream });
    service.add_tcp(&free.to_string());
    server.add_service(service);
    std::thread::spawn(move || {
        while std::net::TcpStream::connect(free).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("{free}");
    });
    server.run_forever();
}

//! The media listener: accepts, speaks TLS, hands connections to Pingora, and ends them when it must.
//!
//! An accept loop of our own, because a free port must be known, an address that is taken must be an error and no
//! panic, and a shutdown must last as long as its transfers and no longer.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::{ALPN, Ssl, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::certificate::Tls;
use super::pool::Pool;
use super::transfer::{SLOT, Slots};
use super::{MediaProxy, Shared};
use crate::gate::MAX_HEADER_BYTES;

mod downstream;
mod guarded;

use downstream::Downstream;
use guarded::Guarded;

/// Most connections that are open at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: u32 = 32_768;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an HTTP/2 connection may be without a stream.
const H2_IDLE: Duration = Duration::from_secs(60);

/// Streams that one HTTP/2 connection may have open.
const H2_MAX_STREAMS: u32 = 128;

/// Serves media on any number of listeners.
pub struct MediaServer {
    app: Arc<MediaApp>,
    shared: Shared,
    connections: Arc<Semaphore>,
}

impl std::fmt::Debug for MediaServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaServer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl MediaServer {
    /// Returns a server over `shared` that will run on `threads` worker threads.
    pub fn new(shared: Shared, threads: usize) -> MediaServer {
        let conf = ServerConf { threads, ..ServerConf::default() };
        let media = MediaProxy::new(shared.clone());
        let pool = media.pool();
        let mut proxy = HttpProxy::new(media, Arc::new(conf));
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(H2_IDLE);
        proxy.server_options = Some(options);
        let mut h2 = default_h2_options();
        h2.max_concurrent_streams(H2_MAX_STREAMS).max_header_list_size(MAX_HEADER_BYTES as u32);
        proxy.h2_options = Some(h2);
        proxy.handle_init_modules();
        let app = Arc::new(MediaApp { proxy: Arc::new(proxy), slots: Slots::default(), pool, shared: shared.clone() });
        MediaServer { app, shared, connections: Arc::new(Semaphore::new(MAX_CONNECTIONS as usize)) }
    }

    /// Accepts on `listeners` until `shutdown` turns true, then waits for running requests, but no longer than
    /// `grace`. Resolves storage names and sweeps transfers meanwhile.
    ///
    /// # Errors
    ///
    /// When a listener has no address any more.
    pub async fn serve(
        &self,
        listeners: Vec<TcpListener>,
        tls: Option<Tls>,
        mut shutdown: watch::Receiver<bool>,
        grace: Duration,
    ) -> io::Result<()> {
        let tls = tls.map(Arc::new);
        let mut loops = tokio::task::JoinSet::new();
        for listener in listeners {
            let (app, tls) = (Arc::clone(&self.app), tls.clone());
            loops.spawn(accept(listener, app, tls, shutdown.clone(), Arc::clone(&self.connections)));
        }
        let gate = Arc::clone(&self.shared.gate);
        let endpoints = move || gate.load().endpoints();
        tokio::select! {
            _ = shutdown.wait_for(|down| *down) => {}
            () = self.shared.origins.keep_fresh(endpoints) => {}
            () = self.app.slots.keep_sweeping(&self.shared.restrictions) => {}
            () = self.app.pool.keep_sweeping() => {}
            () = self.sweep_cache() => {}
        }
        loops.shutdown().await;
        // Idle connections close at once; those that answer a request are waited for.
        self.app.slots.rouse();
        self.app.proxy.http_cleanup().await;
        let idle = self.connections.acquire_many(MAX_CONNECTIONS);
        tokio::select! {
            _ = idle => {}
            () = self.app.slots.keep_sweeping(&self.shared.restrictions) => {}
            () = tokio::time::sleep(grace) => log::warn!("some transfers were ended by the shutdown"),
        }
        Ok(())
    }

    /// Sweeps the copies, where there are any.
    async fn sweep_cache(&self) {
        match &self.shared.cache {
            Some(cache) => cache.keep_sweeping(&self.shared.restrictions).await,
            None => std::future::pending().await,
        }
    }
}

/// Accepts connections until the task is dropped.
async fn accept(
    listener: TcpListener,
    app: Arc<MediaApp>,
    tls: Option<Arc<Tls>>,
    shutdown: ShutdownWatch,
    connections: Arc<Semaphore>,
) {
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                tokio::spawn(serve_connection(stream, client, Arc::clone(&app), tls.clone(), shutdown.clone(), permit));
            }
            // Out of file descriptors, most likely: those in use will be given back.
            Err(error) => {
                log::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    client: SocketAddr,
    app: Arc<MediaApp>,
    tls: Option<Arc<Tls>>,
    shutdown: ShutdownWatch,
    _permit: OwnedSemaphorePermit,
) {
    let slot = app.slots.open(Instant::now());
    let downstream = Downstream::new(stream, client, Arc::clone(&slot));
    let stream: Stream = match tls {
        None => Box::new(Guarded::new(downstream, Arc::clone(&slot), app.shared.clone())),
        Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.0.tls_handshake(downstream)).await {
            Ok(Ok(stream)) if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) => {
                // Each stream has a slot of its own; the connection is no longer waited for.
                slot.head_arrived();
                app.process_new(Box::new(stream), &shutdown).await;
                return;
            }
            Ok(Ok(stream)) => Box::new(Guarded::new(stream, Arc::clone(&slot), app.shared.clone())),
            _ => return,
        },
    };
    let serve = Arc::new(Http1(app));
    slot.serve(SLOT.scope(Arc::clone(&slot), serve.process_new(stream, &shutdown))).await;
}

/// HTTP/1 connections, which have one slot for all their requests. One that waits for a request waits here: in Pingora it
/// would have a future of 15 KiB and a buffer of 4 meanwhile.
struct Http1(Arc<MediaApp>);

#[async_trait]
impl HttpServerApp for Http1 {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // With TLS, what can be read may have been read from the socket already.
        let plain = session.stream().and_then(|stream| (**stream).as_any().downcast_ref::<Guarded<Downstream>>());
        if let Some(plain) = plain {
            poll_fn(|cx| {
                if *shutdown.borrow() {
                    return Poll::Ready(None);
                }
                plain.stream().poll_readable(cx).map(|_| Some(()))
            })
            .await?;
        }
        self.0.proxy.process_new_http(session, shutdown).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.0.proxy.server_options.as_ref()
    }
}

/// Pingora's proxy, with each HTTP/2 stream in a slot so that it can be ended from outside.
struct MediaApp {
    proxy: Arc<HttpProxy<MediaProxy>>,
    slots: Slots,
    pool: Arc<Pool>,
    shared: Shared,
}

#[async_trait]
impl HttpServerApp for MediaApp {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let slot = self.slots.open(Instant::now());
        let serve = SLOT.scope(Arc::clone(&slot), self.proxy.process_new_http(session, shutdown));
        slot.serve(serve).await.flatten()
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options.clone()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.server_options.as_ref()
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

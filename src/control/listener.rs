//! The sockets of a listener that speaks HTTP/1: how many, how long, how much.
//!
//! Nothing here waits for a client without end: a head, a body, an answer and a whole connection each have their time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::ending::Lingering;

/// How long a TLS handshake or a request's head may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How old a connection may grow, so that clients which do not read their answers give their place up.
const MAX_AGE: Duration = Duration::from_secs(60);

/// How long calls may go on after that, or after the shutdown began.
const GRACE: Duration = Duration::from_secs(50);

/// Pause after a failed accept: with all descriptors in use it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much a listener takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time; more wait in the system's queue.
    pub(crate) connections: u32,
    /// The longest head, in bytes.
    pub(crate) head_bytes: usize,
    /// The most header fields.
    pub(crate) head_fields: usize,
}

/// Answers calls with `app` until `shutdown`, then finishes those that run.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let (stop, stopped) = watch::channel(());
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = async { (place.await, listener.accept().await) } => accepted,
        };
        match accepted {
            (place, Ok((stream, _))) => {
                let (app, tls, stopped) = (app.clone(), tls.clone(), stopped.clone());
                tokio::spawn(async move {
                    let _place = place;
                    let _ = stream.set_nodelay(true);
                    let Some(tls) = tls else { return connection(stream, app, limits, stopped).await };
                    // Who talks no TLS here, or talks it badly, has nothing to be told.
                    if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                        connection(stream, app, limits, stopped).await;
                    }
                });
            }
            (_, Err(error)) => {
                log::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    drop(stop);
    let all = places.acquire_many(limits.connections);
    let _ = tokio::time::timeout(GRACE, all).await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    app: Router,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(limits.head_bytes)
        .max_header_size(limits.head_bytes)
        .max_headers(limits.head_fields)
        .serve_connection(TokioIo::new(Lingering::new(stream)), TowerToHyperService::new(app));
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that breaks off or talks nonsense has had its answer, if there was one to give.
        _ = connection.as_mut() => return,
        _ = stopped.changed() => {}
        () = tokio::time::sleep(MAX_AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(GRACE, connection).await;
}

//! The metrics listener: `/metrics`, `/healthz`, `/readyz`. Never on a public address.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::gate::Endpoint;
use crate::jwks::KeySets;
use crate::proxy::Shared;
use crate::store::Store;

/// What the answers are about.
#[derive(Debug, Clone)]
pub struct Process {
    /// What requests share.
    pub shared: Shared,
    /// Whether it serves files.
    pub is_edge: bool,
    /// Where keys come from that are not configured; `None` where no token is verified.
    pub key_sets: Option<Arc<KeySets>>,
    /// The store, with the control plane.
    pub store: Option<Store>,
}

/// Serves until `shutdown` completes.
///
/// # Errors
///
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    process: Process,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(process);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn metrics(State(process): State<Process>) -> impl IntoResponse {
    let shared = &process.shared;
    if let Some(key_sets) = &process.key_sets {
        key_sets.observe(&shared.metrics, Instant::now());
    }
    let text = shared.metrics.render(&shared.gate.load(), &shared.restrictions, Instant::now());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Ready once a process can do all that it is there for: an edge has fresh restrictions, every JWK Set and an address of
/// every storage, a control node its store.
async fn ready(State(process): State<Process>) -> (StatusCode, String) {
    let not_ready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
    if let Some(store) = &process.store
        && let Err(error) = store.seq().await
    {
        log::warn!("not ready: {error}");
        return not_ready("the store does not answer\n".into());
    }
    let shared = &process.shared;
    let gate = shared.gate.load();
    if process.is_edge && !gate.freshness().holds(&shared.restrictions, Instant::now()) {
        return not_ready("the restrictions are not fresh\n".into());
    }
    if let Some((app, source)) = process.key_sets.as_ref().and_then(|key_sets| key_sets.missing()) {
        return not_ready(format!("the keys of app `{app}` were never had: {source}\n"));
    }
    let unknown = |endpoint: &&Arc<Endpoint>| shared.origins.address(endpoint).is_none();
    match gate.endpoints().iter().find(unknown) {
        Some(endpoint) if process.is_edge => not_ready(format!("{endpoint} has no known address\n")),
        _ => (StatusCode::OK, "ready\n".into()),
    }
}

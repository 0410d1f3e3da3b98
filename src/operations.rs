//! The metrics listener: `/metrics`, `/healthz`, `/readyz`. Never on a public address.

use std::future::Future;
use std::io;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::proxy::Shared;

/// Serves until `shutdown` completes.
///
/// # Errors
///
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    shared: Shared,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(shared);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let text = shared.metrics.render(&shared.gate.load(), &shared.restrictions, Instant::now());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Ready once the restrictions are loaded and fresh, and every storage has an address.
async fn ready(State(shared): State<Shared>) -> (StatusCode, String) {
    let gate = shared.gate.load();
    if !gate.freshness().holds(&shared.restrictions, Instant::now()) {
        return (StatusCode::SERVICE_UNAVAILABLE, "the restrictions are not fresh\n".into());
    }
    match gate.endpoints().iter().find(|endpoint| shared.origins.address(endpoint).is_none()) {
        Some(endpoint) => (StatusCode::SERVICE_UNAVAILABLE, format!("{endpoint} has no known address\n")),
        None => (StatusCode::OK, "ready\n".into()),
    }
}

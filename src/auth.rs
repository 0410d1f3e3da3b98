//! The listener that other proxies ask: nginx, Traefik, Caddy, Envoy. Never on a public address, because its answers name the
//! storage's own URLs.

use std::future::Future;
use std::io;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::net::TcpListener;

use crate::control::listener::{self, Limits};
use crate::gate::{MAX_HEADER_BYTES, MAX_HEADER_FIELDS, MAX_TARGET_BYTES};
use crate::proxy::{ForwardAuth, Shared};

/// A client's head, and as much again of what proxies add.
const SOCKETS: Limits = Limits {
    connections: 1024,
    head_bytes: 2 * (MAX_HEADER_BYTES + MAX_TARGET_BYTES),
    head_fields: 2 * MAX_HEADER_FIELDS,
};

/// Serves until `shutdown` completes.
///
/// # Errors
///
/// None, once it listens.
pub async fn serve(
    listener: TcpListener,
    shared: Shared,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new().fallback(answer).with_state(ForwardAuth::new(shared));
    listener::serve(listener, None, router, SOCKETS, shutdown).await;
    Ok(())
}

async fn answer(State(face): State<ForwardAuth>, request: Request) -> Response {
    face.answer(&request.into_parts().0).map(Body::from)
}

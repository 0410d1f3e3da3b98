//! The control plane: a small REST API on a listener of its own.
//!
//! A call that deactivates has taken effect on this node when it returns: the change is in the store first, then in
//! the feed, then in the set that requests ask. What the store has taken is never lost, whatever happens after.

mod api_key;
mod body;
mod call;
mod error;
mod listener;
pub mod nodes;
mod restrictions;
mod users;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::extract::{Extension, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use http::{HeaderValue, Version, header};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use api_key::{ApiKey, ApiScope};

use crate::gate::Gate;
use crate::restrictions::Change;
use crate::store::{Store, Wanted};
use api_key::{ApiKeys, Caller};
use error::ApiError;
use nodes::{Node, Nodes, Receipt};
use users::Data;

/// How many users one call may name.
pub const MAX_UIDS: usize = 1000;

/// How long a call waits for its change to be in force here.
const IN_FORCE_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that calls work on. Clones share it.
#[derive(Debug, Clone)]
pub struct ControlState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    nodes: Arc<Nodes>,
    /// The newest `seq` in force on this node, where calls wait for that.
    applied: Option<watch::Receiver<u64>>,
    gate: Arc<ArcSwap<Gate>>,
    api_keys: ApiKeys,
}

/// What a call has changed.
#[derive(Debug, PartialEq, Eq)]
struct Committed {
    /// For each that was wanted, the change or `None` when it was so already.
    changes: Vec<Option<Change>>,
    /// The newest `seq` of the store: all that was wanted is in force where that is.
    seq: u64,
    since: Instant,
}

impl ControlState {
    /// Takes the store, what nodes report, the newest `seq` in force as [`crate::feed::Following`] tells it (`None`: calls
    /// do not wait for this process), the gate for its apps, and the keys that calls are made with.
    pub fn new(
        store: Store,
        nodes: Arc<Nodes>,
        applied: Option<watch::Receiver<u64>>,
        gate: Arc<ArcSwap<Gate>>,
        api_keys: Vec<ApiKey>,
    ) -> ControlState {
        let api_keys = ApiKeys::new(api_keys);
        ControlState(Arc::new(Inner { store, nodes, applied, gate, api_keys }))
    }

    fn gate(&self) -> Arc<Gate> {
        self.0.gate.load_full()
    }

    /// Makes changes. All of it is on the disk then and, where this process serves files from its own store, in force
    /// here, also what an earlier call has changed.
    async fn commit(&self, wanted: Vec<Wanted>) -> Result<Committed, ApiError> {
        let changes = self.0.store.apply(wanted).await.map_err(|error| store_failed(&error))?;
        let since = Instant::now();
        let newest = changes.iter().flatten().last().map(|change| change.seq);
        let seq = match newest.filter(|_| changes.iter().all(Option::is_some)) {
            Some(seq) => seq,
            // What was so already may still be on its way.
            None => self.0.store.seq().await.map_err(|error| store_failed(&error))?,
        };
        if let Some(applied) = &self.0.applied {
            in_force(applied.clone(), seq, IN_FORCE_TIMEOUT).await?;
        }
        Ok(Committed { changes, seq, since })
    }

    /// Waits for the nodes to say that they have what was committed, when the call asks for that.
    async fn receipt(&self, committed: &Committed, wait: Option<Duration>) -> Result<Option<Receipt>, ApiError> {
        let Some(wait) = wait else { return Ok(None) };
        // Asked each time: a store that was put back in time gets another name.
        let source = self.0.store.source().await.map_err(|error| store_failed(&error))?;
        Ok(Some(self.0.nodes.receipt(&source, committed.seq, committed.since, wait).await))
    }
}

/// Tells the operator what a caller is not told.
fn store_failed(error: &dyn std::fmt::Display) -> ApiError {
    log::error!("control: {error}");
    ApiError::Store
}

/// Waits until `seq` is in force here.
async fn in_force(mut applied: watch::Receiver<u64>, seq: u64, limit: Duration) -> Result<(), ApiError> {
    match tokio::time::timeout(limit, applied.wait_for(|applied| *applied >= seq)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            log::error!("control: change {seq} is stored and not in force here after {limit:?}");
            Err(ApiError::NotInForceYet)
        }
    }
}

/// Answers calls until `shutdown`, then finishes those that run.
///
/// # Errors
///
/// When the listener cannot be used at all.
pub async fn serve(
    listener: TcpListener,
    state: ControlState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    log::info!("control: listening on {address}");
    listener::serve(listener, router(state), shutdown).await;
    Ok(())
}

fn router(state: ControlState) -> Router {
    let api = Router::new()
        // `any` first: without it an answer to another method would list those that there are.
        .route("/users", any(not_found).delete(users::deactivate).put(users::reactivate))
        .route("/users/{uid}", any(not_found).delete(users::delete))
        .route("/restrictions", any(not_found).post(restrictions::impose).delete(restrictions::lift))
        .route("/nodes", any(not_found).get(list_nodes));
    Router::new()
        .nest("/v3", api.clone())
        .nest("/v3.0", api)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(state.clone(), authenticate))
        .layer(middleware::from_fn(frame))
        .with_state(state)
}

/// `GET /nodes`: who serves files, and how far each has come.
async fn list_nodes(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Vec<Node>>>, ApiError> {
    caller.full_access()?;
    call::no_query(request.uri())?;
    let seq = state.0.store.seq().await.map_err(|error| store_failed(&error))?;
    let source = state.0.store.source().await.map_err(|error| store_failed(&error))?;
    Ok(Json(Data { data: state.0.nodes.list(&source, seq, Instant::now()) }))
}

async fn not_found() -> ApiError {
    ApiError::NotFound
}

/// Lets nothing pass without a key, neither to a route nor to the news that there is none.
async fn authenticate(State(state): State<ControlState>, mut request: Request, next: Next) -> Response {
    match state.0.api_keys.caller(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// What holds for every call and every answer.
async fn frame(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let ambiguous = hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11);
    // With a length beside it, which is gone by now, two readers would see two bodies (RFC 9112 §6.1).
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = if ambiguous {
        ApiError::invalid("host", "The host header must be there once.").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if ambiguous || chunked {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
pub(crate) mod tests;

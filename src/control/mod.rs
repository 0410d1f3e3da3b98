//! The control plane: a small REST API on a listener of its own.
//!
//! A call that deactivates has taken effect on this node when it returns: the change is in the store first, then in
//! the feed, then in the set that requests ask. What the store has taken is never lost, whatever happens after.

mod api_key;
mod body;
mod call;
mod error;
mod listener;
mod users;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderValue, Version, header};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

pub use api_key::{ApiKey, ApiScope};

use crate::feed::LocalPublisher;
use crate::gate::Gate;
use crate::restrictions::{Change, Effect, Scope};
use crate::store::{Store, StoreError};
use api_key::ApiKeys;
use error::ApiError;

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
    /// Held from the commit to the publication, so that changes are published in the order of their `seq`.
    publisher: Mutex<LocalPublisher>,
    applied: watch::Receiver<u64>,
    gate: Arc<ArcSwap<Gate>>,
    api_keys: ApiKeys,
}

impl ControlState {
    /// Takes the store and the publisher of one feed, the newest `seq` in force as [`crate::feed::follow`] tells it,
    /// the gate for its apps, and the keys that calls are made with.
    pub fn new(
        store: Store,
        publisher: LocalPublisher,
        applied: watch::Receiver<u64>,
        gate: Arc<ArcSwap<Gate>>,
        api_keys: Vec<ApiKey>,
    ) -> ControlState {
        let api_keys = ApiKeys::new(api_keys);
        ControlState(Arc::new(Inner { store, publisher: Mutex::new(publisher), applied, gate, api_keys }))
    }

    fn gate(&self) -> Arc<Gate> {
        self.0.gate.load_full()
    }

    /// Makes changes and returns, for each that was wanted, the change or `None` when it was so already. All of it is
    /// in force here then, also what an earlier call has changed.
    async fn commit(&self, wanted: Vec<(Scope, Effect, bool)>) -> Result<Vec<Option<Change>>, ApiError> {
        let inner = Arc::clone(&self.0);
        // A task of its own: a client that hangs up must not leave a change stored and unpublished.
        let committed = tokio::spawn(async move { inner.store_and_publish(wanted).await }).await;
        let (changes, seq) = match committed {
            Ok(Ok(committed)) => committed,
            Ok(Err(error)) => {
                log::error!("control: {error}");
                return Err(ApiError::Store);
            }
            Err(error) => {
                log::error!("control: a change was not made: {error}");
                return Err(ApiError::Store);
            }
        };
        in_force(self.0.applied.clone(), seq, IN_FORCE_TIMEOUT).await?;
        Ok(changes)
    }
}

impl Inner {
    /// Returns the changes and the newest `seq` of the store.
    async fn store_and_publish(
        &self,
        wanted: Vec<(Scope, Effect, bool)>,
    ) -> Result<(Vec<Option<Change>>, u64), StoreError> {
        let publisher = self.publisher.lock().await;
        let changes = self.store.apply(wanted).await?;
        for change in changes.iter().flatten() {
            publisher.publish(change.clone());
        }
        Ok((changes, self.store.seq().await?))
    }
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
        .route("/users/{uid}", any(not_found).delete(users::delete));
    Router::new()
        .nest("/v3", api.clone())
        .nest("/v3.0", api)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(state.clone(), authenticate))
        .layer(middleware::from_fn(frame))
        .with_state(state)
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

//! The control plane: a small REST API on a listener of its own.
//!
//! A call that deactivates has taken effect on this node when it returns: the change is in the store first, then in
//! the feed, then in the set that requests ask. What the store has taken is never lost, whatever happens after.

mod api_key;
mod app;
mod auth_tokens;
mod body;
mod cache;
mod call;
mod dashboard;
mod ending;
mod error;
mod explain;
mod fats;
mod fields;
mod issuer;
mod keys;
mod limits;
pub(crate) mod listener;
mod me;
pub mod nodes;
mod openapi;
mod presign;
mod profiles;
mod query;
mod restrictions;
mod routes;
pub(crate) mod same_origin;
mod stored_keys;
mod users;

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub use api_key::{ApiKey, ApiScope};
pub use issuer::Issuers;
pub use me::ClientHosts;

use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::proxy::{Certificate, server_config};
use crate::restrictions::Change;
use crate::store::{Store, Wanted};
use api_key::ApiKeys;
use dashboard::Dashboard;
use error::ApiError;
use limits::Limits;
use nodes::{Nodes, Receipt};
use same_origin::Transport;
use stored_keys::StoredKeys;

/// What the listener takes.
const SOCKETS: listener::Limits = listener::Limits { connections: 256, head_bytes: 16 * 1024, head_fields: 64 };

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
    issuers: Arc<ArcSwap<Issuers>>,
    hosts: ClientHosts,
    api_keys: ApiKeys,
    stored_keys: StoredKeys,
    limits: Limits,
    metrics: Arc<Metrics>,
}

/// What the control plane works with.
#[derive(Debug)]
pub struct ControlOptions {
    /// What must survive a restart.
    pub store: Store,
    /// What nodes report.
    pub nodes: Arc<Nodes>,
    /// The newest `seq` in force as [`crate::feed::Following`] tells it; `None`: calls do not wait for this process.
    pub applied: Option<watch::Receiver<u64>>,
    /// The gate, for its apps.
    pub gate: Arc<ArcSwap<Gate>>,
    /// What FATs are signed with.
    pub issuers: Arc<ArcSwap<Issuers>>,
    /// Where clients find this server.
    pub hosts: ClientHosts,
    /// The keys that calls are made with, beside those of the store.
    pub api_keys: Vec<ApiKey>,
    /// How many calls a minute one key, or one session, may make; `None`: any number.
    pub calls_per_minute: Option<NonZeroU32>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
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
    /// Returns what calls work on.
    pub fn new(options: ControlOptions) -> ControlState {
        let ControlOptions { store, nodes, applied, gate, issuers, hosts, api_keys, calls_per_minute, metrics } =
            options;
        let (api_keys, limits) = (ApiKeys::new(api_keys), Limits::new(calls_per_minute));
        let stored_keys = StoredKeys::default();
        let inner = Inner { store, nodes, applied, gate, issuers, hosts, api_keys, stored_keys, limits, metrics };
        ControlState(Arc::new(inner))
    }

    fn gate(&self) -> Arc<Gate> {
        self.0.gate.load_full()
    }

    /// Makes changes. All of it is on the disk then and, where this process serves files from its own store, in force
    /// here, also what an earlier call has changed.
    async fn commit(&self, wanted: Vec<Wanted>) -> Result<Committed, ApiError> {
        let changes = self.0.store.apply(wanted).await?;
        self.in_force(changes).await
    }

    /// Waits until what the store has committed is in force, as [`ControlState::commit`] does.
    async fn in_force(&self, changes: Vec<Option<Change>>) -> Result<Committed, ApiError> {
        let since = Instant::now();
        let newest = changes.iter().flatten().last().map(|change| change.seq);
        let seq = match newest.filter(|_| changes.iter().all(Option::is_some)) {
            Some(seq) => seq,
            // What was so already may still be on its way.
            None => self.0.store.seq().await?,
        };
        if let Some(applied) = &self.0.applied {
            has_come(applied.clone(), seq, IN_FORCE_TIMEOUT).await?;
        }
        Ok(Committed { changes, seq, since })
    }

    /// Waits for the nodes to say that they have what was committed, when the call asks for that.
    async fn receipt(&self, committed: &Committed, wait: Option<Duration>) -> Result<Option<Receipt>, ApiError> {
        let Some(wait) = wait else { return Ok(None) };
        // Asked each time: a store that was put back in time gets another name.
        let source = self.0.store.source().await?;
        Ok(Some(self.0.nodes.receipt(&source, committed.seq, committed.since, wait).await))
    }
}

/// Waits until `seq` is in force here.
async fn has_come(mut applied: watch::Receiver<u64>, seq: u64, limit: Duration) -> Result<(), ApiError> {
    match tokio::time::timeout(limit, applied.wait_for(|applied| *applied >= seq)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            log::error!("control: change {seq} is stored and not in force here after {limit:?}");
            Err(ApiError::NotInForceYet)
        }
    }
}

/// Returns TLS with `certificate` for [`serve`]; HTTP/1.1 is offered.
pub fn tls(certificate: Arc<Certificate>) -> TlsAcceptor {
    Arc::new(server_config(certificate, &[b"http/1.1"])).into()
}

/// Answers calls until `shutdown`, then finishes those that run.
///
/// # Errors
///
/// When the listener cannot be used at all.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    state: ControlState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    log::info!("control: listening on {address}");
    let transport = if tls.is_some() { Transport::Tls } else { Transport::Plain };
    let dashboard = Dashboard::new(state.clone(), transport);
    tokio::select! {
        () = listener::serve(listener, tls, routes::router(state, &dashboard), SOCKETS, shutdown) => Ok(()),
        never = dashboard.count_minutes() => match never {},
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! The Pingora shell: phases ask the core and copy its answers to the wire.
//!
//! [`MediaProxy`] is a whole [`ProxyHttp`](pingora::proxy::ProxyHttp). [`MediaFilter`] is the same in pieces, for
//! people who have a `ProxyHttp` of their own, [`GateModule`] only decides, for people who fetch by themselves, and
//! [`ForwardAuth`] answers other proxies that ask.

mod cache;
mod certificate;
mod dated;
mod decide;
mod exchange;
mod failure;
mod filter;
mod forward;
mod forward_auth;
mod listen;
mod module;
mod origin;
mod page;
mod pass;
mod phases;
mod pool;
mod prepend;
mod respond;
mod transfer;
mod unknown_kids;
mod upstream;

pub use cache::{CacheOptions, ObjectCache};
#[cfg(feature = "server")]
pub(crate) use certificate::server_config;
pub use certificate::{Certificate, Tls, TlsError};
pub use exchange::Exchange;
pub use filter::MediaFilter;
pub use forward_auth::ForwardAuth;
pub use listen::MediaServer;
pub use module::{GateModule, GateModuleBuilder};
pub use origin::Origins;
pub use phases::MediaProxy;
pub use prepend::{NoVisitor, OwnAnswer, OwnRequest, Platform, Question};
pub use unknown_kids::UnknownKids;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access_log::AccessLog;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::restrictions::RestrictionSet;

/// What every request of a gate shares. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The decision; replaced whole on reload.
    pub gate: Arc<ArcSwap<Gate>>,
    /// The hot set.
    pub restrictions: Arc<RestrictionSet>,
    /// Where the storages are.
    pub origins: Arc<Origins>,
    /// Who is told of tokens whose key is not known.
    pub unknown_kids: Arc<UnknownKids>,
    /// Copies of objects, shared by all who may see them; `None`: nothing is kept.
    pub cache: Option<Arc<ObjectCache>>,
    /// Who knows the visitors of prepend mode; replaced whole on reload.
    pub platform: Arc<ArcSwap<Option<Arc<dyn Platform>>>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where lines go; `None`: nowhere.
    pub access_log: Option<Arc<AccessLog>>,
}

impl Shared {
    /// Returns the parts that a filter needs, with metrics of their own and without an access log.
    pub fn new(gate: Gate, restrictions: Arc<RestrictionSet>) -> Shared {
        Shared {
            gate: Arc::new(ArcSwap::from_pointee(gate)),
            restrictions,
            origins: Arc::default(),
            unknown_kids: Arc::default(),
            cache: None,
            platform: Arc::default(),
            metrics: Arc::default(),
            access_log: None,
        }
    }
}

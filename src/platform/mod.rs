//! The platform that a gate stands in front of, in prepend mode: who its visitors are.

pub mod forward_auth;
pub mod oidc;

use std::sync::{Arc, OnceLock};

pub use forward_auth::{ForwardAuth, ForwardAuthOptions};
pub use oidc::{Oidc, OidcOptions};

use crate::proxy::Platform;
use crate::store::Store;

/// How the platform is asked who a visitor is.
#[derive(Debug, Clone)]
pub enum PlatformOptions {
    /// It answers for each visitor.
    ForwardAuth(ForwardAuthOptions),
    /// A provider logs visitors in, and the gate keeps their sessions.
    Oidc(Box<OidcOptions>),
}

impl PlatformOptions {
    /// Says which apps there are, whose sessions may have to end.
    pub(crate) fn for_apps(mut self, apps: Vec<String>) -> PlatformOptions {
        if let PlatformOptions::Oidc(options) = &mut self {
            options.apps = apps;
        }
        self
    }

    /// Returns what asks it; `store` is where sessions end, once it is there.
    pub fn start(self, store: &Arc<OnceLock<Store>>) -> Arc<dyn Platform> {
        match self {
            PlatformOptions::ForwardAuth(options) => Arc::new(ForwardAuth::new(options)),
            PlatformOptions::Oidc(options) => Arc::new(Oidc::new(*options, Arc::clone(store))),
        }
    }
}

//! The platform that a gate stands in front of, in prepend mode: who its visitors are.

pub mod forward_auth;

use std::sync::Arc;

pub use forward_auth::{ForwardAuth, ForwardAuthOptions};

use crate::proxy::Platform;

/// How the platform is asked who a visitor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlatformOptions {
    /// It answers for each visitor.
    ForwardAuth(ForwardAuthOptions),
}

impl PlatformOptions {
    /// Returns what asks it.
    pub fn start(self) -> Arc<dyn Platform> {
        match self {
            PlatformOptions::ForwardAuth(options) => Arc::new(ForwardAuth::new(options)),
        }
    }
}

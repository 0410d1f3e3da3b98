//! mediagate: the gate in front of a private media bucket.

#[cfg(feature = "proxy")]
pub mod access_log;
#[cfg(feature = "server")]
pub mod dev;
#[cfg(feature = "proxy")]
pub mod feed;
pub mod gate;
#[cfg(feature = "proxy")]
pub mod metrics;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod restrictions;
pub mod secret;

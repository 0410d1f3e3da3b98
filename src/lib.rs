//! mediagate: the gate in front of a private media bucket.

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod control;
#[cfg(feature = "proxy")]
pub mod feed;
pub mod gate;
pub mod restrictions;
pub mod secret;
#[cfg(feature = "server")]
pub mod store;

//! mediagate: the gate in front of a private media bucket.

#[cfg(feature = "server")]
pub mod dev;
pub mod restrictions;

//! mediagate: the gate in front of a private media bucket.

pub mod restrictions;

//! What the `mediagate` binary's commands do.

pub mod token;

//! The subcommands of the `mediagate` binary that talk to a running gateway.

pub mod user;

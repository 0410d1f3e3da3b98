//! The `mediagate` binary.

fn main() {}

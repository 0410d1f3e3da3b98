//! The restriction feeds against a model, in a process of its own: it measures how late nodes are, and other tests beside
//! it would be in the way.

#![allow(dead_code, reason = "what the tests share is more than this one needs")]

mod schedules;
#[path = "../it/support/mod.rs"]
mod support;

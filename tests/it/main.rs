//! Integration tests: the real binary, real listeners, real bytes.

mod cuts;
mod forwarding;
mod operations;
mod signing;
mod support;

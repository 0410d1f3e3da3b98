//! Integration tests: the real binary, real listeners, real bytes.

mod cuts;
mod forwarding;
mod signing;
mod support;

//! Integration tests: the real binary, real listeners, real bytes.

mod cache;
mod client;
mod control;
mod cuts;
mod forwarding;
mod hygiene;
mod js_client;
mod jwks;
mod memory;
mod nats;
mod operations;
mod platform;
mod prepend;
mod presigned;
mod redis;
mod refusals;
mod requests;
mod signing;
mod store;
mod support;
mod switch;
mod targets;
mod twilio;

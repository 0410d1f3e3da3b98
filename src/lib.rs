//! mediagate: the gate in front of a private media bucket.
//!
//! A request for a file carries a File Access Token (a JWT) in its query or in a header. The gate checks it, checks that
//! its user is not restricted, swaps the clean URL for a presigned storage URL, and passes the bytes on:
//! **extract → verify → authorize → resolve → forward**. The first four are [`gate`], a pure core; the last is
//! [`proxy`], a thin shell around it on Pingora.
//!
//! | feature | brings |
//! | --- | --- |
//! | none | [`gate`], [`restrictions`], [`caching`]: the decision and the rules of copies, without I/O, clock or runtime |
//! | `proxy` | [`proxy`], [`feed`], [`metrics`], [`access_log`]: the Pingora filter |
//! | `client` | [`client`]: for programs that open files through a gate; needs no Pingora |
//! | `server` (default) | [`config`], [`store`], [`jwks`], [`control`], [`auth`], [`serve`], [`dev`], [`cli`]: the `mediagate` binary |
//!
//! # In a proxy of your own
//!
//! ```no_run
//! # #[cfg(feature = "proxy")] fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use mediagate::gate::*;
//! use mediagate::proxy::{MediaProxy, Shared};
//! use mediagate::restrictions::{Event, RestrictionSet};
//! use mediagate::secret::Secret;
//!
//! let storage = S3Storage::new(S3Options {
//!     endpoint: Endpoint::parse("http://127.0.0.1:9000")?,
//!     region: "us-east-1".into(),
//!     bucket: "media".into(),
//!     addressing: Addressing::Path,
//!     prefix: String::new(),
//!     app_folder: AppFolder::Kept,
//!     credentials: Credentials { access_key_id: "id".into(), secret_access_key: Secret::new("secret") },
//!     presign_ttl: Duration::from_secs(60),
//! });
//! let secret = Secret::from_file_content(std::fs::read("secrets/k1.key")?);
//! let gate = Gate::new(GateOptions {
//!     apps: vec![AppOptions {
//!         id: "acme".into(),
//!         access: Access::Enforce,
//!         keys: vec![VerifyingKey::hmac("k1", Algorithm::HS256, &secret)?],
//!         time: TimeRules { leeway: Duration::from_secs(5), max_ttl: Duration::from_secs(86_400) },
//!         uid_case: UidCase::Folded,
//!         public_prefixes: PublicPrefixes::default(),
//!     tokenized_since: None,
//!         storage: Arc::new(storage),
//!     }],
//!     ..GateOptions::default()
//! })?;
//! let key = [0x5eed, 0xfeed]; // two random numbers of this process
//! let restrictions = Arc::new(RestrictionSet::new(key, Instant::now()));
//! // Nobody gets in before a first state; `feed::follow` keeps it fresh from then on.
//! restrictions.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, Instant::now());
//! let proxy = MediaProxy::new(Shared::new(gate, restrictions));
//! # drop(proxy);
//! # Ok(()) }
//! ```
//!
//! `examples/existing_proxy.rs` composes the same pieces with a `ProxyHttp` that exists already.

#![forbid(unsafe_code)]

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod serve;

#[cfg(feature = "proxy")]
pub mod proxy;

pub mod caching;
pub mod gate;
pub mod restrictions;
pub mod secret;

#[cfg(feature = "proxy")]
pub mod feed;
#[cfg(feature = "server")]
pub mod jwks;
#[cfg(feature = "server")]
mod jws;
#[cfg(feature = "server")]
mod outbound;
#[cfg(feature = "server")]
pub mod platform;
#[cfg(feature = "server")]
pub mod relay;
#[cfg(feature = "server")]
pub mod store;

#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod control;
#[cfg(feature = "server")]
pub mod operations;

#[cfg(feature = "proxy")]
pub mod access_log;
#[cfg(feature = "server")]
pub mod logger;
#[cfg(feature = "proxy")]
pub mod metrics;
#[cfg(feature = "proxy")]
pub mod observed;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod dev;

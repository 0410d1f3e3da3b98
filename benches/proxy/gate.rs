//! The gate as the gateway runs it: the media server, its metrics, its log, and a feed that beats.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mediagate::access_log::AccessLog;
use mediagate::caching::CachePolicy;
use mediagate::gate::{
    Addressing, Algorithm, AppFolder, AppOptions, Credentials, Endpoint, Gate, GateOptions, S3Options, S3Storage,
    TimeRules, VerifyingKey,
};
use mediagate::proxy::{CacheOptions, MediaServer, ObjectCache, Shared};
use mediagate::restrictions::{Effect, Event, RestrictionSet, Scope};
use mediagate::secret::Secret;
use tokio::net::TcpListener;

use crate::children::{runtime, threads};

/// The app of every request.
pub(crate) const APP: &str = "demo";

/// What tokens are signed with.
pub(crate) const SECRET: &str = "8c1f7f0d4a5b4e6c9d2e3f405162738495a6b7c8d9eafb0c1d2e3f4051627384";

/// Users whom the gate does not let in.
const RESTRICTED: usize = 100_000;

/// The uid of one of them.
pub(crate) fn restricted_uid(n: usize) -> String {
    format!("gone-{:08}", n % RESTRICTED)
}

/// Serves until the process ends; with `log`, an access log goes to standard error, with `cached`, objects are kept.
pub(crate) fn run(upstream: SocketAddr, log: bool, cached: bool) {
    runtime().block_on(async {
        let restrictions = Arc::new(RestrictionSet::new([1, 2], Instant::now()));
        let gone = |n| (Scope::User { app: APP.into(), uid: restricted_uid(n) }, Effect::Deactivated);
        let entries = (0..RESTRICTED).map(gone).collect();
        restrictions.apply(Event::Snapshot { seq: 1, entries }, Instant::now());
        let beating = Arc::clone(&restrictions);
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(1));
            loop {
                beat.tick().await;
                beating.apply(Event::Heartbeat { seq: 1 }, Instant::now());
            }
        });
        let mut shared = Shared::new(gate(upstream), restrictions);
        let policy = CachePolicy { ttl: Duration::from_secs(3600), max_object_bytes: 8 << 20 };
        let options = CacheOptions { policy, memory_bytes: 256 << 20 };
        shared.cache = cached.then(|| Arc::new(ObjectCache::new(options, shared.metrics.cache.clone())));
        shared.access_log = log.then(|| Arc::new(AccessLog::stderr()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address"));
        let (_never, shutdown) = tokio::sync::watch::channel(false);
        let server = MediaServer::new(shared, threads());
        server.serve(vec![listener], None, shutdown, Duration::ZERO).await.expect("a server");
    });
}

fn gate(upstream: SocketAddr) -> Gate {
    let app = AppOptions {
        id: APP.into(),
        access: Default::default(),
        keys: vec![VerifyingKey::hmac("k1", Algorithm::HS256, &Secret::new(SECRET)).expect("a good key")],
        time: TimeRules { leeway: Duration::from_secs(5), max_ttl: Duration::from_secs(86_400) },
        uid_case: Default::default(),
        public_prefixes: Default::default(),
        tokenized_since: None,
        storage: Arc::new(S3Storage::new(S3Options {
            endpoint: Endpoint::parse(&format!("http://{upstream}")).expect("an endpoint"),
            region: "us-east-1".into(),
            bucket: "media".into(),
            addressing: Addressing::Path,
            prefix: String::new(),
            app_folder: AppFolder::Kept,
            credentials: Credentials {
                access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
                secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            },
            presign_ttl: Duration::from_secs(60),
        })),
    };
    Gate::new(GateOptions { apps: vec![app], ..GateOptions::default() }).expect("a gate")
}

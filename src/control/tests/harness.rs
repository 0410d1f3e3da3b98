//! A control listener with a store, a feed and a set, and a client that sends exactly what it is given.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::*;
use crate::config::{AppSummary, KeySummary};
use crate::feed;
use crate::gate::{
    Access, Addressing, AppFolder, AppOptions, Credentials, Endpoint, GateOptions, PresignedBase, PresignedKey,
    PresignedOptions, PresignedTarget, PublicPrefixes, S3Options, S3Storage, TimeRules, UidCase, VerifyingKey,
};
use crate::metrics::Metrics;
use crate::restrictions::{Restricted, RestrictionSet};
use crate::secret::Secret;
use crate::store::tests::sql;
use crate::store::users::{Profile, User};

pub(crate) const FULL_KEY: &str = "full-access-key";
pub(crate) const SIGN_UP_KEY: &str = "sign-up-key";

/// Users that are registered from the start.
const REGISTERED: [&str; 6] = ["bob", "carol", "dave", "eve", "a/b@c+d", "Bob"];

fn summary(id: &str) -> AppSummary {
    let key = KeySummary {
        kid: "k1".into(),
        alg: "HS256".parse().unwrap(),
        secret: Some(Secret::new("0123456789abcdef0123456789abcdef")),
        private_key: None,
        issuer: None,
        audience: None,
        profile: crate::gate::Profile::Fat,
    };
    AppSummary { id: id.into(), keys: vec![key], key_sets: vec![], max_ttl: Duration::from_secs(3600) }
}

/// How long presigned URLs live.
pub(crate) const PRESIGNED_TTL: Duration = Duration::from_secs(900);

pub(crate) struct Gateway {
    dir: tempfile::TempDir,
    path: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) set: Arc<RestrictionSet>,
    pub(crate) store: Store,
    pub(crate) state: ControlState,
    pub(crate) metrics: Arc<Metrics>,
    follower: std::sync::Mutex<Option<JoinHandle<()>>>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

fn verifying_key() -> VerifyingKey {
    VerifyingKey::hmac("k1", "HS256".parse().unwrap(), &Secret::new("0123456789abcdef0123456789abcdef")).unwrap()
}

fn app(id: &str, uid_case: UidCase) -> AppOptions {
    let storage = S3Storage::new(S3Options {
        endpoint: Endpoint::parse("http://127.0.0.1:9000").unwrap(),
        region: "us-east-1".into(),
        bucket: "media".into(),
        addressing: Addressing::Path,
        prefix: String::new(),
        app_folder: AppFolder::Kept,
        credentials: Credentials { access_key_id: "id".into(), secret_access_key: Secret::new("secret") },
        presign_ttl: Duration::from_secs(60),
    });
    AppOptions {
        id: id.into(),
        access: Access::Off,
        keys: if id == "keyless" { vec![] } else { vec![verifying_key()] },
        time: TimeRules { leeway: Duration::ZERO, max_ttl: Duration::from_secs(3600) },
        uid_case,
        public_prefixes: PublicPrefixes::default(),
        tokenized_since: None,
        storage: Arc::new(storage),
    }
}

impl Gateway {
    pub(crate) async fn start(apps: &[(&str, UidCase)]) -> Gateway {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mediagate.db");
        let store = Store::open(&path).await.unwrap();
        let feed = feed::local(store.clone());
        let set = Arc::new(RestrictionSet::new([1, 2], Instant::now()));
        let (applied_sender, applied) = watch::channel(0);
        let followed = Arc::clone(&set);
        let follower = tokio::spawn(async move {
            let uid_case = |_: &str| crate::gate::UidCase::default();
            let metrics = Metrics::new();
            let (set, applied) = (&*followed, &applied_sender);
            let (_never, resync) = watch::channel(0);
            let following = feed::Following { set, uid_case, metrics: &metrics, applied, resync };
            let _ = following.follow(feed).await;
        });
        let apps = apps.iter().map(|(id, uid_case)| app(id, *uid_case)).collect();
        let presigned = Some(PresignedOptions {
            target: PresignedTarget::Gate(PresignedKey::new(&Secret::new("fedcba9876543210fedcba9876543210")).unwrap()),
            previous: Vec::new(),
            base: PresignedBase::Asked(http::uri::Scheme::HTTPS),
            ttl: PRESIGNED_TTL,
            window: Duration::from_secs(300),
        });
        let gate = Gate::new(GateOptions { apps, presigned, ..GateOptions::default() }).unwrap();
        let key = |name: &str, scope, key: &str| ApiKey { name: name.into(), scope, key: Secret::new(key) };
        let api_keys =
            vec![key("backend", ApiScope::FullAccess, FULL_KEY), key("sign-up", ApiScope::AuthOnly, SIGN_UP_KEY)];
        let gate = Arc::new(ArcSwap::from_pointee(gate));
        let nodes = Arc::new(Nodes::new(Instant::now(), Duration::ZERO));
        for app in ["acme", "exact"] {
            for uid in REGISTERED {
                let profile = Profile { name: uid.into(), role: "default".into(), ..Profile::default() };
                let user = User { uid: uid.into(), profile, created_at: 1, ..User::default() };
                assert!(store.create_user(app, user, None).await.unwrap());
            }
        }
        let metrics = Arc::new(Metrics::new());
        let state = ControlState::new(ControlOptions {
            store: store.clone(),
            nodes: Arc::clone(&nodes),
            applied: Some(applied),
            gate,
            issuers: Arc::new(ArcSwap::from_pointee(Issuers::new(&[summary("acme"), summary("exact")]))),
            hosts: ClientHosts { control: None, media: Some("files.acme.example".into()) },
            api_keys,
            calls_per_minute: None,
            metrics: Arc::clone(&metrics),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, None, state.clone(), async {
            let _ = stopped.await;
        }));
        let follower = std::sync::Mutex::new(Some(follower));
        Gateway { dir, path, address, set, store, state, metrics, follower, stop, server }
    }

    /// Makes the set deaf.
    pub(crate) async fn end_feed(&self) {
        let follower = self.follower.lock().unwrap().take().unwrap();
        follower.abort();
        let _ = follower.await;
    }

    /// Begins the shutdown; returns the set, what ends with the listener, and the folder, which must outlive it.
    pub(crate) fn stop(self) -> (Arc<RestrictionSet>, JoinHandle<std::io::Result<()>>, tempfile::TempDir) {
        self.stop.send(()).unwrap();
        (self.set, self.server, self.dir)
    }

    pub(crate) fn connect(&self) -> impl Future<Output = TcpStream> + use<> {
        let address = self.address;
        async move { TcpStream::connect(address).await.unwrap() }
    }

    pub(crate) async fn send(&self, raw: &[u8]) -> Answer {
        exchange(self.connect().await, raw).await
    }

    pub(crate) async fn sql(&self, statement: &'static str) {
        sql(&self.path, statement).await;
    }

    #[track_caller]
    pub(crate) fn check(&self, uid: &str, expected: Result<(), Restricted>) {
        assert_eq!(self.set.check(&self.set.subject("acme", uid, None, None, None)), expected, "{uid}");
    }
}

/// A whole request that asks for the connection's end after it.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: gate.example\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\
         \r\n{body}"
    )
    .into_bytes()
}

/// Sends `raw` and reads until the other side closes.
pub(crate) async fn exchange(mut stream: TcpStream, raw: &[u8]) -> Answer {
    // The other side may refuse and close before it has read all.
    let _ = stream.write_all(raw).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let answers = answer.matches("HTTP/1.1 ").count();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = serde_json::from_str(text).unwrap_or_default();
    Answer { status, answers, head: format!("{head}\r\n"), text: text.to_owned(), body }
}

#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 where there was none.
    pub(crate) status: u16,
    pub(crate) answers: usize,
    pub(crate) head: String,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, body: Value) {
        assert_eq!((self.status, &self.body), (status, &body));
        self.is_framed();
    }

    /// A refusal; `field` is what its details are about, or empty for none.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str, field: &str) {
        let error = &self.body["error"];
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(error["source"], "mediagate");
        assert!(error["message"].is_string());
        match field {
            "" => assert_eq!(error.get("details"), None),
            field => assert!(error["details"][field][0].is_string(), "{}", self.text),
        }
        self.is_framed();
    }

    #[track_caller]
    fn is_framed(&self) {
        for line in ["cache-control: no-store", "x-content-type-options: nosniff", "content-type: application/json"] {
            assert!(self.head.contains(&format!("{line}\r\n")), "{}", self.head);
        }
        for name in ["access-control-allow-credentials", "\r\nallow:", "\r\nserver:"] {
            assert!(!self.head.contains(name), "{}", self.head);
        }
    }
}

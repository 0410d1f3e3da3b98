//! A gate with one app, `demo`, that takes HS256 under a secret that no input knows.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use mediagate::gate::{
    Access, Addressing, Algorithm, AppFolder, AppOptions, Credentials, Endpoint, Gate, GateOptions, LoginOptions,
    MediaOrigin, Now, PrependOptions, PresignedBase, PresignedKey, PresignedOptions, PresignedTarget, PublicPrefixes,
    S3Options, S3Storage, Serving, TimeRules, UidCase, VerifyingKey,
};
use mediagate::secret::Secret;

pub const SECRET: &[u8] = b"twenty-five dry whales sing, 0x7f";

const PRESIGNED_SECRET: &[u8] = b"seventeen damp foxes sign, 0x3c!";

/// What may stand behind the own host.
pub const ORIGINS: [(&str, Serving); 2] =
    [("https://files.example", Serving::Own), ("http://127.0.0.1:9", Serving::Foreign)];

/// UNIX seconds: inputs that were kept mean the same tomorrow.
pub const NOW: u64 = 1_700_000_000;

pub static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let storage = S3Storage::new(S3Options {
        endpoint: Endpoint::parse("http://127.0.0.1:9000").expect("an endpoint"),
        region: "us-east-1".into(),
        bucket: "bucket".into(),
        addressing: Addressing::Path,
        prefix: String::new(),
        app_folder: AppFolder::Kept,
        credentials: Credentials { access_key_id: "id".into(), secret_access_key: Secret::new("secret") },
        presign_ttl: Duration::from_secs(60),
    });
    let app = AppOptions {
        id: "demo".into(),
        access: Access::Enforce,
        keys: vec![VerifyingKey::hmac("k1", Algorithm::HS256, &Secret::new(SECRET)).expect("a key")],
        time: TimeRules { leeway: Duration::ZERO, max_ttl: Duration::from_secs(86_400) },
        uid_case: UidCase::Folded,
        public_prefixes: PublicPrefixes::default(),
        tokenized_since: None,
        storage: Arc::new(storage),
    };
    let presigned = PresignedOptions {
        target: PresignedTarget::Gate(PresignedKey::new(&Secret::new(PRESIGNED_SECRET)).expect("a key")),
        previous: Vec::new(),
        base: PresignedBase::Asked(http::uri::Scheme::HTTPS),
        ttl: Duration::from_secs(900),
        window: Duration::from_secs(300),
    };
    let origins = ORIGINS.map(|(text, serving)| MediaOrigin::parse(text, serving).expect("an origin"));
    let login = LoginOptions::new("/login", Secret::new(PRESIGNED_SECRET)).expect("a login");
    let prepend = PrependOptions { hosts: Vec::new(), origins: origins.to_vec(), sessions: None, login: Some(login) };
    let (presigned, prepend) = (Some(presigned), Some(prepend));
    let options = GateOptions { apps: vec![app], presigned, prepend, ..GateOptions::default() };
    Gate::new(options).expect("a gate")
});

pub static START: LazyLock<Instant> = LazyLock::new(Instant::now);

pub fn now() -> Now {
    Now { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW), monotonic: *START }
}

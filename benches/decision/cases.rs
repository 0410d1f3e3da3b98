//! Gates, tokens and requests to be measured.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use mediagate::gate::{
    Addressing, Algorithm, AppFolder, AppOptions, Credentials, Decision, Endpoint, Gate, GateOptions, Now, S3Options,
    S3Storage, TimeRules, VerifyingKey,
};
use mediagate::restrictions::{Change, Effect, Entry, Event, RestrictionSet, Scope};
use mediagate::secret::Secret;
use sha2::Sha256;

/// The app of every request.
pub(crate) const APP: &str = "demo";

/// The algorithms that are measured.
pub(crate) const ALGORITHMS: [Algorithm; 4] = [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];

pub(crate) const SECRET: &str = "8c1f7f0d4a5b4e6c9d2e3f405162738495a6b7c8d9eafb0c1d2e3f4051627384";

/// What the sets hash identities with.
const SET_KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

/// Tokens in turn of which each has been seen before.
const HOT: usize = 64;

/// Which tokens come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The same again and again.
    One,
    /// All of them in turn, as where nothing is remembered.
    InTurn,
    /// Those that the gate has verified before.
    Before,
    /// Others each time.
    Never,
}

impl Seen {
    /// What is measured of `alg`: a MAC is never remembered, so a token is as good as new each time.
    pub(crate) const fn of(alg: Algorithm) -> [Seen; 2] {
        if alg.is_hmac() { [Seen::One, Seen::InTurn] } else { [Seen::Before, Seen::Never] }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Seen::One => "one token",
            Seen::InTurn => "all tokens in turn",
            Seen::Before => "seen before",
            Seen::Never => "never seen",
        }
    }
}

/// The uid of a user who is restricted in every set that is large enough.
pub(crate) fn restricted_uid(n: usize) -> String {
    format!("user-{n:08}")
}

/// The uid of a user whom nothing stands against.
pub(crate) fn active_uid(n: usize) -> String {
    format!("5b0f{:08x}-7d52-4c1e-9a44-{n:012x}", n.wrapping_mul(0x9e37_79b1) as u32)
}

/// Keys of one algorithm, and tokens signed with them.
pub(crate) struct Tokens {
    pub(crate) alg: Algorithm,
    /// The public key; empty for a MAC.
    pub(crate) pem: String,
    pub(crate) compact: Vec<String>,
}

/// Keys, tokens, and the time of every decision.
pub(crate) struct Fixture {
    tokens: Vec<Tokens>,
    requests: Vec<Vec<Parts>>,
    now: Now,
}

impl Fixture {
    /// Signs `mac_pool` tokens with the MAC, `rsa_pool` with RSA, which takes its time, and `pool` with each of the others.
    pub(crate) fn new(mac_pool: usize, pool: usize, rsa_pool: usize) -> Fixture {
        let now = now();
        let count = |alg| match alg {
            Algorithm::HS256 => mac_pool,
            Algorithm::RS256 => rsa_pool,
            _ => pool,
        };
        Fixture::of(ALGORITHMS.into_iter().map(|alg| signed(alg, count(alg), now)).collect(), now)
    }

    pub(crate) fn of(tokens: Vec<Tokens>, now: Now) -> Fixture {
        let requests = tokens.iter().map(|tokens| tokens.compact.iter().enumerate().map(request).collect()).collect();
        Fixture { tokens, requests, now }
    }

    /// How many tokens there are.
    pub(crate) fn pool(&self, alg: Algorithm) -> usize {
        self.tokens_of(alg).compact.len()
    }

    pub(crate) fn tokens_of(&self, alg: Algorithm) -> &Tokens {
        self.tokens.iter().find(|tokens| tokens.alg == alg).expect("every algorithm has tokens")
    }

    fn requests_of(&self, alg: Algorithm) -> &[Parts] {
        let at = self.tokens.iter().position(|tokens| tokens.alg == alg).expect("every algorithm has tokens");
        &self.requests[at]
    }

    /// A gate that has seen no token yet.
    fn gate(&self) -> Gate {
        let keys = self.tokens.iter().map(|tokens| {
            let name = tokens.alg.name();
            let key = if tokens.alg.is_hmac() {
                VerifyingKey::hmac(name, tokens.alg, &Secret::new(SECRET))
            } else {
                VerifyingKey::public_pem(name, tokens.alg, tokens.pem.as_bytes())
            };
            key.expect("a good key")
        });
        let time = TimeRules { leeway: Duration::from_secs(5), max_ttl: Duration::from_secs(86_400) };
        let app = AppOptions {
            id: APP.into(),
            access: Default::default(),
            keys: keys.collect(),
            time,
            uid_case: Default::default(),
            public_prefixes: Default::default(),
            tokenized_since: None,
            storage: Arc::new(S3Storage::new(S3Options {
                endpoint: Endpoint::parse("https://s3.eu-central-1.amazonaws.example").expect("an endpoint"),
                region: "eu-central-1".into(),
                bucket: "acme-media".into(),
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
        let hosts = vec!["files.acme.example".into()];
        Gate::new(GateOptions { apps: vec![app], hosts, ..GateOptions::default() }).expect("a gate")
    }

    /// Whether `set` lets every user of the tokens in.
    pub(crate) fn is_clean(&self, set: &RestrictionSet) -> bool {
        (0..self.pool(Algorithm::HS256)).all(|n| set.check(&set.subject(APP, &active_uid(n), None, None, None)).is_ok())
    }
}

/// Entries in one part of a state, as feeds deliver it.
const PART: usize = 4096;

/// A set with `users` restricted, filled as a feed fills it.
pub(crate) fn filled(users: usize, fixture: &Fixture) -> RestrictionSet {
    filled_at(users, fixture.now.monotonic)
}

pub(crate) fn filled_at(users: usize, now: Instant) -> RestrictionSet {
    let set = RestrictionSet::new(SET_KEY, now);
    set.apply(Event::SnapshotBegins { expected: users }, now);
    for from in (0..users).step_by(PART) {
        let entry = |n| {
            let (scope, effect) = restricted(n);
            Entry { scope, effect, in_force: true }
        };
        set.apply(Event::SnapshotPart((from..users.min(from + PART)).map(entry).collect()), now);
    }
    set.apply(Event::SnapshotEnds { source: "bench".into(), seq: users as u64 }, now);
    set
}

/// The same, one user after the other.
pub(crate) fn filled_by_changes(users: usize, now: Instant) -> RestrictionSet {
    let set = RestrictionSet::new(SET_KEY, now);
    set.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, now);
    for n in 0..users {
        let (scope, effect) = restricted(n);
        set.apply(Event::Change(Change { seq: n as u64 + 1, scope, effect, in_force: true }), now);
    }
    set
}

fn restricted(n: usize) -> (Scope, Effect) {
    (Scope::User { app: APP.into(), uid: restricted_uid(n) }, Effect::Deactivated)
}

#[expect(clippy::disallowed_methods, reason = "a bench is a shell: time comes in here")]
pub(crate) fn now() -> Now {
    Now { wall: SystemTime::now(), monotonic: Instant::now() }
}

/// Signs tokens as an issuer would: a v4 uuid as user, a quarter of an hour, the kid of the key.
fn signed(alg: Algorithm, count: usize, now: Now) -> Tokens {
    let (pem, sign) = signer(alg);
    let seconds = now.wall.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{alg}"}}"#));
    let token = |n| {
        let (uid, iat, exp) = (active_uid(n), seconds - 60, seconds + 3600);
        let claims = format!(r#"{{"sub":"{uid}","app":"{APP}","iat":{iat},"exp":{exp}}}"#);
        let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(input.as_bytes()));
        format!("{input}.{signature}")
    };
    Tokens { alg, pem, compact: (0..count).map(token).collect() }
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A new key: its public half in PEM, and what signs with it.
fn signer(alg: Algorithm) -> (String, Sign) {
    let pem = |der: &[u8]| format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    match alg {
        Algorithm::HS256 => {
            let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
            (String::new(), Box::new(move |input| mac.clone().chain_update(input).finalize().into_bytes().to_vec()))
        }
        Algorithm::ES256 => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
            let public = pem(key.public_key().as_der().expect("DER").as_ref());
            let random = SystemRandom::new();
            (public, Box::new(move |input| key.sign(&random, input).expect("a signature").as_ref().to_vec()))
        }
        Algorithm::EdDSA => {
            let key = Ed25519KeyPair::generate().expect("a key");
            let public = pem(key.public_key().as_der().expect("DER").as_ref());
            (public, Box::new(move |input| key.sign(input).as_ref().to_vec()))
        }
        Algorithm::RS256 => {
            let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
            let public = pem(key.public_key().as_der().expect("DER").as_ref());
            let random = SystemRandom::new();
            let sign = move |input: &[u8]| {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).expect("a signature");
                signature
            };
            (public, Box::new(sign))
        }
        other => panic!("{other} is not measured"),
    }
}

/// A request as a phone's browser sends it.
fn request((n, compact): (usize, &String)) -> Parts {
    http::Request::get(format!("/{APP}/media/2026/11/{n:06}/holiday%20picture.jpg?fat={compact}"))
        .header("host", "files.acme.example")
        .header("user-agent", "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 Chrome/140.0 Mobile")
        .header("accept", "image/avif,image/webp,image/apng,image/*,*/*;q=0.8")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("accept-language", "en-GB,en;q=0.9,de;q=0.8")
        .header("referer", "https://app.acme.example/")
        .body(())
        .expect("a request")
        .into_parts()
        .0
}

/// Nanoseconds of one of `count` calls of `work`.
pub(crate) fn time(count: usize, mut work: impl FnMut(usize)) -> f64 {
    crate::nanoseconds(|| (0..count).for_each(&mut work)) / count as f64
}

/// Requests of one kind, one after the other.
pub(crate) struct Stream<'a> {
    fixture: &'a Fixture,
    requests: &'a [Parts],
    set: &'a RestrictionSet,
    gate: Gate,
    seen: Seen,
    next: usize,
    batch: usize,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(fixture: &'a Fixture, alg: Algorithm, seen: Seen, set: &'a RestrictionSet) -> Stream<'a> {
        let requests = fixture.requests_of(alg);
        let requests = match seen {
            Seen::One => &requests[..1],
            Seen::Before => &requests[..HOT],
            Seen::InTurn | Seen::Never => requests,
        };
        let mut stream = Stream { fixture, requests, set, gate: fixture.gate(), seen, next: 0, batch: HOT };
        // What the first request of a gate pays for all is not what one costs.
        if seen != Seen::Never {
            stream.run(HOT);
        }
        stream
    }

    /// Sets the batches' size so that one takes about `time`, when one request takes `nanoseconds`.
    pub(crate) fn fit(&mut self, nanoseconds: f64, time: Duration) {
        self.batch = ((time.as_nanos() as f64 / nanoseconds) as usize).max(10);
        if self.seen == Seen::Never {
            self.batch = self.batch.min(self.requests.len());
        }
    }

    /// Nanoseconds of one decision.
    pub(crate) fn batch(&mut self) -> f64 {
        self.make_room(self.batch);
        let batch = self.batch;
        crate::nanoseconds(|| self.run(batch)) / batch as f64
    }

    /// Allocations and bytes of one decision.
    pub(crate) fn allocations(&mut self) -> (f64, f64) {
        self.make_room(HOT);
        let count = crate::alloc::count(|| self.run(HOT));
        (count.calls as f64 / HOT as f64, count.bytes as f64 / HOT as f64)
    }

    /// A gate that remembers nothing, when the tokens that it has not seen are used up.
    fn make_room(&mut self, count: usize) {
        if self.seen == Seen::Never && self.next + count > self.requests.len() {
            (self.gate, self.next) = (self.fixture.gate(), 0);
        }
    }

    pub(crate) fn run(&mut self, count: usize) {
        for _ in 0..count {
            let decision = self.gate.admit(black_box(&self.requests[self.next]), self.set, self.fixture.now);
            assert!(matches!(black_box(decision), Ok(Decision::Forward(_))), "the token is good");
            self.next += 1;
            // At the end, those that must be new need another gate first: see `make_room`.
            if self.next == self.requests.len() && self.seen != Seen::Never {
                self.next = 0;
            }
        }
    }
}

/// What jsonwebtoken reads the claims into.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "reading them is what is measured")]
struct Claims {
    sub: String,
    app: String,
    iat: u64,
    exp: u64,
}

enum Verify {
    Ours(Box<Gate>),
    Theirs(Box<(jsonwebtoken::DecodingKey, jsonwebtoken::Validation)>),
}

/// Tokens that were never seen, one after the other.
pub(crate) struct VerifyStream<'a> {
    fixture: &'a Fixture,
    compact: &'a [String],
    verify: Verify,
    next: usize,
    batch: usize,
}

impl<'a> VerifyStream<'a> {
    pub(crate) fn ours(fixture: &'a Fixture, alg: Algorithm) -> VerifyStream<'a> {
        let verify = Verify::Ours(Box::new(fixture.gate()));
        VerifyStream { fixture, compact: &fixture.tokens_of(alg).compact, verify, next: 0, batch: 10 }
    }

    pub(crate) fn theirs(fixture: &'a Fixture, alg: Algorithm) -> VerifyStream<'a> {
        use jsonwebtoken::DecodingKey;
        let tokens = fixture.tokens_of(alg);
        let (alg, key) = match alg {
            Algorithm::ES256 => (jsonwebtoken::Algorithm::ES256, DecodingKey::from_ec_pem(tokens.pem.as_bytes())),
            Algorithm::EdDSA => (jsonwebtoken::Algorithm::EdDSA, DecodingKey::from_ed_pem(tokens.pem.as_bytes())),
            Algorithm::RS256 => (jsonwebtoken::Algorithm::RS256, DecodingKey::from_rsa_pem(tokens.pem.as_bytes())),
            _ => (jsonwebtoken::Algorithm::HS256, Ok(DecodingKey::from_secret(SECRET.as_bytes()))),
        };
        let verify = Verify::Theirs(Box::new((key.expect("a key"), jsonwebtoken::Validation::new(alg))));
        VerifyStream { fixture, compact: &tokens.compact, verify, next: 0, batch: 10 }
    }

    /// As [`Stream::fit`].
    pub(crate) fn fit(&mut self, nanoseconds: f64, time: Duration) {
        self.batch = ((time.as_nanos() as f64 / nanoseconds) as usize).clamp(10, self.compact.len());
    }

    /// Nanoseconds of one token.
    pub(crate) fn batch(&mut self) -> f64 {
        if self.next + self.batch > self.compact.len() {
            self.next = 0;
            if let Verify::Ours(gate) = &mut self.verify {
                **gate = self.fixture.gate();
            }
        }
        let batch = self.batch;
        crate::nanoseconds(|| self.run(batch)) / batch as f64
    }

    pub(crate) fn run(&mut self, count: usize) {
        for _ in 0..count {
            let compact = black_box(self.compact[self.next].as_str());
            let good = match &self.verify {
                Verify::Ours(gate) => gate.verify(APP, compact, self.fixture.now).is_ok(),
                Verify::Theirs(theirs) => {
                    black_box(jsonwebtoken::decode::<Claims>(compact, &theirs.0, &theirs.1)).is_ok()
                }
            };
            assert!(good, "the token is good");
            self.next = (self.next + 1) % self.compact.len();
        }
    }
}

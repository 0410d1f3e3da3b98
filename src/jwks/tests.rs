//! When sets are had, and what is held meanwhile. What comes of it for requests: `tests/it/jwks.rs`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::gate::MAX_JWKS_BYTES;
use crate::gate::{
    Access, Addressing, AppFolder, AppOptions, Credentials, Denial, Endpoint, Freshness, Now, PublicPrefixes,
    S3Options, S3Storage, TimeRules, UidCase, VerifyError,
};
use crate::proxy::Shared;
use crate::restrictions::{Event, RestrictionSet};
use crate::secret::Secret;

/// RFC 8037 A.2.
const SET: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Longer than any test; what comes sooner was brought about.
const NEVER: Duration = Duration::from_secs(3600);

const TIMES: Times = Times {
    cool_down: Duration::from_millis(100),
    first_retry: Duration::from_millis(10),
    longest_retry: Duration::from_millis(50),
    timeout: Duration::from_millis(500),
};

/// A server that answers what it is told, and counts.
struct Issuer {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(answer: String) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/jwks.json?secret=MARKER", listener.local_addr().expect("an address"));
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let issuer = Issuer { url, answer: Arc::clone(&answer), asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().expect("no panic").clone();
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        issuer
    }

    fn says(&self, answer: String) {
        *self.answer.lock().expect("no panic") = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn app(id: &str) -> AppOptions {
    let storage = S3Storage::new(S3Options {
        endpoint: Endpoint::parse("http://127.0.0.1:9").expect("an endpoint"),
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
        access: Access::Enforce,
        keys: Vec::new(),
        time: TimeRules { leeway: Duration::ZERO, max_ttl: Duration::from_secs(86_400) },
        uid_case: UidCase::Folded,
        public_prefixes: PublicPrefixes::default(),
        tokenized_since: None,
        storage: Arc::new(storage),
    }
}

fn plan(url: &str, refresh: Duration) -> KeyPlan {
    let source = KeySetSource::url(url).expect("a URL");
    let set = KeySetOptions { app: "a".into(), source, alg: None, issuer: None, audience: None, refresh };
    let options = GateOptions { apps: vec![app("a")], freshness: Freshness::default(), ..GateOptions::default() };
    KeyPlan { options, sets: vec![set], files: HashMap::new() }
}

fn started(plan: KeyPlan) -> (Shared, Arc<KeySets>) {
    let restrictions = Arc::new(RestrictionSet::new([1, 2], Instant::now()));
    restrictions.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, Instant::now());
    let shared = Shared::new(Gate::new(GateOptions::default()).expect("a gate"), restrictions);
    let sets = KeySets::start(shared.clone(), plan, TIMES);
    (shared, sets)
}

/// What the gate says of a token of the key `ed` with a signature that cannot hold.
fn knows_key(shared: &Shared) -> bool {
    // {"alg":"EdDSA","kid":"ed"}
    let compact = format!("eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIn0.e30.{}", "A".repeat(86));
    let request = http::Request::get(format!("/a/x?fat={compact}")).header("host", "h").body(()).expect("a request");
    let now = Now { wall: std::time::UNIX_EPOCH, monotonic: Instant::now() };
    let refused = shared.gate.load().admit(&request.into_parts().0, &shared.restrictions, now).expect_err("forged");
    match refused.denial {
        Denial::TokenInvalid(VerifyError::BadSignature) => true,
        denial => {
            assert_eq!(denial, Denial::TokenInvalid(VerifyError::UnknownKey));
            shared.unknown_kids.note(&refused.trace, Some(denial));
            false
        }
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_url_is_https_or_on_this_machine() {
    for (url, expected) in [
        ("https://login.example/keys", true),
        ("https://login.example:8443/a/b?c=d", true),
        ("https://192.0.2.1/", true),
        ("https://login.example", true),
        ("http://127.0.0.1:8080/jwks.json", true),
        ("http://127.1.2.3/", true),
        ("http://[::1]:80/", true),
        ("http://localhost:8080/", true),
        ("http://login.example/keys", false),
        ("http://10.0.0.1/keys", false),
        ("http://127.0.0.1.evil.example/", false),
        ("http://localhost.evil.example/", false),
        ("http://127.0.0.1@evil.example/", false),
        ("https://user:secret@login.example/", false),
        ("https://login.example/#keys", false),
        ("https:///keys", false),
        ("ftp://login.example/", false),
        ("file:///etc/keys.json", false),
        ("login.example/keys", false),
        ("/keys", false),
        ("", false),
        ("https://a b/", false),
    ] {
        assert_eq!(KeySetSource::url(url).is_some(), expected, "{url}");
    }
}

#[tokio::test]
async fn an_unknown_kid_brings_about_a_fetch_but_no_storm_of_them() {
    let issuer = Issuer::start(ok(r#"{"keys":[]}"#)).await;
    let (shared, sets) = started(plan(&issuer.url, NEVER));
    until("the empty set is had", || sets.missing().is_none()).await;
    let (begun, asked) = (Instant::now(), issuer.asked());
    until("it was asked again, three times", || !knows_key(&shared) && issuer.asked() >= asked + 3).await;
    // One that was under way, and no more than one for each cool-down.
    let most = 1 + begun.elapsed().as_millis() / TIMES.cool_down.as_millis();
    assert!((issuer.asked() - asked) as u128 <= most, "{} of {most}", issuer.asked() - asked);
    assert!(begun.elapsed() >= 2 * TIMES.cool_down, "{:?}", begun.elapsed());
    issuer.says(ok(SET));
    until("the key is known", || knows_key(&shared)).await;
}

#[tokio::test]
async fn nobody_asks_again_before_the_time_has_come() {
    let issuer = Issuer::start(ok(SET)).await;
    let (shared, sets) = started(plan(&issuer.url, NEVER));
    until("the key is known", || sets.missing().is_none() && knows_key(&shared)).await;
    let begun = Instant::now();
    let asked = issuer.asked();
    until("some time has passed", || knows_key(&shared) && begun.elapsed() > 3 * TIMES.cool_down).await;
    // At most for the question that came before the first answer.
    assert!(issuer.asked() <= asked + 1);
}

#[tokio::test]
async fn what_is_known_is_held_whatever_the_issuer_says() {
    let issuer = Issuer::start(ok(SET)).await;
    let (shared, sets) = started(plan(&issuer.url, Duration::from_millis(20)));
    until("the key is known", || knows_key(&shared)).await;
    let failures = |reason: &str| shared.metrics.jwks_fetches.with_label_values(&["a", reason]).get();
    for (answer, reason) in [
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(), "status"),
        (format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", issuer.url), "status"),
        (format!("HTTP/1.1 203 Other\r\nContent-Length: {}\r\n\r\n{SET}", SET.len()), "status"),
        (ok("<!doctype html>"), "malformed"),
        (ok(&format!(r#"{{"keys":[]{}}}"#, " ".repeat(MAX_JWKS_BYTES))), "too_large"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(), "unreachable"),
        ("no HTTP\r\n\r\n".to_owned(), "unreachable"),
        (String::new(), "unreachable"),
    ] {
        let before = failures(reason);
        issuer.says(answer.clone());
        until(reason, || failures(reason) > before + 1).await;
        assert!(knows_key(&shared) && sets.missing().is_none(), "{answer:.60}");
    }
    // Removal is no failure.
    issuer.says(ok(r#"{"keys":[]}"#));
    until("the key is gone", || !knows_key(&shared)).await;
    assert!(sets.missing().is_none());
}

#[tokio::test]
async fn a_slow_issuer_is_waited_for_no_longer_than_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (shared, sets) = started(plan(&url, NEVER));
    let mut kept = Vec::new();
    let failures = || shared.metrics.jwks_fetches.with_label_values(&["a", "timeout"]).get();
    while failures() == 0 {
        // A byte, and then nothing.
        if let Ok(Ok((mut stream, _))) = tokio::time::timeout(TIMES.first_retry, listener.accept()).await {
            let _ = stream.write_all(b"H").await;
            kept.push(stream);
        }
    }
    assert_eq!(sets.missing(), Some(("a".into(), KeySetSource::url(&url).expect("a URL"))));
}

#[tokio::test]
async fn another_plan_holds_on_to_what_it_shares_with_the_one_before() {
    let issuer = Issuer::start(ok(SET)).await;
    let (shared, sets) = started(plan(&issuer.url, NEVER));
    until("the key is known", || knows_key(&shared)).await;
    issuer.says("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned());
    sets.replace(plan(&issuer.url, NEVER));
    assert!(knows_key(&shared), "from the first moment on");
    let failures = || shared.metrics.jwks_fetches.with_label_values(&["a", "status"]).get();
    until("it was asked again", || failures() > 0).await;
    assert!(knows_key(&shared) && sets.missing().is_none());
    // Another address is another set.
    let other = Issuer::start("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
    sets.replace(plan(&other.url, NEVER));
    assert!(!knows_key(&shared) && sets.missing().is_some());
    sets.stop();
}

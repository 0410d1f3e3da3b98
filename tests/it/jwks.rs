//! Keys from JWK Sets: rotation without a failed request, issuers that are down, slow or hostile, storms of unknown keys.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::certificates::certificates;
use crate::support::client::{Response, get};
use crate::support::issuer::{Issuer, SigningKey};
use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{eventually, fat, noise, now};

fn storage() -> Origin {
    Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes")
}

/// A gate whose app has `key` in place of, or beside, its configured one.
fn gate(storage: &Origin, key: &str) -> Mediagate {
    Mediagate::serve(storage.address, |config| {
        config.replace("\n[storage.main]", &format!("[[apps.keys]]\n{key}\n\n[storage.main]"))
    })
}

fn gate_over(storage: &Origin, issuer: &Issuer, refresh: u64) -> Mediagate {
    let url = format!("http://{}/jwks.json", issuer.address());
    gate(storage, &format!("jwks_url = \"{url}\"\njwks_refresh_secs = {refresh}"))
}

fn claims(uid: &str) -> Value {
    json!({ "sub": uid, "app": "demo", "iat": now(), "exp": now() + 600 })
}

fn ask(gate: &Mediagate, token: &str) -> Response {
    get(gate.media, &format!("/demo/a?fat={token}"))
}

fn until_ready(gate: &Mediagate) {
    eventually("it is ready", || get(gate.metrics, "/readyz").status == 200);
}

fn fetches(gate: &Mediagate, result: &str) -> f64 {
    let name = format!("mediagate_jwks_fetches_total{{app=\"demo\",result=\"{result}\"}}");
    gate.metric(&name).unwrap_or_default()
}

#[test]
fn keys_rotate_without_a_failed_request_and_a_removed_key_is_dead() {
    let (old, new) = (SigningKey::new("2026-10"), SigningKey::new("2026-11"));
    let (old_token, new_token) = (old.sign(&claims("alice")), new.sign(&claims("alice")));
    let (storage, issuer) = (storage(), Issuer::start(&[old.jwk()]));
    let gate = gate_over(&storage, &issuer, 1);
    until_ready(&gate);
    let good = Mutex::new(vec![old_token.clone()]);
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut failed = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        // Held while it is asked: none is taken back under a request.
                        let tokens = good.lock().expect("no panic").clone();
                        for token in tokens {
                            match ask(&gate, &token).status {
                                200 => drop(served.fetch_add(1, Ordering::SeqCst)),
                                status => failed.push((status, token == old_token)),
                            }
                        }
                    }
                    failed
                })
            })
            .collect();
        let serves_on = || {
            let before = served.load(Ordering::SeqCst);
            eventually("more is served", || served.load(Ordering::SeqCst) > before + 50);
        };
        serves_on();
        assert_eq!(ask(&gate, &new_token).status, 401);
        issuer.publishes(&[old.jwk(), new.jwk()]);
        eventually("the new key is known", || ask(&gate, &new_token).status == 200);
        good.lock().expect("no panic").push(new_token.clone());
        serves_on();
        // What the issuer does once all of its tokens are of the new key. Requests that had begun are let end.
        *good.lock().expect("no panic") = vec![new_token.clone()];
        serves_on();
        issuer.publishes(&[new.jwk()]);
        eventually("the old key is dead", || ask(&gate, &old_token).status == 401);
        serves_on();
        assert_eq!(ask(&gate, &old_token).code(), "ERR_FAT_INVALID", "and is remembered nowhere");
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            assert_eq!(client.join().expect("no panic"), []);
        }
    });
    assert_eq!(gate.metric("mediagate_jwks_keys{app=\"demo\",state=\"held\"}"), Some(1.0));
    assert!(gate.metric("mediagate_jwks_age_seconds{app=\"demo\"}").is_some_and(|age| (0.0..60.0).contains(&age)));
    // Its users die like all others.
    gate.deactivate("alice");
    assert_eq!(ask(&gate, &new_token).status, 403);
}

#[test]
fn over_tls_an_issuer_is_believed_with_a_certificate_of_a_known_authority_only() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let [ca, cert, tls_key] = certificates(dir.path());
    let key = SigningKey::new("k");
    let (storage, set) = (storage(), Issuer::start(&[key.jwk()]));
    // What speaks TLS for the issuer is another gate, which asks nobody for a token.
    let tls = format!("[media]\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"", cert.display(), tls_key.display());
    let front = Mediagate::serve(set.address(), |config| {
        config.replace("[media]", &tls).replace("id = \"demo\"", "id = \"demo\"\naccess = \"off\"")
    });
    let gate = |env: &[(&str, &Path)]| {
        let key = format!("[[apps.keys]]\njwks_url = \"https://{}/demo/jwks.json\"\n\n[storage.main]", front.media);
        Mediagate::serve_with(storage.address, env, |config| config.replace("[storage.main]", &key))
    };
    let trusting = gate(&[("SSL_CERT_FILE", &ca)]);
    until_ready(&trusting);
    assert_eq!(ask(&trusting, &key.sign(&claims("alice"))).status, 200);
    let stranger = gate(&[]);
    eventually("it does not believe", || fetches(&stranger, "unreachable") > 0.0);
    assert_eq!(get(stranger.metrics, "/readyz").status, 503);
    assert_eq!(ask(&stranger, &key.sign(&claims("alice"))).status, 401);
    assert!(stranger.log().to_lowercase().contains("certificate"), "{}", stranger.log());
}

#[test]
fn a_storm_of_unknown_keys_is_refused_at_once_and_brings_about_a_fetch_or_two() {
    let key = SigningKey::new("k");
    let (storage, issuer) = (storage(), Issuer::start(&[key.jwk()]));
    let gate = gate_over(&storage, &issuer, 3600);
    until_ready(&gate);
    let begun = Instant::now();
    for n in 0..400 {
        let stranger = SigningKey::new(&format!("stranger-{n}"));
        let answer = ask(&gate, &stranger.sign(&claims("eve")));
        assert_eq!((answer.status, answer.code().as_str()), (401, "ERR_FAT_INVALID"));
        let good = key.sign(&claims("alice"));
        assert_eq!(ask(&gate, &good).status, 200);
    }
    let most = 2 + begun.elapsed().as_secs() / 30;
    assert!(issuer.asked() as u64 <= most, "{} of {most}", issuer.asked());
    assert_eq!(fetches(&gate, "ok"), issuer.asked() as f64);
}

#[test]
fn an_issuer_that_is_down_or_hostile_changes_nothing_and_delays_nobody() {
    let key = SigningKey::new("k");
    let token = key.sign(&claims("alice"));
    let (storage, issuer) = (storage(), Issuer::start(&[key.jwk()]));
    let gate = gate_over(&storage, &issuer, 1);
    until_ready(&gate);
    let body = json!({ "keys": [SigningKey::new("evil").jwk()] }).to_string();
    let elsewhere = Origin::constant(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let holds_on = |what: &str, result: &str| {
        let before = fetches(&gate, result);
        let mut slowest = Duration::ZERO;
        eventually(what, || {
            let begun = Instant::now();
            assert_eq!(ask(&gate, &token).status, 200, "{what}");
            slowest = slowest.max(begun.elapsed());
            fetches(&gate, result) > before
        });
        assert!(slowest < Duration::from_secs(5), "{what}: {slowest:?}");
    };
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let location = format!("Location: http://{}/jwks.json", elsewhere.address);
        issuer.says(format!("HTTP/1.1 {status}\r\n{location}\r\nContent-Length: 0\r\n\r\n"));
        holds_on(status, "status");
    }
    assert!(elsewhere.requests().is_empty(), "nobody is led elsewhere");
    issuer.says(format!("HTTP/1.1 500 Error\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    holds_on("500", "status");
    let html = "<!doctype html><title>Sign in</title>";
    issuer.says(format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{html}", html.len()));
    holds_on("HTML", "malformed");
    issuer.says("HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"keys\":[],\"keys\":");
    holds_on("JSON that breaks off", "malformed");
    issuer.does(|stream| {
        // Without an end, as fast as it is taken.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"10000\r\n").and_then(|()| stream.write_all(&noise(0x10000))).is_ok()
            && stream.write_all(b"\r\n").is_ok()
        {}
    });
    holds_on("a body without an end", "too_large");
    let before = gate.resident_kib();
    holds_on("a body without an end, again", "too_large");
    assert!(gate.resident_kib() < before + 32 * 1024, "{before} KiB, and then {}", gate.resident_kib());
    issuer.does(|stream| drop(stream.shutdown(Shutdown::Both)));
    holds_on("a connection that breaks off", "unreachable");
    issuer.does(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
        let _ = stream.read(&mut [0]);
    });
    holds_on("an answer that does not come", "timeout");
    // And then all is well again.
    let other = SigningKey::new("other");
    issuer.publishes(&[key.jwk(), other.jwk()]);
    eventually("the other key is known", || ask(&gate, &other.sign(&claims("alice"))).status == 200);
    assert!(!gate.log().contains("Sign in") && gate.log().contains("what is known of it is held"));
}

#[test]
fn a_gate_starts_without_its_set_and_is_not_ready_until_it_has_it() {
    let key = SigningKey::new("k");
    let token = key.sign(&claims("alice"));
    let (storage, issuer) = (storage(), Issuer::start(&[]));
    issuer.says("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n");
    let gate = gate_over(&storage, &issuer, 3600);
    let ready = get(gate.metrics, "/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("app `demo`") && ready.text().contains("/jwks.json"), "{}", ready.text());
    assert_eq!(ask(&gate, &token).status, 401);
    assert_eq!(ask(&gate, &fat("alice")).status, 200, "the configured key is good from the start");
    assert_eq!(gate.metric("mediagate_jwks_age_seconds{app=\"demo\"}"), Some(-1.0));
    issuer.publishes(&[key.jwk()]);
    until_ready(&gate);
    assert_eq!(ask(&gate, &token).status, 200);
}

#[test]
fn no_key_of_a_set_is_a_secret_and_none_takes_a_configured_name() {
    let secret = noise(32);
    let key = SigningKey::new("k");
    let oct = |kid: &str| json!({ "kty": "oct", "kid": kid, "alg": "HS256", "use": "sig", "k": URL_SAFE_NO_PAD.encode(&secret) });
    let (impostor, twin) = (SigningKey::new("k1"), SigningKey::new("twin"));
    let set = [oct("evil"), key.jwk(), impostor.jwk(), twin.jwk(), SigningKey::new("twin").jwk()];
    let (storage, issuer) = (storage(), Issuer::start(&set));
    let gate = gate_over(&storage, &issuer, 3600);
    until_ready(&gate);
    let hs256 = |kid: &str, secret: &[u8]| {
        let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims("eve"), &EncodingKey::from_secret(secret)).expect("a token")
    };
    let public = key.jwk()["x"].as_str().expect("base64url").to_owned();
    let raw = URL_SAFE_NO_PAD.decode(&public).expect("base64url");
    for token in [
        hs256("evil", &secret),
        hs256("k", &secret),
        hs256("k", public.as_bytes()),
        hs256("k", &raw),
        hs256("k", key.jwk().to_string().as_bytes()),
        impostor.sign(&claims("eve")),
        twin.sign(&claims("eve")),
    ] {
        assert_eq!(ask(&gate, &token).status, 401, "{token}");
    }
    assert_eq!((ask(&gate, &key.sign(&claims("alice"))).status, ask(&gate, &fat("alice")).status), (200, 200));
    for (state, keys) in [("held", 1.0), ("symmetric", 1.0), ("duplicate_kid", 2.0), ("taken", 1.0)] {
        let name = format!("mediagate_jwks_keys{{app=\"demo\",state=\"{state}\"}}");
        assert_eq!(gate.metric(&name), Some(keys), "{state}");
    }
    let log = gate.log();
    for part in ["a symmetric key", "the kid is there twice", "is there before the one of a JWK Set"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(!log.contains(&URL_SAFE_NO_PAD.encode(&secret)));
}

#[test]
fn a_set_that_is_a_file_is_read_again_by_itself_and_on_a_signal() {
    let (first, second, third) = (SigningKey::new("1"), SigningKey::new("2"), SigningKey::new("3"));
    let dir = tempfile::TempDir::new().expect("a folder");
    let file = dir.path().join("jwks.json");
    let write = |key: &SigningKey| std::fs::write(&file, json!({ "keys": [key.jwk()] }).to_string()).expect("a file");
    write(&first);
    let storage = storage();
    for (refresh, signal) in [(1, None), (3600, Some("HUP"))] {
        write(&first);
        let gate = gate(&storage, &format!("jwks_file = \"{}\"\njwks_refresh_secs = {refresh}", file.display()));
        let status = |key: &SigningKey| ask(&gate, &key.sign(&claims("alice"))).status;
        assert_eq!((status(&first), get(gate.metrics, "/readyz").status), (200, 200), "from the start");
        write(&second);
        signal.iter().for_each(|signal| gate.signal(signal));
        eventually("the second key is in force", || status(&second) == 200);
        assert_eq!(status(&first), 401);
        // Half of a file, as one that is being written: what is known is held.
        std::fs::write(&file, "{\"keys\":[").expect("a file");
        signal.iter().for_each(|signal| gate.signal(signal));
        let refused = || fetches(&gate, "malformed") > 0.0 || gate.log().contains("not reloaded");
        eventually("it is refused", refused);
        assert_eq!(status(&second), 200);
        write(&third);
        signal.iter().for_each(|signal| gate.signal(signal));
        eventually("the third key is in force", || status(&third) == 200);
    }
}

#[test]
fn a_reload_holds_on_to_a_set_whose_issuer_is_down() {
    let key = SigningKey::new("k");
    let token = key.sign(&claims("alice"));
    let (storage, issuer) = (storage(), Issuer::start(&[key.jwk()]));
    let gate = gate_over(&storage, &issuer, 3600);
    until_ready(&gate);
    issuer.says("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n");
    let file = gate.state.join("mediagate.toml");
    let before = std::fs::read_to_string(&file).expect("a file");
    gate.signal("HUP");
    eventually("it is reloaded", || gate.log().contains("\"reloaded "));
    assert_eq!(ask(&gate, &token).status, 200);
    // What the operator says of the set now is in force for what is held.
    std::fs::write(&file, before.replace("jwks_refresh_secs", "issuer = \"another\"\njwks_refresh_secs"))
        .expect("a file");
    gate.signal("HUP");
    eventually("the issuer counts", || ask(&gate, &token).status == 401);
    let mut named = claims("alice");
    named["iss"] = "another".into();
    assert_eq!(ask(&gate, &key.sign(&named)).status, 200);
}

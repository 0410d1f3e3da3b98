//! Signatures alone, and what remembering them saves.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use mediagate::gate::Algorithm;
use quick_cache::sync::Cache;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use sha2::Sha256;

use crate::cases::{ALGORITHMS, Fixture, SECRET};
use crate::stats::Samples;

/// How many tokens may be remembered.
const TOKENS: [usize; 2] = [1_000, 200_000];

/// What one look-up among so many tokens takes, and checking a signature instead.
pub(crate) struct Remembering {
    pub(crate) alg: Algorithm,
    pub(crate) tokens: usize,
    pub(crate) lookup: Samples,
    pub(crate) check: Samples,
}

enum Key {
    Mac(Box<Hmac<Sha256>>),
    Public(ParsedPublicKey),
}

/// Messages and their signatures, decoded, one after the other: the bare work of the crypto library.
pub(crate) struct Signatures {
    key: Key,
    signed: Vec<(String, Vec<u8>)>,
    next: usize,
    batch: usize,
}

impl Signatures {
    pub(crate) fn new(fixture: &Fixture, alg: Algorithm) -> Signatures {
        Signatures::of_first(fixture, alg, usize::MAX)
    }

    /// The same of so many tokens at most.
    fn of_first(fixture: &Fixture, alg: Algorithm, most: usize) -> Signatures {
        let tokens = fixture.tokens_of(alg);
        let public = |algorithm: &'static dyn VerificationAlgorithm| {
            let spki = SubjectPublicKeyInfoDer::from_pem_slice(tokens.pem.as_bytes()).expect("PEM");
            Key::Public(ParsedPublicKey::new(algorithm, spki.as_ref()).expect("a key"))
        };
        let key = match alg {
            Algorithm::ES256 => public(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::EdDSA => public(&signature::ED25519),
            Algorithm::RS256 => public(&signature::RSA_PKCS1_2048_8192_SHA256),
            _ => Key::Mac(Box::new(Hmac::new_from_slice(SECRET.as_bytes()).expect("a key of any length"))),
        };
        let parts = |compact: &String| {
            let (message, signature) = compact.rsplit_once('.').expect("a signature");
            (message.to_owned(), URL_SAFE_NO_PAD.decode(signature).expect("base64url"))
        };
        Signatures { key, signed: tokens.compact.iter().take(most).map(parts).collect(), next: 0, batch: 10 }
    }

    /// Sets the batches' size so that one takes about `time`, when one signature takes `nanoseconds`.
    pub(crate) fn fit(&mut self, nanoseconds: f64, time: Duration) {
        self.batch = ((time.as_nanos() as f64 / nanoseconds) as usize).max(10);
    }

    /// Nanoseconds of one signature.
    pub(crate) fn batch(&mut self) -> f64 {
        let batch = self.batch;
        crate::nanoseconds(|| (0..batch).for_each(|_| self.check(1))) / batch as f64
    }

    /// Checks the signature that is `stride` further on.
    fn check(&mut self, stride: usize) {
        let (message, signature) = black_box(&self.signed[self.next]);
        let good = match &self.key {
            Key::Mac(mac) => Hmac::clone(mac).chain_update(message).verify_slice(signature).is_ok(),
            Key::Public(key) => key.verify_sig(message.as_bytes(), signature).is_ok(),
        };
        assert!(good, "the signature is good");
        self.next = (self.next + stride) % self.signed.len();
    }
}

/// Measures both for every algorithm and number of tokens.
pub(crate) fn time(fixture: &Fixture, rounds: usize) -> Vec<Remembering> {
    let cases = ALGORITHMS.into_iter().flat_map(|alg| TOKENS.map(|tokens| (alg, tokens)));
    cases.map(|(alg, tokens)| remembering(fixture, alg, tokens, rounds)).collect()
}

/// Far from the token before, and every token before one comes again.
const STRIDE: usize = 7_919;

fn remembering(fixture: &Fixture, alg: Algorithm, count: usize, rounds: usize) -> Remembering {
    let pool = &fixture.tokens_of(alg).compact;
    // As long as real ones, and each another: what they say is not looked at.
    let token = |n: usize| {
        let compact = &pool[n % pool.len()];
        format!("{}{n:08}", &compact[..compact.len() - 8])
    };
    let tokens: Vec<String> = (0..count).map(token).collect();
    let cache: Cache<Box<str>, ()> = Cache::new(2 * count);
    for compact in &tokens {
        cache.insert(compact.as_str().into(), ());
    }
    let mut signatures = Signatures::of_first(fixture, alg, count);
    let (mut lookup, mut check) = (Samples::default(), Samples::default());
    let (lookups, checks) = (20_000, if alg.is_hmac() { 20_000 } else { 50 });
    let mut next = 0;
    for _ in 0..rounds {
        lookup.push(crate::cases::time(lookups, |_| {
            assert!(cache.get(black_box(tokens[next].as_str())).is_some(), "it was remembered");
            next = (next + STRIDE) % count;
        }));
        check.push(crate::cases::time(checks, |_| signatures.check(STRIDE)));
    }
    Remembering { alg, tokens: count, lookup, check }
}

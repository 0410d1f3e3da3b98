//! JWK Sets (RFC 7517): had from a URL or a file, kept, refreshed, and put into the gate.
//!
//! No request waits for any of this: who comes with a key that is not known yet is refused, and told of here.

mod fetch;
mod keeper;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use crate::gate::{Algorithm, Gate, GateError, GateOptions, JwkSet, KeySet};

pub use fetch::FetchError;
pub use keeper::{KeySets, Times};

/// Where a JWK Set is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySetSource {
    /// `https://…`, or `http://…` on this machine.
    Url(Uri),
    /// A file.
    File(PathBuf),
}

impl KeySetSource {
    /// Reads a URL; `None` unless it is https, or http to this very machine, without user and fragment.
    pub fn url(text: &str) -> Option<KeySetSource> {
        let url: Uri = text.parse().ok()?;
        let host = url.host().filter(|host| !host.is_empty())?;
        let ip: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let is_local = ip.map_or(host == "localhost", |ip| ip.is_loopback());
        let allowed = match url.scheme_str() {
            Some("https") => true,
            Some("http") => is_local,
            _ => false,
        };
        let plain = !text.contains('#') && !url.authority().is_some_and(|authority| authority.as_str().contains('@'));
        (allowed && plain).then_some(KeySetSource::Url(url))
    }
}

/// Shows no query: it may hold a secret.
impl fmt::Display for KeySetSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySetSource::Url(url) => {
                let authority = url.authority().map_or("", |authority| authority.as_str());
                write!(f, "{}://{authority}{}", url.scheme_str().unwrap_or_default(), url.path())
            }
            KeySetSource::File(path) => path.display().fmt(f),
        }
    }
}

/// A JWK Set of one app, and what tokens of its keys must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetOptions {
    /// The app.
    pub app: String,
    /// Where it is.
    pub source: KeySetSource,
    /// The only algorithm that is taken; `None`: each key's own.
    pub alg: Option<Algorithm>,
    /// The `iss` that its tokens must have.
    pub issuer: Option<String>,
    /// The `aud` that its tokens must have.
    pub audience: Option<String>,
    /// How often it is had anew.
    pub refresh: Duration,
}

/// What a gate is made from, where keys may come from JWK Sets.
#[derive(Debug, Clone, Default)]
pub struct KeyPlan {
    /// Everything but the keys of sets.
    pub options: GateOptions,
    /// The sets.
    pub sets: Vec<KeySetOptions>,
    /// The sets that are files, as they were read with the configuration.
    pub files: HashMap<PathBuf, Arc<[u8]>>,
}

/// A gate, and what is to be said about the sets that it was made with.
struct Assembled {
    gate: Gate,
    /// For each app and what became of keys, how many.
    counts: HashMap<(String, &'static str), i64>,
    /// Keys that were passed over, for the operator.
    notes: Vec<String>,
}

impl KeyPlan {
    /// Returns the gate with what is known without asking anybody: of the sets, the files.
    ///
    /// # Errors
    ///
    /// As [`Gate::with_key_sets`].
    pub fn gate(&self) -> Result<Gate, GateError> {
        let file = |source: &KeySetSource| match source {
            KeySetSource::File(path) => self.files.get(path).cloned(),
            KeySetSource::Url(_) => None,
        };
        Ok(self.assemble(file)?.gate)
    }

    /// Returns the gate with the sets that `document` has.
    fn assemble(&self, document: impl Fn(&KeySetSource) -> Option<Arc<[u8]>>) -> Result<Assembled, GateError> {
        let mut counts: HashMap<(String, &'static str), i64> = HashMap::new();
        let (mut sets, mut notes) = (Vec::new(), Vec::new());
        for KeySetOptions { app, source, alg, issuer, audience, .. } in &self.sets {
            let set = document(source).and_then(|json| JwkSet::parse(&json, *alg).ok()).unwrap_or_default();
            for skipped in &set.skipped {
                *counts.entry((app.clone(), skipped.problem.reason())).or_default() += 1;
                let kid = skipped.kid.as_deref().unwrap_or_default();
                notes.push(format!("app `{app}`: the key {kid:?} of {source} is not used: {}", skipped.problem));
            }
            *counts.entry((app.clone(), "held")).or_default() += i64::try_from(set.keys.len()).unwrap_or(i64::MAX);
            let keys = set.keys.into_iter().map(|key| key.requiring(issuer.as_deref(), audience.as_deref())).collect();
            let place = match source {
                KeySetSource::Url(url) => url.to_string(),
                KeySetSource::File(path) => path.display().to_string(),
            };
            sets.push(KeySet { app: app.clone(), source: place, keys });
        }
        let (gate, taken) = Gate::with_key_sets(self.options.clone(), sets)?;
        for taken in taken {
            *counts.entry((taken.app.clone(), "held")).or_default() -= 1;
            *counts.entry((taken.app.clone(), "taken")).or_default() += 1;
            notes.push(format!("app `{}`: a key {:?} is there before the one of a JWK Set", taken.app, taken.kid));
        }
        Ok(Assembled { gate, counts, notes })
    }
}

#[cfg(test)]
mod tests;

//! Keys that come from JWK Sets, beside those that are configured.

use super::verify::{Exclusive, VerifyingKey};
use super::{AppOptions, Gate, GateError, GateOptions, SESSION_KEYS};

/// The keys of one JWK Set, for one app.
#[derive(Debug, Clone)]
pub struct KeySet {
    /// The app, or [`SESSION_KEYS`].
    pub app: String,
    /// Where the set is. Apps whose sets have one source share its keys, also those that are not known yet.
    pub source: String,
    /// What is known of it; nothing before it was had.
    pub keys: Vec<VerifyingKey>,
}

/// A key of a set whose name is another key's already, or that verifies sessions: it is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenKid {
    /// The app.
    pub app: String,
    /// The name. From outside: show it escaped.
    pub kid: String,
}

impl Gate {
    /// Returns a gate that decides by `options`, with the keys of `sets` beside the configured ones, and the keys whose
    /// names were taken: by a configured key, or by a set before. Tokens of an app that has sets must name their key.
    ///
    /// # Errors
    ///
    /// As [`Gate::new`]; an app with a set needs no other key.
    pub fn with_key_sets(mut options: GateOptions, sets: Vec<KeySet>) -> Result<(Gate, Vec<TakenKid>), GateError> {
        let places: Vec<_> = sets.iter().map(|set| (set.app.clone(), set.source.clone())).collect();
        let mut taken = Vec::new();
        // Those of sessions first: what verifies sessions verifies no tokens, and what a key was configured for it stays.
        let (of_sessions, of_apps): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| set.app == SESSION_KEYS);
        for set in of_sessions.into_iter().chain(of_apps) {
            let is_shared = places.iter().any(|(app, source)| *app != set.app && *source == set.source);
            for key in set.keys {
                let is_elsewhere = options.is_key_elsewhere(&set.app, &key);
                let Some(keys) = options.keys_of(&set.app) else { break };
                if is_elsewhere || keys.iter().any(|other| other.kid() == key.kid()) {
                    taken.push(TakenKid { app: set.app.clone(), kid: key.kid().to_owned() });
                } else {
                    keys.push(if is_shared { key.shared() } else { key });
                }
            }
        }
        let gate = Gate::build(options, |app| places.iter().any(|(with_set, _)| with_set == app))?;
        Ok((gate, taken))
    }
}

/// For each key of each app, whether no other app has the same key.
pub(super) fn exclusive_keys(apps: &[AppOptions]) -> Vec<Vec<Exclusive>> {
    let is_elsewhere = |at: usize, key: &VerifyingKey| {
        let others = apps.iter().enumerate().filter(|(other, _)| *other != at);
        others.flat_map(|(_, app)| &app.keys).any(|other| other.is_same_key(key))
    };
    let exclusive = |at, key: &VerifyingKey| match key.is_shared() || is_elsewhere(at, key) {
        true => Exclusive::No,
        false => Exclusive::Yes,
    };
    apps.iter().enumerate().map(|(at, app)| app.keys.iter().map(|key| exclusive(at, key)).collect()).collect()
}

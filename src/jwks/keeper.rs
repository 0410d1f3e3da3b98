//! Keeps JWK Sets: when they are had, what is held meanwhile, and which gate comes of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::fetch::{FetchError, fetch};
use super::{Assembled, KeyPlan, KeySetSource};
use crate::feed::Backoff;
use crate::metrics::Metrics;
use crate::proxy::Shared;

/// How fetches are spaced and bounded.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The least time after a fetch before an unknown `kid` may bring about the next.
    pub cool_down: Duration,
    /// The first pause after a failure; it doubles from then on.
    pub first_retry: Duration,
    /// The longest pause after failures.
    pub longest_retry: Duration,
    /// How long one fetch may take.
    pub timeout: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            cool_down: Duration::from_secs(30),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
        }
    }
}

/// The JWK Sets of a process. Every change of theirs makes a new gate, with nothing remembered of tokens that were
/// verified before.
pub struct KeySets {
    shared: Shared,
    times: Times,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plan: KeyPlan,
    held: HashMap<KeySetSource, Held>,
    /// What the operator was told last.
    notes: Vec<String>,
    tasks: Vec<JoinHandle<()>>,
}

/// A set as it was had last.
struct Held {
    document: Arc<[u8]>,
    at: Instant,
}

impl std::fmt::Debug for KeySets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeySets(..)")
    }
}

impl KeySets {
    /// Begins to keep the sets of `plan`, and puts them into the gate of `shared` as they come.
    pub fn start(shared: Shared, plan: KeyPlan, times: Times) -> Arc<KeySets> {
        let sets = Arc::new(KeySets { shared, times, state: Mutex::default() });
        sets.replace(plan);
        sets
    }

    /// Goes on with another plan. Sets that it has, too, are held on until they were had anew.
    pub fn replace(self: &Arc<KeySets>, plan: KeyPlan) {
        let mut state = self.state();
        state.tasks.drain(..).for_each(|task| task.abort());
        let sources = sources(&plan);
        state.held.retain(|source, _| sources.iter().any(|(kept, ..)| kept == source));
        for (path, document) in &plan.files {
            let held = Held { document: Arc::clone(document), at: Instant::now() };
            state.held.insert(KeySetSource::File(path.clone()), held);
        }
        state.plan = plan;
        self.put(&mut state);
        let mut wanted: HashMap<String, Vec<Arc<Notify>>> = HashMap::new();
        for (source, apps, refresh) in sources {
            let signal = Arc::new(Notify::new());
            for app in apps {
                wanted.entry(app).or_default().push(Arc::clone(&signal));
            }
            let keeping = Arc::clone(self).keep(source, refresh, signal);
            state.tasks.push(tokio::spawn(keeping));
        }
        self.shared.unknown_kids.replace(wanted);
    }

    /// Fetches no more.
    pub fn stop(&self) {
        self.state().tasks.drain(..).for_each(|task| task.abort());
    }

    /// An app whose keys were never had, and where they should be.
    pub fn missing(&self) -> Option<(String, KeySetSource)> {
        let state = self.state();
        let missing = state.plan.sets.iter().find(|set| !state.held.contains_key(&set.source))?;
        Some((missing.app.clone(), missing.source.clone()))
    }

    /// Sets the gauges of age at `now`.
    pub fn observe(&self, metrics: &Metrics, now: Instant) {
        let state = self.state();
        metrics.jwks_age.reset();
        for set in &state.plan.sets {
            let gauge = metrics.jwks_age.with_label_values(&[&set.app]);
            let age = state.held.get(&set.source).map(|held| now.saturating_duration_since(held.at).as_secs_f64());
            // The oldest of an app's sets; -1 while one is missing.
            match age {
                None => gauge.set(-1.0),
                Some(_) if gauge.get() < 0.0 => {}
                Some(age) => gauge.set(gauge.get().max(age)),
            }
        }
    }

    /// Has a set again and again: after `refresh`, sooner after a failure, and sooner when its key is asked for; then
    /// no sooner than the cool-down allows, whatever clients send.
    async fn keep(self: Arc<KeySets>, source: KeySetSource, refresh: Duration, wanted: Arc<Notify>) {
        let times = self.times;
        let mut backoff = Backoff::new(times.first_retry.min(refresh), times.longest_retry.min(refresh));
        // A file was read with the configuration just now.
        let mut pause = if self.holds_file(&source) { refresh } else { Duration::ZERO };
        let mut had = tokio::time::Instant::now();
        loop {
            let asked_for = async {
                wanted.notified().await;
                tokio::time::sleep_until(had + times.cool_down).await;
            };
            tokio::select! {
                () = tokio::time::sleep_until(had + pause) => {}
                () = asked_for => {}
            }
            let fetched = fetch(&source, times.timeout).await;
            had = tokio::time::Instant::now();
            pause = match self.took(&source, fetched) {
                Ok(()) => {
                    backoff.reset();
                    refresh
                }
                Err(error) => {
                    log::warn!("the JWK Set {source}: {error}; what is known of it is held");
                    backoff.next_pause()
                }
            };
        }
    }

    fn holds_file(&self, source: &KeySetSource) -> bool {
        matches!(source, KeySetSource::File(_)) && self.state().held.contains_key(source)
    }

    /// Counts what a fetch came to, and takes over a set that has changed.
    fn took(&self, source: &KeySetSource, fetched: Result<bytes::Bytes, FetchError>) -> Result<(), FetchError> {
        let mut state = self.state();
        let result = fetched.as_ref().map_or_else(FetchError::reason, |_| "ok");
        for set in state.plan.sets.iter().filter(|set| set.source == *source) {
            self.shared.metrics.jwks_fetches.with_label_values(&[set.app.as_str(), result]).inc();
        }
        let document = fetched?;
        let before = state.held.get(source).map(|held| Arc::clone(&held.document));
        if let Some(document) = before.filter(|before| **before == *document) {
            state.held.insert(source.clone(), Held { document, at: Instant::now() });
            return Ok(());
        }
        let held = Held { document: document.to_vec().into(), at: Instant::now() };
        state.held.insert(source.clone(), held);
        self.put(&mut state);
        log::info!("the JWK Set {source} was had, and its keys are in force");
        Ok(())
    }

    /// Makes the gate anew from what is held.
    fn put(&self, state: &mut State) {
        let document = |source: &KeySetSource| state.held.get(source).map(|held| Arc::clone(&held.document));
        let Assembled { gate, counts, notes } = match state.plan.assemble(document) {
            Ok(assembled) => assembled,
            // No set can bring this about; what is in force stays so.
            Err(error) => return log::error!("the keys of JWK Sets cannot be used: {error}"),
        };
        self.shared.gate.store(Arc::new(gate));
        self.shared.metrics.jwks_keys.reset();
        for ((app, state), count) in &counts {
            self.shared.metrics.jwks_keys.with_label_values(&[app.as_str(), state]).set(*count);
        }
        for note in notes.iter().filter(|note| !state.notes.contains(note)) {
            log::warn!("{note}");
        }
        state.notes = notes;
    }

    /// A panic elsewhere leaves nothing half done here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each source once, with the apps that have it and the shortest of their times.
fn sources(plan: &KeyPlan) -> Vec<(KeySetSource, Vec<String>, Duration)> {
    let mut sources: Vec<(KeySetSource, Vec<String>, Duration)> = Vec::new();
    for set in &plan.sets {
        match sources.iter_mut().find(|(source, ..)| *source == set.source) {
            Some((_, apps, refresh)) => {
                apps.push(set.app.clone());
                *refresh = set.refresh.min(*refresh);
            }
            None => sources.push((set.source.clone(), vec![set.app.clone()], set.refresh)),
        }
    }
    sources
}

//! The hot set: which apps, users, sessions and tokens are restricted, in memory, exact.
//!
//! Pure: no I/O, no clock, no runtime. A feed hands in [`Event`]s, requests ask [`RestrictionSet::check`].
//! Nothing here is probabilistic and nothing here waits for anything outside.

mod change;
mod numbers;
mod subject;
mod tables;
pub mod wire;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use foldhash::SharedSeed;

pub(crate) use change::hex;
pub use change::{Applied, Change, Effect, EffectKind, Entry, Event, Restricted, Scope, ScopeKind};
pub use subject::{Holder, Subject};
pub use tables::ScopeId;
use tables::Tables;

/// Changes that may be remembered one by one above the settled `seq`.
///
/// A feed that delivers in order settles as it goes, so this is reached only by one that does not.
const MAX_UNSETTLED: usize = 1 << 20;

/// How far ahead of everything that was heard a `seq` may be: a source takes one after the other, so more is a mistake
/// or an attack, and believing it would make every true change look old.
const MAX_AHEAD: u64 = 1 << 24;

/// Entries that room is made for before they come, whatever a source announces.
const MAX_EXPECTED: usize = 1 << 24;

/// What the control plane has set of an app, beyond its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppSettings {
    /// Whether refusals are at least counted.
    pub is_observed: bool,
    /// Whether only good tokens get in.
    pub is_enforced: bool,
    /// UNIX seconds: what was last modified before needs no token.
    pub tokenized_since: Option<u64>,
}

/// What the writers share; readers never touch it.
struct Order {
    /// Everything up to here has been applied or superseded; `None` before the first snapshot.
    settled: Option<u64>,
    /// The newest `seq` applied to a scope and effect, above `settled` only.
    unsettled: HashMap<(ScopeId, EffectKind), u64>,
    /// A state that is arriving in parts.
    arriving: Option<Tables>,
    /// Whose numbers these are; empty where the feed does not say.
    source: String,
}

impl Order {
    /// Whether no source that is in order can have come to `seq`.
    fn is_absurd(&self, seq: u64) -> bool {
        self.settled.is_some_and(|settled| seq.saturating_sub(settled) > MAX_AHEAD)
    }
}

/// The set of restrictions that a node holds.
///
/// Lookups take no lock that a writer of another scope holds and never wait for a feed. 16 bytes and a hash
/// table's overhead for each deactivated scope.
pub struct RestrictionSet {
    key: [u64; 2],
    /// The same secret for hashing what is long.
    seed: SharedSeed,
    epoch: Instant,
    tables: ArcSwap<Tables>,
    order: Mutex<Order>,
    generation: AtomicU64,
    /// The generation of the latest purge, or state with a purge in it.
    purged: AtomicU64,
    applied: AtomicU64,
    /// Milliseconds after `epoch` at which the feed was last heard, plus one; 0: never.
    heard: AtomicU64,
}

impl std::fmt::Debug for RestrictionSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestrictionSet")
            .field("entries", &self.len())
            .field("applied", &self.applied())
            .finish_non_exhaustive()
    }
}

impl RestrictionSet {
    /// Returns an empty set that has heard nothing yet, so every check for freshness fails.
    ///
    /// `key` is a secret of the process (fresh random bytes); `epoch` any instant not after the first `now`
    /// that is passed in.
    pub fn new(key: [u64; 2], epoch: Instant) -> RestrictionSet {
        RestrictionSet {
            key,
            seed: SharedSeed::from_u64(key[0]),
            epoch,
            tables: ArcSwap::from_pointee(Tables::with_capacity(0)),
            order: Mutex::new(Order {
                settled: None,
                unsettled: HashMap::new(),
                arriving: None,
                source: String::new(),
            }),
            generation: AtomicU64::new(0),
            purged: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        }
    }

    /// Returns the id under which the set knows `scope`.
    pub fn id(&self, scope: &Scope) -> ScopeId {
        let (app, name) = scope.parts();
        self.hash(scope.kind(), app, name)
    }

    /// Returns the [`Subject`] of a token of `app` for `uid`.
    pub fn subject(
        &self,
        app: &str,
        uid: &str,
        sid: Option<&str>,
        jti: Option<&str>,
        issued_at: Option<u64>,
    ) -> Subject {
        Subject::Holder(Holder {
            app: self.hash(ScopeKind::App, app, ""),
            user: self.hash(ScopeKind::User, app, uid),
            session: sid.map(|sid| self.hash(ScopeKind::Session, app, sid)),
            token: jti.map(|jti| self.hash(ScopeKind::Token, app, jti)),
            issued_at,
        })
    }

    /// Returns the [`Subject`] of a service that shows the API key with this digest, if the key opens every object of
    /// `app`.
    pub fn service(&self, app: &str, digest: &str) -> Option<Subject> {
        // Nothing is hashed as long as there is no such key.
        if !self.tables.load().has_settings(ScopeKind::ApiKey) {
            return None;
        }
        let subject = Subject::Service(self.hash(ScopeKind::ApiKey, app, digest));
        self.check(&subject).is_ok().then_some(subject)
    }

    /// Returns whether `subject` may still be served, or what stands against it.
    ///
    /// # Errors
    ///
    /// The widest restriction that holds: app before user before session before token. Of a service: that its key is
    /// gone.
    pub fn check(&self, subject: &Subject) -> Result<(), Restricted> {
        let tables = self.tables.load();
        let holder = match subject {
            Subject::Holder(holder) => holder,
            Subject::Service(key) => {
                return tables.setting(*key, EffectKind::Exempt).map(drop).ok_or(Restricted::ApiKey);
            }
        };
        for (kind, id, restricted) in holder.scopes() {
            match id.and_then(|id| tables.effect_on(kind, id, holder.issued_at)) {
                None => {}
                Some(Effect::Deactivated) => return Err(restricted),
                Some(_) => return Err(Restricted::IssuedBefore),
            }
        }
        Ok(())
    }

    /// What is set of `app` by the control plane.
    pub fn app_settings(&self, app: &str) -> AppSettings {
        let tables = self.tables.load();
        if !tables.has_settings(ScopeKind::App) {
            return AppSettings::default();
        }
        let id = self.hash(ScopeKind::App, app, "");
        AppSettings {
            is_observed: tables.setting(id, EffectKind::Observed).is_some(),
            is_enforced: tables.setting(id, EffectKind::Enforced).is_some(),
            tokenized_since: tables.setting(id, EffectKind::TokenizedSince).and_then(Effect::time),
        }
    }

    /// Whether the control plane says that the object `key` of `app` needs no token, because of a folder it is in.
    pub fn is_exempt(&self, app: &str, key: &str) -> bool {
        let tables = self.tables.load();
        let is_set =
            |prefix: &str| tables.setting(self.hash(ScopeKind::Prefix, app, prefix), EffectKind::Exempt).is_some();
        tables.has_settings(ScopeKind::Prefix) && key.match_indices('/').any(|(at, _)| is_set(&key[..=at]))
    }

    /// Whether a copy of the object `key` of `app`, whose fetch began at `generation`, was purged since.
    pub fn is_purged(&self, app: &str, key: &str, generation: u64) -> bool {
        if generation >= self.purged() {
            return false;
        }
        let tables = self.tables.load();
        let is_of = |kind, name| tables.is_purged(kind, || self.hash(kind, app, name), generation);
        let folders = key.match_indices('/').map(|(at, _)| &key[..=at]);
        is_of(ScopeKind::App, "") || folders.chain([key]).any(|prefix| is_of(ScopeKind::Prefix, prefix))
    }

    /// The generation of the latest purge: what was fetched then or later is not purged.
    pub fn purged(&self) -> u64 {
        self.purged.load(Ordering::SeqCst)
    }

    /// Returns the latest flush of `subject`: what was issued before that UNIX second is dead.
    ///
    /// Who issues something by it checks the subject afterwards: a flush in between is seen there.
    pub fn flushed(&self, subject: &Subject) -> Option<u64> {
        let Subject::Holder(holder) = subject else { return None };
        let tables = self.tables.load();
        holder.scopes().into_iter().filter_map(|(kind, id, _)| tables.issued_before(kind, id?)).max()
    }

    /// Takes in what the feed said. In force for every check that starts after this returns.
    pub fn apply(&self, event: Event, now: Instant) -> Applied {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = match event {
            Event::Snapshot { seq, entries } => {
                let tables = Tables::with_capacity(entries.len().min(MAX_EXPECTED));
                for (scope, effect) in &entries {
                    tables.set(scope.kind(), self.id(scope), *effect, true, 0);
                }
                self.replace(&mut order, tables, seq)
            }
            Event::SnapshotBegins { expected } => {
                order.arriving = Some(Tables::with_capacity(expected.min(MAX_EXPECTED)));
                return Applied::Yes;
            }
            Event::SnapshotPart(entries) => {
                let Some(tables) = &order.arriving else { return Applied::NeedsSnapshot };
                let keyed = |entry: &Entry| (entry.scope.kind(), self.id(&entry.scope), entry.effect, entry.in_force);
                let keyed: Vec<_> = entries.iter().map(keyed).collect();
                drop(entries);
                // By itself: a processor looks far enough ahead then to wait for the memory of several at once.
                for (kind, id, effect, in_force) in keyed {
                    tables.set(kind, id, effect, in_force, 0);
                }
                // Not heard from: half a state says nothing about how things stand.
                return Applied::Yes;
            }
            Event::SnapshotEnds { source, seq } => match order.arriving.take() {
                Some(tables) => {
                    order.source = source;
                    let is_first = order.settled.is_none();
                    let applied = self.replace(&mut order, tables, seq);
                    // What a broker keeps does not say that its source lives: the next heartbeat does.
                    if !is_first {
                        return applied;
                    }
                    applied
                }
                None => Applied::NeedsSnapshot,
            },
            Event::Change(change) if order.is_absurd(change.seq) => Applied::Absurd,
            Event::Change(change) => self.apply_change(&mut order, &change),
            Event::Heartbeat { seq } if order.is_absurd(seq) => Applied::Absurd,
            Event::Heartbeat { seq } => self.apply_heartbeat(&mut order, seq),
        };
        // What came before, too, may be from a source that is long gone.
        if applied == Applied::Yes {
            let heard = now.saturating_duration_since(self.epoch).as_millis() as u64 + 1;
            self.heard.fetch_max(heard, Ordering::SeqCst);
        }
        applied
    }

    fn replace(&self, order: &mut Order, tables: Tables, seq: u64) -> Applied {
        let generation = self.generation() + 1;
        tables.loaded(generation);
        let has_purges = tables.has_purges();
        self.tables.store(Arc::new(tables));
        if has_purges {
            self.purged.store(generation, Ordering::SeqCst);
        }
        order.settled = Some(seq);
        order.unsettled.clear();
        order.arriving = None;
        self.applied.store(seq, Ordering::SeqCst);
        self.generation.fetch_add(1, Ordering::SeqCst);
        Applied::Yes
    }

    fn apply_heartbeat(&self, order: &mut Order, seq: u64) -> Applied {
        match order.settled {
            None => Applied::NeedsSnapshot,
            Some(settled) if seq > settled => {
                order.settled = Some(seq);
                order.unsettled.retain(|_, held| *held > seq);
                self.applied.store(seq, Ordering::SeqCst);
                Applied::Yes
            }
            // What is held stays: taking restrictions back is for a whole state only.
            Some(settled) if seq < settled => Applied::NeedsSnapshot,
            Some(_) => Applied::Yes,
        }
    }

    fn apply_change(&self, order: &mut Order, change: &Change) -> Applied {
        let Some(settled) = order.settled else { return Applied::NeedsSnapshot };
        if change.seq <= settled {
            return Applied::Stale;
        }
        let id = self.id(&change.scope);
        let slot = (id, change.effect.kind());
        let superseded = order.unsettled.get(&slot).is_some_and(|held| change.seq <= *held);
        let in_order = change.seq == settled + 1;
        if !in_order && !superseded {
            if order.unsettled.len() >= MAX_UNSETTLED {
                return Applied::NeedsSnapshot;
            }
            order.unsettled.insert(slot, change.seq);
        }
        if !superseded {
            let generation = self.generation() + 1;
            self.tables.load().set(change.scope.kind(), id, change.effect, change.in_force, generation);
            if change.in_force && change.effect.kind() == EffectKind::Purged {
                self.purged.store(generation, Ordering::SeqCst);
            }
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        if in_order {
            // Nothing to remember one by one, unless something newer than this is.
            order.settled = Some(change.seq);
            if order.unsettled.get(&slot) == Some(&change.seq) {
                order.unsettled.remove(&slot);
            }
            self.applied.store(change.seq, Ordering::SeqCst);
        }
        if superseded { Applied::Stale } else { Applied::Yes }
    }

    /// A number that differs whenever a check might answer differently: what a running transfer compares.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The newest `seq` up to which everything is in force here: a later change that came first counts once those
    /// before it have come, or the feed has said that they have.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// Up to where everything is in force, as [`RestrictionSet::applied`], and whose number that is.
    pub fn position(&self) -> (String, u64) {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        (order.source.clone(), self.applied())
    }

    /// How long ago the feed was last heard; `None` before its first state.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let heard = self.heard.load(Ordering::SeqCst).checked_sub(1)?;
        Some(now.saturating_duration_since(self.epoch + Duration::from_millis(heard)))
    }

    /// How many restrictions of `kind` are in force.
    pub fn count(&self, kind: ScopeKind) -> usize {
        self.tables.load().len(kind)
    }

    /// How many restrictions are in force.
    pub fn len(&self) -> usize {
        ScopeKind::ALL.into_iter().map(|kind| self.count(kind)).sum()
    }

    /// Whether nothing is restricted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;

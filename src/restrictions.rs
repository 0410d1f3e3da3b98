//! The hot set: which apps, users, sessions and tokens are restricted, in memory, exact.
//!
//! Pure: no I/O, no clock, no runtime. A feed hands in [`Event`]s, requests ask [`RestrictionSet::check`].
//! Nothing here is probabilistic and nothing here waits for anything outside.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::{DashMap, DashSet};
use siphasher::sip128::{Hasher128, SipHasher13};

/// Changes that may be remembered one by one above the settled `seq`.
///
/// A feed that delivers in order settles as it goes, so this is reached only by one that does not.
const MAX_UNSETTLED: usize = 1 << 20;

/// What a restriction applies to. Always inside one app: the same uid in another app is another user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope")]
pub enum Scope {
    /// Everything of one app.
    App {
        /// The app id.
        app: String,
    },
    /// One user; `uid` in the form that the app's rules give it (folded to lower case by default).
    User {
        /// The app id.
        app: String,
        /// The user.
        uid: String,
    },
    /// One session, the `sid` claim.
    Session {
        /// The app id.
        app: String,
        /// The session.
        sid: String,
    },
    /// One token, the `jti` claim.
    Token {
        /// The app id.
        app: String,
        /// The token's id.
        jti: String,
    },
}

/// The kinds of [`Scope`], as metrics label them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    /// [`Scope::App`].
    App,
    /// [`Scope::User`].
    User,
    /// [`Scope::Session`].
    Session,
    /// [`Scope::Token`].
    Token,
}

impl ScopeKind {
    /// Every kind, in the order of their counters.
    pub const ALL: [ScopeKind; 4] = [ScopeKind::App, ScopeKind::User, ScopeKind::Session, ScopeKind::Token];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            ScopeKind::App => "app",
            ScopeKind::User => "user",
            ScopeKind::Session => "session",
            ScopeKind::Token => "token",
        }
    }
}

impl Scope {
    /// Which kind of scope this is.
    pub const fn kind(&self) -> ScopeKind {
        match self {
            Scope::App { .. } => ScopeKind::App,
            Scope::User { .. } => ScopeKind::User,
            Scope::Session { .. } => ScopeKind::Session,
            Scope::Token { .. } => ScopeKind::Token,
        }
    }

    pub(crate) fn parts(&self) -> (&str, &str) {
        match self {
            Scope::App { app } => (app, ""),
            Scope::User { app, uid } => (app, uid),
            Scope::Session { app, sid } => (app, sid),
            Scope::Token { app, jti } => (app, jti),
        }
    }
}

/// What a restriction does. The two are independent: lifting a deactivation does not revive what was flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "effect")]
pub enum Effect {
    /// Nothing of the scope is accepted.
    Deactivated,
    /// Tokens issued before this time are dead, later ones live. A token that does not say when it was
    /// issued counts as issued before.
    IssuedBefore {
        /// UNIX seconds.
        before: u64,
    },
}

/// A change of one effect on one scope.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Change {
    /// Position in the source's total order; 1 is the first change ever.
    pub seq: u64,
    /// What it applies to.
    #[serde(flatten)]
    pub scope: Scope,
    /// What it does.
    #[serde(flatten)]
    pub effect: Effect,
    /// Whether the restriction is in force from here on, or no longer.
    pub in_force: bool,
}

/// What a feed delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The whole state, with every change up to and including `seq` in it. Replaces what was held.
    Snapshot {
        /// The newest change that the state contains; 0 for a source without history.
        seq: u64,
        /// Every restriction in force.
        entries: Vec<(Scope, Effect)>,
    },
    /// One change.
    Change(Change),
    /// The source lives, and everything up to and including `seq` has been delivered.
    Heartbeat {
        /// The newest change delivered.
        seq: u64,
    },
}

/// What became of an [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is in force.
    Yes,
    /// Older than what is held for its scope, or a duplicate: nothing changed.
    Stale,
    /// Nothing can be told from it before a snapshot (none was loaded yet, or too much is out of order).
    NeedsSnapshot,
}

/// Why a subject is restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restricted {
    /// Its app is deactivated.
    App,
    /// Its user is deactivated.
    User,
    /// Its session is revoked.
    Session,
    /// The token itself is revoked.
    Token,
    /// It was issued before its app, user, session or token was flushed.
    IssuedBefore,
}

/// A scope as the set knows it: a 128-bit hash keyed with a secret of the process, so that nobody can
/// choose identities that collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeId([u64; 2]);

impl Hash for ScopeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// Takes the hash that a [`ScopeId`] already is.
#[derive(Debug, Clone, Copy, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type BuildIdHasher = BuildHasherDefault<IdHasher>;

/// Whom a token speaks for, ready to be looked up: what an admitted request keeps to be checked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The app.
    pub app: ScopeId,
    /// The user.
    pub user: ScopeId,
    /// The session, when the token names one.
    pub session: Option<ScopeId>,
    /// The token's own id, when it has one.
    pub token: Option<ScopeId>,
    /// UNIX seconds of issue, when the token says.
    pub issued_at: Option<u64>,
}

/// How many scopes of one kind are under each effect; lets a reader skip tables that cannot match.
#[derive(Default)]
struct Counts {
    deactivated: AtomicUsize,
    issued_before: AtomicUsize,
}

/// One generation of tables; a snapshot builds a new one beside the old.
struct Tables {
    deactivated: DashSet<ScopeId, BuildIdHasher>,
    issued_before: DashMap<ScopeId, u64, BuildIdHasher>,
    counts: [Counts; ScopeKind::ALL.len()],
}

impl Tables {
    fn with_capacity(capacity: usize) -> Tables {
        Tables {
            deactivated: DashSet::with_capacity_and_hasher(capacity, BuildIdHasher::default()),
            issued_before: DashMap::with_hasher(BuildIdHasher::default()),
            counts: Default::default(),
        }
    }

    fn set(&self, kind: ScopeKind, id: ScopeId, effect: Effect, in_force: bool) {
        let counts = &self.counts[kind as usize];
        let count = match effect {
            Effect::Deactivated => &counts.deactivated,
            Effect::IssuedBefore { .. } => &counts.issued_before,
        };
        // Up before the entry is there, down after it is gone: a reader that sees 0 may skip the table.
        if in_force {
            count.fetch_add(1, Ordering::SeqCst);
        }
        let changed = match (effect, in_force) {
            (Effect::Deactivated, true) => self.deactivated.insert(id),
            (Effect::Deactivated, false) => self.deactivated.remove(&id).is_some(),
            (Effect::IssuedBefore { before }, true) => self.issued_before.insert(id, before).is_none(),
            (Effect::IssuedBefore { .. }, false) => self.issued_before.remove(&id).is_some(),
        };
        if in_force != changed {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn len(&self, kind: ScopeKind) -> usize {
        let counts = &self.counts[kind as usize];
        counts.deactivated.load(Ordering::SeqCst) + counts.issued_before.load(Ordering::SeqCst)
    }
}

/// What the writers share; readers never touch it.
struct Order {
    /// Everything up to here has been applied or superseded; `None` before the first snapshot.
    settled: Option<u64>,
    /// The newest `seq` applied to a scope and effect, above `settled` only.
    unsettled: HashMap<(ScopeId, bool), u64>,
}

/// The set of restrictions that a node holds.
///
/// Lookups take no lock that a writer of another scope holds and never wait for a feed. 16 bytes and a hash
/// table's overhead for each deactivated scope.
pub struct RestrictionSet {
    key: [u64; 2],
    epoch: Instant,
    tables: ArcSwap<Tables>,
    order: Mutex<Order>,
    generation: AtomicU64,
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
            epoch,
            tables: ArcSwap::from_pointee(Tables::with_capacity(0)),
            order: Mutex::new(Order { settled: None, unsettled: HashMap::new() }),
            generation: AtomicU64::new(0),
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
        Subject {
            app: self.hash(ScopeKind::App, app, ""),
            user: self.hash(ScopeKind::User, app, uid),
            session: sid.map(|sid| self.hash(ScopeKind::Session, app, sid)),
            token: jti.map(|jti| self.hash(ScopeKind::Token, app, jti)),
            issued_at,
        }
    }

    fn hash(&self, kind: ScopeKind, app: &str, name: &str) -> ScopeId {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        // The length keeps ("ab", "c") apart from ("a", "bc").
        hasher.write_u64(((app.len() as u64) << 8) | kind as u64);
        hasher.write(app.as_bytes());
        hasher.write(name.as_bytes());
        let hash = hasher.finish128();
        ScopeId([hash.h1, hash.h2])
    }

    /// Returns a number for a token that logs may show: it tells nothing about the token, and differs between
    /// processes.
    pub fn token_number(&self, compact: &str) -> u64 {
        SipHasher13::new_with_keys(self.key[1], self.key[0]).hash(compact.as_bytes()).h1
    }

    /// Returns whether `subject` may still be served, or what stands against it.
    ///
    /// # Errors
    ///
    /// The widest restriction that holds: app before user before session before token.
    pub fn check(&self, subject: &Subject) -> Result<(), Restricted> {
        let tables = self.tables.load();
        let scopes = [
            (ScopeKind::App, Some(subject.app), Restricted::App),
            (ScopeKind::User, Some(subject.user), Restricted::User),
            (ScopeKind::Session, subject.session, Restricted::Session),
            (ScopeKind::Token, subject.token, Restricted::Token),
        ];
        for (kind, id, restricted) in scopes {
            let Some(id) = id else { continue };
            let counts = &tables.counts[kind as usize];
            if counts.deactivated.load(Ordering::SeqCst) != 0 && tables.deactivated.contains(&id) {
                return Err(restricted);
            }
            if counts.issued_before.load(Ordering::SeqCst) != 0 {
                // Copied out at once: a reference held into the map would block its writers.
                let before = tables.issued_before.get(&id).map(|before| *before);
                if before.is_some_and(|before| subject.issued_at.is_none_or(|at| at < before)) {
                    return Err(Restricted::IssuedBefore);
                }
            }
        }
        Ok(())
    }

    /// Takes in what the feed said. In force for every check that starts after this returns.
    pub fn apply(&self, event: Event, now: Instant) -> Applied {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = match event {
            Event::Snapshot { seq, entries } => {
                let tables = Tables::with_capacity(entries.len());
                for (scope, effect) in &entries {
                    tables.set(scope.kind(), self.id(scope), *effect, true);
                }
                self.tables.store(Arc::new(tables));
                order.settled = Some(seq);
                order.unsettled.clear();
                self.applied.store(seq, Ordering::SeqCst);
                self.generation.fetch_add(1, Ordering::SeqCst);
                Applied::Yes
            }
            Event::Change(change) => self.apply_change(&mut order, &change),
            Event::Heartbeat { seq } => match order.settled {
                None => Applied::NeedsSnapshot,
                Some(settled) if seq > settled => {
                    order.settled = Some(seq);
                    order.unsettled.retain(|_, held| *held > seq);
                    self.applied.store(seq, Ordering::SeqCst);
                    Applied::Yes
                }
                Some(_) => Applied::Yes,
            },
        };
        if applied != Applied::NeedsSnapshot {
            let heard = now.saturating_duration_since(self.epoch).as_millis() as u64 + 1;
            self.heard.fetch_max(heard, Ordering::SeqCst);
        }
        applied
    }

    fn apply_change(&self, order: &mut Order, change: &Change) -> Applied {
        let Some(settled) = order.settled else { return Applied::NeedsSnapshot };
        if change.seq <= settled {
            return Applied::Stale;
        }
        let id = self.id(&change.scope);
        let slot = (id, change.effect == Effect::Deactivated);
        let superseded = order.unsettled.get(&slot).is_some_and(|held| change.seq <= *held);
        let in_order = change.seq == settled + 1;
        if !in_order && !superseded {
            if order.unsettled.len() >= MAX_UNSETTLED {
                return Applied::NeedsSnapshot;
            }
            order.unsettled.insert(slot, change.seq);
        }
        if !superseded {
            self.tables.load().set(change.scope.kind(), id, change.effect, change.in_force);
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

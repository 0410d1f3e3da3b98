//! The tables that requests look into: keyed by hashes, counted by kind.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, DashSet};

use super::change::{Effect, EffectKind, ScopeKind};

/// A scope as the set knows it: a 128-bit hash keyed with a secret of the process, so that nobody can
/// choose identities that collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeId([u64; 2]);

impl ScopeId {
    pub(super) fn new(hash: [u64; 2]) -> ScopeId {
        ScopeId(hash)
    }
}

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

/// How many scopes of one kind are under each effect; lets a reader skip tables that cannot match.
#[derive(Default)]
struct Counts {
    deactivated: AtomicUsize,
    issued_before: AtomicUsize,
    settings: AtomicUsize,
    purged: AtomicUsize,
}

/// One generation of tables; a snapshot builds a new one beside the old.
pub(super) struct Tables {
    deactivated: DashSet<ScopeId, BuildIdHasher>,
    issued_before: DashMap<ScopeId, u64, BuildIdHasher>,
    /// What is no restriction: few, and looked up only where there are any.
    settings: DashMap<(ScopeId, EffectKind), Effect>,
    /// The generation of the set that each purge made.
    purged: DashMap<ScopeId, u64, BuildIdHasher>,
    /// The generation of the set that these tables made: a purge among what was loaded may be as new as that.
    loaded: AtomicU64,
    counts: [Counts; ScopeKind::ALL.len()],
}

impl Tables {
    pub(super) fn with_capacity(capacity: usize) -> Tables {
        Tables {
            deactivated: DashSet::with_capacity_and_hasher(capacity, BuildIdHasher::default()),
            issued_before: DashMap::with_hasher(BuildIdHasher::default()),
            settings: DashMap::new(),
            purged: DashMap::with_hasher(BuildIdHasher::default()),
            loaded: AtomicU64::new(0),
            counts: Default::default(),
        }
    }

    /// Takes in one effect; `generation` is the one that the set comes to by it, 0 while a state is loaded.
    pub(super) fn set(&self, kind: ScopeKind, id: ScopeId, effect: Effect, in_force: bool, generation: u64) {
        let counts = &self.counts[kind as usize];
        let count = match effect {
            Effect::Deactivated => &counts.deactivated,
            Effect::IssuedBefore { .. } => &counts.issued_before,
            Effect::Purged { .. } => &counts.purged,
            _ => &counts.settings,
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
            (Effect::Purged { .. }, true) => self.purged.insert(id, generation).is_none(),
            (Effect::Purged { .. }, false) => self.purged.remove(&id).is_some(),
            (setting, true) => self.settings.insert((id, setting.kind()), setting).is_none(),
            (setting, false) => self.settings.remove(&(id, setting.kind())).is_some(),
        };
        if in_force != changed {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Returns which effect stands against `id` for a token issued at `issued_at`.
    pub(super) fn effect_on(&self, kind: ScopeKind, id: ScopeId, issued_at: Option<u64>) -> Option<Effect> {
        let counts = &self.counts[kind as usize];
        if counts.deactivated.load(Ordering::SeqCst) != 0 && self.deactivated.contains(&id) {
            return Some(Effect::Deactivated);
        }
        let before = self.issued_before(kind, id)?;
        issued_at.is_none_or(|at| at < before).then_some(Effect::IssuedBefore { before })
    }

    /// Returns the time before which nothing of `id` may have been issued.
    pub(super) fn issued_before(&self, kind: ScopeKind, id: ScopeId) -> Option<u64> {
        if self.counts[kind as usize].issued_before.load(Ordering::SeqCst) == 0 {
            return None;
        }
        // Copied out at once: a reference held into the map would block its writers.
        self.issued_before.get(&id).map(|before| *before)
    }

    /// Says at which generation of the set these tables came into force, all at once.
    pub(super) fn loaded(&self, generation: u64) {
        self.loaded.store(generation, Ordering::SeqCst);
    }

    /// Whether there is any purge.
    pub(super) fn has_purges(&self) -> bool {
        self.counts.iter().any(|counts| counts.purged.load(Ordering::SeqCst) != 0)
    }

    /// Whether what was fetched at `generation` of the set was fetched before a purge of `id`.
    pub(super) fn is_purged(&self, kind: ScopeKind, id: impl FnOnce() -> ScopeId, generation: u64) -> bool {
        self.counts[kind as usize].purged.load(Ordering::SeqCst) != 0
            && self.purged.get(&id()).is_some_and(|at| generation < (*at).max(self.loaded.load(Ordering::SeqCst)))
    }

    /// Whether anything is set of scopes of `kind`.
    pub(super) fn has_settings(&self, kind: ScopeKind) -> bool {
        self.counts[kind as usize].settings.load(Ordering::SeqCst) != 0
    }

    /// Returns the setting of `kind` on `id`.
    pub(super) fn setting(&self, id: ScopeId, kind: EffectKind) -> Option<Effect> {
        self.settings.get(&(id, kind)).map(|setting| *setting)
    }

    pub(super) fn len(&self, kind: ScopeKind) -> usize {
        let counts = &self.counts[kind as usize];
        [&counts.deactivated, &counts.issued_before, &counts.settings, &counts.purged]
            .map(|count| count.load(Ordering::SeqCst))
            .iter()
            .sum()
    }
}

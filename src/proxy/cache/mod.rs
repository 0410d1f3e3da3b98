//! Copies of objects, one for everybody: who may see one is decided by the gate for every request, as without copies.
//!
//! What may be kept and what a copy answers is in [`caching`](crate::caching); here are the memory that it is kept in and
//! the fetches that fill it, one for all who wait.

mod copy;
mod flight;
mod serve;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use prometheus::IntCounter;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use crate::caching::{CachePolicy, CopyKey};
use crate::metrics::CacheMetrics;
use crate::restrictions::RestrictionSet;
use copy::{ObjectCopy, Room, Taken};
use flight::Flight;
pub(super) use serve::CacheUse;

/// Fetches that may run at once; what comes then is fetched by each client for itself.
const MAX_FLIGHTS: usize = 1024;

/// Connections to storages that are kept while idle, beside those of the proxy.
const POOL: usize = 128;

/// How often copies are looked over for what was purged.
const SWEEP: Duration = Duration::from_millis(250);

/// What it takes to remember that an object is not kept, beside its key, about.
const PASS_BYTES: u64 = 256;

/// An object as one expects it, to know how many there will be.
const EXPECTED_BYTES: u64 = 32 * 1024;

/// What is kept, and in how much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// Which objects and for how long.
    pub policy: CachePolicy,
    /// Bytes of memory that copies take at most: kept, being filled, and still being sent to somebody. At least four
    /// times the largest object.
    pub memory_bytes: u64,
}

/// Copies of objects. Off unless it is put into [`Shared`](super::Shared).
pub struct ObjectCache {
    policy: CachePolicy,
    entries: Cache<CopyKey, Entry, ByBytes, DefaultHashBuilder, CountEvictions>,
    flights: Mutex<HashMap<CopyKey, Arc<Flight>>>,
    room: Arc<Room>,
    connector: Connector,
    metrics: CacheMetrics,
}

impl std::fmt::Debug for ObjectCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectCache")
            .field("policy", &self.policy)
            .field("bytes", &self.room.taken())
            .finish_non_exhaustive()
    }
}

/// What is known of an object.
#[derive(Debug, Clone)]
enum Entry {
    /// There is a copy.
    Kept(Kept),
    /// It is not kept: each client asks the storage, until then.
    Passes {
        until: Instant,
        /// The restrictions' generation when it was found out.
        generation: u64,
        taken: Arc<Taken>,
    },
}

/// A copy, and how good it is.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    copy: Arc<ObjectCopy>,
    /// The restrictions' generation before the storage was asked: what was purged later makes it useless.
    generation: u64,
    /// When the storage last said so.
    asked: Instant,
    fresh_for: Duration,
}

impl Kept {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) < self.fresh_for
    }
}

impl Entry {
    fn generation(&self) -> u64 {
        match self {
            Entry::Kept(kept) => kept.generation,
            Entry::Passes { generation, .. } => *generation,
        }
    }
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<CopyKey, Entry> for ByBytes {
    fn weight(&self, _: &CopyKey, entry: &Entry) -> u64 {
        match entry {
            Entry::Kept(kept) => kept.copy.bytes(),
            Entry::Passes { taken, .. } => taken.bytes,
        }
    }
}

#[derive(Debug, Clone)]
struct CountEvictions(IntCounter);

impl Lifecycle<CopyKey, Entry> for CountEvictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: CopyKey, entry: Entry) {
        if matches!(entry, Entry::Kept(_)) {
            self.0.inc();
        }
    }
}

/// What a look at the entries says.
enum Look {
    Fresh(Kept),
    Stale(Kept),
    Passes,
    Nothing,
}

impl ObjectCache {
    /// Returns an empty cache that counts in `metrics`.
    pub fn new(options: CacheOptions, metrics: CacheMetrics) -> ObjectCache {
        let CacheOptions { policy, memory_bytes } = options;
        // A quarter is for copies that are filled, and for those that were evicted while somebody is sent them.
        let capacity = memory_bytes - memory_bytes / 4;
        // Each shard holds a few of the largest objects.
        let shards = (capacity / (4 * policy.max_object_bytes.max(1))).clamp(1, 64);
        // What is not said has its default.
        let sized = OptionsBuilder::new()
            .weight_capacity(capacity)
            .estimated_items_capacity(usize::try_from(capacity / EXPECTED_BYTES).unwrap_or(usize::MAX).max(64))
            .shards(usize::try_from(shards.next_power_of_two() / 2).unwrap_or(1).max(1))
            .build()
            .expect("capacities are given");
        let evictions = CountEvictions(metrics.evictions.clone());
        let mut connections = ConnectorOptions::new(POOL);
        connections.keepalive_pool_size = POOL;
        ObjectCache {
            policy,
            entries: Cache::with_options(sized, ByBytes, DefaultHashBuilder::default(), evictions),
            flights: Mutex::default(),
            room: Room::new(memory_bytes),
            connector: Connector::new(Some(connections)),
            metrics,
        }
    }

    /// Returns what is held of `key`; what was purged or is over is not.
    fn look(&self, key: &CopyKey, restrictions: &RestrictionSet, now: Instant) -> Look {
        let Some(entry) = self.entries.get(key) else { return Look::Nothing };
        if restrictions.is_purged(key.app(), key.key(), entry.generation()) {
            self.forget(key, entry.generation());
            return Look::Nothing;
        }
        match entry {
            Entry::Kept(kept) if kept.is_fresh(now) => Look::Fresh(kept),
            Entry::Kept(kept) => Look::Stale(kept),
            Entry::Passes { until, .. } if now < until => Look::Passes,
            Entry::Passes { .. } => Look::Nothing,
        }
    }

    /// Forgets what was found out at `generation`, unless there is something newer by now.
    fn forget(&self, key: &CopyKey, generation: u64) {
        self.entries.remove_if(key, |entry| entry.generation() <= generation);
    }

    /// Takes in what was found out, unless it is older than what is there.
    fn note(&self, key: &CopyKey, entry: Entry) {
        let is_newer = |held: Entry| held.generation() <= entry.generation();
        if self.entries.peek(key).is_none_or(is_newer) {
            self.entries.insert(key.clone(), entry);
        }
    }

    /// Takes in that an object is not kept, as far as there is room for that.
    fn note_pass(&self, key: &CopyKey, until: Instant, generation: u64) {
        if let Some(taken) = self.room.take(PASS_BYTES + 2 * key.bytes() as u64) {
            self.note(key, Entry::Passes { until, generation, taken: Arc::new(taken) });
        }
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<CopyKey, Arc<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back the memory of everything that was purged. Nobody gets any of it before either.
    fn sweep(&self, restrictions: &RestrictionSet) {
        self.entries.retain(|key, entry| !restrictions.is_purged(key.app(), key.key(), entry.generation()));
    }

    /// Sweeps after each purge, and says how much is held, until the process ends.
    pub(super) async fn keep_sweeping(&self, restrictions: &RestrictionSet) {
        let (mut ticks, mut swept) = (tokio::time::interval(SWEEP), 0);
        loop {
            ticks.tick().await;
            let purged = restrictions.purged();
            if purged != swept {
                self.sweep(restrictions);
                swept = purged;
            }
            self.metrics.bytes.set(i64::try_from(self.room.taken()).unwrap_or(i64::MAX));
            self.metrics.objects.set(i64::try_from(self.entries.len()).unwrap_or(i64::MAX));
        }
    }
}

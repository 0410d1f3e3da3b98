//! The feed of one machine: the store itself.
//!
//! Changes are read from the store as soon as it says that there are some; once a second it is asked anyway.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::{Backoff, FeedError, RestrictionFeed};
use crate::restrictions::{Change, Event};
use crate::store::{Changes, Snapshot, Store, StoreError};

/// How often the store is asked whether it has something that it did not tell.
const BEAT: Duration = Duration::from_secs(1);

/// Changes that are read at once.
const BATCH: u32 = 4096;

/// Returns the feed of `store`.
pub fn local(store: Store) -> LocalFeed {
    beating(store, BEAT)
}

fn beating(store: Store, beat: Duration) -> LocalFeed {
    let mut beat = tokio::time::interval(beat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let changed = store.changed();
    LocalFeed { store, changed, beat, at: At::Nowhere, asked: None, backoff: Backoff::default() }
}

/// Delivers the state of the store, then its changes.
#[derive(Debug)]
pub struct LocalFeed {
    store: Store,
    changed: watch::Receiver<u64>,
    beat: Interval,
    at: At,
    /// What the store is to be asked, so that a dropped call does not forget it.
    asked: Option<Asked>,
    backoff: Backoff,
}

/// What has been delivered.
#[derive(Debug)]
enum At {
    /// Nothing that counts.
    Nowhere,
    /// A part of the state.
    Loading(Snapshot),
    /// Everything up to `seq`; what is in `next` comes then.
    Following { seq: u64, next: VecDeque<Change> },
}

/// Why the store is asked.
#[derive(Debug, Clone, Copy)]
enum Asked {
    ItChanged,
    ItIsTime,
}

impl RestrictionFeed for LocalFeed {
    async fn next(&mut self) -> Result<Event, FeedError> {
        loop {
            match &mut self.at {
                At::Nowhere => match self.store.snapshot().await {
                    Ok(snapshot) => {
                        let expected = snapshot.expected;
                        self.at = At::Loading(snapshot);
                        return Ok(Event::SnapshotBegins { expected });
                    }
                    Err(error) => self.pause(&error).await,
                },
                At::Loading(snapshot) => match snapshot.next().await {
                    Ok(Some(entries)) => return Ok(Event::SnapshotPart(entries)),
                    Ok(None) => {
                        let (source, seq) = (snapshot.source.clone(), snapshot.seq);
                        self.backoff.reset();
                        self.at = At::Following { seq, next: VecDeque::new() };
                        return Ok(Event::SnapshotEnds { source, seq });
                    }
                    Err(error) => {
                        self.at = At::Nowhere;
                        self.pause(&error).await;
                    }
                },
                At::Following { seq, next } => {
                    if let Some(change) = next.pop_front() {
                        *seq = change.seq;
                        return Ok(Event::Change(change));
                    }
                    let asked = match self.asked {
                        Some(asked) => asked,
                        None => tokio::select! {
                            biased;
                            Ok(()) = self.changed.changed() => Asked::ItChanged,
                            _ = self.beat.tick() => Asked::ItIsTime,
                        },
                    };
                    self.asked = Some(asked);
                    let found = self.store.changes_after(*seq, BATCH).await;
                    self.asked = None;
                    match (found, asked) {
                        (Ok(Changes::Kept(changes)), Asked::ItIsTime) if changes.is_empty() => {
                            return Ok(Event::Heartbeat { seq: *seq });
                        }
                        (Ok(Changes::Kept(changes)), _) => {
                            // There may be more than were read at once.
                            if changes.len() == BATCH as usize {
                                self.asked = Some(asked);
                            }
                            next.extend(changes);
                        }
                        // Somebody has put an older store in its place, or this feed slept for very long.
                        (Ok(Changes::Gone), _) => self.at = At::Nowhere,
                        // No heartbeat: silence for long enough closes the gate.
                        (Err(error), _) => log::error!("restrictions: no news from the store: {error}"),
                    }
                }
            }
        }
    }

    fn resync(&mut self) {
        self.at = At::Nowhere;
    }
}

impl LocalFeed {
    async fn pause(&mut self, error: &StoreError) {
        let pause = self.backoff.next_pause();
        log::error!("restrictions: cannot load the state, trying again in {pause:?}: {error}");
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests;

//! The feed of one machine: the embedded store, and a channel within the process.
//!
//! The store is the truth, the channel only makes it quick: whatever the channel loses or brings out of order is
//! loaded from the store again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};

use super::{FeedError, RestrictionFeed};
use crate::restrictions::{Change, Event};
use crate::store::{Store, StoreError};

/// Changes that may wait to be delivered; above that the state is loaded again. More than one call can make.
const CAPACITY: usize = 4096;

/// How often the store is asked whether it has something that the channel did not bring.
const BEAT: Duration = Duration::from_secs(1);

/// The first and the longest pause before a state that could not be read is read again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Returns the two ends of the feed of `store`. Changes are published after they are in the store.
pub fn local(store: Store) -> (LocalPublisher, LocalFeed) {
    beating(store, BEAT)
}

fn beating(store: Store, beat: Duration) -> (LocalPublisher, LocalFeed) {
    let (sender, changes) = broadcast::channel(CAPACITY);
    let publisher = LocalPublisher(sender);
    let mut beat = tokio::time::interval(beat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let feed = LocalFeed {
        store,
        changes,
        beat,
        delivered: None,
        stored: 0,
        failures: Arc::default(),
        _publisher: publisher.clone(),
    };
    (publisher, feed)
}

/// Tells the feed what has changed in the store. Clones publish to the same feed.
#[derive(Debug, Clone)]
pub struct LocalPublisher(broadcast::Sender<Change>);

impl LocalPublisher {
    /// Hands on a change that the store has taken. Never waits.
    ///
    /// Changes are best published in the order of their `seq`: a later one that comes first makes the feed load
    /// the state again, which is right and slower.
    pub fn publish(&self, change: Change) {
        // Without a feed there is nobody to tell; one that is made later starts with the store's state.
        let _ = self.0.send(change);
    }
}

/// Delivers the state of the store, then its changes.
#[derive(Debug)]
pub struct LocalFeed {
    store: Store,
    changes: broadcast::Receiver<Change>,
    beat: Interval,
    /// Everything up to here has been delivered; `None` when the state is to be loaded.
    delivered: Option<u64>,
    /// The store's newest `seq` at the last beat.
    stored: u64,
    /// Reads of the state that failed since the last that did not.
    failures: Arc<AtomicU32>,
    /// Keeps the channel open: this feed goes on when nobody is left who could publish.
    _publisher: LocalPublisher,
}

impl RestrictionFeed for LocalFeed {
    async fn next(&mut self) -> Result<Event, FeedError> {
        loop {
            let Some(delivered) = self.delivered else { return Ok(self.snapshot().await) };
            tokio::select! {
                biased;
                change = self.changes.recv() => match change {
                    Ok(change) if change.seq <= delivered => {}
                    Ok(change) if change.seq == delivered + 1 => {
                        self.delivered = Some(change.seq);
                        return Ok(Event::Change(change));
                    }
                    Ok(_) | Err(RecvError::Lagged(_) | RecvError::Closed) => self.delivered = None,
                },
                _ = self.beat.tick() => match self.store.seq().await {
                    // Behind what the store had a beat ago: that is not on its way, it is lost. Ahead of the store:
                    // somebody has put an older one in its place.
                    Ok(stored) if delivered < self.stored || delivered > stored => {
                        self.stored = stored;
                        self.delivered = None;
                    }
                    Ok(stored) => {
                        self.stored = stored;
                        return Ok(Event::Heartbeat { seq: delivered });
                    }
                    // No heartbeat: silence for long enough closes the gate.
                    Err(error) => log::error!("restrictions: no heartbeat: {error}"),
                },
            }
        }
    }

    fn resync(&mut self) {
        self.delivered = None;
    }
}

impl LocalFeed {
    /// Loads the state, however often that takes.
    async fn snapshot(&mut self) -> Event {
        loop {
            match self.store.state().await {
                Ok((seq, entries)) => {
                    self.failures.store(0, Ordering::Relaxed);
                    self.delivered = Some(seq);
                    self.stored = seq;
                    return Event::Snapshot { seq, entries };
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    async fn pause(&self, error: &StoreError) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let pause = PAUSE.0.saturating_mul(1 << failures.min(16)).min(PAUSE.1);
        log::error!("restrictions: cannot load the state, trying again in {pause:?}: {error}");
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests;

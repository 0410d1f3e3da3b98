//! The node's side: a task follows the server, [`RedisFeed`] hands on what it delivers.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::RedisOptions;
use super::worker::Worker;
use crate::feed::{BrokerError, FeedError, RestrictionFeed};
use crate::metrics::Metrics;
use crate::restrictions::Event;

/// Events that may wait to be taken. A part of a state is one of them, so these are few.
const WAITING: usize = 4;

/// Delivers the state that a server holds, then its changes.
///
/// What happens to the server meanwhile is not an error: the feed waits for it, says so in the log, and delivers
/// nothing until it knows that nothing was missed, or else the whole state again. Dropped, it closes its connections.
#[derive(Debug)]
pub struct RedisFeed {
    /// Each with the number of the resync that it came after.
    events: mpsc::Receiver<(u64, Event)>,
    resyncs: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl RedisFeed {
    /// Connects and begins to follow, on the runtime that this is called on. A server that cannot be reached is waited
    /// for; what the feed passes over is counted in `metrics` as `malformed`, `unknown` and `absurd`.
    ///
    /// # Errors
    ///
    /// Options that are no good, and a server that answers and does not accept us: wrong credentials, missing rights.
    /// Once connected, the same is logged and waited for, because whoever changes passwords there goes one by one.
    pub async fn connect(options: RedisOptions, metrics: Arc<Metrics>) -> Result<RedisFeed, FeedError> {
        let (sender, events) = mpsc::channel(WAITING);
        let (resyncs, wanted) = watch::channel(0);
        let mut worker = Worker::new(&options, metrics, sender, wanted).map_err(FeedError)?;
        match worker.try_all().await {
            Ok(()) => {}
            Err(error @ BrokerError::Refused(_)) => {
                return Err(FeedError(format!("{error} ({}:{})", options.host, options.port)));
            }
            Err(error) => log::warn!("restrictions: {error} ({}:{}); waiting for it", options.host, options.port),
        }
        Ok(RedisFeed { events, resyncs, task: tokio::spawn(worker.run()) })
    }
}

impl RestrictionFeed for RedisFeed {
    async fn next(&mut self) -> Result<Event, FeedError> {
        loop {
            let Some((resync, event)) = self.events.recv().await else {
                return Err(FeedError("its task has ended".into()));
            };
            if resync == *self.resyncs.borrow() {
                return Ok(event);
            }
        }
    }

    fn resync(&mut self) {
        self.resyncs.send_modify(|resyncs| *resyncs += 1);
    }
}

impl Drop for RedisFeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

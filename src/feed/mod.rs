//! Where restrictions come from.
//!
//! A feed delivers [`Event`]s; [`follow`] hands them to the set. Requests never wait for either.

#[cfg(feature = "server")]
mod local;

use std::future::Future;
use std::time::Instant;

use tokio::sync::watch;

#[cfg(feature = "server")]
pub use local::{LocalFeed, LocalPublisher, local};

use crate::restrictions::{Applied, Event, RestrictionSet};

/// A source of restrictions.
///
/// The first event, and the next one after any gap (reconnect, lag, overflow), is a [`Event::Snapshot`]: nothing is
/// ever skipped silently. Duplicates are allowed. A source that lives sends at least a [`Event::Heartbeat`] a second.
pub trait RestrictionFeed: Send {
    /// Waits for the next event. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    ///
    /// Only when reconnecting cannot help, such as refused credentials or a source that is gone for good.
    fn next(&mut self) -> impl Future<Output = Result<Event, FeedError>> + Send;

    /// Makes the next event a [`Event::Snapshot`].
    fn resync(&mut self);
}

/// A feed that cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the restriction feed has ended: {0}")]
pub struct FeedError(pub String);

/// Applies what `feed` delivers to `set` and tells `applied` the newest `seq` in force, until the feed ends.
///
/// # Errors
///
/// The feed's own, when it cannot go on. The set then grows stale and the gate closes.
pub async fn follow(
    mut feed: impl RestrictionFeed,
    set: &RestrictionSet,
    applied: &watch::Sender<u64>,
) -> Result<(), FeedError> {
    loop {
        let event = feed.next().await?;
        if set.apply(event, Instant::now()) == Applied::NeedsSnapshot {
            feed.resync();
        }
        applied.send_replace(set.applied());
    }
}

//! Where restrictions come from.
//!
//! A feed delivers [`Event`]s; [`Following`] hands them to the set. Requests never wait for either. On the other side the
//! control plane's relay writes what its database has committed to a [`Broker`].

#[cfg(feature = "server")]
mod backoff;
#[cfg(feature = "server")]
mod local;
#[cfg(feature = "server")]
pub mod nats;
#[cfg(feature = "server")]
pub mod redis;

use std::borrow::Cow;
use std::future::Future;
use std::time::Instant;

#[cfg(feature = "server")]
use tokio::sync::mpsc;
use tokio::sync::watch;

#[cfg(feature = "server")]
pub use backoff::Backoff;
#[cfg(feature = "server")]
pub use local::{LocalFeed, local};

pub use crate::restrictions::wire;

use crate::gate::UidCase;
use crate::metrics::Metrics;
use crate::restrictions::{Applied, Event, RestrictionSet, Scope};
#[cfg(feature = "server")]
use crate::restrictions::{Change, Entry};

/// A source of restrictions.
///
/// The first event, and the next one after any gap (reconnect, lag, overflow), is a [`Event::Snapshot`] or the
/// [`Event::SnapshotBegins`] of one in parts: nothing is ever skipped silently. Duplicates are allowed. A source that
/// lives sends at least a [`Event::Heartbeat`] a second.
pub trait RestrictionFeed: Send {
    /// Waits for the next event. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    ///
    /// Only when reconnecting cannot help, such as refused credentials or a source that is gone for good.
    fn next(&mut self) -> impl Future<Output = Result<Event, FeedError>> + Send;

    /// Makes the next event the beginning of a whole state.
    fn resync(&mut self);
}

/// A feed that cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the restriction feed has ended: {0}")]
pub struct FeedError(pub String);

/// A broker as the relay sees it: a state and the changes that led to it, for nodes to load and to follow.
///
/// Everything that is written is written under a condition, so that two relays at once, or one that was held up, spoil
/// nothing.
#[cfg(feature = "server")]
pub trait Broker: Send {
    /// Returns up to where the broker has everything; `None` when it holds nothing that can be built upon: it is empty,
    /// has lost a part, or somebody else's numbers are in it.
    ///
    /// # Errors
    ///
    /// When the broker cannot be asked.
    fn position(&mut self) -> impl Future<Output = Result<Option<wire::Position>, BrokerError>> + Send;

    /// Appends `changes`, which follow `after` without a gap. Returned without an error, all of them are kept there.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Moved`] when the broker does not stand at `after`; some of them may have been appended then, and
    /// after any other error.
    fn publish(
        &mut self,
        after: &wire::Position,
        changes: &[Change],
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Says that everything up to `at` has been published.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Moved`] when the broker does not stand at `at`.
    fn heartbeat(&mut self, at: &wire::Position) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Replaces whatever the broker holds by the state at `at`, which comes in `parts`; about `expected` entries.
    ///
    /// # Errors
    ///
    /// When that did not come to its end: nodes go on with what they have, and no node starts from half of it.
    fn refill(
        &mut self,
        at: &wire::Position,
        expected: usize,
        parts: mpsc::Receiver<Vec<Entry>>,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// Where nodes say how far they are.
#[cfg(feature = "server")]
pub trait Reporter: Send {
    /// Sends a report; one that is lost is made good by the next.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached.
    fn report(&mut self, report: &wire::NodeReport) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// What the nodes say, for the control plane.
#[cfg(feature = "server")]
pub trait Reports: Send {
    /// Waits for the next report; reconnects by itself. Cancel-safe: a dropped call loses nothing.
    fn next(&mut self) -> impl Future<Output = wire::NodeReport> + Send;
}

/// Why a broker did not do as it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// It does not stand where it was expected to.
    #[error("the broker stands elsewhere")]
    Moved,
    /// No connection, or it broke.
    #[error("cannot reach the broker: {0}")]
    Unreachable(String),
    /// It answers and does not accept us: wrong credentials, missing rights.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// It answers with an error that is none of the above.
    #[error("the broker failed: {0}")]
    Failed(String),
}

/// A name on a broker that nobody else has.
#[cfg(feature = "server")]
fn random_name() -> Result<String, BrokerError> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| BrokerError::Failed("no randomness".to_owned()))?;
    Ok(format!("{:016x}", u64::from_be_bytes(random)))
}

/// What follows a feed.
#[derive(Debug)]
pub struct Following<'a, C> {
    /// What the events are applied to.
    pub set: &'a RestrictionSet,
    /// How the uids of an app compare; events that came from elsewhere are brought into that form.
    pub uid_case: C,
    /// Where events are counted.
    pub metrics: &'a Metrics,
    /// Is told the newest `seq` in force, and of each state that was loaded.
    pub applied: &'a watch::Sender<u64>,
    /// Steps on when the state must be loaded anew: other apps, other rules about uids.
    pub resync: watch::Receiver<u64>,
}

impl<C: Fn(&str) -> UidCase> Following<'_, C> {
    /// Applies what `feed` delivers, until the feed ends.
    ///
    /// # Errors
    ///
    /// The feed's own, when it cannot go on. The set then grows stale and the gate closes.
    pub async fn follow(mut self, mut feed: impl RestrictionFeed) -> Result<(), FeedError> {
        loop {
            let event = tokio::select! {
                event = feed.next() => event?,
                Ok(()) = self.resync.changed() => {
                    feed.resync();
                    continue;
                }
            };
            self.take(event, &mut feed);
        }
    }

    fn take(&self, event: Event, feed: &mut impl RestrictionFeed) {
        let count = |event: &str| self.metrics.feed_events.with_label_values(&[event]).inc();
        let label = label(&event);
        let Some(event) = normalized(event, &self.uid_case) else { return count("malformed") };
        match self.set.apply(event, Instant::now()) {
            Applied::Yes => count(label),
            Applied::Stale => count("duplicate"),
            Applied::Absurd => count("absurd"),
            Applied::NeedsSnapshot => {
                count("gap");
                feed.resync();
            }
        }
        let seq = self.set.applied();
        self.applied.send_if_modified(|held| std::mem::replace(held, seq) != seq || label == "snapshot");
    }
}

fn label(event: &Event) -> &'static str {
    match event {
        Event::Snapshot { .. } | Event::SnapshotEnds { .. } => "snapshot",
        Event::SnapshotBegins { .. } => "snapshot_begun",
        Event::SnapshotPart(_) => "snapshot_part",
        Event::Change(_) => "change",
        Event::Heartbeat { .. } => "heartbeat",
    }
}

/// Brings the uids of `event` into the form in which tokens are compared with them; `None` when nothing is left of it.
fn normalized(mut event: Event, uid_case: &impl Fn(&str) -> UidCase) -> Option<Event> {
    let normalize = |scope: &mut Scope| {
        let Scope::User { app, uid } = scope else { return true };
        match uid_case(app).normalize(uid) {
            None => return false,
            // Most are: millions of them may be on their way.
            Some(Cow::Borrowed(_)) => {}
            Some(Cow::Owned(folded)) => *uid = folded,
        }
        true
    };
    let is_left = match &mut event {
        Event::Change(change) => normalize(&mut change.scope),
        Event::SnapshotPart(entries) => {
            entries.retain_mut(|entry| normalize(&mut entry.scope));
            true
        }
        Event::Snapshot { entries, .. } => {
            entries.retain_mut(|(scope, _)| normalize(scope));
            true
        }
        Event::SnapshotBegins { .. } | Event::SnapshotEnds { .. } | Event::Heartbeat { .. } => true,
    };
    is_left.then_some(event)
}

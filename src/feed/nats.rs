//! Restrictions through NATS: one JetStream stream that keeps the newest message of each subject, so that it is the
//! state and what leads on from there in one.
//!
//! # What is where
//!
//! The stream is the prefix in upper case (`MEDIAGATE`, a dot becomes `_`), with file storage, one message for each
//! subject and no other limit. Payloads are the JSON of [`wire`](super::wire).
//!
//! | subject | message |
//! | --- | --- |
//! | `<prefix>.restrictions.state.<key>` | `change`: the newest of one effect on one scope, also when it was lifted |
//! | `<prefix>.restrictions.heartbeat` | `heartbeat`: everything up to its `seq` is in the stream |
//! | `<prefix>.restrictions.snapshot` | `snapshot`, the marker: a whole state begins after it |
//! | `<prefix>.restrictions.relay` | `heartbeat`: a relay took over here; nodes pass it over |
//! | `<prefix>.reports` | `node`, what a node says of itself; not in the stream |
//!
//! `<key>` is [`wire::key`](super::wire::key) in base64url without padding: `deactivated/user/acme/bob` becomes
//! `ZGVhY3RpdmF0ZWQvdXNlci9hY21lL2JvYg`. A message on a subject that is not its own is malformed.
//!
//! # Publishing from elsewhere
//!
//! A system that keeps restrictions itself can write the stream instead of mediagate's relay, not beside it: a relay
//! that finds messages of another source writes the whole state anew. It publishes, in this order,
//!
//! 1. the marker, with a `source` of its own and the `seq` that its state contains,
//! 2. a change for everything in force, with a `seq` from 1 to that of the marker,
//! 3. a heartbeat with the marker's `seq`; then it purges what comes before the marker (`STREAM.PURGE` with `seq`),
//! 4. each later change, with a `seq` that grows, and at least once a second a heartbeat with the newest `seq`.
//!
//! Each with `Nats-Expected-Last-Sequence`, where two writers may meet. Nodes load what comes after the marker up to a
//! heartbeat; a `seq` above the heartbeat's is of no source and passed over. A heartbeat may have a header
//! `Mediagate-Subjects`: of so many subjects at least the stream has a message. With fewer, some were lost, and nobody
//! loads it before it is written anew.
//!
//! # Rights
//!
//! A node asks on `$JS.API.STREAM.INFO.<stream>`, `$JS.API.STREAM.MSG.GET.<stream>`, `$JS.API.CONSUMER.CREATE.<stream>.>`
//! and `$JS.API.CONSUMER.MSG.NEXT.<stream>.>`, publishes on `<prefix>.reports` and subscribes to `_INBOX.>`. The relay
//! publishes on `<prefix>.restrictions.>`, asks on `$JS.API.STREAM.*.<stream>` and `$JS.API.STREAM.MSG.GET.<stream>`
//! and subscribes to `_INBOX.>` and `<prefix>.reports`. Nobody else needs to write.

mod broker;
mod link;
mod options;
mod progress;
mod reader;
mod reports;
mod settings;
mod subjects;

use std::sync::Arc;

use async_nats::HeaderMap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use broker::NatsBroker;
pub use options::NatsOptions;
pub use reports::{NatsReporter, NatsReports};

use super::{BrokerError, FeedError, RestrictionFeed};
use crate::metrics::Metrics;
use crate::restrictions::Event;
use link::Link;
use reader::{Numbered, Reader};

/// A heartbeat's header: of how many subjects the stream has a message at least.
const SUBJECTS_HEADER: &str = "Mediagate-Subjects";

/// Events that wait to be taken; above that, reading waits. A part of a state is one of them, so these are few.
const CAPACITY: usize = 4;

fn kept_subjects(headers: &HeaderMap) -> u64 {
    headers.get(SUBJECTS_HEADER).and_then(|count| count.as_str().parse().ok()).unwrap_or(0)
}

/// A NATS JetStream as a node reads it. See [the module](self) for what is in it.
///
/// It reads in a task of its own, which ends with it. Servers that are gone, and a stream that is not there or not
/// complete, are waited for; what was delivered stays in force meanwhile, and the set grows stale.
pub struct NatsFeed {
    link: Link,
    events: mpsc::Receiver<Numbered>,
    /// How often the whole state was asked for.
    reload: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for NatsFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsFeed").field("stream", &self.link.subjects.stream).finish_non_exhaustive()
    }
}

impl NatsFeed {
    /// Connects to the servers of `options`. When none can be reached, or there is no stream yet, that is waited for in
    /// the background. Messages that are passed over are counted in `metrics`.
    ///
    /// # Errors
    ///
    /// When the server does not accept us, does not let us read the stream, or cannot be believed, and when the
    /// options make no sense.
    pub async fn connect(options: &NatsOptions, metrics: Arc<Metrics>) -> Result<NatsFeed, FeedError> {
        let link = Link::open(options).await.map_err(|error| FeedError(error.to_string()))?;
        // Everything else is tried again for as long as it takes.
        if let Err(error @ BrokerError::Refused(_)) = may_read(&link).await {
            return Err(FeedError(error.to_string()));
        }
        let (sender, events) = mpsc::channel(CAPACITY);
        let (reload, asked) = watch::channel(0);
        let reader = Reader { link: link.clone(), metrics, events: sender, reload: asked };
        let task = tokio::spawn(reader.run());
        Ok(NatsFeed { link, events, reload, task })
    }

    /// Returns a reporter that shares the connection.
    pub fn reporter(&self) -> NatsReporter {
        NatsReporter::over(self.link.clone())
    }
}

/// Does once what reading begins with, to learn whether that is allowed.
async fn may_read(link: &Link) -> Result<(), BrokerError> {
    if let Some(info) = link.info().await? {
        link.newest(&link.subjects.heartbeat).await?;
        reader::consumer(link, info.state.last_sequence + 1).await?;
    }
    Ok(())
}

impl RestrictionFeed for NatsFeed {
    async fn next(&mut self) -> Result<Event, FeedError> {
        loop {
            match self.events.recv().await {
                Some((reload, event)) if reload == *self.reload.borrow() => return Ok(event),
                // Of a state that is not wanted any more.
                Some(_) => {}
                None => return Err(FeedError("its reader has ended".to_owned())),
            }
        }
    }

    fn resync(&mut self) {
        self.reload.send_modify(|reload| *reload += 1);
    }
}

impl Drop for NatsFeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

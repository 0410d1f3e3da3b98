//! The node's side: connects, loads, follows, and begins again where it has to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};

use super::kept_subjects;
use super::link::{Link, Throttle};
use super::progress::{Next, Outcome, Progress};
use super::subjects::Said;
use crate::feed::wire::WireError;
use crate::feed::{Backoff, BrokerError, random_name};
use crate::metrics::Metrics;
use crate::restrictions::Event;

/// Messages that are asked for at a time: with fewer, loading waits for the next ones; with more, they take more memory.
const BATCH: usize = 500;

/// A consumer that is silent for twice this long is gone.
const IDLE_HEARTBEAT: Duration = Duration::from_millis(1500);

/// How long one request for messages stands.
const EXPIRES: Duration = Duration::from_secs(30);

/// When the server forgets a consumer that nobody asks.
const INACTIVE: Duration = Duration::from_secs(10);

/// The first and the longest pause before a state is loaded again because the set asked for it.
const RELOAD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The longest pause before a stream is looked at again that is not complete.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A state that was good for so long was not the reason for loading it again.
const SETTLED: Duration = Duration::from_secs(30);

/// How often messages that cannot be read are logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// An event with the number of the reload that it belongs to.
pub(super) type Numbered = (u64, Event);

/// Reads the stream, until nobody listens.
pub(super) struct Reader {
    pub(super) link: Link,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: mpsc::Sender<Numbered>,
    pub(super) reload: watch::Receiver<u64>,
}

/// What a session and the next have in common.
struct Memory {
    progress: Progress,
    /// When the stream was made, in nanoseconds since 1970: a stream of the same name may be another.
    created: Option<i128>,
    /// The newest change or marker taken in.
    anchor: Option<Anchor>,
    reload: u64,
    unreadable: Throttle,
}

/// A message by which a stream is known again: one that has lost its end and grown anew has another one there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Anchor {
    sequence: u64,
    /// When it was written, in nanoseconds since 1970.
    written: i128,
}

/// Why a session has ended.
enum Ended {
    /// Nobody listens.
    Closed,
    /// The set wants the whole state.
    Reload,
    /// The stream is not there, or has no complete state.
    Incomplete(&'static str),
    /// The connection or the consumer is gone.
    Lost(String),
}

impl From<BrokerError> for Ended {
    fn from(error: BrokerError) -> Ended {
        Ended::Lost(error.to_string())
    }
}

impl Reader {
    pub(super) async fn run(mut self) {
        let mut memory = Memory {
            progress: Progress::default(),
            created: None,
            anchor: None,
            reload: *self.reload.borrow_and_update(),
            unreadable: Throttle::new(LOG_EVERY),
        };
        let mut retries = Backoff::new(RELOAD.0 / 2, LONGEST_PAUSE);
        let mut reloads = Backoff::new(RELOAD.0, RELOAD.1);
        let mut warning = Throttle::default();
        loop {
            let begun = Instant::now();
            let seen = memory.progress.seen();
            let Err(ended) = self.session(&mut memory).await;
            if memory.progress.seen() != seen {
                retries.reset();
            }
            match ended {
                Ended::Closed => return,
                Ended::Reload => {
                    memory.reload = *self.reload.borrow_and_update();
                    memory.progress.restart();
                    if begun.elapsed() >= SETTLED {
                        reloads.reset();
                    }
                    log::info!("nats: loading the whole state again");
                    reloads.pause().await;
                }
                Ended::Incomplete(why) => {
                    if warning.ready() {
                        log::warn!("nats: waiting for a complete state: {why}");
                    }
                    retries.pause().await;
                }
                Ended::Lost(why) => {
                    if warning.ready() {
                        log::warn!("nats: connecting again: {}", why.escape_debug());
                    }
                    retries.pause().await;
                }
            }
        }
    }

    /// Reads from where it stopped, or from the beginning, until it cannot go on.
    async fn session(&mut self, memory: &mut Memory) -> Result<std::convert::Infallible, Ended> {
        let broken = self.link.health.borrow_and_update().broken;
        let consumer = self.open(memory).await?;
        let messages = consumer.stream().max_messages_per_batch(BATCH).heartbeat(IDLE_HEARTBEAT).expires(EXPIRES);
        let mut messages = messages.messages().await.map_err(|error| Ended::Lost(error.to_string()))?;
        let mut expected = 1;
        loop {
            // Most of a state is here already, and then nothing need be waited for beside it.
            let is_quiet =
                matches!((self.reload.has_changed(), self.link.health.has_changed()), (Ok(false), Ok(false)));
            let here = if is_quiet { messages.next().now_or_never() } else { None };
            let message = tokio::select! {
                biased;
                message = std::future::ready(here.flatten()), if here.is_some() => message,
                changed = self.reload.changed() => {
                    return Err(if changed.is_ok() { Ended::Reload } else { Ended::Closed });
                }
                _ = self.link.health.wait_for(|health| health.broken != broken) => {
                    return Err(Ended::Lost("the connection broke".to_owned()));
                }
                message = messages.next() => message,
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(Ended::Lost(error.to_string())),
                None => return Err(Ended::Lost("the consumer has ended".to_owned())),
            };
            let (at, pending) = {
                let info = message.info().map_err(|error| Ended::Lost(error.to_string()))?;
                if info.consumer_sequence != expected {
                    return Err(Ended::Lost("a message is missing".to_owned()));
                }
                let written = info.published.unix_timestamp_nanos();
                (Anchor { sequence: info.stream_sequence, written }, info.pending)
            };
            expected += 1;
            let said = self.read(&message, memory);
            if matches!(said, Said::Change { .. } | Said::Marker { .. }) {
                memory.anchor = Some(at);
            }
            self.handle(memory, at.sequence, pending, said).await?;
        }
    }

    /// Finds out whether to go on or to begin anew, and makes a consumer for it.
    async fn open(&self, memory: &mut Memory) -> Result<Consumer<pull::Config>, Ended> {
        // In this order: the heartbeat says how many subjects there were at its time, and they only become more.
        let heartbeat = self.link.newest(&self.link.subjects.heartbeat).await?;
        let Some(info) = self.link.info().await? else { return Err(Ended::Incomplete("there is no stream")) };
        let marker = self.link.marker().await?;
        let (Some(heartbeat), Some(marker)) = (heartbeat, marker) else {
            return Err(Ended::Incomplete("nothing has been published"));
        };
        if heartbeat.sequence < marker.sequence {
            return Err(Ended::Incomplete("a state is being published"));
        }
        if info.state.subjects_count < kept_subjects(&heartbeat.headers) {
            return Err(Ended::Incomplete("messages are missing"));
        }
        let created = info.created.unix_timestamp_nanos();
        let is_same = memory.created == Some(created)
            && memory.progress.marker() == marker.sequence
            && info.state.last_sequence >= memory.progress.seen()
            && self.is_anchored(memory).await?;
        let progress = &mut memory.progress;
        if !is_same {
            progress.restart();
        }
        memory.created = Some(created);
        progress.connected(info.state.last_sequence);
        let mut out = Outcome::default();
        if progress.seen() == 0 {
            let Ok(said @ Said::Marker { .. }) = self.link.subjects.read(&marker.subject, &marker.payload) else {
                return Err(Ended::Incomplete("its beginning cannot be read"));
            };
            // The heartbeat has been seen, so there is more to come.
            progress.take(marker.sequence, 1, said, &mut out);
            let written = marker.time.unix_timestamp_nanos();
            memory.anchor = Some(Anchor { sequence: marker.sequence, written });
        }
        if let Ok(Said::Heartbeat(at)) = self.link.subjects.read(&heartbeat.subject, &heartbeat.payload) {
            // What it covers need not be held back.
            progress.heard(heartbeat.sequence, &at, &mut out);
        }
        // What came after the anchor was heartbeats: there may be something else now.
        let start = memory.anchor.map_or(progress.seen(), |anchor| anchor.sequence) + 1;
        self.deliver(memory.reload, out).await?;
        Ok(consumer(&self.link, start).await?)
    }

    /// Whether the stream has what it had where we last took in something. What was superseded since tells nothing.
    async fn is_anchored(&self, memory: &Memory) -> Result<bool, Ended> {
        let Some(anchor) = memory.anchor else { return Ok(true) };
        let message = self.link.message(anchor.sequence).await?;
        Ok(message.is_none_or(|message| message.time.unix_timestamp_nanos() == anchor.written))
    }

    fn read(&self, message: &Message, memory: &mut Memory) -> Said {
        match self.link.subjects.read(&message.subject, &message.payload) {
            Ok(said) => said,
            Err(error) => {
                let label = match error {
                    WireError::Malformed => "malformed",
                    WireError::Unknown => "unknown",
                };
                self.count(label, 1);
                if memory.unreadable.ready() {
                    log::warn!("nats: a message is passed over because it is {error}");
                }
                Said::Nothing
            }
        }
    }

    async fn handle(&self, memory: &mut Memory, sequence: u64, pending: u64, said: Said) -> Result<(), Ended> {
        let mut out = Outcome::default();
        let mut next = memory.progress.take(sequence, pending, said, &mut out);
        let mut asked = Backoff::new(RELOAD.0, LONGEST_PAUSE);
        loop {
            self.deliver(memory.reload, std::mem::take(&mut out)).await?;
            match next {
                Next::Read => return Ok(()),
                Next::Reload => return Err(Ended::Reload),
                Next::Verify => {
                    let marker = self.link.marker().await?;
                    memory.progress.finish(marker.map(|marker| marker.sequence), pending, &mut out);
                    next = Next::Read;
                }
                Next::AskHeartbeat => {
                    match self.reload.has_changed() {
                        Ok(false) => {}
                        Ok(true) => return Err(Ended::Reload),
                        Err(_) => return Err(Ended::Closed),
                    }
                    asked.pause().await;
                    let heartbeat = self.link.newest(&self.link.subjects.heartbeat).await?;
                    if let Some(heartbeat) = heartbeat
                        && let Ok(Said::Heartbeat(at)) = self.link.subjects.read(&heartbeat.subject, &heartbeat.payload)
                    {
                        next = memory.progress.heard(heartbeat.sequence, &at, &mut out);
                    }
                }
            }
        }
    }

    async fn deliver(&self, reload: u64, out: Outcome) -> Result<(), Ended> {
        self.count("absurd", out.absurd);
        self.count("foreign", out.foreign);
        for event in out.events {
            self.events.send((reload, event)).await.map_err(|_| Ended::Closed)?;
        }
        Ok(())
    }

    fn count(&self, label: &str, count: u64) {
        if count > 0 {
            self.metrics.feed_events.with_label_values(&[label]).inc_by(count);
        }
    }
}

/// Makes a consumer that begins at `start`. Ours alone, and gone soon after we are.
pub(super) async fn consumer(link: &Link, start: u64) -> Result<Consumer<pull::Config>, BrokerError> {
    let config = pull::Config {
        // Named, so that the right to make it can be given for this stream alone.
        name: Some(format!("mediagate-{}", random_name()?)),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start },
        ack_policy: AckPolicy::None,
        inactive_threshold: INACTIVE,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let create = async {
        link.stream.create_consumer(config).await.map_err(|error| BrokerError::Unreachable(error.to_string()))
    };
    link.permitted(create).await
}

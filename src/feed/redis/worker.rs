//! Follows the stream, and decides what to do whenever it cannot be sure to have missed nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, RedisResult, cmd};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::RedisOptions;
use super::buckets::Buckets;
use super::keys::Keys;
use super::link::{Link, Throttle, broker_error, unexpected};
use super::load::read_some;
use super::look::{Meta, glance, look};
use super::message::{self, EntryId, StreamEntry};
use super::verdict::{Claim, Held, Settled, Step, Verdict, settled, step, verdict};
use crate::feed::{Backoff, BrokerError};
use crate::metrics::Metrics;
use crate::restrictions::Event;

/// How long one read of the stream waits for an entry.
const BLOCK: Duration = Duration::from_secs(1);

/// Entries in one read of the stream.
const ENTRIES_AT_ONCE: usize = 1000;

/// Why a session with the server has ended.
pub(super) enum Trouble {
    /// The connection broke, or the server answered with an error.
    Server(RedisError),
    /// Nobody takes events any more.
    Unwanted,
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Trouble {
        Trouble::Server(error)
    }
}

/// Follows a server, whatever happens to it.
pub(super) struct Worker {
    pub(super) keys: Keys,
    silence: Duration,
    metrics: Arc<Metrics>,
    /// For questions.
    pub(super) asking: Link,
    /// For reads that wait.
    reading: Link,
    pub(super) events: mpsc::Sender<(u64, Event)>,
    resyncs: watch::Receiver<u64>,
    pub(super) resync: u64,
    /// What has been delivered; `None` when the state is to be loaded whatever it is.
    pub(super) held: Option<Held>,
    /// Whether the state is to be loaded although nothing may have been missed.
    pub(super) reload: bool,
    /// Pauses before states that are loaded again.
    pub(super) reloads: Backoff,
    pub(super) loaded: Option<Instant>,
    /// Pauses before the server is asked again.
    troubles: Backoff,
    empties: Backoff,
    pub(super) warned: Throttle,
    passed_over: Throttle,
}

impl Worker {
    pub(super) fn new(
        options: &RedisOptions,
        metrics: Arc<Metrics>,
        events: mpsc::Sender<(u64, Event)>,
        resyncs: watch::Receiver<u64>,
    ) -> Result<Worker, String> {
        Ok(Worker {
            keys: options.keys(),
            silence: options.silence,
            metrics,
            asking: Link::new(options, Duration::ZERO)?,
            reading: Link::new(options, BLOCK)?,
            events,
            resyncs,
            resync: 0,
            held: None,
            reload: false,
            reloads: Backoff::new(Duration::from_millis(200), Duration::from_secs(5)),
            loaded: None,
            troubles: Backoff::default(),
            empties: Backoff::new(Duration::from_millis(50), Duration::from_secs(1)),
            warned: Throttle::default(),
            passed_over: Throttle::default(),
        })
    }

    /// Tries everything that the feed does once, so that missing rights are seen at the start.
    pub(super) async fn try_all(&mut self) -> Result<(), BrokerError> {
        let tried = async {
            let look = look(&mut self.asking, &self.keys, None).await?;
            read_some(&mut self.asking, &Buckets::of(self.keys.state("none"), 0), 0..1).await?;
            self.read_after(look.last).await?;
            Ok(())
        };
        tried.await.map_err(|error: RedisError| broker_error(&error))
    }

    /// Follows the server until nobody takes events any more.
    pub(super) async fn run(mut self) {
        let mut resyncs = self.resyncs.clone();
        loop {
            self.resync = *resyncs.borrow_and_update();
            tokio::select! {
                changed = resyncs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.reload = true;
                    // A read may be under way on it.
                    self.reading.close();
                }
                () = self.serve() => return,
            }
        }
    }

    async fn serve(&mut self) {
        loop {
            match self.session().await {
                Err(Trouble::Unwanted) => return,
                Err(Trouble::Server(error)) => {
                    let error = broker_error(&error);
                    self.warned.run(|| log::warn!("restrictions: {error}; trying again"));
                    self.asking.close();
                    self.reading.close();
                    self.troubles.pause().await;
                }
            }
        }
    }

    async fn session(&mut self) -> Result<Infallible, Trouble> {
        loop {
            match self.judge().await? {
                Verdict::Empty => {
                    self.warned.run(|| log::warn!("restrictions: the broker has no state yet; waiting for it"));
                    self.empties.pause().await;
                    continue;
                }
                Verdict::Behind(look) => self.wait_behind(look).await?,
                Verdict::Load(_) => self.load().await?,
                Verdict::Resume(from, newest) => {
                    self.troubles.reset();
                    if let Some(held) = &mut self.held {
                        held.last = from;
                    }
                    self.follow(newest).await?;
                }
            }
            self.empties.reset();
        }
    }

    /// Finds out whether anything was missed.
    pub(super) async fn judge(&mut self) -> RedisResult<Verdict> {
        let look = look(&mut self.asking, &self.keys, self.held.as_ref().map(|held| held.last)).await?;
        Ok(verdict(self.held.as_ref(), self.reload, look))
    }

    /// Delivers what the stream says, until something is to be found out. Entries up to `newest` are no news.
    async fn follow(&mut self, newest: EntryId) -> Result<(), Trouble> {
        let mut heard = Instant::now();
        while let Some(last) = self.held.as_ref().map(|held| held.last) {
            // Read after the entries, so it covers every true one of them; at most once for each read.
            let mut meta = None;
            for entry in self.wait_after(last).await? {
                let Some(held) = &self.held else { return Ok(()) };
                match step(&held.at, entry.message) {
                    Step::Skip => {}
                    Step::Count(label) => self.pass_over(label, 1),
                    // From before this session, and so no sign of life.
                    Step::Deliver(Event::Heartbeat { .. }, _) if entry.id <= newest => {}
                    Step::Deliver(event, seq) => {
                        self.send(event).await?;
                        heard = Instant::now();
                        self.advance(|held| held.at.seq = seq);
                    }
                    Step::Ask(claim) => {
                        if meta.is_none() {
                            meta = Some(glance(&mut self.asking, &self.keys).await?);
                        }
                        if self.settle(&claim, meta.as_ref().and_then(Option::as_ref)) {
                            return Ok(());
                        }
                    }
                }
                self.advance(|held| held.last = entry.id);
            }
            if heard.elapsed() > self.silence {
                return Ok(());
            }
        }
        Ok(())
    }

    fn advance(&mut self, change: impl FnOnce(&mut Held)) {
        if let Some(held) = &mut self.held {
            change(held);
        }
    }

    /// Takes a message at its word, or not, by what the broker says of itself. Whether the state is to be loaded.
    fn settle(&mut self, claim: &Claim, meta: Option<&Meta>) -> bool {
        let Some(held) = &self.held else { return true };
        match settled(held, claim, meta) {
            Settled::Missed => self.reload = true,
            Settled::WentBack => self.held = None,
            Settled::Old => return false,
            Settled::False => {
                self.pass_over("absurd", 1);
                return false;
            }
        }
        true
    }

    /// Counts something on the broker that cannot be used.
    pub(super) fn pass_over(&mut self, label: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        self.metrics.feed_events.with_label_values(&[label]).inc_by(count);
        self.passed_over.run(|| log::warn!("restrictions: the broker holds what is {label}; passing over it"));
    }

    pub(super) async fn send(&mut self, event: Event) -> Result<(), Trouble> {
        self.events.send((self.resync, event)).await.map_err(|_| Trouble::Unwanted)
    }

    /// Reads entries after `last`; waits a while when there are none.
    pub(super) async fn wait_after(&mut self, last: EntryId) -> RedisResult<Vec<StreamEntry>> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(ENTRIES_AT_ONCE).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.keys.changes).arg(last.to_string());
        let entries = message::read(self.reading.run(&command).await?);
        entries.ok_or_else(|| unexpected("XREAD"))
    }

    /// Reads entries after `last`, if there are any.
    pub(super) async fn read_after(&mut self, last: EntryId) -> RedisResult<Vec<StreamEntry>> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(ENTRIES_AT_ONCE).arg("STREAMS").arg(&self.keys.changes).arg(last.to_string());
        let entries = message::read(self.asking.run(&command).await?);
        entries.ok_or_else(|| unexpected("XREAD"))
    }
}

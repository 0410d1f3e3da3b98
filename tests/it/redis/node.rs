//! A node as the tests see it: it takes every event, and holds each to the contract of a feed.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mediagate::feed::redis::{RedisBroker, RedisFeed, RedisOptions};
use mediagate::feed::wire::{Position, key};
use mediagate::feed::{Broker, BrokerError, RestrictionFeed};
use mediagate::metrics::Metrics;
use mediagate::restrictions::{Change, Effect, Entry, Event, Scope};
use tokio::sync::mpsc;

use crate::support::redis_server::RedisServer;

/// Whatever has not happened by then never will.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// The source of the tests' numbers.
pub(super) const SOURCE: &str = "db-1";

pub(super) fn at(seq: u64) -> Position {
    Position { source: SOURCE.into(), seq }
}

pub(super) fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new())
}

pub(super) fn relay(server: &RedisServer) -> RedisBroker {
    RedisBroker::new(&server.options()).expect("good options")
}

fn user(uid: &str) -> Scope {
    Scope::User { app: "acme".into(), uid: uid.into() }
}

pub(super) fn deactivated(seq: u64, uid: &str) -> Change {
    Change { seq, scope: user(uid), effect: Effect::Deactivated, in_force: true }
}

pub(super) fn lifted(seq: u64, uid: &str) -> Change {
    Change { in_force: false, ..deactivated(seq, uid) }
}

/// Deactivated users `u0`, `u1` and so on.
pub(super) fn entries(range: std::ops::Range<usize>) -> Vec<Entry> {
    range.map(|n| Entry { scope: user(&format!("u{n}")), effect: Effect::Deactivated, in_force: true }).collect()
}

/// Refills the broker, in parts.
pub(super) async fn fill(broker: &mut RedisBroker, at: &Position, entries: &[Entry]) -> Result<(), BrokerError> {
    let (sender, parts) = mpsc::channel(1);
    let sending = async move {
        for part in entries.chunks(3000) {
            if sender.send(part.to_vec()).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(broker.refill(at, entries.len(), parts), sending).0
}

/// Beats until `done`, as a relay does each second and these tests more often.
pub(super) async fn beating(broker: &mut RedisBroker, seq: u64, done: impl Future<Output = ()>) {
    let beats = async {
        loop {
            broker.heartbeat(&at(seq)).await.expect("the broker stands there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = done => {}
        () = beats => {}
    }
}

/// What a node has been told.
pub(super) struct Node {
    feed: RedisFeed,
    pub(super) metrics: Arc<Metrics>,
    /// Everything up to here was delivered; `None` before the first state.
    pub(super) seq: Option<u64>,
    pub(super) held: BTreeMap<String, (Scope, Effect)>,
    arriving: Option<BTreeMap<String, (Scope, Effect)>>,
    /// States that have begun to arrive, and those that are complete.
    pub(super) begun: usize,
    pub(super) loads: usize,
    pub(super) beats: usize,
    pub(super) largest_part: usize,
}

impl Node {
    pub(super) async fn connect(server: &RedisServer) -> Node {
        Node::with(server.options()).await
    }

    pub(super) async fn with(options: RedisOptions) -> Node {
        let metrics = metrics();
        let feed = RedisFeed::connect(options, Arc::clone(&metrics)).await.expect("nothing that waiting cannot mend");
        let held = BTreeMap::new();
        Node { feed, metrics, seq: None, held, arriving: None, begun: 0, loads: 0, beats: 0, largest_part: 0 }
    }

    /// Takes events until `condition` holds.
    pub(super) async fn until(&mut self, what: &str, condition: impl Fn(&Node) -> bool) {
        let waiting = async {
            while !condition(self) {
                let event = self.feed.next().await.expect("a feed that goes on");
                self.take(event);
            }
        };
        let is_late = tokio::time::timeout(DEADLINE, waiting).await.is_err();
        assert!(!is_late, "never: {what}; at {:?} after {} loads and {} beats", self.seq, self.loads, self.beats);
    }

    /// Waits until `condition` holds, and takes no event meanwhile: there must be none.
    pub(super) async fn quiet_until<F: Future<Output = bool>>(&mut self, mut condition: impl FnMut() -> F) {
        let holds = async { while !condition().await {} };
        tokio::select! {
            event = self.feed.next() => panic!("{event:?}, and there should be nothing"),
            () = holds => {}
            () = tokio::time::sleep(DEADLINE) => panic!("never"),
        }
    }

    /// Waits until `condition` holds, and gets no whole state meanwhile.
    pub(super) async fn stateless_until<F: Future<Output = bool>>(&mut self, mut condition: impl FnMut() -> F) {
        let mut holds = pin!(async { while !condition().await {} });
        loop {
            tokio::select! {
                event = self.feed.next() => match event.expect("a feed that goes on") {
                    event @ (Event::SnapshotBegins { .. } | Event::SnapshotPart(_)) => self.take(event),
                    event => panic!("{event:?}, and there should be no state"),
                },
                () = &mut holds => return,
                () = tokio::time::sleep(DEADLINE) => panic!("never"),
            }
        }
    }

    /// Holds the feed to its contract.
    fn take(&mut self, event: Event) {
        match event {
            Event::Snapshot { .. } => panic!("a state in one event"),
            Event::SnapshotBegins { .. } => {
                self.arriving = Some(BTreeMap::new());
                self.begun += 1;
            }
            Event::SnapshotPart(entries) => {
                self.largest_part = self.largest_part.max(entries.len());
                let arriving = self.arriving.as_mut().expect("a part of a state that has begun");
                for Entry { scope, effect, in_force } in entries {
                    let name = key(&scope, effect);
                    if in_force {
                        arriving.insert(name, (scope, effect));
                    } else {
                        arriving.remove(&name);
                    }
                }
            }
            Event::SnapshotEnds { seq, .. } => {
                self.held = self.arriving.take().expect("a state that has begun");
                self.seq = Some(seq);
                self.loads += 1;
            }
            Event::Change(change) => {
                assert_eq!(Some(change.seq), self.seq.map(|seq| seq + 1), "a change that does not follow");
                self.seq = Some(change.seq);
                let name = key(&change.scope, change.effect);
                if change.in_force {
                    self.held.insert(name, (change.scope, change.effect));
                } else {
                    self.held.remove(&name);
                }
            }
            Event::Heartbeat { seq } => {
                assert_eq!(Some(seq), self.seq, "a heartbeat for something else");
                self.beats += 1;
            }
        }
    }

    pub(super) fn feed_resync(&mut self) {
        self.arriving = None;
        self.feed.resync();
    }

    /// The restricted users, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |(scope, _): &(Scope, Effect)| match scope {
            Scope::User { uid, .. } => uid.clone(),
            other => format!("{other:?}"),
        };
        self.held.values().map(name).collect()
    }

    /// How many messages were passed over as `label`.
    pub(super) fn passed_over(&self, label: &str) -> u64 {
        self.metrics.feed_events.with_label_values(&[label]).get()
    }
}

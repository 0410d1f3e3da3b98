//! A source of restrictions, its relay, and nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use mediagate::feed::nats::{NatsBroker, NatsFeed, NatsOptions};
use mediagate::feed::wire::Position;
use mediagate::feed::{Broker, BrokerError, FeedError, Following};
use mediagate::gate::UidCase;
use mediagate::metrics::Metrics;
use mediagate::restrictions::{Change, Effect, Entry, RestrictionSet, Scope};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::support::nats_server::NatsServer;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Asks `condition` again and again until it holds.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "never: {what}");
        tick.tick().await;
    }
}

pub(super) fn user(name: &str) -> Scope {
    Scope::User { app: "demo".into(), uid: name.into() }
}

/// What the database knows.
#[derive(Clone)]
pub(super) struct Source {
    id: String,
    log: Vec<Change>,
    state: BTreeMap<(String, bool), Effect>,
}

impl Source {
    pub(super) fn new(id: &str) -> Source {
        Source { id: id.into(), log: vec![], state: BTreeMap::new() }
    }

    pub(super) fn deactivate(&mut self, name: &str) {
        self.change(name, Effect::Deactivated, true);
    }

    pub(super) fn lift(&mut self, name: &str) {
        self.change(name, Effect::Deactivated, false);
    }

    pub(super) fn flush(&mut self, name: &str, before: u64) {
        self.change(name, Effect::IssuedBefore { before }, true);
    }

    fn change(&mut self, name: &str, effect: Effect, in_force: bool) {
        self.log.push(Change { seq: self.log.len() as u64 + 1, scope: user(name), effect, in_force });
        let key = (name.to_owned(), effect == Effect::Deactivated);
        if in_force {
            self.state.insert(key, effect);
        } else {
            self.state.remove(&key);
        }
    }

    /// The same source when it was at `seq`.
    pub(super) fn take_from(&mut self, whole: &Source, seq: usize) {
        for Change { scope, effect, in_force, .. } in whole.log.iter().take(seq).cloned() {
            if let Scope::User { uid, .. } = scope {
                self.change(&uid, effect, in_force);
            }
        }
    }

    pub(super) fn position(&self) -> Position {
        Position { source: self.id.clone(), seq: self.log.len() as u64 }
    }

    pub(super) fn since(&self, seq: u64) -> &[Change] {
        &self.log[usize::try_from(seq).expect("small")..]
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        let entry = |((name, _), effect): (&(String, bool), &Effect)| Entry {
            scope: user(name),
            effect: *effect,
            in_force: true,
        };
        self.state.iter().map(entry).collect()
    }

    pub(super) async fn relay(&self, server: &NatsServer) -> Relay {
        Relay { broker: NatsBroker::connect(&server.options()).await.expect("options are good") }
    }
}

/// What the control plane does with a broker, in its simplest form.
pub(super) struct Relay {
    pub(super) broker: NatsBroker,
}

impl Relay {
    /// One attempt to bring the broker to where the source is.
    pub(super) async fn step(&mut self, source: &Source) -> Result<(), BrokerError> {
        let end = source.position();
        match self.broker.position().await? {
            Some(at) if at.source == end.source && at.seq <= end.seq => {
                self.broker.publish(&at, source.since(at.seq)).await?;
            }
            _ => self.refill(source).await?,
        }
        self.broker.heartbeat(&end).await
    }

    /// As [`Relay::step`], and content with a broker that is further already.
    pub(super) async fn step_forward(&mut self, source: &Source) -> Result<(), BrokerError> {
        match self.broker.position().await? {
            Some(at) if at.source == source.id && at.seq > source.position().seq => Ok(()),
            _ => self.step(source).await,
        }
    }

    pub(super) async fn refill(&mut self, source: &Source) -> Result<(), BrokerError> {
        let (sender, parts) = mpsc::channel(2);
        let entries = source.entries();
        let expected = entries.len();
        tokio::spawn(async move {
            for part in entries.chunks(1000) {
                if sender.send(part.to_vec()).await.is_err() {
                    return;
                }
            }
        });
        self.broker.refill(&source.position(), expected, parts).await
    }

    /// Brings the broker to where the source is, however often that takes.
    pub(super) async fn catch_up(&mut self, source: &Source) {
        let begun = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while let Err(error) = self.step(source).await {
            assert!(begun.elapsed() < DEADLINE, "never caught up: {error}");
            tick.tick().await;
        }
    }
}

/// A node, as far as its restrictions go.
pub(super) struct Node {
    set: Arc<RestrictionSet>,
    metrics: Arc<Metrics>,
    epoch: Instant,
    task: JoinHandle<FeedError>,
}

impl Node {
    pub(super) async fn start(server: &NatsServer) -> Node {
        Node::with(&server.options()).await
    }

    pub(super) async fn with(options: &NatsOptions) -> Node {
        let metrics = Arc::new(Metrics::new());
        let epoch = Instant::now();
        let set = Arc::new(RestrictionSet::new([1, 2], epoch));
        let feed = NatsFeed::connect(options, Arc::clone(&metrics)).await.expect("accepted");
        let (following, counting) = (Arc::clone(&set), Arc::clone(&metrics));
        let task = tokio::spawn(async move {
            let applied = watch::Sender::new(0);
            let (_never, resync) = tokio::sync::watch::channel(0);
            let uid_case = |_: &str| UidCase::Exact;
            let following = Following { set: &following, uid_case, metrics: &counting, applied: &applied, resync };
            let ended = following.follow(feed).await;
            ended.expect_err("a feed ends with an error only")
        });
        Node { set, metrics, epoch, task }
    }

    /// Whether `name` is restricted in any way, as to a token of old.
    pub(super) fn has(&self, name: &str) -> bool {
        self.set.check(&self.set.subject("demo", name, None, None, Some(1))).is_err()
    }

    pub(super) fn has_effect(&self, name: &str, effect: Effect) -> bool {
        let issued_at = if let Effect::IssuedBefore { before } = effect { before } else { u64::MAX };
        let alive = |at| self.set.check(&self.set.subject("demo", name, None, None, Some(at))).is_ok();
        match effect {
            Effect::IssuedBefore { .. } => !alive(issued_at - 1) && alive(issued_at),
            _ => !alive(issued_at),
        }
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.set.age(self.epoch).is_some()
    }

    pub(super) fn applied(&self) -> u64 {
        self.set.applied()
    }

    pub(super) fn age(&self) -> Option<Duration> {
        self.set.age(Instant::now())
    }

    /// Whether it has exactly what the source has, and is as far.
    pub(super) fn equals(&self, source: &Source) -> bool {
        self.is_loaded()
            && self.applied() == source.position().seq
            && self.set.len() == source.state.len()
            && source.state.iter().all(|((name, _), effect)| match effect {
                Effect::Deactivated => self.has(name),
                // What is deactivated as well hides the other effect.
                effect => source.state.contains_key(&(name.clone(), true)) || self.has_effect(name, *effect),
            })
    }

    pub(super) fn count(&self, label: &str) -> u64 {
        self.metrics.feed_events.with_label_values(&[label]).get()
    }

    pub(super) fn assert_alive(&self) {
        assert!(!self.task.is_finished(), "the feed has ended");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Somebody with a connection of their own, who writes whatever they like.
pub(super) struct Outsider {
    pub(super) context: jetstream::Context,
}

impl Outsider {
    pub(super) async fn connect(server: &NatsServer) -> Outsider {
        let client = async_nats::connect(server.url("nats")).await.expect("connected");
        Outsider { context: jetstream::new(client) }
    }

    /// Publishes below `mediagate.restrictions.`.
    pub(super) async fn publish(&self, name: &str, payload: impl Into<Vec<u8>>) {
        let subject = format!("mediagate.restrictions.{name}");
        let payload: Vec<u8> = payload.into();
        self.context.publish(subject, payload.into()).await.expect("sent").await.expect("kept");
    }

    pub(super) async fn stream(&self) -> jetstream::stream::Stream {
        self.context.get_stream("MEDIAGATE").await.expect("a stream")
    }
}

/// The subject of a change, below `mediagate.restrictions.`.
pub(super) fn state_name(scope: &Scope, effect: Effect) -> String {
    use base64::Engine;
    let key = mediagate::feed::wire::key(scope, effect);
    format!("state.{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key))
}

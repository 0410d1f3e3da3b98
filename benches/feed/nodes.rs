//! Nodes in this process, and the two sides of every feed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mediagate::feed::nats::{NatsBroker, NatsFeed, NatsOptions};
use mediagate::feed::redis::{RedisBroker, RedisFeed, RedisOptions};
use mediagate::feed::wire::Position;
use mediagate::feed::{Broker, BrokerError, Following, RestrictionFeed, local};
use mediagate::gate::UidCase;
use mediagate::metrics::Metrics;
use mediagate::restrictions::{Change, Effect, Entry, RestrictionSet, Scope};
use mediagate::store::Store;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Whose numbers the bench's own publications have.
pub(crate) const SOURCE: &str = "bench";

/// Where nodes take their restrictions from.
#[derive(Clone)]
pub(crate) enum Source {
    Local(Store),
    Redis(String),
    Nats(String),
}

/// A node: a set that follows a feed.
pub(crate) struct Node {
    pub(crate) set: Arc<RestrictionSet>,
    pub(crate) applied: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    pub(crate) async fn start(source: &Source) -> Node {
        let set = Arc::new(RestrictionSet::new([1, 2], Instant::now()));
        let (sender, applied) = watch::channel(0);
        let metrics = Arc::new(Metrics::new());
        let task = match source {
            Source::Local(store) => tokio::spawn(follow(local(store.clone()), Arc::clone(&set), metrics, sender)),
            Source::Redis(url) => {
                let options = RedisOptions::parse(url).expect("a URL");
                let feed = RedisFeed::connect(options, Arc::clone(&metrics)).await.expect("a feed");
                tokio::spawn(follow(feed, Arc::clone(&set), metrics, sender))
            }
            Source::Nats(url) => {
                let options = NatsOptions::parse(url).expect("a URL");
                let feed = NatsFeed::connect(&options, Arc::clone(&metrics)).await.expect("a feed");
                tokio::spawn(follow(feed, Arc::clone(&set), metrics, sender))
            }
        };
        Node { set, applied, task }
    }

    /// Waits until everything up to `seq` is in force.
    pub(crate) async fn until(&mut self, seq: u64) {
        let reached = self.applied.wait_for(|applied| *applied >= seq);
        tokio::time::timeout(Duration::from_secs(600), reached).await.expect("in time").expect("a feed");
        while self.set.age(Instant::now()).is_none() {
            tokio::task::yield_now().await;
        }
    }

    /// Notes for each change how long it took from `published` to here.
    pub(crate) fn measure(&self, published: Arc<Published>) -> JoinHandle<Vec<Duration>> {
        let mut applied = self.applied.clone();
        tokio::spawn(async move {
            let mut took = Vec::new();
            let mut noted = published.first - 1;
            while noted < published.last {
                if applied.changed().await.is_err() {
                    break;
                }
                let (newest, now) = (*applied.borrow_and_update(), Instant::now());
                let times = published.times.lock().expect("no panic");
                for seq in noted + 1..=newest.min(published.last) {
                    took.push(now.saturating_duration_since(times[(seq - published.first) as usize]));
                    noted = seq;
                }
            }
            took
        })
    }
}

async fn follow(
    feed: impl RestrictionFeed,
    set: Arc<RestrictionSet>,
    metrics: Arc<Metrics>,
    applied: watch::Sender<u64>,
) {
    let (_never, resync) = watch::channel(0);
    let uid_case = |_: &str| UidCase::Folded;
    let following = Following { set: &set, uid_case, metrics: &metrics, applied: &applied, resync };
    following.follow(feed).await.expect("a feed that goes on");
}

/// When each change was handed over.
pub(crate) struct Published {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) times: Mutex<Vec<Instant>>,
}

/// The writing side of a broker.
pub(crate) enum Writer {
    Redis(Box<RedisBroker>),
    Nats(Box<NatsBroker>),
}

impl Writer {
    pub(crate) async fn connect(source: &Source) -> Writer {
        match source {
            Source::Local(_) => panic!("a store has no broker"),
            Source::Redis(url) => {
                let broker = RedisBroker::new(&RedisOptions::parse(url).expect("a URL")).expect("a broker");
                Writer::Redis(Box::new(broker))
            }
            Source::Nats(url) => {
                let broker = NatsBroker::connect(&NatsOptions::parse(url).expect("a URL")).await.expect("a broker");
                Writer::Nats(Box::new(broker))
            }
        }
    }

    pub(crate) async fn publish(&mut self, after: u64, changes: &[Change]) -> Result<(), BrokerError> {
        let after = at(after);
        match self {
            Writer::Redis(broker) => broker.publish(&after, changes).await,
            Writer::Nats(broker) => broker.publish(&after, changes).await,
        }
    }

    pub(crate) async fn heartbeat(&mut self, seq: u64) -> Result<(), BrokerError> {
        match self {
            Writer::Redis(broker) => broker.heartbeat(&at(seq)).await,
            Writer::Nats(broker) => broker.heartbeat(&at(seq)).await,
        }
    }

    /// Fills the broker with `count` deactivated users, as a state at `seq`.
    pub(crate) async fn fill(&mut self, count: u64, seq: u64) {
        let (sender, parts) = mpsc::channel(2);
        let feed = async move {
            let numbers: Vec<u64> = (0..count).collect();
            for part in numbers.chunks(4096) {
                let entries =
                    part.iter().map(|n| Entry { scope: user(*n), effect: Effect::Deactivated, in_force: true });
                sender.send(entries.collect()).await.expect("a broker that takes it");
            }
        };
        let (at, expected) = (at(seq), count as usize);
        let (filled, ()) = match self {
            Writer::Redis(broker) => tokio::join!(broker.refill(&at, expected, parts), feed),
            Writer::Nats(broker) => tokio::join!(broker.refill(&at, expected, parts), feed),
        };
        filled.expect("a broker that is filled");
        self.heartbeat(seq).await.expect("a heartbeat");
    }
}

fn at(seq: u64) -> Position {
    Position { source: SOURCE.to_owned(), seq }
}

/// One of the users.
pub(crate) fn user(number: u64) -> Scope {
    Scope::User { app: "demo".into(), uid: format!("user-{number:08}") }
}

/// Change number `seq`.
pub(crate) fn change(seq: u64) -> Change {
    Change { seq, scope: user(seq), effect: Effect::Deactivated, in_force: true }
}

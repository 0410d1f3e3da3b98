//! What ties a process to its feed: an edge follows it and says how far it is; a control node relays to it and hears
//! what the edges say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::config::FeedSource;
use crate::control::nodes::Nodes;
use crate::feed::nats::{NatsBroker, NatsFeed, NatsReporter, NatsReports};
use crate::feed::redis::{RedisBroker, RedisFeed, RedisReporter, RedisReports};
use crate::feed::wire::NodeReport;
use crate::feed::{self, Broker, BrokerError, Following, Reporter, Reports, RestrictionFeed};
use crate::proxy::Shared;
use crate::relay::{EXPIRE_EVERY, RelayTimes, keep_expiring, relay};
use crate::store::{Location, Store, random_id};

/// How often an edge says how far it is when nothing changes.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The least time between two reports of one edge: a storm of changes is not one of reports.
const REPORT_GAP: Duration = Duration::from_millis(10);

/// What an edge knows of its feed.
pub(super) struct Edge {
    /// The newest `seq` in force; steps on with each state that was loaded, too.
    pub(super) applied: watch::Receiver<u64>,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

/// Begins to follow the feed, and to say so under `name`. `resync` steps on when the state must be loaded anew.
///
/// # Errors
///
/// When the broker refuses us. One that cannot be reached is waited for.
pub(super) async fn edge(
    source: &FeedSource,
    local: Option<(&Store, &Arc<Nodes>)>,
    shared: &Shared,
    name: &str,
    resync: watch::Receiver<u64>,
) -> anyhow::Result<Edge> {
    let (sender, applied) = watch::channel(0);
    let reporting = Reporting {
        shared: shared.clone(),
        name: name.to_owned(),
        instance: random_id(),
        applied: applied.clone(),
        turn: 0,
    };
    let metrics = || Arc::clone(&shared.metrics);
    let tasks = match source {
        FeedSource::Local => {
            let (store, nodes) = local.context("the feed local: needs the store of the same process")?;
            let feed = feed::local(store.clone());
            let nodes = Arc::clone(nodes);
            vec![
                tokio::spawn(follow(feed, shared.clone(), sender, resync)),
                tokio::spawn(reporting.run(InProcess(nodes))),
            ]
        }
        FeedSource::Redis(options) => {
            let feed = RedisFeed::connect(options.clone(), metrics()).await?;
            let reporter = RedisReporter::new(options)?;
            vec![tokio::spawn(follow(feed, shared.clone(), sender, resync)), tokio::spawn(reporting.run(reporter))]
        }
        FeedSource::Nats(options) => {
            let feed = NatsFeed::connect(options, metrics()).await?;
            let reporter = NatsReporter::connect(options).await?;
            vec![tokio::spawn(follow(feed, shared.clone(), sender, resync)), tokio::spawn(reporting.run(reporter))]
        }
    };
    Ok(Edge { applied, tasks })
}

/// Begins to relay what `store` has under the name `holder`, and to hear what nodes say.
///
/// # Errors
///
/// When the broker refuses us. One that cannot be reached is waited for.
pub(super) async fn control(
    source: &FeedSource,
    store: &Store,
    nodes: &Arc<Nodes>,
    holder: &str,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    Ok(match source {
        FeedSource::Local => {
            vec![tokio::spawn(keep_expiring(store.clone(), EXPIRE_EVERY))]
        }
        FeedSource::Redis(options) => {
            let broker = accepted(RedisBroker::new(options)?).await?;
            vec![spawn_relay(store, broker, holder), spawn_gather(RedisReports::new(options)?, nodes)]
        }
        FeedSource::Nats(options) => {
            let broker = accepted(NatsBroker::connect(options).await?).await?;
            vec![spawn_relay(store, broker, holder), spawn_gather(NatsReports::connect(options).await?, nodes)]
        }
    })
}

/// Returns `broker` unless it refuses us, which waiting does not mend.
async fn accepted<B: Broker>(mut broker: B) -> Result<B, BrokerError> {
    match tokio::time::timeout(Duration::from_secs(5), broker.position()).await {
        Ok(Err(error @ BrokerError::Refused(_))) => Err(error),
        Ok(Err(error)) => {
            log::warn!("relay: {error}; waiting for it");
            Ok(broker)
        }
        Ok(Ok(_)) | Err(_) => Ok(broker),
    }
}

fn spawn_relay(store: &Store, broker: impl Broker + 'static, holder: &str) -> JoinHandle<()> {
    let mut times = RelayTimes::default();
    if matches!(store.location(), Location::Postgres { .. }) {
        // It tells of every commit; asking is for the case that it could not.
        times.poll = Duration::from_millis(500);
    }
    let (store, holder) = (store.clone(), holder.to_owned());
    tokio::spawn(async move { relay(store, broker, &holder, times).await })
}

fn spawn_gather(mut reports: impl Reports + 'static, nodes: &Arc<Nodes>) -> JoinHandle<()> {
    let nodes = Arc::clone(nodes);
    tokio::spawn(async move {
        loop {
            let report = reports.next().await;
            nodes.heard(report, Instant::now());
        }
    })
}

async fn follow(feed: impl RestrictionFeed, shared: Shared, applied: watch::Sender<u64>, resync: watch::Receiver<u64>) {
    let uid_case = |app: &str| shared.gate.load().uid_case(app).unwrap_or_default();
    let following =
        Following { set: &shared.restrictions, uid_case, metrics: &shared.metrics, applied: &applied, resync };
    if let Err(error) = following.follow(feed).await {
        log::error!("{error}");
    }
}

/// Nodes of this very process.
struct InProcess(Arc<Nodes>);

impl Reporter for InProcess {
    async fn report(&mut self, report: &NodeReport) -> Result<(), BrokerError> {
        self.0.heard(report.clone(), Instant::now());
        Ok(())
    }
}

/// Says how far this node is.
struct Reporting {
    shared: Shared,
    name: String,
    /// Tells this process from another of the same name.
    instance: String,
    applied: watch::Receiver<u64>,
    /// Whose turn it is of what was observed.
    turn: usize,
}

impl Reporting {
    async fn run(mut self, mut reporter: impl Reporter) {
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // A report that does not get through is made good by the next.
            let _ = tokio::time::timeout(REPORT_EVERY, reporter.report(&self.report())).await;
            tokio::time::sleep(REPORT_GAP).await;
            tokio::select! {
                Ok(()) = self.applied.changed() => {}
                _ = ticks.tick() => {}
            }
        }
    }

    fn report(&mut self) -> NodeReport {
        let restrictions = &self.shared.restrictions;
        let (source, seq) = restrictions.position();
        let most = self.shared.gate.load().freshness().max_staleness;
        let fresh = restrictions.age(Instant::now()).is_some_and(|age| age <= most);
        let (node, instance) = (self.name.clone(), self.instance.clone());
        let observed = self.shared.metrics.observations.turn(self.turn);
        self.turn = self.turn.wrapping_add(1);
        NodeReport { node, instance, source, seq, entries: restrictions.len() as u64, fresh, observed }
    }
}

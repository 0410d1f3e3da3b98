//! A model of the whole feed, tried with schedules at random: several nodes and control nodes on one database, a broker
//! between them that is killed, emptied, stopped and lied to, and a network that fails.
//!
//! Two things must hold. While a node hears its feed, it refuses what was restricted longer ago than a bound, whatever
//! happens. And once everything is mended, every node says what the database says.
//!
//! One number, the seed, stands for one schedule; a failure names it. `MEDIAGATE_MODEL_SEED` runs that schedule alone,
//! `MEDIAGATE_MODEL_SCHEDULES` says how many run for each broker.

mod broker;
mod proxy;
mod schedule;
mod truth;
mod world;

use std::sync::Arc;

use broker::Kind;
use schedule::{Schedule, Trouble};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use world::{Fault, run};

use crate::support::postgres_server::PostgresServer;

/// Schedules for each broker.
const SCHEDULES: u64 = 200;

/// Schedules at a time: most of what they do is wait.
const AT_ONCE: usize = 12;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The seeds that are to be tried, `many` unless somebody says otherwise.
fn seeds(many: u64) -> Vec<u64> {
    match number("MEDIAGATE_MODEL_SEED") {
        Some(seed) => vec![seed],
        None => (1..=many).collect(),
    }
}

async fn hold(kind: Kind) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for seed in seeds(number("MEDIAGATE_MODEL_SCHEDULES").unwrap_or(SCHEDULES)) {
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire_owned().await.expect("never closed");
            run(kind, None, seed, Schedule::new(seed, Trouble::All), Fault::None).await
        });
    }
    let failures: Vec<String> = running.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} failed\n\n{}", failures.len(), failures.join("\n\n"));
}

/// Runs schedules without any trouble but this fault, which must be found.
async fn finds(kind: Kind, fault: Fault, what: &str) {
    for seed in 1..=3 {
        let found = run(kind, None, seed, Schedule::new(seed, Trouble::None), fault).await;
        let failure = found.expect_err("a change was lost");
        assert!(failure.contains(what), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_loses_changes_is_found() {
    tokio::join!(
        finds(Kind::Redis, Fault::LosesImposed, "node 0 accepts"),
        finds(Kind::Nats, Fault::LosesImposed, "node 0 accepts"),
        finds(Kind::Redis, Fault::LosesLifted, "node 0: it has"),
        finds(Kind::Nats, Fault::LosesLifted, "node 0: it has"),
    );
}

/// Fewer: servers of this kind take a second to make, and what differs from SQLite is how stores hear of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_follow_a_database_in_postgresql() {
    let server = spawn_blocking(PostgresServer::start).await.expect("a server");
    for (seed, kind) in seeds(5).into_iter().zip([Kind::Redis, Kind::Nats].into_iter().cycle()) {
        let schedule = Schedule::new(seed, Trouble::All);
        // What one leaves there, the next one finds.
        if let Err(failure) = run(kind, Some(server.location()), seed, schedule, Fault::None).await {
            panic!("over PostgreSQL: {failure}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_follow_the_database_over_redis() {
    hold(Kind::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_follow_the_database_over_nats() {
    hold(Kind::Nats).await;
}

//! A feed over a real store, asked for one event after the other.

use std::path::PathBuf;

use super::*;
use crate::restrictions::{Effect, Scope};
use crate::store::tests::sql;

/// Long enough that no beat comes after the first, which is due at once.
const NEVER: Duration = Duration::from_secs(1 << 20);

struct Node {
    _dir: tempfile::TempDir,
    path: PathBuf,
    store: Store,
    publisher: LocalPublisher,
    feed: LocalFeed,
}

async fn node(beat: Duration) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mediagate.db");
    let store = Store::open(&path).await.unwrap();
    let (publisher, feed) = beating(store.clone(), beat);
    Node { _dir: dir, path, store, publisher, feed }
}

impl Node {
    /// Deactivates one user for each name, and does not say so.
    async fn store(&self, uids: impl IntoIterator<Item = String>) -> Vec<Change> {
        let user = |uid| (Scope::User { app: "acme".into(), uid }, Effect::Deactivated, true);
        let changes = self.store.apply(uids.into_iter().map(user).collect()).await.unwrap();
        changes.into_iter().flatten().collect()
    }

    async fn next(&mut self) -> Event {
        self.feed.next().await.unwrap()
    }

    /// The next event that is no heartbeat.
    async fn news(&mut self) -> Event {
        loop {
            match self.next().await {
                Event::Heartbeat { .. } => {}
                news => return news,
            }
        }
    }

    async fn expect_snapshot(&mut self, expected: u64) {
        match self.news().await {
            Event::Snapshot { seq, entries } => assert_eq!((seq, entries.len() as u64), (expected, expected)),
            other => panic!("{other:?}, not a snapshot"),
        }
    }
}

fn names(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("u{number}"))
}

#[tokio::test]
async fn the_state_comes_first_and_then_each_change_in_order() {
    let mut node = node(NEVER).await;
    node.store(names(0..3)).await;
    node.expect_snapshot(3).await;
    assert_eq!(node.next().await, Event::Heartbeat { seq: 3 });
    let changes = node.store(names(3..6)).await;
    for change in changes.iter().chain(&changes) {
        node.publisher.publish(change.clone());
    }
    for change in changes {
        assert_eq!(node.news().await, Event::Change(change));
    }
    let more = node.store(names(6..7)).await;
    node.publisher.publish(more[0].clone());
    assert_eq!(node.news().await, Event::Change(more[0].clone()), "duplicates are passed over");
}

#[tokio::test]
async fn a_heartbeat_tells_what_has_been_delivered() {
    let mut node = node(Duration::from_millis(1)).await;
    node.expect_snapshot(0).await;
    for _ in 0..3 {
        assert_eq!(node.next().await, Event::Heartbeat { seq: 0 });
    }
    let change = node.store(names(0..1)).await.remove(0);
    node.publisher.publish(change.clone());
    assert_eq!(node.news().await, Event::Change(change));
    assert_eq!(node.next().await, Event::Heartbeat { seq: 1 });
}

#[tokio::test]
async fn what_is_published_out_of_order_is_not_lost() {
    let mut node = node(NEVER).await;
    node.expect_snapshot(0).await;
    let changes = node.store(names(0..2)).await;
    node.publisher.publish(changes[1].clone());
    node.publisher.publish(changes[0].clone());
    node.expect_snapshot(2).await;
    let change = node.store(names(2..3)).await.remove(0);
    node.publisher.publish(change.clone());
    assert_eq!(node.news().await, Event::Change(change));
}

#[tokio::test]
async fn a_feed_that_lags_loads_the_state_again() {
    let mut node = node(NEVER).await;
    node.expect_snapshot(0).await;
    for change in node.store(names(0..CAPACITY + 1)).await {
        node.publisher.publish(change);
    }
    node.expect_snapshot(CAPACITY as u64 + 1).await;
}

#[tokio::test]
async fn what_is_stored_and_never_published_is_found_at_a_beat() {
    let mut node = node(Duration::from_millis(1)).await;
    node.expect_snapshot(0).await;
    node.store(names(0..2)).await;
    node.expect_snapshot(2).await;
}

#[tokio::test]
async fn a_store_that_was_put_back_in_time_is_loaded_again() {
    let mut node = node(Duration::from_millis(1)).await;
    node.store(names(0..5)).await;
    node.expect_snapshot(5).await;
    sql(&node.path, "DELETE FROM restrictions WHERE seq > 2; UPDATE counter SET seq = 2").await;
    node.expect_snapshot(2).await;
}

#[tokio::test]
async fn asked_to_it_loads_the_state_again() {
    let mut node = node(NEVER).await;
    node.store(names(0..1)).await;
    node.expect_snapshot(1).await;
    node.feed.resync();
    node.expect_snapshot(1).await;
}

#[tokio::test]
async fn a_dropped_call_loses_nothing() {
    let mut node = node(NEVER).await;
    node.expect_snapshot(0).await;
    assert_eq!(node.next().await, Event::Heartbeat { seq: 0 });
    let changes = node.store(names(0..20)).await;
    for change in changes {
        drop(polled_once(node.feed.next()).await);
        node.publisher.publish(change.clone());
        assert_eq!(node.next().await, Event::Change(change));
    }
}

/// Polls once, and drops.
async fn polled_once<F: Future>(future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn a_store_that_fails_is_silence_until_it_answers_again() {
    let mut node = node(Duration::from_millis(1)).await;
    node.expect_snapshot(0).await;
    sql(&node.path, "ALTER TABLE counter RENAME TO lost").await;
    node.feed.resync();
    let failures = Arc::clone(&node.feed.failures);
    let mut feed = node.feed;
    let waiting = tokio::spawn(async move { feed.next().await.unwrap() });
    while failures.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished(), "neither a state nor a heartbeat");
    sql(&node.path, "ALTER TABLE lost RENAME TO counter").await;
    assert_eq!(waiting.await.unwrap(), Event::Snapshot { seq: 0, entries: vec![] });
}

//! A feed over a real store, asked for one event after the other.

use std::path::PathBuf;

use super::*;
use crate::restrictions::{Effect, Scope};
use crate::store::Wanted;
use crate::store::tests::sql;

/// Long enough that no beat comes after the first, which is due at once.
const NEVER: Duration = Duration::from_secs(1 << 20);

struct Node {
    _dir: tempfile::TempDir,
    path: PathBuf,
    store: Store,
    feed: LocalFeed,
}

async fn node(beat: Duration) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mediagate.db");
    let store = Store::open(&path).await.unwrap();
    let feed = beating(store.clone(), beat);
    Node { _dir: dir, path, store, feed }
}

impl Node {
    /// Deactivates one user for each name.
    async fn store(&self, uids: impl IntoIterator<Item = String>) -> Vec<Change> {
        let user = |uid| Wanted::impose(Scope::User { app: "acme".into(), uid }, Effect::Deactivated);
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
        assert_eq!(self.news().await, Event::SnapshotBegins { expected: expected as usize });
        let mut entries = 0;
        loop {
            match self.next().await {
                Event::SnapshotPart(part) => entries += part.len() as u64,
                Event::SnapshotEnds { seq, .. } => break assert_eq!((seq, entries), (expected, expected)),
                other => panic!("{other:?} in a snapshot"),
            }
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
    for change in node.store(names(3..6)).await {
        assert_eq!(node.news().await, Event::Change(change));
    }
    let lifted = Wanted::lift(Scope::User { app: "acme".into(), uid: "u3".into() }, Effect::Deactivated);
    let change = node.store.apply(vec![lifted]).await.unwrap().remove(0).unwrap();
    assert_eq!((change.seq, change.in_force), (7, false));
    assert_eq!(node.news().await, Event::Change(change));
}

#[tokio::test]
async fn a_heartbeat_tells_what_has_been_delivered() {
    let mut node = node(Duration::from_millis(1)).await;
    node.expect_snapshot(0).await;
    for _ in 0..3 {
        assert_eq!(node.next().await, Event::Heartbeat { seq: 0 });
    }
    let change = node.store(names(0..1)).await.remove(0);
    assert_eq!(node.news().await, Event::Change(change));
    assert_eq!(node.next().await, Event::Heartbeat { seq: 1 });
}

#[tokio::test]
async fn a_storm_is_delivered_whole_and_in_order() {
    let mut node = node(NEVER).await;
    node.expect_snapshot(0).await;
    let count = 2 * BATCH as usize + 1;
    for change in node.store(names(0..count)).await {
        assert_eq!(node.news().await, Event::Change(change));
    }
}

#[tokio::test]
async fn what_another_process_stores_is_found_at_a_beat() {
    let mut node = node(Duration::from_millis(1)).await;
    node.expect_snapshot(0).await;
    let other = Store::open(&node.path).await.unwrap();
    let user = Scope::User { app: "acme".into(), uid: "bob".into() };
    let change = other.apply(vec![Wanted::impose(user, Effect::Deactivated)]).await.unwrap().remove(0).unwrap();
    assert_eq!(node.news().await, Event::Change(change));
}

#[tokio::test]
async fn changes_that_are_no_longer_kept_are_made_up_for_by_the_state() {
    let mut node = node(Duration::from_millis(1)).await;
    node.expect_snapshot(0).await;
    sql(
        &node.path,
        "INSERT INTO restrictions (app, scope, id, effect, issued_before, seq) VALUES ('a', 'app', '', 'deactivated', 0, 1);
         UPDATE counter SET seq = 1",
    )
    .await;
    node.expect_snapshot(1).await;
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
    for change in node.store(names(0..20)).await {
        let mut event = None;
        for _ in 0..3 {
            if event.is_none() {
                event = polled_once(node.feed.next()).await;
            }
        }
        let event = match event {
            Some(event) => event.unwrap(),
            None => node.next().await,
        };
        assert_eq!(event, Event::Change(change));
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
    let mut feed = node.feed;
    let mut waiting = tokio::spawn(async move { (feed.next().await.unwrap(), feed.next().await.unwrap()) });
    let silence = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(silence.is_err(), "neither a state nor a heartbeat");
    sql(&node.path, "ALTER TABLE lost RENAME TO counter").await;
    let begun = Event::SnapshotBegins { expected: 0 };
    assert_eq!(waiting.await.unwrap(), (begun, Event::SnapshotPart(vec![])));
}

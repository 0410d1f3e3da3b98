//! Servers that die, hang and forget; relays that meet, stop half-way and come late.

use std::time::Duration;

use mediagate::feed::wire::{self, Message};
use mediagate::feed::{Broker, BrokerError};
use mediagate::restrictions::Entry;
use tokio::sync::mpsc;

use super::harness::{Node, Outsider, Relay, Source, until};
use crate::support::nats_server::NatsServer;

/// A server with a relay that has published alice and bob, and a node that has them.
async fn loaded() -> (NatsServer, Source, Relay, Node) {
    let server = NatsServer::start();
    let mut source = Source::new("db1");
    source.deactivate("alice");
    source.deactivate("bob");
    let mut relay = source.relay(&server).await;
    relay.catch_up(&source).await;
    let node = Node::start(&server).await;
    until("loaded", || node.equals(&source)).await;
    (server, source, relay, node)
}

#[tokio::test]
async fn a_restart_with_data_is_survived_without_loading_again() {
    let (mut server, mut source, mut relay, node) = loaded().await;
    let loads = node.count("snapshot");
    server.kill();
    source.deactivate("carol");
    source.lift("alice");
    server.run();
    relay.catch_up(&source).await;
    until("followed", || node.equals(&source)).await;
    assert_eq!(node.count("snapshot"), loads, "it went on where it was");
}

#[tokio::test]
async fn a_restart_without_data_ends_in_the_same_state() {
    let (mut server, mut source, mut relay, node) = loaded().await;
    server.kill();
    server.lose_data();
    server.run();
    source.lift("bob");
    source.deactivate("carol");
    assert!(node.has("alice") && node.has("bob"), "nothing is taken back");
    relay.catch_up(&source).await;
    until("loaded anew", || node.equals(&source)).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_and_caught_up_with() {
    let (server, mut source, mut relay, node) = loaded().await;
    server.signal("STOP");
    source.deactivate("carol");
    let refused = relay.step(&source).await;
    assert!(matches!(refused, Err(BrokerError::Unreachable(_))), "{refused:?}");
    until("the node grows stale", || node.age().is_some_and(|age| age > Duration::from_secs(1))).await;
    assert!(node.has("alice"));
    server.signal("CONT");
    relay.catch_up(&source).await;
    until("caught up", || node.equals(&source)).await;
}

#[tokio::test]
async fn a_consumer_that_vanishes_is_made_again() {
    let (server, mut source, mut relay, node) = loaded().await;
    let outsider = Outsider::connect(&server).await;
    let stream = outsider.stream().await;
    let mut names = stream.consumer_names();
    let mut deleted = 0;
    while let Some(name) = futures_util::StreamExt::next(&mut names).await {
        stream.delete_consumer(&name.expect("a name")).await.expect("deleted");
        deleted += 1;
    }
    assert!(deleted > 0);
    source.deactivate("carol");
    relay.catch_up(&source).await;
    until("followed", || node.equals(&source)).await;
}

#[tokio::test]
async fn a_purged_stream_is_noticed_and_filled_again() {
    let (server, mut source, mut relay, node) = loaded().await;
    let outsider = Outsider::connect(&server).await;
    outsider.stream().await.purge().await.expect("purged");
    let refused = relay.broker.heartbeat(&source.position()).await;
    assert!(matches!(refused, Err(BrokerError::Moved)), "{refused:?}");
    assert_eq!(relay.broker.position().await.expect("asked"), None);
    let fresh = Node::start(&server).await;
    source.deactivate("carol");
    assert!(!fresh.is_loaded(), "an empty stream is no state");
    assert!(node.has("alice"), "nothing is taken back");
    relay.catch_up(&source).await;
    until("filled", || node.equals(&source) && fresh.equals(&source)).await;
}

#[tokio::test]
async fn a_stream_that_has_lost_its_middle_is_noticed_even_by_a_new_relay() {
    let (server, source, _relay, node) = loaded().await;
    let outsider = Outsider::connect(&server).await;
    outsider.stream().await.purge().filter("mediagate.restrictions.state.>").await.expect("purged");
    let fresh = Node::start(&server).await;
    let mut relay = source.relay(&server).await;
    assert_eq!(relay.broker.position().await.expect("asked"), None);
    assert!(!fresh.is_loaded() && node.has("alice"));
    relay.catch_up(&source).await;
    until("filled", || node.equals(&source) && fresh.equals(&source)).await;
}

#[tokio::test]
async fn an_interrupted_refill_is_no_state() {
    let (server, mut source, mut relay, node) = loaded().await;
    // Another relay begins, and dies in the middle.
    source.deactivate("carol");
    let mut dying = source.relay(&server).await;
    let (sender, parts) = mpsc::channel(1);
    let (at, entries) = (source.position(), source.entries());
    let refill = tokio::spawn(async move { dying.broker.refill(&at, 3, parts).await });
    sender.send(entries).await.expect("taken");
    let outsider = Outsider::connect(&server).await;
    let mut stream = outsider.stream().await;
    let mut last = 0;
    for _ in 0..1000 {
        let newest = stream.info().await.expect("asked").state.last_sequence;
        let is_whole = newest >= 8 && newest == last;
        last = newest;
        if is_whole {
            break;
        }
    }
    refill.abort();
    assert_eq!(relay.broker.position().await.expect("asked"), None);
    let fresh = Node::start(&server).await;
    assert!(node.has("alice") && !fresh.is_loaded());
    relay.catch_up(&source).await;
    until("filled", || node.equals(&source) && fresh.equals(&source)).await;
}

#[tokio::test]
async fn a_node_that_starts_in_the_middle_of_a_refill_waits_for_its_end() {
    let server = NatsServer::start();
    let mut source = Source::new("db1");
    source.deactivate("alice");
    source.deactivate("bob");
    let mut relay = source.relay(&server).await;
    let (sender, parts) = mpsc::channel(1);
    let (at, mut entries) = (source.position(), source.entries());
    let late: Vec<Entry> = entries.split_off(1);
    let refill = tokio::spawn(async move {
        relay.broker.refill(&at, 2, parts).await.expect("refilled");
        relay
    });
    sender.send(entries).await.expect("taken");
    let node = Node::start(&server).await;
    assert!(!node.is_loaded());
    sender.send(late).await.expect("taken");
    // Only once the channel is empty has the relay taken the last part.
    drop(sender);
    let mut relay = refill.await.expect("no panic");
    relay.catch_up(&source).await;
    until("loaded", || node.equals(&source)).await;
    assert_eq!(node.count("snapshot"), 1);
}

#[tokio::test]
async fn two_relays_at_once_lose_nothing() {
    let (server, mut source, mut first, node) = loaded().await;
    let mut second = source.relay(&server).await;
    for user in 0..20_000 {
        source.deactivate(&format!("user-{user}"));
    }
    let run = |mut relay: Relay, source: Source| {
        tokio::spawn(async move {
            // Each beats in between, which shifts the other's sequences.
            for upto in (1000..=20_000).step_by(1000) {
                let mut part = Source::new("db1");
                part.take_from(&source, upto + 2);
                let mut tries = 0;
                while let Err(error) = relay.step_forward(&part).await {
                    assert!(matches!(error, BrokerError::Moved | BrokerError::Failed(_)), "{error}");
                    tries += 1;
                    assert!(tries < 10_000, "never through");
                    tokio::task::yield_now().await;
                }
            }
            relay
        })
    };
    let (one, two) = (run(first, source.clone()), run(second, source.clone()));
    first = one.await.expect("no panic");
    second = two.await.expect("no panic");
    first.catch_up(&source).await;
    second.catch_up(&source).await;
    let fresh = Node::start(&server).await;
    until("nothing is lost", || node.equals(&source) && fresh.equals(&source)).await;
    assert_eq!(node.count("absurd") + node.count("malformed"), 0);
    assert!(node.count("snapshot") < 5, "refilled {} times", node.count("snapshot"));
}

#[tokio::test]
async fn a_change_that_is_refused_takes_those_after_it_along() {
    let (server, mut source, mut relay, node) = loaded().await;
    // Another relay's heartbeat takes the sequence of our first change, so that our second finds the one it expects.
    let outsider = Outsider::connect(&server).await;
    let before = source.position();
    outsider.publish("heartbeat", wire::encode(&Message::Heartbeat(before.clone()))).await;
    for user in ["carol", "dave", "erin"] {
        source.deactivate(user);
    }
    let refused = relay.broker.publish(&before, source.since(before.seq)).await;
    assert!(matches!(refused, Err(BrokerError::Moved)), "{refused:?}");
    assert_eq!(relay.broker.position().await.expect("asked"), Some(before));
    relay.catch_up(&source).await;
    let fresh = Node::start(&server).await;
    until("nothing is lost", || node.equals(&source) && fresh.equals(&source)).await;
}

#[tokio::test]
async fn a_relay_that_was_held_up_spoils_nothing() {
    let (server, mut source, mut relay, node) = loaded().await;
    // It has begun a refill, and is held up before its end.
    let mut late = source.relay(&server).await;
    let (sender, parts) = mpsc::channel(1);
    let (at, entries) = (source.position(), source.entries());
    let held_up = tokio::spawn(async move { late.broker.refill(&at, 2, parts).await });
    sender.send(entries).await.expect("taken");
    source.lift("alice");
    source.deactivate("carol");
    let outsider = Outsider::connect(&server).await;
    let mut stream = outsider.stream().await;
    let begun = stream.info().await.expect("asked").state.last_sequence;
    relay.refill(&source).await.ok();
    relay.catch_up(&source).await;
    drop(sender);
    let refused = held_up.await.expect("no panic");
    assert!(matches!(refused, Err(BrokerError::Moved)), "{refused:?}");
    // Its purge, had it come so far, would take away what is older than its own marker only.
    stream.purge().sequence(begun).await.expect("purged");
    relay.broker.heartbeat(&source.position()).await.expect("still whole");
    let fresh = Node::start(&server).await;
    until("as if it had not been there", || node.equals(&source) && fresh.equals(&source)).await;
}

#[tokio::test]
async fn a_broker_that_has_lost_its_newest_changes_revives_nobody() {
    let (mut server, mut source, mut relay, node) = loaded().await;
    server.kill();
    let (data, copy) = (server.data(), server.dir().join("copy"));
    server.copy_data(&data, &copy);
    server.run();
    source.deactivate("carol");
    relay.catch_up(&source).await;
    until("followed", || node.equals(&source)).await;
    server.kill();
    server.lose_data();
    server.copy_data(&copy, &data);
    server.run();
    // A fresh node knows no better; the other one keeps what it has until the source has spoken.
    let fresh = Node::start(&server).await;
    until("loaded", || fresh.applied() == 2).await;
    let begun = node.count("snapshot_begun");
    until("looked at", || {
        assert!(node.has("carol"), "revived");
        node.count("snapshot_begun") > begun || node.age().is_some_and(|age| age > Duration::from_secs(5))
    })
    .await;
    relay.catch_up(&source).await;
    until("caught up", || {
        assert!(node.has("carol"), "revived");
        node.equals(&source) && fresh.equals(&source)
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_has_lost_its_end_and_grown_again_is_loaded_anew() {
    let (mut server, mut source, mut relay, node) = loaded().await;
    server.kill();
    let (data, copy) = (server.data(), server.dir().join("copy"));
    server.copy_data(&data, &copy);
    server.run();
    source.deactivate("carol");
    for _ in 0..5 {
        relay.catch_up(&source).await;
    }
    until("followed", || node.equals(&source)).await;
    server.kill();
    server.lose_data();
    // It grows where the node cannot see it, until it is longer than before.
    let mut elsewhere = NatsServer::stopped(&[]);
    elsewhere.copy_data(&copy, &elsewhere.data());
    elsewhere.run();
    source.deactivate("dave");
    let mut relay = source.relay(&elsewhere).await;
    for _ in 0..20 {
        relay.catch_up(&source).await;
    }
    elsewhere.kill();
    server.copy_data(&elsewhere.data(), &data);
    server.run();
    until("nothing is missing", || {
        assert!(node.has("carol"), "revived");
        node.equals(&source)
    })
    .await;
}

#[tokio::test]
async fn a_source_that_has_gone_back_is_believed_once_it_says_so() {
    let (server, source, mut relay, node) = loaded().await;
    let mut ahead = source.clone();
    ahead.deactivate("carol");
    relay.catch_up(&ahead).await;
    until("followed", || node.equals(&ahead)).await;
    // The database was put back to a backup: the relay writes a whole state.
    relay.catch_up(&source).await;
    until("gone back", || node.equals(&source)).await;
    let other = Source::new("db2");
    let mut relay = other.relay(&server).await;
    relay.catch_up(&other).await;
    until("another source", || node.equals(&other)).await;
}

#[tokio::test]
async fn a_state_without_its_heartbeat_is_waited_for() {
    let server = NatsServer::start();
    let source = Source::new("db1");
    let node = Node::start(&server).await;
    let mut relay = source.relay(&server).await;
    relay.broker.position().await.expect("makes the stream");
    let outsider = Outsider::connect(&server).await;
    let at = source.position();
    outsider.publish("snapshot", wire::encode(&Message::Snapshot { at: at.clone(), entries: 0 })).await;
    assert!(!node.is_loaded());
    outsider.publish("heartbeat", wire::encode(&Message::Heartbeat(at))).await;
    until("loaded", || node.equals(&source)).await;
}

#[tokio::test]
async fn a_stream_whose_newest_message_was_deleted_is_written_anew() {
    for is_change in [true, false] {
        let (server, mut source, mut relay, node) = loaded().await;
        if is_change {
            let before = source.position();
            source.deactivate("carol");
            relay.broker.publish(&before, source.since(before.seq)).await.expect("published");
        }
        let mut stream = Outsider::connect(&server).await.stream().await;
        let newest = stream.info().await.expect("a stream").state.last_sequence;
        stream.delete_message(newest).await.expect("deleted");
        relay.catch_up(&source).await;
        let fresh = Node::start(&server).await;
        until("mended", || node.equals(&source) && fresh.equals(&source)).await;
    }
}

//! Restrictions through a real NATS server: relay on one side, nodes on the other.

mod harness;
mod trouble;
mod trust;

use mediagate::feed::Broker;
use mediagate::feed::wire::Position;
use mediagate::restrictions::Effect;

use crate::support::nats_server::NatsServer;
use harness::{Node, Source, until};

#[tokio::test]
async fn a_node_loads_the_state_and_follows() {
    let server = NatsServer::start();
    let mut source = Source::new("db1");
    source.deactivate("alice");
    source.flush("carol", 1000);
    let mut relay = source.relay(&server).await;
    relay.catch_up(&source).await;
    let node = Node::start(&server).await;
    until("loaded", || node.equals(&source)).await;

    source.deactivate("bob");
    source.lift("alice");
    relay.catch_up(&source).await;
    until("followed", || node.equals(&source) && node.has("bob") && !node.has("alice")).await;

    // Lifting one effect leaves the other, and a lift is part of what a node loads.
    source.deactivate("carol");
    source.lift("carol");
    relay.catch_up(&source).await;
    let other = Node::start(&server).await;
    until("both know", || node.equals(&source) && other.equals(&source)).await;
    assert!(other.has_effect("carol", Effect::IssuedBefore { before: 1000 }));
    assert_eq!(other.count("malformed") + other.count("absurd") + other.count("foreign"), 0);
}

#[tokio::test]
async fn a_change_is_settled_before_the_next_heartbeat() {
    let server = NatsServer::start();
    let mut source = Source::new("db1");
    let mut relay = source.relay(&server).await;
    relay.catch_up(&source).await;
    let node = Node::start(&server).await;
    until("loaded", || node.is_loaded()).await;
    assert!(!node.has("anybody"), "an empty state is a state");
    for round in 0..20 {
        let before = source.position();
        source.deactivate(&format!("u{round}"));
        source.deactivate(&format!("v{round}"));
        relay.broker.publish(&before, source.since(before.seq)).await.expect("published");
        until("settled", || node.equals(&source)).await;
    }
}

#[tokio::test]
async fn a_large_state_comes_in_parts_and_thousands_of_changes_a_second() {
    let server = NatsServer::start();
    let mut source = Source::new("db1");
    for user in 0..30_000 {
        source.deactivate(&format!("user-{user}"));
    }
    let mut relay = source.relay(&server).await;
    relay.catch_up(&source).await;
    let node = Node::start(&server).await;
    until("loaded", || node.equals(&source)).await;
    assert!(node.count("snapshot_part") > 30, "{}", node.count("snapshot_part"));
    for user in 0..30_000 {
        source.lift(&format!("user-{user}"));
        source.deactivate(&format!("other-{user}"));
    }
    relay.catch_up(&source).await;
    until("followed", || node.equals(&source)).await;
    // All that was superseded is gone; what was written after the marker is loaded, too.
    let late = Node::start(&server).await;
    until("loaded late", || late.equals(&source)).await;
}

#[tokio::test]
async fn the_broker_knows_where_it_stands() {
    let server = NatsServer::start();
    let mut source = Source::new("db1");
    let mut relay = source.relay(&server).await;
    assert_eq!(relay.broker.position().await.expect("asked"), None);
    source.deactivate("alice");
    relay.refill(&source).await.expect("refilled");
    assert_eq!(relay.broker.position().await.expect("asked"), Some(source.position()));
    let before = source.position();
    source.deactivate("bob");
    relay.broker.publish(&before, source.since(before.seq)).await.expect("published");
    assert_eq!(relay.broker.position().await.expect("asked"), Some(source.position()));
    relay.broker.heartbeat(&source.position()).await.expect("beats");
    // Not where it stands.
    for wrong in [before.clone(), Position { source: "db2".into(), ..source.position() }] {
        let refused = relay.broker.heartbeat(&wrong).await;
        assert!(matches!(refused, Err(mediagate::feed::BrokerError::Moved)), "{refused:?}");
        let refused = relay.broker.publish(&wrong, source.since(before.seq)).await;
        assert!(matches!(refused, Err(mediagate::feed::BrokerError::Moved)), "{refused:?}");
    }
    relay.broker.heartbeat(&source.position()).await.expect("beats again");
}

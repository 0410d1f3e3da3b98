//! What happens to servers: they die, come back without data or with old data, stand still, and forget.

use std::time::Duration;

use mediagate::feed::redis::{RedisBroker, RedisFeed};
use mediagate::feed::wire::Position;
use mediagate::feed::{Broker, BrokerError};
use mediagate::secret::Secret;

use super::node::{Node, at, beating, deactivated, entries, fill, lifted, metrics, relay};
use crate::support::redis_server::{Disk, RedisServer};

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_waited_for() {
    let mut server = RedisServer::prepared(Disk::None, &[]);
    let mut node = Node::connect(&server).await;
    server.restart();
    fill(&mut relay(&server), &at(3), &entries(0..3)).await.unwrap();
    node.until("loaded", |node| node.seq == Some(3)).await;
}

#[tokio::test]
async fn a_restart_with_its_data_costs_no_reload() {
    let mut server = RedisServer::start(Disk::AppendOnly);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    broker.publish(&at(3), &[deactivated(4, "x")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(4)).await;

    server.kill();
    assert!(broker.position().await.is_err());
    server.restart();
    assert_eq!(broker.position().await.unwrap(), Some(at(4)));
    broker.publish(&at(4), &[lifted(5, "x")]).await.unwrap();
    broker.heartbeat(&at(5)).await.unwrap();
    node.until("resumed", |node| node.seq == Some(5)).await;
    assert_eq!((node.loads, node.names().len()), (1, 3));
}

#[tokio::test]
async fn a_restart_without_data_is_waited_out_until_it_is_refilled() {
    let mut server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    server.restart();
    // Once it has asked, it knows that there is nothing, and says nothing.
    node.quiet_until(|| server.has_client("exec")).await;
    assert!(matches!(broker.position().await, Ok(None) | Err(_)));
    assert_eq!(broker.position().await.unwrap(), None);
    fill(&mut broker, &at(5), &entries(1..6)).await.unwrap();
    node.until("loaded again", |node| node.loads == 2).await;
    assert_eq!((node.seq, node.names()), (Some(5), ["u1", "u2", "u3", "u4", "u5"].map(String::from).into()));
}

#[tokio::test]
async fn what_was_trimmed_while_a_node_was_away_is_loaded() {
    let server = RedisServer::start(Disk::None);
    server.command::<()>(&["ACL", "SETUSER", "node", "on", ">pw", "~*", "&*", "+@all"]).await;
    let mut broker = relay(&server);
    fill(&mut broker, &at(0), &[]).await.unwrap();
    let mut options = server.options();
    (options.username, options.password) = (Some("node".into()), Some(Secret::new("pw")));
    let mut node = Node::with(options).await;
    node.until("loaded", |node| node.seq == Some(0)).await;

    let change = |seq| deactivated(seq, &format!("u{seq}"));
    for (round, trims) in [(0, false), (1, true)] {
        server.command::<()>(&["ACL", "SETUSER", "node", "off"]).await;
        server.command::<i64>(&["CLIENT", "KILL", "USER", "node"]).await;
        let seq = round * 400;
        broker.publish(&at(seq), &(seq + 1..=seq + 400).map(change).collect::<Vec<_>>()).await.unwrap();
        if trims {
            server.command::<u64>(&["XTRIM", "{mediagate}:changes", "MAXLEN", "10"]).await;
        }
        server.command::<()>(&["ACL", "SETUSER", "node", "on"]).await;
        node.until("caught up", |node| node.seq == Some(seq + 400)).await;
        assert_eq!((node.loads, node.held.len() as u64), (if trims { 2 } else { 1 }, seq + 400));
    }
}

#[tokio::test]
async fn the_stream_keeps_about_as_many_entries_as_it_is_told() {
    let server = RedisServer::start(Disk::None);
    let mut options = server.options();
    options.stream_entries = 200;
    let mut broker = RedisBroker::new(&options).unwrap();
    fill(&mut broker, &at(0), &[]).await.unwrap();
    let changes: Vec<_> = (1..=3000).map(|seq| deactivated(seq, "x")).collect();
    broker.publish(&at(0), &changes).await.unwrap();
    for _ in 0..300 {
        broker.heartbeat(&at(3000)).await.unwrap();
    }
    let length = server.command::<u64>(&["XLEN", "{mediagate}:changes"]).await;
    assert!((200..=400).contains(&length), "{length}");
}

/// A server with the state at 5 on disk, and a node that has come to 8.
async fn rolled_back() -> (RedisServer, Node) {
    let mut server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(5), &entries(0..5)).await.unwrap();
    broker.heartbeat(&at(5)).await.unwrap();
    server.command::<()>(&["SAVE"]).await;
    assert!(server.dump().exists());
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(5)).await;
    broker.publish(&at(5), &[deactivated(6, "x"), lifted(7, "u0"), deactivated(8, "y")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(8)).await;
    server.restart();
    node.quiet_until(|| server.has_client("xread")).await;
    (server, node)
}

#[tokio::test]
async fn a_broker_that_lost_its_newest_writes_takes_nothing_back() {
    let (server, mut node) = rolled_back().await;
    let mut broker = relay(&server);
    assert_eq!(broker.position().await.unwrap(), Some(at(5)));
    broker.publish(&at(5), &[deactivated(6, "x")]).await.unwrap();
    let behind = async || server.command::<String>(&["HGET", "{mediagate}:meta", "seq"]).await == "6";
    node.quiet_until(behind).await;
    // A heartbeat from before the fall does not count, and a true one for another number neither.
    let old = r#"{"v":1,"type":"heartbeat","source":"db-1","seq":5}"#;
    server.command::<String>(&["XADD", "{mediagate}:changes", "*", "m", old]).await;
    node.quiet_until(behind).await;

    broker.publish(&at(6), &[lifted(7, "u0"), deactivated(8, "y")]).await.unwrap();
    beating(&mut broker, 8, node.until("caught up", |node| node.beats > 0)).await;
    assert_eq!((node.seq, node.loads), (Some(8), 1));
    broker.publish(&at(8), &[deactivated(9, "z")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(9)).await;
    assert_eq!(node.names(), ["u1", "u2", "u3", "u4", "x", "y", "z"]);
}

#[tokio::test]
async fn a_source_that_has_gone_back_is_followed_once_it_says_so() {
    let (server, mut node) = rolled_back().await;
    beating(&mut relay(&server), 5, node.until("loaded again", |node| node.loads == 2)).await;
    assert_eq!((node.seq, node.names().len()), (Some(5), 5));
}

#[tokio::test]
async fn a_source_may_go_back_by_a_refill_while_a_node_follows() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(8), &entries(0..8)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(8)).await;
    fill(&mut broker, &at(5), &entries(0..5)).await.unwrap();
    beating(&mut broker, 5, node.until("loaded again", |node| node.loads == 2)).await;
    assert_eq!((node.seq, node.names().len()), (Some(5), 5));
}

#[tokio::test]
async fn another_source_is_another_state() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(8), &entries(0..8)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(8)).await;
    let other = Position { source: "db-2".into(), seq: 2 };
    fill(&mut broker, &other, &entries(0..2)).await.unwrap();
    node.until("loaded again", |node| node.loads == 2).await;
    assert_eq!((node.seq, node.names().len()), (Some(2), 2));
    assert!(matches!(broker.heartbeat(&at(8)).await, Err(BrokerError::Moved)));
    broker.publish(&other, &[deactivated(3, "x")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(3)).await;
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up_and_found_again() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    server.signal("STOP");
    // Answers are waited for in time: the relay has to give up first, then the node.
    assert!(broker.position().await.is_err());
    assert!(broker.position().await.is_err());
    server.signal("CONT");
    broker.position().await.unwrap();
    broker.publish(&at(3), &[deactivated(4, "x")]).await.unwrap();
    broker.heartbeat(&at(4)).await.unwrap();
    node.until("followed", |node| node.seq == Some(4)).await;
    assert_eq!(node.loads, 1);
}

#[tokio::test]
async fn a_state_that_lost_a_part_is_loaded_by_nobody() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    for lost in ["state", "bucket", "empty bucket", "field", "count", "changes", "meta"] {
        fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
        let field = "deactivated/user/acme/u1";
        let bucket = server.bucket_of(field).await;
        match lost {
            "state" => {
                // One that is written in another way is under other names.
                for bucket in server.buckets().await {
                    server.command::<i64>(&["RENAMENX", &bucket, &bucket.replace(":3:", ":2:")]).await;
                }
            }
            "bucket" => server.command(&["DEL", &bucket]).await,
            "empty bucket" => {
                let mut empty = None;
                for bucket in server.buckets().await {
                    if server.command::<i64>(&["HLEN", &bucket]).await == 1 {
                        empty = Some(bucket);
                    }
                }
                server.command(&["DEL", &empty.expect("16 buckets for 3 entries")]).await
            }
            "field" => server.command(&["HDEL", &bucket, field]).await,
            "count" => server.command(&["HDEL", &bucket, ""]).await,
            lost => server.command(&["DEL", &format!("{{mediagate}}:{lost}")]).await,
        };
        let mut node = Node::connect(&server).await;
        // It asks where the broker stands, again and again.
        let asked = server.calls("exec").await;
        node.stateless_until(async || server.calls("exec").await > asked + 2).await;
        assert!(broker.heartbeat(&at(3)).await.is_err(), "{lost}");
        assert_eq!(broker.position().await.unwrap(), None, "{lost}");
        if lost == "bucket" {
            let publish = relay(&server).publish(&at(3), &[lifted(4, "u1")]).await;
            assert!(matches!(publish, Err(BrokerError::Moved)));
        }
        fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
        node.until("loaded", |node| node.seq == Some(3)).await;
        server.command::<()>(&["FLUSHALL"]).await;
    }
}

#[tokio::test]
async fn a_stream_that_takes_no_more_is_begun_anew_by_a_refill() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    // The last id that there can be: nothing can be appended any more, and the next refill begins a new stream.
    let last = format!("{0}-{0}", u64::MAX);
    server.command::<String>(&["XADD", "{mediagate}:changes", &last, "m", "x"]).await;
    node.quiet_until(|| server.has_client("xread")).await;
    assert!(matches!(broker.publish(&at(3), &[deactivated(4, "x")]).await, Err(BrokerError::Moved)));
    assert_eq!(broker.position().await.unwrap(), None);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    broker.publish(&at(3), &[deactivated(4, "x")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(4)).await;
}

#[tokio::test]
async fn a_stream_that_is_deleted_under_a_node_is_noticed() {
    let server = RedisServer::start(Disk::None);
    let mut options = server.options();
    options.silence = Duration::from_millis(300);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::with(options).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    // Ids begin anew below those that the node has read.
    let far = format!("{}-0", u64::MAX / 2);
    server.command::<String>(&["XADD", "{mediagate}:changes", &far, "m", "x"]).await;
    broker.publish(&at(3), &[deactivated(4, "x")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(4)).await;
    server.command::<i64>(&["DEL", "{mediagate}:changes"]).await;
    assert!(matches!(broker.heartbeat(&at(4)).await, Err(BrokerError::Moved)));
    fill(&mut broker, &at(4), &entries(0..4)).await.unwrap();
    node.until("loaded again", |node| node.loads == 2).await;
    beating(&mut broker, 4, node.until("alive", |node| node.beats > 0)).await;
}

#[tokio::test]
async fn a_gap_in_the_stream_is_loaded() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    // What a publisher does that writes the state and forgets the stream: 4 is in force and nobody was told.
    let field = "deactivated/user/acme/u0";
    let bucket = server.bucket_of(field).await;
    let script = "redis.call('HDEL', KEYS[2], ARGV[1]) redis.call('HINCRBY', KEYS[2], '', -1) \
                  redis.call('HSET', KEYS[1], 'seq', '4')";
    server.command::<()>(&["EVAL", script, "2", "{mediagate}:meta", &bucket, field]).await;
    broker.publish(&at(4), &[deactivated(5, "x")]).await.unwrap();
    node.until("loaded again", |node| node.loads == 2).await;
    assert_eq!((node.seq, node.names()), (Some(5), ["u1", "u2", "x"].map(String::from).into()));
    assert_eq!(node.passed_over("absurd"), 0);
}

#[tokio::test]
async fn keys_of_somebody_else_are_left_alone() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    for key in ["{mediagate}:meta", "{mediagate}:changes"] {
        server.command::<()>(&["SET", key, "theirs"]).await;
        assert!(matches!(broker.position().await, Err(BrokerError::Failed(_))), "{key}");
        assert!(fill(&mut broker, &at(3), &entries(0..3)).await.is_err(), "{key}");
        assert_eq!(server.command::<String>(&["GET", key]).await, "theirs");
        let mut node = Node::connect(&server).await;
        // The node asks again and again, on a new connection each time.
        let asked = server.calls("exec").await;
        node.quiet_until(async || server.calls("exec").await > asked + 1).await;
        server.command::<i64>(&["DEL", key]).await;
        fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
        node.until("loaded", |node| node.seq == Some(3)).await;
        server.command::<()>(&["FLUSHALL"]).await;
    }
}

#[tokio::test]
async fn a_feed_that_is_dropped_leaves_nothing_behind() {
    let server = RedisServer::start(Disk::None);
    fill(&mut relay(&server), &at(3), &entries(0..3)).await.unwrap();
    let feed = RedisFeed::connect(server.options(), metrics()).await.unwrap();
    server.wait_for_client("xread").await;
    drop(feed);
    server.eventually("no reader", async || !server.has_client("xread").await).await;
}

//! What a stream may hold that nobody should believe.

use mediagate::feed::Broker;

use super::node::{Node, at, beating, deactivated, entries, fill, relay};
use crate::support::redis_server::{Disk, RedisServer};

/// A change of `source` as somebody might write it by hand.
fn change(source: &str, seq: u64) -> String {
    format!(
        r#"{{"v":1,"type":"change","source":"{source}","seq":{seq},"scope":"user","app":"acme","uid":"eve","effect":"deactivated","in_force":true}}"#
    )
}

fn beat(source: &str, seq: u64) -> String {
    format!(r#"{{"v":1,"type":"heartbeat","source":"{source}","seq":{seq}}}"#)
}

#[tokio::test]
async fn lies_are_counted_and_change_nothing() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::connect(&server).await;
    // It reads the stream by then: what comes before, it may not even see.
    beating(&mut broker, 3, node.until("following", |node| node.beats > 0)).await;

    let long = format!(r#"{{"v":1,"x":"{}"}}"#, "x".repeat(5000));
    let lies = [
        (change("db-1", 100), "absurd"),
        (change("db-1", u64::MAX), "absurd"),
        (change("db-9", 4), "absurd"),
        (beat("db-1", 4), "absurd"),
        (beat("db-9", 3), "absurd"),
        (r#"{"v":1,"type":"snapshot","source":"db-1","seq":99,"entries":5}"#.to_owned(), "absurd"),
        (String::new(), "malformed"),
        ("no JSON".to_owned(), "malformed"),
        (change("db-1", 0), "malformed"),
        (change("db-1", 4).replace("deactivated", "invented"), "malformed"),
        (long, "malformed"),
        (change("db-1", 4).replace(r#""v":1"#, r#""v":2"#), "unknown"),
        (change("db-1", 4).replace(r#""change""#, r#""chance""#), "unknown"),
    ];
    let mut expected = std::collections::HashMap::<_, u64>::new();
    for (lie, label) in &lies {
        server.command::<String>(&["XADD", "{mediagate}:changes", "*", "m", lie]).await;
        *expected.entry(*label).or_default() += 1;
    }
    server.command::<String>(&["XADD", "{mediagate}:changes", "*", "other", "field"]).await;
    *expected.entry("malformed").or_default() += 1;
    // Known already: neither delivered nor counted.
    server.command::<String>(&["XADD", "{mediagate}:changes", "*", "m", &change("db-1", 3)]).await;
    server.command::<String>(&["XADD", "{mediagate}:changes", "*", "m", &beat("db-1", 2)]).await;

    broker.publish(&at(3), &[deactivated(4, "x")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(4)).await;
    for (label, count) in expected {
        assert_eq!(node.passed_over(label), count, "{label}");
    }
    assert_eq!((node.loads, node.names().len()), (1, 4));
}

#[tokio::test]
async fn lies_in_the_state_are_left_out_and_the_rest_is_loaded() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let bucket = server.bucket_of("deactivated/user/acme/u1").await;
    let json = change("db-1", 2);
    let lies = [
        ("nonsense", "nonsense"),
        ("deactivated/user/acme/bob", json.as_str()),
        ("deactivated/user/acme/eve", "3 1"),
        ("deactivated/user/acme/dan", ""),
        ("issued_before/user/acme/eve", "3"),
    ];
    for (field, value) in lies {
        server.command::<u64>(&["HSET", &bucket, field, value]).await;
        server.command::<u64>(&["HINCRBY", &bucket, "", "1"]).await;
    }
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    assert_eq!((node.names().len(), node.passed_over("malformed")), (3, lies.len() as u64));
}

#[tokio::test]
async fn numbers_that_are_none_are_no_position() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    for (field, value) in
        [("seq", "-1"), ("seq", "1e3"), ("source", ""), ("generation", "a b"), ("count", "x"), ("buckets", "17")]
    {
        server.command::<u64>(&["HSET", "{mediagate}:meta", field, value]).await;
        assert_eq!(broker.position().await.unwrap(), None, "{field}");
        fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
        assert_eq!(broker.position().await.unwrap(), Some(at(3)), "{field}");
    }
    node.until("loaded again", |node| node.loads > 1).await;
    assert_eq!((node.seq, node.names().len()), (Some(3), 3));
}

#[tokio::test]
async fn a_flood_of_lies_makes_no_node_load_again_and_again() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::connect(&server).await;
    // It reads the stream by then: what comes before, it may not even see.
    beating(&mut broker, 3, node.until("following", |node| node.beats > 0)).await;
    let flood = "for i = 1, 20000 do redis.call('XADD', KEYS[1], '*', 'm', ARGV[1 + i % #ARGV]) end";
    let (ahead, other, snapshot) =
        (change("db-1", 1000), beat("db-9", 3), beat("db-1", 3).replace("heartbeat", "snapshot"));
    server.command::<()>(&["EVAL", flood, "1", "{mediagate}:changes", &ahead, &other, &snapshot]).await;
    broker.publish(&at(3), &[deactivated(4, "x")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(4)).await;
    assert_eq!((node.loads, node.passed_over("absurd")), (1, 20_000));
}

#[tokio::test]
async fn a_node_that_is_asked_to_load_again_and_again_takes_its_time() {
    let server = RedisServer::start(Disk::None);
    fill(&mut relay(&server), &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    let begun = std::time::Instant::now();
    for loads in 2..5 {
        node.feed_resync();
        node.until("loaded again", |node| node.loads == loads).await;
    }
    assert!(begun.elapsed() >= std::time::Duration::from_millis(700), "{:?}", begun.elapsed());
}

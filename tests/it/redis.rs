//! The feed through Redis, against a real server that is stopped, killed, emptied, rolled back and lied to.

mod faults;
mod lies;
mod node;

use std::time::{Duration, Instant};

use mediagate::feed::redis::{RedisBroker, RedisFeed, RedisReporter, RedisReports, RedisTls};
use mediagate::feed::wire::NodeReport;
use mediagate::feed::{Broker, BrokerError, Reporter, Reports};
use mediagate::restrictions::{Effect, Scope};
use mediagate::secret::Secret;
use node::{Node, at, deactivated, entries, fill, lifted, metrics, relay};

use crate::support::redis_server::{Disk, RedisServer};

#[tokio::test]
async fn a_node_loads_the_state_and_follows_its_changes() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    assert_eq!(broker.position().await.unwrap(), None);
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    assert_eq!(broker.position().await.unwrap(), Some(at(3)));

    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    assert_eq!(node.names(), ["u0", "u1", "u2"]);

    broker.publish(&at(3), &[deactivated(4, "u9"), lifted(5, "u1")]).await.unwrap();
    broker.heartbeat(&at(5)).await.unwrap();
    node.until("followed", |node| node.beats == 1).await;
    assert_eq!((node.seq, node.names(), node.loads), (Some(5), vec!["u0".into(), "u2".into(), "u9".into()], 1));

    // Another node has the same from the start.
    let mut other = Node::connect(&server).await;
    other.until("loaded", |node| node.seq == Some(5)).await;
    assert_eq!(other.names(), node.names());
    // And the first one when it asks.
    node.feed_resync();
    node.until("loaded again", |node| node.loads == 2).await;
    assert_eq!((node.seq, node.names()), (Some(5), other.names()));
}

#[tokio::test]
async fn an_empty_state_is_a_state_and_an_empty_server_is_none() {
    let server = RedisServer::start(Disk::None);
    let mut node = Node::connect(&server).await;
    let mut broker = relay(&server);
    assert!(matches!(broker.publish(&at(0), &[deactivated(1, "u1")]).await, Err(BrokerError::Moved)));
    assert!(matches!(broker.heartbeat(&at(0)).await, Err(BrokerError::Moved)));
    node.quiet_until(|| server.has_client("exec")).await;

    fill(&mut broker, &at(0), &[]).await.unwrap();
    node.until("loaded", |node| node.seq == Some(0)).await;
    assert!(node.names().is_empty());
    broker.publish(&at(0), &[deactivated(1, "u1")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(1)).await;
}

#[tokio::test]
async fn both_effects_of_every_scope_come_through() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    let app = || "acme".to_owned();
    let scopes = [
        Scope::App { app: app() },
        Scope::User { app: app(), uid: "üser/with \"quotes\"".into() },
        Scope::Session { app: app(), sid: "s".into() },
        Scope::Token { app: app(), jti: "t".into() },
    ];
    fill(&mut broker, &at(0), &[]).await.unwrap();
    let mut node = Node::connect(&server).await;
    let mut seq = 0;
    for scope in &scopes {
        for effect in [Effect::Deactivated, Effect::IssuedBefore { before: 1_795_267_467 }] {
            let mut change = deactivated(seq + 1, "");
            (change.scope, change.effect) = (scope.clone(), effect);
            broker.publish(&at(seq), &[change]).await.unwrap();
            seq += 1;
        }
    }
    node.until("followed", |node| node.seq == Some(8)).await;
    assert_eq!(node.held.len(), 8);
    let mut other = Node::connect(&server).await;
    other.until("loaded", |node| node.seq == Some(8)).await;
    assert_eq!(other.held, node.held);
}

#[tokio::test]
async fn a_large_state_comes_in_parts_while_it_changes() {
    for trims in [false, true] {
        let server = RedisServer::start(Disk::None);
        let mut broker = relay(&server);
        fill(&mut broker, &at(1), &entries(0..60_000)).await.unwrap();
        // More than may wait to be taken, so the node is in the midst of it when everything changes.
        let mut node = Node::connect(&server).await;
        server.wait_for_client("hgetall").await;
        let change = |n: u64| match n % 2 {
            0 => lifted(2 + n, &format!("u{}", n * 15)),
            _ => deactivated(2 + n, &format!("v{n}")),
        };
        broker.publish(&at(1), &(0..4000).map(change).collect::<Vec<_>>()).await.unwrap();
        if trims {
            server.command::<u64>(&["XTRIM", "{mediagate}:changes", "MAXLEN", "10"]).await;
        }
        node.until("loaded", |node| node.seq == Some(4001)).await;
        assert_eq!((node.loads, node.begun), (1, if trims { 2 } else { 1 }));
        let mut other = Node::connect(&server).await;
        other.until("loaded", |node| node.seq == Some(4001)).await;
        assert!(node.held == other.held, "{} and {}", node.held.len(), other.held.len());
        assert_eq!(node.held.len(), 60_000);
        assert!(!node.held.contains_key("deactivated/user/acme/u30"));
        assert!(node.largest_part <= 4096, "{}", node.largest_part);
    }
}

#[tokio::test]
async fn a_state_that_has_outgrown_its_buckets_is_divided_anew() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(0), &[]).await.unwrap();
    let users = 16 * 1024;
    let changes: Vec<_> = (1..=users + 1).map(|seq| deactivated(seq, &format!("u{}", seq - 1))).collect();
    broker.publish(&at(0), &changes[..users as usize]).await.unwrap();
    broker.heartbeat(&at(users)).await.unwrap();
    broker.publish(&at(users), &changes[users as usize..]).await.unwrap();
    assert!(matches!(broker.heartbeat(&at(users + 1)).await, Err(BrokerError::Moved)));
    assert_eq!(broker.position().await.unwrap(), None);
    // Whoever takes over finds it out as well, and loses nothing.
    let mut other = relay(&server);
    assert_eq!(other.position().await.unwrap(), Some(at(users + 1)));
    assert!(matches!(other.heartbeat(&at(users + 1)).await, Err(BrokerError::Moved)));
    fill(&mut other, &at(users + 1), &entries(0..users as usize + 1)).await.unwrap();
    assert_eq!((server.generations().await.len(), server.buckets().await.len()), (1, 256));
    broker.heartbeat(&at(users + 1)).await.unwrap_err();
    broker.position().await.unwrap();
    broker.heartbeat(&at(users + 1)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(users + 1)).await;
    assert_eq!(node.names().len(), users as usize + 1);
}

#[tokio::test]
async fn changes_are_published_in_thousands() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(0), &[]).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(0)).await;
    let changes: Vec<_> = (1..=20_000).map(|seq| deactivated(seq, &format!("u{seq}"))).collect();
    broker.publish(&at(0), &changes).await.unwrap();
    node.until("followed", |node| node.seq == Some(20_000)).await;
    assert_eq!((node.held.len(), node.loads), (20_000, 1));
}

#[tokio::test]
async fn of_two_relays_one_moves_and_nothing_is_lost() {
    let server = RedisServer::start(Disk::None);
    let mut first = relay(&server);
    fill(&mut first, &at(0), &[]).await.unwrap();
    let mut node = Node::connect(&server).await;
    // Both have the same changes, as two that read one database have, and go on from where the broker stands.
    let publish = |mut broker: RedisBroker| async move {
        let mut moved = 0;
        loop {
            let now = broker.position().await.unwrap().expect("nobody takes it away");
            if now.seq == 300 {
                return moved;
            }
            let some: Vec<_> = (now.seq + 1..=300).take(3).map(|seq| deactivated(seq, &format!("u{seq}"))).collect();
            match broker.publish(&now, &some).await {
                Ok(()) => {}
                Err(BrokerError::Moved) => moved += 1,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let both = tokio::join!(publish(first), publish(relay(&server)));
    println!("moved {both:?} times");
    node.until("followed", |node| node.seq == Some(300)).await;
    assert_eq!((node.held.len(), node.loads), (300, 1));

    // And for certain: one that stands where the other was.
    let (mut early, mut late) = (relay(&server), relay(&server));
    late.heartbeat(&at(300)).await.unwrap();
    early.publish(&at(300), &[deactivated(301, "x")]).await.unwrap();
    assert!(matches!(late.publish(&at(300), &[deactivated(301, "x")]).await, Err(BrokerError::Moved)));
    assert!(matches!(late.heartbeat(&at(300)).await, Err(BrokerError::Moved)));
    late.heartbeat(&at(301)).await.unwrap();
    assert!(matches!(late.publish(&at(301), &[deactivated(303, "x")]).await, Err(BrokerError::Failed(_))));
}

#[tokio::test]
async fn a_refill_gives_way_to_whoever_wrote_meanwhile() {
    let server = RedisServer::start(Disk::None);
    let mut broker = relay(&server);
    fill(&mut broker, &at(2), &entries(0..2)).await.unwrap();
    let mut node = Node::connect(&server).await;
    node.until("loaded", |node| node.seq == Some(2)).await;

    let (sender, parts) = tokio::sync::mpsc::channel(1);
    let mut slow = relay(&server);
    let refill = tokio::spawn(async move { slow.refill(&at(2), 2, parts).await });
    sender.send(entries(0..1)).await.unwrap();
    sender.send(entries(1..2)).await.unwrap();
    sender.reserve().await.unwrap();
    // Half-written: it will go away by itself if nobody finishes it.
    server.eventually("an unfinished state", async || server.generations().await.len() == 2).await;
    let mut unfinished = 0;
    for bucket in server.buckets().await {
        unfinished += i32::from(server.command::<i64>(&["TTL", &bucket]).await > 0);
    }
    assert_eq!(unfinished, 16);
    broker.publish(&at(2), &[deactivated(3, "u2")]).await.unwrap();
    drop(sender);
    assert!(matches!(refill.await.unwrap(), Err(BrokerError::Moved)));
    assert_eq!(server.generations().await.len(), 1);
    node.until("followed", |node| node.seq == Some(3)).await;

    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    node.until("loaded again", |node| node.loads == 2).await;
    assert_eq!((node.seq, node.names().len()), (Some(3), 3));
    assert_eq!(server.generations().await.len(), 1);
    for bucket in server.buckets().await {
        assert_eq!(server.command::<i64>(&["TTL", &bucket]).await, -1, "{bucket}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_an_error_at_the_start() {
    let server = RedisServer::with(Disk::None, &["--requirepass", "correct-horse-9"]);
    let connect = async |edit: &dyn Fn(&mut mediagate::feed::redis::RedisOptions)| {
        let mut options = server.options();
        edit(&mut options);
        RedisFeed::connect(options, metrics()).await.map(drop).map_err(|error| error.to_string())
    };
    for secret in [None, Some("wrong-horse-9")] {
        let error = connect(&|options| options.password = secret.map(Secret::new)).await.unwrap_err();
        assert!(error.contains("refuses") && !error.contains("horse"), "{error}");
    }
    connect(&|options| options.password = Some(Secret::new("correct-horse-9"))).await.unwrap();

    let server = RedisServer::start(Disk::None);
    let rights = ["ACL", "SETUSER", "node", "on", ">pw", "~other:*", "+@all"];
    server.command::<()>(&rights).await;
    let mut options = server.options();
    (options.username, options.password) = (Some("node".into()), Some(Secret::new("pw")));
    let error = RedisFeed::connect(options.clone(), metrics()).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("refuses") && error.contains("NOPERM"), "{error}");
    let error = RedisBroker::new(&options).unwrap().position().await.unwrap_err();
    assert!(matches!(error, BrokerError::Refused(_)), "{error}");
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let server = RedisServer::start(Disk::None);
    let user = async |name: &str, rights: &str| {
        let command = format!("ACL SETUSER {name} on >pw resetkeys resetchannels -@all {rights}");
        server.command::<()>(&command.split(' ').collect::<Vec<_>>()).await;
        let mut options = server.options();
        (options.username, options.password) = (Some(name.into()), Some(Secret::new("pw")));
        options
    };
    let reads = "+multi +exec +hmget +hgetall +xread +xrange +xrevrange +publish +select";
    let node_options = user("node", &format!("%R~{{mediagate}}:* &{{mediagate}}:reports {reads}")).await;
    let writes = "+evalsha +script +hset +hsetnx +hincrby +hdel +hget +hmget +hlen +expire +persist +unlink +del +exists \
                  +xadd +xlen +xrange +xrevrange +multi +exec +subscribe +ping";
    let relay_options = user("relay", &format!("~{{mediagate}}:* &{{mediagate}}:reports {writes}")).await;

    let mut broker = RedisBroker::new(&relay_options).unwrap();
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::with(node_options.clone()).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    broker.publish(&at(3), &[deactivated(4, "x"), lifted(5, "u0")]).await.unwrap();
    broker.heartbeat(&at(5)).await.unwrap();
    node.until("followed", |node| node.beats == 1).await;
    round_trip(&mut RedisReporter::new(&node_options).unwrap(), &mut RedisReports::new(&relay_options).unwrap()).await;
}

/// Reports until one of them arrives: nobody may have listened to the first.
async fn round_trip(reporter: &mut RedisReporter, reports: &mut RedisReports) {
    let sent = NodeReport {
        node: "edge-1".into(),
        instance: "i".into(),
        source: node::SOURCE.into(),
        seq: 7,
        entries: 2,
        fresh: true,
        ..NodeReport::default()
    };
    let begun = Instant::now();
    loop {
        // A server that was restarted is found out by an error, and reached with the next report.
        let _ = reporter.report(&sent).await;
        if let Ok(report) = tokio::time::timeout(Duration::from_millis(50), reports.next()).await {
            assert_eq!(report, sent);
            return;
        }
        assert!(begun.elapsed() < node::DEADLINE, "no report arrives");
    }
}

#[tokio::test]
async fn reports_come_back_also_after_a_restart() {
    let mut server = RedisServer::start(Disk::None);
    let mut reporter = RedisReporter::new(&server.options()).unwrap();
    let mut reports = RedisReports::new(&server.options()).unwrap();
    round_trip(&mut reporter, &mut reports).await;
    // What is no report is passed over.
    server.command::<u64>(&["PUBLISH", "{mediagate}:reports", "no report"]).await;
    round_trip(&mut reporter, &mut reports).await;
    server.kill();
    assert!(matches!(
        reporter
            .report(&NodeReport {
                node: "n".into(),
                instance: String::new(),
                source: String::new(),
                seq: 0,
                entries: 0,
                fresh: false,
                ..NodeReport::default()
            })
            .await,
        Err(BrokerError::Unreachable(_))
    ));
    server.restart();
    round_trip(&mut reporter, &mut reports).await;
}

#[tokio::test]
async fn tls_trusts_the_authority_that_it_is_given() {
    let (server, ca) = RedisServer::with_tls();
    let mut options = server.options();
    let error = RedisBroker::new(&options).unwrap().position().await.unwrap_err();
    assert!(matches!(error, BrokerError::Unreachable(_)), "{error}");

    options.tls = RedisTls::On { ca_pem: Some(ca) };
    let mut broker = RedisBroker::new(&options).unwrap();
    fill(&mut broker, &at(3), &entries(0..3)).await.unwrap();
    let mut node = Node::with(options.clone()).await;
    node.until("loaded", |node| node.seq == Some(3)).await;
    broker.publish(&at(3), &[deactivated(4, "x")]).await.unwrap();
    node.until("followed", |node| node.seq == Some(4)).await;
    round_trip(&mut RedisReporter::new(&options).unwrap(), &mut RedisReports::new(&options).unwrap()).await;
}

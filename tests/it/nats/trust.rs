//! Who is let in, and what is believed.

use std::path::Path;
use std::sync::Arc;

use mediagate::feed::nats::{NatsBroker, NatsFeed, NatsOptions, NatsReporter, NatsReports};
use mediagate::feed::wire::{self, Message, NodeReport, Position};
use mediagate::feed::{Broker, BrokerError, Reporter, Reports};
use mediagate::metrics::Metrics;
use mediagate::restrictions::{Change, Effect};
use mediagate::secret::Secret;

use super::harness::{Node, Outsider, Relay, Source, state_name, until, user};
use crate::support::certificates::certificates;
use crate::support::nats_server::NatsServer;

#[tokio::test]
async fn nonsense_is_counted_and_passed_over() {
    let server = NatsServer::start();
    let mut source = Source::new("db1");
    source.deactivate("alice");
    let mut relay = source.relay(&server).await;
    relay.catch_up(&source).await;
    let node = Node::start(&server).await;
    until("loaded", || node.equals(&source)).await;
    let outsider = Outsider::connect(&server).await;
    let change = |name: &str, seq| Change { seq, scope: user(name), effect: Effect::Deactivated, in_force: true };
    let said = |source: &str, change: Change| wire::encode(&Message::Change { source: source.into(), change });
    let name = |name: &str| state_name(&user(name), Effect::Deactivated);

    outsider.publish("state.x", "{\"v\":1").await;
    outsider.publish("state.y", vec![0xff; 10_000]).await;
    outsider.publish(&name("eve"), said("db1", change("mallory", 2))).await;
    outsider.publish("other", "{\"v\":2,\"type\":\"change\"}").await;
    outsider.publish(&name("far"), said("db1", change("far", 1 << 40))).await;
    outsider.publish(&name("foreign"), said("db2", change("foreign", 2))).await;
    outsider
        .publish("heartbeat", wire::encode(&Message::Heartbeat(Position { source: "db1".into(), seq: 1 << 41 })))
        .await;
    until("counted", || {
        node.count("malformed") == 3
            && node.count("unknown") == 1
            && node.count("foreign") == 1
            && node.count("absurd") == 2
    })
    .await;
    node.assert_alive();
    assert!(!node.has("far") && !node.has("foreign") && !node.has("mallory") && !node.has("eve"));

    // The relay finds that somebody else has written, and writes the whole state.
    source.deactivate("bob");
    relay.catch_up(&source).await;
    let fresh = Node::start(&server).await;
    until("mended", || node.equals(&source) && fresh.equals(&source)).await;
}

#[tokio::test]
async fn a_number_that_no_heartbeat_covers_is_not_loaded() {
    let server = NatsServer::start();
    let mut source = Source::new("db1");
    source.deactivate("alice");
    let mut relay = source.relay(&server).await;
    relay.catch_up(&source).await;
    let outsider = Outsider::connect(&server).await;
    let bogus = Change { seq: 1 << 50, scope: user("far"), effect: Effect::Deactivated, in_force: true };
    let payload = wire::encode(&Message::Change { source: "db1".into(), change: bogus });
    outsider.publish(&state_name(&user("far"), Effect::Deactivated), payload).await;
    outsider.publish("heartbeat", wire::encode(&Message::Heartbeat(source.position()))).await;
    let node = Node::start(&server).await;
    until("loaded", || node.equals(&source)).await;
    assert_eq!((node.count("absurd"), node.has("far")), (1, false));
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_does_not_tell_it() {
    let server = NatsServer::with(&["--user", "gate", "--pass", "correct-horse"]);
    let options = |password: &str| NatsOptions {
        user: Some("gate".into()),
        password: Some(Secret::new(password)),
        ..server.options()
    };
    for wrong in [server.options(), options("battery-staple")] {
        let error = NatsFeed::connect(&wrong, Arc::new(Metrics::new())).await.expect_err("refused").to_string();
        assert!(error.contains("credentials") && !error.contains("battery"), "{error}");
        let error = NatsBroker::connect(&wrong).await.expect_err("refused");
        assert!(matches!(error, BrokerError::Refused(_)), "{error}");
    }
    let mut broker = NatsBroker::connect(&options("correct-horse")).await.expect("accepted");
    assert_eq!(broker.position().await.expect("asked"), None);
}

#[tokio::test]
async fn missing_rights_are_an_error_at_start() {
    let mut server = NatsServer::stopped(&[]);
    let config = server.dir().join("server.conf");
    let text = r#"authorization { users = [
        { user: relay, password: relay-secret },
        { user: blind, password: blind-secret, permissions: { publish: "mediagate.reports", subscribe: "_INBOX.>" } },
        { user: node, password: node-secret, permissions: { subscribe: "_INBOX.>", publish: [
            "$JS.API.STREAM.INFO.MEDIAGATE", "$JS.API.STREAM.MSG.GET.MEDIAGATE", "mediagate.reports",
            "$JS.API.CONSUMER.CREATE.MEDIAGATE.>", "$JS.API.CONSUMER.MSG.NEXT.MEDIAGATE.>" ] } },
    ] }"#;
    std::fs::write(&config, text).expect("written");
    server.run_with(&["-c", config.to_str().expect("UTF-8")]);
    let options = |user: &str| NatsOptions {
        user: Some(user.into()),
        password: Some(Secret::new(format!("{user}-secret"))),
        ..server.options()
    };
    let mut broker = NatsBroker::connect(&options("relay")).await.expect("accepted");
    assert_eq!(broker.position().await.expect("asked"), None);
    let error = NatsFeed::connect(&options("blind"), Arc::new(Metrics::new())).await.expect_err("refused").to_string();
    assert!(error.contains("ermission") && error.contains("MEDIAGATE") && !error.contains("secret"), "{error}");
    // What the documentation lists is enough.
    let mut source = Source::new("db1");
    source.deactivate("alice");
    Relay { broker }.catch_up(&source).await;
    let node = Node::with(&options("node")).await;
    until("loaded", || node.equals(&source)).await;
}

#[tokio::test]
async fn a_server_that_is_down_is_waited_for() {
    let mut server = NatsServer::stopped(&[]);
    let node = Node::start(&server).await;
    let mut source = Source::new("db1");
    source.deactivate("alice");
    let mut relay = source.relay(&server).await;
    let refused = relay.broker.position().await;
    assert!(matches!(refused, Err(BrokerError::Unreachable(_))), "{refused:?}");
    server.run();
    relay.catch_up(&source).await;
    until("loaded", || node.equals(&source)).await;
}

#[tokio::test]
async fn a_stream_with_other_settings_is_named() {
    let server = NatsServer::start();
    let outsider = Outsider::connect(&server).await;
    let config = async_nats::jetstream::stream::Config {
        name: "MEDIAGATE".into(),
        subjects: vec!["mediagate.restrictions.>".into()],
        max_messages_per_subject: 7,
        ..Default::default()
    };
    outsider.context.create_stream(config).await.expect("made");
    let mut broker = NatsBroker::connect(&server.options()).await.expect("accepted");
    let error = broker.position().await.expect_err("of no use").to_string();
    assert!(error.contains("max_msgs_per_subject"), "{error}");
}

#[tokio::test]
async fn reports_arrive_also_after_a_restart() {
    let mut server = NatsServer::start();
    let mut reports = NatsReports::connect(&server.options()).await.expect("accepted");
    let mut reporter = NatsReporter::connect(&server.options()).await.expect("accepted");
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let reading = tokio::spawn(async move {
        loop {
            let report = reports.next().await;
            if sender.send(report).is_err() {
                return;
            }
        }
    });
    let outsider = async_nats::connect(server.url("nats")).await.expect("connected");
    outsider.publish("mediagate.reports", "nonsense".into()).await.expect("sent");
    for seq in [1, 2] {
        let report = NodeReport {
            node: "edge-1".into(),
            instance: "i".into(),
            source: "db1".into(),
            seq,
            entries: 3,
            fresh: true,
            ..NodeReport::default()
        };
        let mut got = None;
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
        for _ in 0..3000 {
            // One that is lost is made good by the next.
            reporter.report(&report).await.ok();
            tick.tick().await;
            while let Ok(report) = arrived.try_recv() {
                got = Some(report);
            }
            if got.as_ref() == Some(&report) {
                break;
            }
        }
        assert_eq!(got, Some(report));
        server.kill();
        server.run();
    }
    reading.abort();
}

#[tokio::test]
async fn a_server_with_tls_is_believed_with_its_authority_only() {
    let mut server = NatsServer::stopped(&[]);
    let [ca, cert, key] = certificates(server.dir());
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    server.run_with(&["--tls", "--tlscert", &path(&cert), "--tlskey", &path(&key)]);
    let options = NatsOptions { ca_file: Some(ca), ..NatsOptions::parse(&server.url("tls")).expect("a URL") };
    let mut source = Source::new("db1");
    source.deactivate("alice");
    let broker = NatsBroker::connect(&options).await.expect("believed");
    Relay { broker }.catch_up(&source).await;
    let node = Node::with(&options).await;
    until("loaded", || node.equals(&source)).await;

    let other = NatsServer::stopped(&[]);
    let [stranger, ..] = certificates(other.dir());
    let options = NatsOptions { ca_file: Some(stranger), ..options };
    let error = NatsBroker::connect(&options).await.expect_err("not believed");
    assert!(matches!(error, BrokerError::Refused(_)), "{error}");
    let options = NatsOptions { ca_file: Some("/nowhere/ca.pem".into()), ..options };
    let error = NatsBroker::connect(&options).await.expect_err("no such file").to_string();
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
}

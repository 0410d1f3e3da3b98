//! The broker of one schedule, and somebody who writes to it and should not.

use async_nats::jetstream;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mediagate::feed::nats::NatsOptions;
use mediagate::feed::redis::RedisOptions;
use mediagate::feed::wire::{self, Message, Position};
use mediagate::restrictions::Change;
use redis::streams::StreamRangeReply;

use super::schedule::{Random, Tamper};
use super::truth::{SLOTS, slot};
use crate::support::nats_server::NatsServer;
use crate::support::redis_server::{Disk, RedisServer};

/// What a schedule runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Redis,
    Nats,
}

enum Server {
    Redis(RedisServer),
    Nats(NatsServer),
}

pub(super) struct Broker {
    server: Server,
    pub(super) is_running: bool,
    pub(super) is_stopped: bool,
}

impl Broker {
    pub(super) fn start(kind: Kind) -> Broker {
        let server = match kind {
            // Killed, a process loses nothing that it has written; synced or not.
            Kind::Redis => Server::Redis(RedisServer::with(Disk::AppendOnly, &["--appendfsync", "everysec"])),
            Kind::Nats => Server::Nats(NatsServer::start()),
        };
        Broker { server, is_running: true, is_stopped: false }
    }

    pub(super) fn port(&self) -> u16 {
        match &self.server {
            Server::Redis(server) => server.port,
            Server::Nats(server) => server.port,
        }
    }

    pub(super) fn kill(&mut self, loses: bool) {
        if !std::mem::take(&mut self.is_running) {
            return;
        }
        self.is_stopped = false;
        match &mut self.server {
            Server::Redis(server) => {
                server.kill();
                if loses {
                    server.lose_data();
                }
            }
            Server::Nats(server) => {
                server.kill();
                if loses {
                    server.lose_data();
                }
            }
        }
    }

    pub(super) fn run(&mut self) {
        if std::mem::replace(&mut self.is_running, true) {
            return;
        }
        match &mut self.server {
            Server::Redis(server) => server.restart(),
            Server::Nats(server) => server.run(),
        }
    }

    /// Makes it hang, or go on.
    pub(super) fn stop(&mut self, stops: bool) {
        if !self.is_running || self.is_stopped == stops {
            return;
        }
        self.is_stopped = stops;
        let signal = if stops { "STOP" } else { "CONT" };
        match &self.server {
            Server::Redis(server) => server.signal(signal),
            Server::Nats(server) => server.signal(signal),
        }
    }
}

pub(super) fn redis_options(port: u16) -> RedisOptions {
    let mut options = RedisOptions::parse(&format!("redis://127.0.0.1:{port}")).expect("a URL");
    options.silence = std::time::Duration::from_millis(500);
    options
}

pub(super) fn nats_options(port: u16) -> NatsOptions {
    NatsOptions::parse(&format!("nats://127.0.0.1:{port}")).expect("a URL")
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Does to the broker at `port` what nobody should. `at` is where the database stands.
pub(super) async fn tamper(
    kind: Kind,
    port: u16,
    tamper: Tamper,
    at: Position,
    random: &mut Random,
) -> Result<(), Failure> {
    let lie = lie(tamper, at, random);
    match kind {
        Kind::Redis => tamper_redis(port, tamper, lie, random).await,
        Kind::Nats => tamper_nats(port, tamper, lie, random).await,
    }
}

/// The message that is written, and its subject in NATS below `restrictions`.
fn lie(tamper: Tamper, at: Position, random: &mut Random) -> Option<(Vec<u8>, String)> {
    let foreign = || Position { source: "somebody-else".into(), seq: at.seq };
    let (scope, effect) = slot(usize::try_from(random.below(SLOTS as u64)).expect("small"), 77);
    let subject = format!("state.{}", URL_SAFE_NO_PAD.encode(wire::key(&scope, effect)));
    let change = |at: Position| {
        let change = Change { seq: at.seq, scope: scope.clone(), effect, in_force: at.seq.is_multiple_of(2) };
        (wire::encode(&Message::Change { source: at.source, change }), subject.clone())
    };
    let beat = |at: Position| (wire::encode(&Message::Heartbeat(at)), "heartbeat".to_owned());
    let ahead = |by: u64| Position { seq: at.seq + by, ..at.clone() };
    Some(match tamper {
        Tamper::Again { .. } | Tamper::DeleteNewest(_) | Tamper::DeleteOthers => return None,
        Tamper::Malformed => (b"{\"v\":1,\"type\":".to_vec(), subject),
        Tamper::FutureVersion => {
            let (payload, subject) = change(ahead(1));
            (String::from_utf8_lossy(&payload).replace("\"v\":1", "\"v\":2").into_bytes(), subject)
        }
        Tamper::Ahead(by) => change(ahead(by)),
        Tamper::BeatAhead(by) => beat(ahead(by)),
        Tamper::ForeignChange => change(Position { seq: at.seq + 1, ..foreign() }),
        Tamper::ForeignBeat => beat(foreign()),
        Tamper::ForeignState => (wire::encode(&Message::Snapshot { at: foreign(), entries: 0 }), "snapshot".to_owned()),
    })
}

async fn tamper_redis(
    port: u16,
    tamper: Tamper,
    lie: Option<(Vec<u8>, String)>,
    random: &mut Random,
) -> Result<(), Failure> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let stream = "{mediagate}:changes";
    let add = |message: &[u8]| redis::cmd("XADD").arg(stream).arg("*").arg("m").arg(message).take();
    if let Some((message, _)) = lie {
        return Ok(add(&message).exec_async(&mut connection).await?);
    }
    match tamper {
        Tamper::DeleteNewest(many) => {
            let newest = redis::cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(many).take();
            let newest: StreamRangeReply = newest.query_async(&mut connection).await?;
            for entry in newest.ids {
                redis::cmd("XDEL").arg(stream).arg(entry.id).exec_async(&mut connection).await?;
            }
        }
        Tamper::DeleteOthers => {
            redis::cmd("XTRIM").arg(stream).arg("MAXLEN").arg(1).exec_async(&mut connection).await?;
        }
        _ => {
            let all = redis::cmd("XREVRANGE").arg(stream).arg("+").arg("-").take();
            let all: StreamRangeReply = all.query_async(&mut connection).await?;
            let among = if matches!(tamper, Tamper::Again { newest: true }) { 5 } else { u64::MAX };
            let nth = random.below(among.min(all.ids.len() as u64).max(1));
            let entry = all.ids.get(usize::try_from(nth)?).and_then(|entry| entry.get::<Vec<u8>>("m"));
            if let Some(message) = entry {
                add(&message).exec_async(&mut connection).await?;
            }
        }
    }
    Ok(())
}

async fn tamper_nats(
    port: u16,
    tamper: Tamper,
    lie: Option<(Vec<u8>, String)>,
    random: &mut Random,
) -> Result<(), Failure> {
    let context = jetstream::new(async_nats::connect(format!("nats://127.0.0.1:{port}")).await?);
    if let Some((message, subject)) = lie {
        context.publish(format!("mediagate.restrictions.{subject}"), message.into()).await?.await?;
        return Ok(());
    }
    let mut stream = context.get_stream("MEDIAGATE").await?;
    let (first, last) = {
        let state = &stream.info().await?.state;
        (state.first_sequence, state.last_sequence)
    };
    match tamper {
        Tamper::DeleteNewest(many) => {
            // Heartbeats only: a change of a new subject that is deleted before the next heartbeat has counted it is
            // not missed by anybody, and stays lost.
            for sequence in last.saturating_sub(many - 1)..=last {
                // It may have been superseded.
                let Ok(message) = stream.get_raw_message(sequence).await else { continue };
                if message.subject.ends_with(".heartbeat") {
                    let _ = stream.delete_message(sequence).await;
                }
            }
        }
        // After somebody else's purge, nats-server 2.15 may keep the marker and not find it by its subject any more
        // (`last_by_subj` answers 404, the sequence has it): nodes wait then for what the relay believes is there.
        Tamper::DeleteOthers => {}
        _ => {
            let from = if matches!(tamper, Tamper::Again { newest: true }) { last.saturating_sub(4) } else { first };
            let mut sequence = from.max(first) + random.below((last + 1 - from.max(first)).max(1));
            // Many have been superseded.
            while sequence <= last {
                if let Ok(message) = stream.get_raw_message(sequence).await {
                    context.publish(message.subject, message.payload).await?.await?;
                    break;
                }
                sequence += 1;
            }
        }
    }
    Ok(())
}

//! The relay's side: what is written, and under which conditions.
//!
//! Every message carries the id of the message before it. The stream's last sequence would not do: when another relay's
//! message takes the place of one of ours, the one after ours finds the sequence that it expects. A relay that has just
//! started knows no id; its first message goes by sequence. One condition and not both, because headers are kept with a
//! message, and every node reads them again when it loads.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Info;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::link::{Link, MAX_IN_FLIGHT};
use super::options::NatsOptions;
use super::settings;
use super::subjects::Said;
use super::{SUBJECTS_HEADER, kept_subjects};
use crate::feed::wire::{self, Message, Position};
use crate::feed::{Broker, BrokerError, random_name};
use crate::restrictions::{Change, Entry};

/// How often a stream is looked at again that changes while it is looked at.
const LOOKS: usize = 5;

/// A relay that has begun to write a state and then nothing for so long has died over it.
const STALLED: Duration = Duration::from_secs(2);

/// How long another relay is waited for that is writing a state.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A NATS JetStream as the relay writes it. See [the module](super) for what is written where.
pub struct NatsBroker {
    link: Link,
    replicas: usize,
    /// Where the stream stands; `None` when that has to be looked up.
    chain: Option<Chain>,
    /// Begins the ids of our messages.
    name: String,
    /// Ids given away.
    ids: u64,
}

/// What is known of the stream as long as nobody else writes to it.
#[derive(Debug, Clone)]
struct Chain {
    at: Position,
    /// The sequence of the marker with which it begins.
    marker: u64,
    /// The sequence of its last message.
    last: u64,
    /// The id of its last message, when that is one of ours.
    id: Option<String>,
    /// It has at least so many subjects.
    subjects: u64,
}

impl std::fmt::Debug for NatsBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsBroker").field("stream", &self.link.subjects.stream).finish_non_exhaustive()
    }
}

impl NatsBroker {
    /// Connects to the servers of `options`; when none can be reached, they are waited for in the background, and
    /// every call fails with [`BrokerError::Unreachable`] until then.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Refused`] when the server does not accept us, [`BrokerError::Failed`] when the options make no
    /// sense.
    pub async fn connect(options: &NatsOptions) -> Result<NatsBroker, BrokerError> {
        let name = random_name()?;
        Ok(NatsBroker { link: Link::open(options).await?, replicas: options.replicas, chain: None, name, ids: 0 })
    }

    /// What the server says of the stream, which is made when it is missing.
    async fn stream(&self) -> Result<Info, BrokerError> {
        if let Some(info) = self.link.info().await? {
            settings::check(&info.config, &self.link.subjects, self.replicas)?;
            return Ok(info);
        }
        settings::create(&self.link, self.replicas).await?;
        self.link.info().await?.ok_or_else(|| BrokerError::Failed("the stream was made and is gone".to_owned()))
    }

    /// Looks up where the stream stands; `Err(Moved)` when it changes meanwhile.
    async fn look(&self) -> Result<Option<Chain>, BrokerError> {
        // In this order: the heartbeat says how many subjects there were at its time, and they only become more.
        let heartbeat = self.link.newest(&self.link.subjects.heartbeat).await?;
        let info = self.stream().await?;
        let Some(heartbeat) = heartbeat else { return Ok(None) };
        if info.state.subjects_count == 0 {
            return Ok(None);
        }
        let Some(last) = self.link.message(info.state.last_sequence).await? else {
            let again = self.stream().await?;
            // Superseded meanwhile, or else taken away: then nobody knows what it said.
            let is_gone = again.state.last_sequence == info.state.last_sequence && again.created == info.created;
            return if is_gone { Ok(None) } else { Err(BrokerError::Moved) };
        };
        let first = self.link.message(info.state.first_sequence).await?.ok_or(BrokerError::Moved)?;
        let said = |message: &async_nats::jetstream::message::StreamMessage| {
            self.link.subjects.read(&message.subject, &message.payload)
        };
        let (Ok(Said::Marker { at: begun, .. }), Ok(Said::Heartbeat(beat)), Ok(newest)) =
            (said(&first), said(&heartbeat), said(&last))
        else {
            return Ok(None);
        };
        let at = match newest {
            Said::Change { source, change } => Position { source, seq: change.seq },
            Said::Heartbeat(at) | Said::Claim(at) => at,
            Said::Marker { .. } | Said::Nothing => return Ok(None),
        };
        let is_whole = heartbeat.sequence > first.sequence
            && info.state.subjects_count >= kept_subjects(&heartbeat.headers)
            && [&beat.source, &at.source].into_iter().all(|source| *source == begun.source)
            && at.seq >= begun.seq;
        Ok(is_whole.then_some(Chain {
            at,
            marker: first.sequence,
            last: info.state.last_sequence,
            id: None,
            subjects: info.state.subjects_count,
        }))
    }

    /// The stream's last sequence when a relay has begun to write a state and not come to the end of it.
    async fn being_written(&self) -> Result<Option<u64>, BrokerError> {
        let Some(marker) = self.link.marker().await? else { return Ok(None) };
        let heartbeat = self.link.newest(&self.link.subjects.heartbeat).await?;
        let has_ended = heartbeat.is_some_and(|heartbeat| heartbeat.sequence > marker.sequence);
        let state = self.link.info().await?.map(|info| info.state);
        // What comes before the marker is still to be purged, then.
        let is_open = |first: u64| !has_ended || first < marker.sequence;
        Ok(state.filter(|state| is_open(state.first_sequence)).map(|state| state.last_sequence))
    }

    /// Takes the chain out, looked up when it was not known, if it stands at `at`. It is put back after a success.
    async fn standing(&mut self, at: &Position) -> Result<Chain, BrokerError> {
        if self.chain.is_none() {
            self.position().await?;
        }
        self.chain.take().filter(|chain| chain.at == *at).ok_or(BrokerError::Moved)
    }

    /// Sends `message` as the one after the last of `chain`.
    async fn send(
        &mut self,
        chain: &mut Chain,
        subject: String,
        message: &Message,
        subjects: Option<u64>,
    ) -> Result<Sent, BrokerError> {
        self.ids += 1;
        let id = format!("{}.{}", self.name, self.ids);
        let mut publish = PublishMessage::build().payload(Bytes::from(wire::encode(message))).message_id(&id);
        publish = match &chain.id {
            Some(before) => publish.expected_last_message_id(before),
            None => publish.expected_last_sequence(chain.last),
        };
        if let Some(subjects) = subjects {
            publish = publish.header(SUBJECTS_HEADER, subjects.to_string().as_str());
        }
        let ack = self.link.context.send_publish(subject, publish).await.map_err(|error| failed_publish(&error))?;
        chain.last += 1;
        chain.id = Some(id);
        Ok(Sent { ack, sequence: chain.last })
    }

    /// Sends `message` and waits until it is kept.
    async fn put(
        &mut self,
        chain: &mut Chain,
        subject: String,
        message: &Message,
        subjects: Option<u64>,
    ) -> Result<(), BrokerError> {
        let sent = self.send(chain, subject, message, subjects).await?;
        let link = self.link.clone();
        link.permitted(sent.kept()).await
    }

    async fn put_changes(
        &mut self,
        chain: &mut Chain,
        sent: &mut VecDeque<Sent>,
        changes: impl Iterator<Item = Change> + Send,
    ) -> Result<(), BrokerError> {
        for change in changes {
            if sent.len() >= MAX_IN_FLIGHT
                && let Some(oldest) = sent.pop_front()
            {
                oldest.kept().await?;
            }
            let subject = self.link.subjects.state(&change.scope, change.effect);
            let message = Message::Change { source: chain.at.source.clone(), change };
            let next = self.send(chain, subject, &message, None).await?;
            sent.push_back(next);
        }
        Ok(())
    }
}

/// A message that is on its way.
struct Sent {
    ack: PublishAckFuture,
    sequence: u64,
}

impl Sent {
    async fn kept(self) -> Result<(), BrokerError> {
        let ack = self.ack.await.map_err(|error| failed_publish(&error))?;
        // A server that does not keep to the conditions is none that can be built upon.
        if ack.sequence == self.sequence && !ack.duplicate { Ok(()) } else { Err(BrokerError::Moved) }
    }
}

async fn all_kept(sent: VecDeque<Sent>) -> Result<(), BrokerError> {
    for sent in sent {
        sent.kept().await?;
    }
    Ok(())
}

fn failed_publish(error: &PublishError) -> BrokerError {
    match error.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => BrokerError::Moved,
        // Somebody has deleted it: the next look makes it anew.
        PublishErrorKind::StreamNotFound => BrokerError::Moved,
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => BrokerError::Unreachable(error.to_string()),
        _ => BrokerError::Failed(error.to_string()),
    }
}

impl Broker for NatsBroker {
    async fn position(&mut self) -> Result<Option<Position>, BrokerError> {
        self.chain = None;
        let begun = Instant::now();
        let mut newest = (0, begun);
        let mut moved = 0;
        while begun.elapsed() < PATIENCE && moved < LOOKS {
            match self.look().await {
                Err(BrokerError::Moved) => moved += 1,
                Err(error) => return Err(error),
                Ok(Some(chain)) => {
                    let at = chain.at.clone();
                    self.chain = Some(chain);
                    return Ok(Some(at));
                }
                // Two relays that both want to write the state would keep each other from its end.
                Ok(None) => match self.being_written().await? {
                    None => return Ok(None),
                    Some(last) if last == newest.0 && newest.1.elapsed() >= STALLED => return Ok(None),
                    Some(last) => {
                        if last != newest.0 {
                            newest = (last, Instant::now());
                        }
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                },
            }
        }
        Err(BrokerError::Failed("another relay is writing".to_owned()))
    }

    async fn publish(&mut self, after: &Position, changes: &[Change]) -> Result<(), BrokerError> {
        self.link.connected()?;
        let mut chain = self.standing(after).await?;
        let Some(newest) = changes.last().map(|change| change.seq) else {
            self.chain = Some(chain);
            return Ok(());
        };
        if chain.id.is_none() {
            // From here on nothing of another relay is taken that was on its way.
            let subject = self.link.subjects.relay.clone();
            self.put(&mut chain, subject, &Message::Heartbeat(after.clone()), None).await?;
        }
        let mut sent = VecDeque::new();
        self.put_changes(&mut chain, &mut sent, changes.iter().cloned()).await?;
        all_kept(sent).await?;
        chain.at.seq = newest;
        self.chain = Some(chain);
        Ok(())
    }

    async fn heartbeat(&mut self, at: &Position) -> Result<(), BrokerError> {
        self.link.connected()?;
        let mut chain = self.standing(at).await?;
        let info = self.link.info().await?.ok_or(BrokerError::Moved)?;
        let state = &info.state;
        if state.first_sequence != chain.marker
            || state.last_sequence != chain.last
            || state.subjects_count < chain.subjects
        {
            return Err(BrokerError::Moved);
        }
        chain.subjects = state.subjects_count;
        let subject = self.link.subjects.heartbeat.clone();
        self.put(&mut chain, subject, &Message::Heartbeat(at.clone()), Some(state.subjects_count)).await?;
        self.chain = Some(chain);
        Ok(())
    }

    async fn refill(
        &mut self,
        at: &Position,
        expected: usize,
        mut parts: mpsc::Receiver<Vec<Entry>>,
    ) -> Result<(), BrokerError> {
        self.chain = None;
        let info = self.stream().await?;
        let last = info.state.last_sequence;
        let mut chain = Chain { at: at.clone(), marker: last + 1, last, id: None, subjects: 0 };
        let subject = self.link.subjects.snapshot.clone();
        let marker = Message::Snapshot { at: at.clone(), entries: expected as u64 };
        self.put(&mut chain, subject, &marker, None).await?;
        let mut sent = VecDeque::new();
        while let Some(part) = parts.recv().await {
            if at.seq == 0 && !part.is_empty() {
                return Err(BrokerError::Failed("a source without history has no restrictions".to_owned()));
            }
            let change = |Entry { scope, effect, in_force }| Change { seq: at.seq, scope, effect, in_force };
            self.put_changes(&mut chain, &mut sent, part.into_iter().map(change)).await?;
        }
        all_kept(sent).await?;
        let subject = self.link.subjects.heartbeat.clone();
        self.put(&mut chain, subject, &Message::Heartbeat(at.clone()), None).await?;
        // By sequence: however late this comes, it takes nothing away that was written after our marker.
        let purge = async {
            self.link
                .stream
                .purge()
                .sequence(chain.marker)
                .await
                .map_err(|error| BrokerError::Failed(error.to_string()))
        };
        self.link.permitted(purge).await?;
        self.chain = Some(chain);
        Ok(())
    }
}

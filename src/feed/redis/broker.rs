//! The relay's side: everything is written by scripts that first check where the broker stands.

use std::time::Duration;

use redis::{RedisError, Script, Value, cmd};
use tokio::sync::mpsc;

use super::RedisOptions;
use super::keys::Keys;
use super::link::{Link, broker_error, unexpected};
use super::look::{Look, look};
use super::scripts;
use crate::feed::wire::{self, Message, Position};
use crate::feed::{Broker, BrokerError, random_name};
use crate::restrictions::{Change, Entry};

/// Changes in one script: a few milliseconds of a server that does nothing else meanwhile.
const CHANGES_AT_ONCE: usize = 1000;

/// Entries in one command of a refill.
const ENTRIES_AT_ONCE: usize = 1000;

/// How long a state lives that is being written and never finished.
const UNFINISHED: Duration = Duration::from_secs(600);

/// Writes restrictions to a server. Connects when it is first asked, and anew after an error.
pub struct RedisBroker {
    link: Link,
    keys: Keys,
    stream_entries: u64,
    /// The generation that was last seen; `None` when it is to be asked for.
    generation: Option<String>,
    publish: Script,
    heartbeat: Script,
    commit: Script,
}

impl std::fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBroker").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl RedisBroker {
    /// Returns a broker that is not connected yet.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Failed`] when the options are no good: the prefix, the CA certificates.
    pub fn new(options: &RedisOptions) -> Result<RedisBroker, BrokerError> {
        Ok(RedisBroker {
            link: Link::new(options, Duration::ZERO).map_err(BrokerError::Failed)?,
            keys: options.keys(),
            stream_entries: options.stream_entries,
            generation: None,
            publish: Script::new(scripts::PUBLISH),
            heartbeat: Script::new(scripts::HEARTBEAT),
            commit: Script::new(scripts::COMMIT),
        })
    }

    async fn look(&mut self) -> Result<Look, BrokerError> {
        let look = look(&mut self.link, &self.keys, None).await.map_err(|error| broker_error(&error))?;
        self.generation = look.meta.as_ref().map(|meta| meta.generation.clone());
        Ok(look)
    }

    async fn generation(&mut self) -> Result<String, BrokerError> {
        if self.generation.is_none() {
            self.look().await?;
        }
        self.generation.clone().ok_or(BrokerError::Moved)
    }

    /// What a script's answer means.
    fn outcome(&mut self, answer: Result<String, RedisError>) -> Result<(), BrokerError> {
        match answer.as_deref() {
            Ok("OK") => Ok(()),
            Ok("MOVED") => {
                self.generation = None;
                Err(BrokerError::Moved)
            }
            Ok("LOST") => Err(BrokerError::Failed("the server has lost a part of what it was sent".into())),
            Ok(_) => Err(broker_error(&unexpected("a script's answer"))),
            Err(error) => Err(broker_error(error)),
        }
    }

    async fn publish_some(&mut self, after: &Position, changes: &[Change]) -> Result<(), BrokerError> {
        let generation = self.generation().await?;
        let last = after.seq + changes.len() as u64;
        let mut call = self.publish.prepare_invoke();
        call.key(&self.keys.meta).key(self.keys.state(&generation)).key(&self.keys.changes);
        call.arg(&after.source).arg(after.seq.to_string()).arg(&generation);
        call.arg(last.to_string()).arg(self.stream_entries);
        for change in changes {
            let message = Message::Change { source: after.source.clone(), change: change.clone() };
            let value = if change.in_force { wire::value(change.seq, change.effect) } else { String::new() };
            call.arg(wire::key(&change.scope, change.effect)).arg(value).arg(wire::encode(&message));
        }
        let answer = self.link.script(&call).await;
        self.outcome(answer)
    }

    /// Writes the state of `generation`; returns how many fields it has.
    async fn fill(
        &mut self,
        generation: &str,
        at: &Position,
        mut parts: mpsc::Receiver<Vec<Entry>>,
    ) -> Result<u64, RedisError> {
        let state = self.keys.state(generation);
        let mut count = 0;
        while let Some(part) = parts.recv().await {
            for entries in part.chunks(ENTRIES_AT_ONCE) {
                count = self.fill_some(&state, at, entries, count).await?;
                tokio::task::yield_now().await;
            }
        }
        Ok(count)
    }

    async fn fill_some(
        &mut self,
        state: &str,
        at: &Position,
        entries: &[Entry],
        mut count: u64,
    ) -> Result<u64, RedisError> {
        let mut commands = Vec::new();
        let mut signs = Vec::new();
        // Entries in a row that say the same go in one command; what comes later wins.
        for run in entries.chunk_by(|one, other| one.in_force == other.in_force) {
            let in_force = run.iter().all(|entry| entry.in_force);
            let mut command = cmd(if in_force { "HSET" } else { "HDEL" });
            command.arg(state);
            for entry in run {
                command.arg(wire::key(&entry.scope, entry.effect));
                if in_force {
                    // The change that led to it may be any up to there.
                    command.arg(wire::value(at.seq.max(1), entry.effect));
                }
            }
            commands.push(command);
            signs.push(in_force);
        }
        commands.push(cmd("EXPIRE").arg(state).arg(UNFINISHED.as_secs()).take());
        let changed: Vec<u64> = self.link.run_together(&commands).await?;
        for (fields, added) in changed.into_iter().zip(signs) {
            count = if added { count + fields } else { count.saturating_sub(fields) };
        }
        Ok(count)
    }

    async fn swap(&mut self, before: &Look, generation: &str, at: &Position, count: u64) -> Result<(), BrokerError> {
        let [source, seq, old] = &before.raw;
        let message = Message::Snapshot { at: at.clone(), entries: count };
        let old_state = match std::str::from_utf8(old) {
            Ok(old) if !old.is_empty() => self.keys.state(old),
            _ => self.keys.state(generation),
        };
        let mut call = self.commit.prepare_invoke();
        call.key(&self.keys.meta).key(&self.keys.changes).key(self.keys.state(generation)).key(old_state);
        call.arg(source).arg(seq).arg(old).arg(&at.source).arg(at.seq.to_string()).arg(generation);
        call.arg(count).arg(self.stream_entries).arg(wire::encode(&message));
        let answer = self.link.script(&call).await;
        self.outcome(answer)
    }
}

impl Broker for RedisBroker {
    async fn position(&mut self) -> Result<Option<Position>, BrokerError> {
        Ok(self.look().await?.meta.map(|meta| meta.at))
    }

    async fn publish(&mut self, after: &Position, changes: &[Change]) -> Result<(), BrokerError> {
        if changes.iter().zip(1..).any(|(change, nth)| after.seq.checked_add(nth) != Some(change.seq)) {
            return Err(BrokerError::Failed("changes do not follow one after the other".into()));
        }
        let mut after = after.clone();
        for some in changes.chunks(CHANGES_AT_ONCE) {
            self.publish_some(&after, some).await?;
            after.seq += some.len() as u64;
        }
        Ok(())
    }

    async fn heartbeat(&mut self, at: &Position) -> Result<(), BrokerError> {
        let generation = self.generation().await?;
        let mut call = self.heartbeat.prepare_invoke();
        call.key(&self.keys.meta).key(self.keys.state(&generation)).key(&self.keys.changes);
        call.arg(&at.source).arg(at.seq.to_string()).arg(&generation).arg(self.stream_entries);
        call.arg(wire::encode(&Message::Heartbeat(at.clone())));
        let answer = self.link.script(&call).await;
        self.outcome(answer)
    }

    /// The end of `parts` is the end of the state: who cannot go on drops this call rather than the sender, and what
    /// was written until then expires.
    async fn refill(
        &mut self,
        at: &Position,
        _expected: usize,
        parts: mpsc::Receiver<Vec<Entry>>,
    ) -> Result<(), BrokerError> {
        let before = self.look().await?;
        let generation = random_name()?;
        let filled = self.fill(&generation, at, parts).await;
        let was_filled = filled.is_ok();
        let filled = match filled {
            Ok(count) => self.swap(&before, &generation, at, count).await,
            Err(error) => Err(broker_error(&error)),
        };
        match &filled {
            Ok(()) => self.generation = Some(generation),
            // Whether it was swapped in is not known after a lost answer; otherwise it was not.
            Err(error) if !was_filled || matches!(error, BrokerError::Moved) => {
                self.generation = None;
                let unlink = cmd("UNLINK").arg(self.keys.state(&generation)).take();
                // One that cannot be removed expires.
                let _ = self.link.run::<Value>(&unlink).await;
            }
            Err(_) => self.generation = None,
        }
        filled
    }
}

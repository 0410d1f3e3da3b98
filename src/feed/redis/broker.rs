//! The relay's side: everything is written by scripts that first check where the broker stands.

use std::time::Duration;

use redis::{RedisError, Script, Value, cmd};
use tokio::sync::mpsc;

use super::RedisOptions;
use super::buckets::Buckets;
use super::keys::Keys;
use super::link::{Link, broker_error, unexpected};
use super::look::{Look, look};
use super::scripts;
use crate::feed::wire::{self, Message, Position};
use crate::feed::{Broker, BrokerError, random_name};
use crate::restrictions::{Change, Entry};

/// Changes in one script: a few milliseconds of a server that does nothing else meanwhile.
const CHANGES_AT_ONCE: usize = 1000;

/// Entries, or buckets, in one call of a refill.
const ENTRIES_AT_ONCE: usize = 1000;

/// Buckets that a heartbeat looks at: a few milliseconds again. All of them have had their turn after some seconds.
const LOOKED_AT: u32 = 1024;

/// How long a state lives that is being written and never finished.
const UNFINISHED: Duration = Duration::from_secs(3600);

/// Writes restrictions to a server. Connects when it is first asked, and anew after an error.
pub struct RedisBroker {
    link: Link,
    keys: Keys,
    stream_entries: u64,
    /// The generation that was last seen, and its buckets; `None` when they are to be asked for.
    state: Option<(String, Buckets)>,
    /// The generation of a state that is to be written anew.
    unfit: Option<String>,
    /// Buckets that heartbeats have looked at.
    looked_at: u32,
    publish: Script,
    heartbeat: Script,
    seal: Script,
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
            state: None,
            unfit: None,
            looked_at: 0,
            publish: Script::new(scripts::PUBLISH),
            heartbeat: Script::new(scripts::HEARTBEAT),
            seal: Script::new(scripts::SEAL),
            commit: Script::new(scripts::COMMIT),
        })
    }

    async fn look(&mut self) -> Result<Look, BrokerError> {
        let look = look(&mut self.link, &self.keys, None).await.map_err(|error| broker_error(&error))?;
        self.state = look.meta.as_ref().map(|meta| meta.generation.clone()).zip(look.buckets.clone());
        Ok(look)
    }

    async fn state(&mut self) -> Result<(String, Buckets), BrokerError> {
        if self.state.is_none() {
            self.look().await?;
        }
        self.state.clone().ok_or(BrokerError::Moved)
    }

    /// What a script's answer means that was told the `generation`.
    fn outcome(&mut self, generation: String, answer: Result<String, RedisError>) -> Result<(), BrokerError> {
        match answer.as_deref() {
            Ok("OK") => Ok(()),
            Ok("MOVED") => {
                self.state = None;
                Err(BrokerError::Moved)
            }
            Ok("UNFIT") => {
                (self.state, self.unfit) = (None, Some(generation));
                Err(BrokerError::Moved)
            }
            Ok("LOST") => Err(BrokerError::Failed("the server has lost a part of what it was sent".into())),
            Ok(_) => Err(broker_error(&unexpected("a script's answer"))),
            Err(error) => Err(broker_error(error)),
        }
    }

    async fn publish_some(&mut self, after: &Position, changes: &[Change]) -> Result<(), BrokerError> {
        let (generation, buckets) = self.state().await?;
        let last = after.seq + changes.len() as u64;
        let mut call = self.publish.prepare_invoke();
        call.key(&self.keys.meta).key(&self.keys.changes);
        call.arg(&after.source).arg(after.seq.to_string()).arg(&generation);
        call.arg(last.to_string()).arg(self.stream_entries);
        for change in changes {
            let message = Message::Change { source: after.source.clone(), change: change.clone() };
            let field = wire::key(&change.scope, change.effect);
            let value = if change.in_force { wire::value(change.seq, change.effect) } else { String::new() };
            call.key(buckets.key_of(&field)).arg(field).arg(value).arg(wire::encode(&message));
        }
        let answer = self.link.script(&call).await;
        self.outcome(generation, answer)
    }

    /// Writes the state `buckets`; returns how many entries it has.
    async fn fill(
        &mut self,
        buckets: &Buckets,
        at: &Position,
        mut parts: mpsc::Receiver<Vec<Entry>>,
    ) -> Result<u64, RedisError> {
        self.seal(buckets).await?;
        let mut count = 0_u64;
        while let Some(part) = parts.recv().await {
            for entries in part.chunks(ENTRIES_AT_ONCE) {
                count = count.saturating_add_signed(self.fill_some(buckets, at, entries).await?);
                tokio::task::yield_now().await;
            }
        }
        let sealed = self.seal(buckets).await?;
        if sealed == count { Ok(count) } else { Err(unexpected("a state that has lost a part")) }
    }

    /// Writes some of them; returns how many more there are by that.
    async fn fill_some(&mut self, buckets: &Buckets, at: &Position, entries: &[Entry]) -> Result<i64, RedisError> {
        let mut commands = redis::pipe();
        for entry in entries {
            let field = wire::key(&entry.scope, entry.effect);
            let key = buckets.key_of(&field);
            if entry.in_force {
                // The change that led to it may be any up to there.
                commands.hset(key, field, wire::value(at.seq.max(1), entry.effect));
            } else {
                commands.hdel(key, field);
            }
        }
        let changed: Vec<i64> = self.link.run_all(&commands).await?;
        Ok(changed.iter().zip(entries).map(|(fields, entry)| if entry.in_force { *fields } else { -fields }).sum())
    }

    /// Makes the buckets that are not there yet, and counts what is in them; returns how many entries that are.
    async fn seal(&mut self, buckets: &Buckets) -> Result<u64, RedisError> {
        let keys: Vec<String> = buckets.keys().collect();
        let mut count = 0;
        for keys in keys.chunks(ENTRIES_AT_ONCE) {
            let mut call = self.seal.prepare_invoke();
            call.arg(UNFINISHED.as_secs());
            for key in keys {
                call.key(key);
            }
            count += self.link.script::<u64>(&call).await?;
        }
        Ok(count)
    }

    async fn swap(
        &mut self,
        before: &Look,
        (generation, buckets): (String, &Buckets),
        at: &Position,
        count: u64,
    ) -> Result<(), BrokerError> {
        let [source, seq, old] = &before.raw;
        let message = Message::Snapshot { at: at.clone(), entries: count };
        let mut call = self.commit.prepare_invoke();
        call.key(&self.keys.meta).key(&self.keys.changes);
        for key in buckets.keys().chain(before.buckets.iter().flat_map(Buckets::keys)) {
            call.key(key);
        }
        call.arg(source).arg(seq).arg(old).arg(&at.source).arg(at.seq.to_string()).arg(&generation);
        call.arg(count).arg(buckets.number()).arg(self.stream_entries).arg(wire::encode(&message));
        let answer = self.link.script(&call).await;
        self.outcome(generation, answer)
    }

    /// Removes a state that is not put in its place. One that cannot be removed expires.
    async fn remove(&mut self, buckets: &Buckets) {
        let keys: Vec<String> = buckets.keys().collect();
        for keys in keys.chunks(ENTRIES_AT_ONCE) {
            let _ = self.link.run::<Value>(&cmd("UNLINK").arg(keys).take()).await;
        }
    }
}

impl Broker for RedisBroker {
    async fn position(&mut self) -> Result<Option<Position>, BrokerError> {
        let meta = self.look().await?.meta;
        Ok(meta.filter(|meta| self.unfit.as_ref() != Some(&meta.generation)).map(|meta| meta.at))
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
        let (generation, buckets) = self.state().await?;
        let mut call = self.heartbeat.prepare_invoke();
        call.key(&self.keys.meta).key(&self.keys.changes);
        for nth in 0..buckets.number().min(LOOKED_AT) {
            call.key(buckets.key(self.looked_at.wrapping_add(nth) % buckets.number()));
        }
        self.looked_at = self.looked_at.wrapping_add(LOOKED_AT);
        call.arg(&at.source).arg(at.seq.to_string()).arg(&generation).arg(self.stream_entries);
        call.arg(wire::encode(&Message::Heartbeat(at.clone()))).arg(buckets.crowded());
        let answer = self.link.script(&call).await;
        self.outcome(generation, answer)
    }

    /// The end of `parts` is the end of the state: who cannot go on drops this call rather than the sender, and what
    /// was written until then expires.
    async fn refill(
        &mut self,
        at: &Position,
        expected: usize,
        parts: mpsc::Receiver<Vec<Entry>>,
    ) -> Result<(), BrokerError> {
        let before = self.look().await?;
        let generation = random_name()?;
        let buckets = Buckets::of(self.keys.state(&generation), expected);
        let filled = self.fill(&buckets, at, parts).await;
        let was_filled = filled.is_ok();
        let filled = match filled {
            Ok(count) => self.swap(&before, (generation.clone(), &buckets), at, count).await,
            Err(error) => Err(broker_error(&error)),
        };
        match &filled {
            Ok(()) => (self.state, self.unfit) = (Some((generation, buckets)), None),
            // Whether it was swapped in is not known after a lost answer; otherwise it was not.
            Err(error) if !was_filled || matches!(error, BrokerError::Moved) => {
                self.state = None;
                self.remove(&buckets).await;
            }
            Err(_) => self.state = None,
        }
        filled
    }
}

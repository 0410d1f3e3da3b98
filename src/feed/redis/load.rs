//! Loads the whole state while it changes: the hash, then what the stream says has changed since the scan began.

use std::time::Duration;

use redis::{RedisResult, Value, cmd};
use tokio::sync::mpsc;

use super::link::Link;
use super::look::look;
use super::message::EntryId;
use super::verdict::{Held, Verdict};
use super::worker::{Trouble, Worker};
use crate::feed::wire::{self, Message, Position};
use crate::restrictions::{Entry, Event};

/// About as many fields in one read of the state: more of them take more memory at once, and are hardly sooner here.
const FIELDS_AT_ONCE: usize = 1024;

/// Entries in one event.
const PART: usize = 256;

/// States that are loaded more often than this are loaded after a pause.
const SELDOM: Duration = Duration::from_secs(60);

impl Worker {
    /// Delivers the state. Returned without it when the broker has moved meanwhile: then it is to be judged again.
    pub(super) async fn load(&mut self) -> Result<(), Trouble> {
        match self.loaded {
            Some(loaded) if loaded.elapsed() < SELDOM => self.reloads.pause().await,
            _ => self.reloads.reset(),
        }
        self.loaded = Some(tokio::time::Instant::now());
        let Verdict::Load(before) = self.judge().await? else { return Ok(()) };
        let Some(meta) = before.meta else { return Ok(()) };
        self.send(Event::SnapshotBegins { expected: usize::try_from(meta.count).unwrap_or(0) }).await?;
        self.send_state(&self.keys.state(&meta.generation)).await?;
        let after = look(&mut self.asking, &self.keys, None).await?;
        let Some(now) = after.meta else { return Ok(()) };
        let is_same = now.generation == meta.generation && now.at.source == meta.at.source;
        if !is_same || now.at.seq < meta.at.seq {
            return Ok(());
        }
        let Some(last) = self.send_since(&meta.at, before.last, now.at.seq).await? else { return Ok(()) };
        let seq = now.at.seq;
        log::info!("restrictions: loaded {} entries up to {seq} of {}", now.count, now.at.source);
        self.send(Event::SnapshotEnds { source: now.at.source.clone(), seq }).await?;
        self.held = Some(Held { at: now.at, generation: now.generation, last });
        self.reload = false;
        Ok(())
    }

    /// Delivers what the hash `state` holds, some of it newer than the rest.
    async fn send_state(&mut self, state: &str) -> Result<(), Trouble> {
        let (mut cursor, mut fields) = scan(&mut self.asking, state, 0, FIELDS_AT_ONCE).await?;
        while cursor != 0 {
            // The server looks for the next ones while these are read.
            let delivery = deliver(&self.events, self.resync, fields);
            let (next, malformed) = tokio::join!(scan(&mut self.asking, state, cursor, FIELDS_AT_ONCE), delivery);
            self.pass_over("malformed", malformed?);
            (cursor, fields) = next?;
        }
        let malformed = deliver(&self.events, self.resync, fields).await?;
        self.pass_over("malformed", malformed);
        Ok(())
    }

    /// Delivers what has changed after `from` until `seq`, as further parts. Returns the last entry that was read, or
    /// nothing when not all of it is in the stream any more.
    async fn send_since(&mut self, from: &Position, mut last: EntryId, seq: u64) -> Result<Option<EntryId>, Trouble> {
        let mut reached = from.seq;
        while reached < seq {
            let entries = self.read_after(last).await?;
            if entries.is_empty() {
                return Ok(None);
            }
            let mut part = Vec::new();
            for entry in entries {
                last = entry.id;
                let Ok(Message::Change { source, change }) = entry.message else { continue };
                if source != from.source || change.seq <= reached || change.seq > seq {
                    continue;
                }
                if change.seq - reached != 1 {
                    return Ok(None);
                }
                reached = change.seq;
                part.push(Entry { scope: change.scope, effect: change.effect, in_force: change.in_force });
                if reached == seq {
                    break;
                }
            }
            if !part.is_empty() {
                self.send(Event::SnapshotPart(part)).await?;
            }
            tokio::task::yield_now().await;
        }
        Ok(Some(last))
    }
}

/// Reads about `count` fields of a state, each with its value behind it.
pub(super) async fn scan(link: &mut Link, state: &str, cursor: u64, count: usize) -> RedisResult<(u64, Vec<Value>)> {
    let command = cmd("HSCAN").arg(state).arg(cursor).arg("COUNT").arg(count).take();
    link.run(&command).await
}

/// Delivers `fields` and their values as parts of a state; returns how many are not what they should be.
async fn deliver(events: &mpsc::Sender<(u64, Event)>, resync: u64, fields: Vec<Value>) -> Result<u64, Trouble> {
    // The question for the next ones goes out first.
    tokio::task::yield_now().await;
    let mut malformed = 0;
    for fields in fields.chunks(2 * PART) {
        let entries: Vec<Entry> = fields.chunks(2).filter_map(entry).collect();
        malformed += fields.len().div_ceil(2) - entries.len();
        events.send((resync, Event::SnapshotPart(entries))).await.map_err(|_| Trouble::Unwanted)?;
        // Whoever takes it need not wait for the rest.
        tokio::task::yield_now().await;
    }
    Ok(malformed as u64)
}

/// A field of the state and its value, unless they are not what they should be.
fn entry(pair: &[Value]) -> Option<Entry> {
    let [Value::BulkString(field), Value::BulkString(value)] = pair else { return None };
    let (_, scope, effect) = wire::entry(field, value).ok()?;
    Some(Entry { scope, effect, in_force: true })
}

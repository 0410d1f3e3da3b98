//! Loads the whole state while it changes: its buckets, then what the stream says has changed since the first was read.

use std::ops::Range;
use std::time::Duration;

use redis::{RedisResult, Value};
use tokio::sync::mpsc;

use super::buckets::{Buckets, COUNT};
use super::link::Link;
use super::look::look;
use super::message::EntryId;
use super::verdict::{Held, Verdict};
use super::worker::{Trouble, Worker};
use crate::feed::wire::{self, Message, Position};
use crate::restrictions::{Entry, Event};

/// About as many entries in one read of the state: more of them take more memory at once, and are hardly sooner here.
const ENTRIES_AT_ONCE: u64 = 1024;

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
        let (Some(meta), Some(buckets)) = (before.meta, before.buckets) else { return Ok(()) };
        self.send(Event::SnapshotBegins { expected: usize::try_from(meta.count).unwrap_or(0) }).await?;
        let is_whole = self.send_state(&buckets, meta.count).await?;
        let after = look(&mut self.asking, &self.keys, None).await?;
        let Some(now) = after.meta else { return Ok(()) };
        let is_same = now.generation == meta.generation && now.at.source == meta.at.source;
        if !is_same || now.at.seq < meta.at.seq {
            return Ok(());
        }
        if !is_whole {
            self.warned.run(|| log::warn!("restrictions: the broker has lost a part of the state; waiting for it"));
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

    /// Delivers what the `buckets` hold, some of it newer than the rest; `count` is about how many entries that are.
    /// Whether every bucket had all that it says.
    async fn send_state(&mut self, buckets: &Buckets, count: u64) -> Result<bool, Trouble> {
        let number = buckets.number();
        let step = (ENTRIES_AT_ONCE * u64::from(number) / count.max(1)).clamp(1, ENTRIES_AT_ONCE / 4) as u32;
        let mut ranges = (0..number).step_by(step as usize).map(|first| first..number.min(first + step));
        let mut read = Vec::new();
        loop {
            let next = ranges.next();
            // The server looks for the next ones while these are read.
            let delivery = deliver(&self.events, self.resync, read);
            let Some(range) = next else {
                let delivered = delivery.await?;
                self.pass_over("malformed", delivered.malformed);
                return Ok(delivered.is_whole);
            };
            let (next, delivered) = tokio::join!(read_some(&mut self.asking, buckets, range), delivery);
            let delivered = delivered?;
            self.pass_over("malformed", delivered.malformed);
            if !delivered.is_whole {
                return Ok(false);
            }
            read = next?;
        }
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

/// Reads some buckets: of each its fields, each with its value behind it.
pub(super) async fn read_some(link: &mut Link, buckets: &Buckets, range: Range<u32>) -> RedisResult<Vec<Vec<Value>>> {
    let mut commands = redis::pipe();
    for bucket in range {
        commands.cmd("HGETALL").arg(buckets.key(bucket));
    }
    link.run_all(&commands).await
}

/// What came of some buckets.
struct Delivered {
    /// How many entries are not what they should be.
    malformed: u64,
    /// Whether each bucket had all that it says.
    is_whole: bool,
}

/// Delivers what is in `buckets` as parts of a state, as far as they are whole.
async fn deliver(
    events: &mpsc::Sender<(u64, Event)>,
    resync: u64,
    buckets: Vec<Vec<Value>>,
) -> Result<Delivered, Trouble> {
    // The question for the next ones goes out first.
    tokio::task::yield_now().await;
    let mut delivered = Delivered { malformed: 0, is_whole: true };
    let mut part = Vec::new();
    for bucket in buckets {
        let mut count = None;
        let mut found = 0;
        for pair in bucket.chunks(2) {
            match pair {
                [Value::BulkString(field), Value::BulkString(value)] if field == COUNT.as_bytes() => {
                    count = wire::number(value);
                }
                pair => {
                    found += 1;
                    match entry(pair) {
                        Some(entry) => part.push(entry),
                        None => delivered.malformed += 1,
                    }
                }
            }
            if part.len() == PART {
                send_part(events, resync, &mut part).await?;
            }
        }
        if count != Some(found) {
            delivered.is_whole = false;
            return Ok(delivered);
        }
    }
    send_part(events, resync, &mut part).await?;
    Ok(delivered)
}

async fn send_part(events: &mpsc::Sender<(u64, Event)>, resync: u64, part: &mut Vec<Entry>) -> Result<(), Trouble> {
    if part.is_empty() {
        return Ok(());
    }
    events.send((resync, Event::SnapshotPart(std::mem::take(part)))).await.map_err(|_| Trouble::Unwanted)?;
    // Whoever takes it need not wait for the rest.
    tokio::task::yield_now().await;
    Ok(())
}

/// A field of the state and its value, unless they are not what they should be.
fn entry(pair: &[Value]) -> Option<Entry> {
    let [Value::BulkString(field), Value::BulkString(value)] = pair else { return None };
    let (_, scope, effect) = wire::entry(field, value).ok()?;
    Some(Entry { scope, effect, in_force: true })
}

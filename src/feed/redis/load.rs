//! Loads the whole state while it changes: the hash, then what the stream says has changed since the scan began.

use std::time::Duration;

use super::look::look;
use super::message::EntryId;
use super::verdict::{Held, Verdict};
use super::worker::{Trouble, Worker};
use crate::feed::wire::{self, Message, Position};
use crate::restrictions::{Entry, Event};

/// Fields in one read of the state.
const FIELDS_AT_ONCE: usize = 4096;

/// Entries in one event.
const PART: usize = 2048;

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
        let mut cursor = 0;
        loop {
            let (next, fields) = self.scan(state, cursor, FIELDS_AT_ONCE).await?;
            for fields in fields.chunks(2 * PART) {
                let entries: Vec<Entry> = fields.chunks_exact(2).filter_map(|pair| entry(&pair[0], &pair[1])).collect();
                for _ in entries.len()..fields.len() / 2 {
                    self.pass_over("malformed");
                }
                self.send(Event::SnapshotPart(entries)).await?;
                // The next chunk takes milliseconds again: others first.
                tokio::task::yield_now().await;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
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

/// A field of the state, unless it is not what its name says.
fn entry(field: &[u8], value: &[u8]) -> Option<Entry> {
    let Ok(Message::Change { change, .. }) = wire::decode(value) else { return None };
    let is_named_so = wire::key(&change.scope, change.effect).as_bytes() == field;
    (is_named_so && change.in_force).then_some(Entry { scope: change.scope, effect: change.effect, in_force: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restrictions::{Effect, Scope};

    #[test]
    fn a_field_of_the_state_says_what_its_name_says() {
        let value = br#"{"v":1,"type":"change","source":"s","seq":7,"scope":"user","app":"acme","uid":"bob","effect":"deactivated","in_force":true}"#;
        let bob = Entry {
            scope: Scope::User { app: "acme".into(), uid: "bob".into() },
            effect: Effect::Deactivated,
            in_force: true,
        };
        assert_eq!(entry(b"deactivated/user/acme/bob", value), Some(bob));
        assert_eq!(entry(b"deactivated/user/acme/eve", value), None);
        assert_eq!(entry(b"deactivated/user/acme/bob", b"{}"), None);
        let lifted = String::from_utf8_lossy(value).replace("true", "false");
        assert_eq!(entry(b"deactivated/user/acme/bob", lifted.as_bytes()), None);
    }
}

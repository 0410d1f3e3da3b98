//! The one copy of an object that everybody is served from, while it fills and after.
//!
//! Its bytes stand in blocks that are set once: who reads one that is there takes no lock, and nothing is copied for a
//! client.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use crate::caching::CopyHead;

/// Bytes of a block, but for the last: what one write to a client takes.
const BLOCK: usize = 64 * 1024;

/// What a copy takes beside its bytes, about.
const OVERHEAD: u64 = 1024;

/// How much memory copies may take, those included that clients are still being sent and nobody keeps any more.
#[derive(Debug)]
pub(super) struct Room {
    limit: u64,
    taken: AtomicU64,
}

impl Room {
    pub(super) fn new(limit: u64) -> Arc<Room> {
        Arc::new(Room { limit, taken: AtomicU64::new(0) })
    }

    /// Bytes that are taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes a part; `None` where so much is not left.
    pub(super) fn take(self: &Arc<Room>, bytes: u64) -> Option<Taken> {
        let more = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Taken { room: Arc::clone(self), bytes })
    }
}

/// A part of the room, given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Arc<Room>,
    pub(super) bytes: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// So many blocks are there.
    Filling(usize),
    /// No more will come.
    Broken,
}

/// The storage broke its answer off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokenOff;

/// An object, as the storage once sent it.
#[derive(Debug)]
pub(super) struct ObjectCopy {
    pub(super) head: CopyHead,
    blocks: Box<[OnceLock<Bytes>]>,
    progress: watch::Sender<Progress>,
    taken: Taken,
}

impl ObjectCopy {
    /// Returns a copy to be filled; `None` where there is no room for it.
    pub(super) fn begin(head: CopyHead, key_bytes: usize, room: &Arc<Room>) -> Option<(Arc<ObjectCopy>, Filling)> {
        let len = usize::try_from(head.len()).ok()?;
        let bytes = head.len() + OVERHEAD + (head.bytes() + 2 * key_bytes) as u64;
        let taken = room.take(bytes)?;
        let blocks = (0..len.div_ceil(BLOCK)).map(|_| OnceLock::new()).collect();
        let copy = Arc::new(ObjectCopy { head, blocks, progress: watch::Sender::new(Progress::Filling(0)), taken });
        let filling = Filling { copy: Arc::clone(&copy), block: BytesMut::new(), at: 0, missing: len };
        Some((copy, filling))
    }

    /// Bytes of memory that it holds.
    pub(super) fn bytes(&self) -> u64 {
        self.taken.bytes
    }

    /// Returns the piece that begins at `from`, up to `last` at most, as soon as it is there.
    pub(super) async fn piece(&self, from: u64, last: u64) -> Result<Bytes, BrokenOff> {
        let (at, begin) = (from as usize / BLOCK, from as usize % BLOCK);
        let cell = &self.blocks[at];
        let block = match cell.get() {
            Some(block) => block,
            None => {
                let mut progress = self.progress.subscribe();
                let is_there = |progress: &Progress| match *progress {
                    Progress::Filling(blocks) => blocks > at,
                    Progress::Broken => true,
                };
                // The sender is ours: it is not gone.
                let _ = progress.wait_for(is_there).await;
                cell.get().ok_or(BrokenOff)?
            }
        };
        let end = ((last - from) as usize).saturating_add(begin + 1).min(block.len());
        Ok(block.slice(begin..end))
    }
}

/// Fills a copy. Dropped before it is whole, the copy is broken.
pub(super) struct Filling {
    copy: Arc<ObjectCopy>,
    block: BytesMut,
    at: usize,
    missing: usize,
}

impl Filling {
    /// Takes bytes of the body; more than there should be are an error.
    pub(super) fn add(&mut self, mut bytes: &[u8]) -> Result<(), BrokenOff> {
        while !bytes.is_empty() {
            if self.missing == 0 {
                return Err(BrokenOff);
            }
            if self.block.capacity() == 0 {
                self.block = BytesMut::with_capacity(self.missing.min(BLOCK));
            }
            let room = self.missing.min(BLOCK - self.block.len()).min(bytes.len());
            self.block.extend_from_slice(&bytes[..room]);
            (self.missing, bytes) = (self.missing - room, &bytes[room..]);
            if self.block.len() == BLOCK || self.missing == 0 {
                let _ = self.copy.blocks[self.at].set(std::mem::take(&mut self.block).freeze());
                self.at += 1;
                self.copy.progress.send_replace(Progress::Filling(self.at));
            }
        }
        Ok(())
    }

    /// Whether all of it is there.
    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if !self.is_whole() {
            self.copy.progress.send_replace(Progress::Broken);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::*;
    use crate::caching::{CachePolicy, Verdict};

    fn head(len: usize) -> CopyHead {
        let policy = CachePolicy { ttl: Duration::from_secs(60), max_object_bytes: u64::MAX };
        let fields = HeaderMap::from_iter([(http::header::CONTENT_LENGTH, len.into())]);
        match policy.verdict(200, &fields) {
            Verdict::Keep { head, .. } => *head,
            Verdict::Pass(_) => panic!("not kept"),
        }
    }

    #[tokio::test]
    async fn pieces_come_as_they_are_filled_in_and_end_with_what_is_broken() {
        let body: Vec<u8> = (0..3 * BLOCK + 5).map(|at| (at / 7) as u8).collect();
        let room = Room::new(u64::MAX);
        let (copy, mut filling) = ObjectCopy::begin(head(body.len()), 0, &room).unwrap();
        let reading = Arc::clone(&copy);
        let last = body.len() as u64 - 1;
        let whole = tokio::spawn(async move {
            let mut read = Vec::new();
            while read.len() as u64 <= last {
                read.extend_from_slice(&reading.piece(read.len() as u64, last).await.unwrap());
            }
            read
        });
        for part in body.chunks(10_001) {
            assert!(!filling.is_whole());
            filling.add(part).unwrap();
            tokio::task::yield_now().await;
        }
        assert!(filling.is_whole());
        assert_eq!(filling.add(b"x"), Err(BrokenOff));
        drop(filling);
        assert!(whole.await.unwrap() == body);
        for (from, to) in [(0, 0), (5, 9), (BLOCK - 1, BLOCK - 1), (BLOCK, BLOCK + 1), (3 * BLOCK + 4, 3 * BLOCK + 4)] {
            let piece = copy.piece(from as u64, to as u64).await.unwrap();
            assert!(piece == body[from..=to], "{from}-{to}");
        }
        assert!(copy.piece(BLOCK as u64 - 1, BLOCK as u64).await.unwrap() == body[BLOCK - 1..BLOCK], "up to its end");

        let (copy, mut filling) = ObjectCopy::begin(head(BLOCK + 1), 0, &room).unwrap();
        filling.add(&body[..BLOCK]).unwrap();
        drop(filling);
        assert!(copy.piece(0, 0).await.is_ok(), "what came is good");
        assert_eq!(copy.piece(BLOCK as u64, BLOCK as u64).await, Err(BrokenOff));
    }

    #[test]
    fn what_is_in_use_counts_until_nobody_holds_it() {
        let room = Room::new(4096);
        let (copy, filling) = ObjectCopy::begin(head(2000), 0, &room).unwrap();
        assert_eq!(room.taken(), copy.bytes());
        assert!(ObjectCopy::begin(head(2000), 0, &room).is_none(), "there is no room for another");
        drop((copy, filling));
        assert_eq!(room.taken(), 0);
        assert!(ObjectCopy::begin(head(2000), 0, &room).is_some());
        assert!(ObjectCopy::begin(head(4096), 0, &room).is_none());
    }
}

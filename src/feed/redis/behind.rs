//! Waits for a broker that has less than it had: after a fail-over that lost writes, or an old dump.

use std::time::Duration;

use super::look::Look;
use super::verdict::Verdict;
use super::worker::{Trouble, Worker};
use crate::feed::wire::{Message, Position};

/// Shortest time between two looks, however many messages come.
const PAUSE: Duration = Duration::from_millis(20);

impl Worker {
    /// Waits until the broker has caught up, or the source itself says that it is only there. What was delivered stays
    /// in force, and nothing is delivered meanwhile.
    pub(super) async fn wait_behind(&mut self, look: Look) -> Result<(), Trouble> {
        self.warned.run(|| log::warn!("restrictions: the broker has lost its newest changes; waiting for them"));
        let mut last = look.last;
        loop {
            // Only what is appended from here on is news: an old message may have come back with the old state.
            let mut beat: Option<Position> = None;
            for entry in self.wait_after(last).await? {
                last = entry.id;
                if let Ok(Message::Heartbeat(at)) = entry.message {
                    beat = Some(at);
                }
            }
            match self.judge().await? {
                Verdict::Behind(look) if beat.is_some() && look.meta.as_ref().map(|meta| &meta.at) == beat.as_ref() => {
                    log::warn!("restrictions: the source itself has gone back; loading its state");
                    self.held = None;
                    return Ok(());
                }
                Verdict::Behind(look) => last = last.min(look.last),
                _ => return Ok(()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

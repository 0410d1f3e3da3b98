//! What follows from where the broker stands and from what a message says: pure, so that every case can be tried.

use super::look::{Look, Meta};
use super::message::EntryId;
use crate::feed::wire::{Message, Position, WireError};
use crate::restrictions::Event;

/// What a feed has delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) at: Position,
    pub(super) generation: String,
    /// The newest entry of the stream that was read.
    pub(super) last: EntryId,
}

/// What to do after a gap.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Wait: there is no whole state to load.
    Empty,
    /// Wait: the broker has less than was delivered, and may get it again.
    Behind(Look),
    /// Load the state.
    Load(Look),
    /// Go on reading the stream after the first entry: nothing was missed. The second is the newest now.
    Resume(EntryId, EntryId),
}

/// Judges where the broker stands.
pub(super) fn verdict(held: Option<&Held>, reload: bool, look: Look) -> Verdict {
    let Some(meta) = &look.meta else { return Verdict::Empty };
    let Some(held) = held.filter(|held| held.at.source == meta.at.source) else { return Verdict::Load(look) };
    if meta.at.seq < held.at.seq {
        // A fail-over may have lost writes: what they said is in force here, and stays.
        return Verdict::Behind(look);
    }
    if reload || meta.generation != held.generation {
        return Verdict::Load(look);
    }
    // The same source and `seq` are the same state, wherever the stream stands.
    if meta.at.seq == held.at.seq {
        return Verdict::Resume(look.last, look.last);
    }
    if look.has { Verdict::Resume(held.last, look.last) } else { Verdict::Load(look) }
}

/// What to do with one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Deliver it; everything up to the `seq` is delivered then.
    Deliver(Event, u64),
    /// Nothing: it is known.
    Skip,
    /// Count it.
    Count(&'static str),
    /// Ask the broker whether it is true.
    Ask(Claim),
}

/// What a message says that does not fit to what was delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The source has come to this `seq`.
    Ahead(u64),
    /// The source is only at this `seq`.
    Behind(u64),
    /// There is another source.
    Other(String),
    /// There is another state.
    Snapshot,
}

/// Judges the next message of the stream.
pub(super) fn step(held: &Position, message: Result<Message, WireError>) -> Step {
    match message {
        Err(WireError::Malformed) => Step::Count("malformed"),
        Err(WireError::Unknown) => Step::Count("unknown"),
        Ok(Message::Snapshot { .. }) => Step::Ask(Claim::Snapshot),
        Ok(Message::Change { source, .. } | Message::Heartbeat(Position { source, .. })) if source != held.source => {
            Step::Ask(Claim::Other(source))
        }
        Ok(Message::Change { change, .. }) if change.seq <= held.seq => Step::Skip,
        Ok(Message::Change { change, .. }) if change.seq - held.seq == 1 => {
            let seq = change.seq;
            Step::Deliver(Event::Change(change), seq)
        }
        Ok(Message::Change { change, .. }) => Step::Ask(Claim::Ahead(change.seq)),
        Ok(Message::Heartbeat(at)) if at.seq > held.seq => Step::Ask(Claim::Ahead(at.seq)),
        Ok(Message::Heartbeat(at)) if at.seq < held.seq => Step::Ask(Claim::Behind(at.seq)),
        Ok(Message::Heartbeat(at)) => Step::Deliver(Event::Heartbeat { seq: at.seq }, at.seq),
    }
}

/// Whether a claim is true.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is: something was missed.
    Missed,
    /// It is: the source itself has gone back.
    WentBack,
    /// It was, some time ago.
    Old,
    /// It is not.
    False,
}

/// Compares a claim with what the broker says of itself.
pub(super) fn settled(held: &Held, claim: &Claim, meta: Option<&Meta>) -> Settled {
    let Some(meta) = meta else { return Settled::Missed };
    if meta.at.source != held.at.source || meta.generation != held.generation {
        return Settled::Missed;
    }
    match claim {
        Claim::Ahead(seq) if *seq <= meta.at.seq => Settled::Missed,
        Claim::Behind(seq) if *seq == meta.at.seq => Settled::WentBack,
        Claim::Behind(_) => Settled::Old,
        Claim::Ahead(_) | Claim::Other(_) | Claim::Snapshot => Settled::False,
    }
}

#[cfg(test)]
mod tests;

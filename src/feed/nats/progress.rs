//! What a node makes of the stream's messages: pure, no I/O.
//!
//! A state is the marker and everything after it up to a heartbeat. Entries are handed on as they come, as long as a
//! heartbeat is known that covers their `seq`; the others are held back until one does, or until one that was written
//! after them shows that no source ever got that far.

use super::subjects::Said;
use crate::feed::wire::Position;
use crate::restrictions::{Change, Entry, Event};

/// Entries that are handed on together.
const PART: usize = 256;

/// Changes that may be held back while a state is loaded.
const MAX_HELD: usize = 1 << 16;

/// How far ahead of everything delivered a `seq` may be: what the set calls absurd is none to settle on.
const MAX_AHEAD: u64 = 1 << 24;

/// Heartbeats after which a state is complete though the stream goes on faster than it is read.
const MAX_BEATS: u32 = 3;

/// What one message led to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// To be delivered, in this order.
    pub(super) events: Vec<Event>,
    /// Messages passed over because their `seq` is not of the source's.
    pub(super) absurd: u64,
    /// Messages passed over because they are of another source.
    pub(super) foreign: u64,
}

/// What is to be done before the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Read,
    /// Ask whether the marker is still the one that was loaded from, then [`Progress::finish`].
    Verify,
    /// Load the whole state again.
    Reload,
    /// Ask for the newest heartbeat, then [`Progress::heard`]: too much is held back.
    AskHeartbeat,
}

/// How far a node is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    phase: Phase,
    /// The newest change that was delivered, and its source; survives a reload.
    delivered: Option<Position>,
    /// The sequence of the marker of the state that is loaded or followed.
    marker: u64,
    /// The sequence of the newest message taken in; 0 before the first.
    seen: u64,
    /// The sequence of the stream's newest message when it was last connected to.
    tip: u64,
}

#[derive(Debug, Default)]
enum Phase {
    /// For a marker.
    #[default]
    Waiting,
    Loading(Loading),
    Following {
        source: String,
    },
}

#[derive(Debug)]
struct Loading {
    at: Position,
    /// Everything up to here is known to be of the source.
    bound: u64,
    /// Not covered yet, each with its message's sequence.
    held: Vec<(u64, Change)>,
    part: Vec<Entry>,
    /// The newest heartbeat read, with its message's sequence.
    beat: Option<(u64, u64)>,
    beats: u32,
}

impl Progress {
    /// The sequence of the newest message taken in; 0 when the state is to be loaded.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// The sequence of the marker of the state that is loaded or followed.
    pub(super) fn marker(&self) -> u64 {
        self.marker
    }

    /// Forgets everything except what has been delivered: the state is loaded again.
    pub(super) fn restart(&mut self) {
        (self.phase, self.marker, self.seen) = (Phase::Waiting, 0, 0);
    }

    /// Notes the stream's newest message at the time of connecting.
    pub(super) fn connected(&mut self, tip: u64) {
        self.tip = tip;
    }

    /// Takes in the message at `sequence`, after which `pending` more wait.
    pub(super) fn take(&mut self, sequence: u64, pending: u64, said: Said, out: &mut Outcome) -> Next {
        self.seen = sequence;
        match said {
            Said::Marker { at, entries } => self.begin(sequence, at, entries, out),
            Said::Change { source, change } => self.change(sequence, source, change, pending, out),
            Said::Heartbeat(at) if self.is_ahead(&at) => return Next::Reload,
            Said::Heartbeat(at) => self.heartbeat(sequence, at, out),
            Said::Claim(_) | Said::Nothing => {}
        }
        let (delivered, tip) = (self.delivered.as_ref(), self.tip);
        match &mut self.phase {
            Phase::Loading(loading) if loading.may_end(pending, delivered, tip) => Next::Verify,
            Phase::Loading(loading) if loading.held.len() >= MAX_HELD => Next::AskHeartbeat,
            Phase::Loading(_) | Phase::Waiting | Phase::Following { .. } => Next::Read,
        }
    }

    fn begin(&mut self, sequence: u64, at: Position, entries: u64, out: &mut Outcome) {
        self.marker = sequence;
        out.events.push(Event::SnapshotBegins { expected: usize::try_from(entries).unwrap_or(usize::MAX) });
        let bound = at.seq;
        self.phase = Phase::Loading(Loading { at, bound, held: vec![], part: vec![], beat: None, beats: 0 });
    }

    fn change(&mut self, sequence: u64, source: String, change: Change, pending: u64, out: &mut Outcome) {
        match &mut self.phase {
            Phase::Waiting => {}
            Phase::Loading(Loading { at, .. }) if at.source != source => out.foreign += 1,
            Phase::Loading(loading) if change.seq <= loading.bound => loading.push(change, out),
            Phase::Loading(loading) => loading.held.push((sequence, change)),
            Phase::Following { source: followed } if *followed != source => out.foreign += 1,
            Phase::Following { .. } => {
                self.deliver(change, out);
                if pending == 0 {
                    self.settle(out);
                }
            }
        }
    }

    /// Hands on a change; one that is absurd is handed on as well, for the set to say so.
    fn deliver(&mut self, change: Change, out: &mut Outcome) {
        if let Some(delivered) = &mut self.delivered
            && change.seq.saturating_sub(delivered.seq) <= MAX_AHEAD
        {
            delivered.seq = delivered.seq.max(change.seq);
        }
        out.events.push(Event::Change(change));
    }

    /// Nothing is on its way any more: everything up to the newest has been delivered.
    fn settle(&self, out: &mut Outcome) {
        if let Some(delivered) = &self.delivered {
            out.events.push(Event::Heartbeat { seq: delivered.seq });
        }
    }

    /// Whether the source says that there was more than has been delivered. The newest change of all is always kept, so
    /// something was missed.
    fn is_ahead(&self, at: &Position) -> bool {
        let followed = matches!(&self.phase, Phase::Following { source } if *source == at.source);
        // What the set will call absurd is for the set to say so.
        let is_missing = |delivered: &Position| (1..=MAX_AHEAD).contains(&at.seq.saturating_sub(delivered.seq));
        followed && self.delivered.as_ref().is_some_and(is_missing)
    }

    fn heartbeat(&mut self, sequence: u64, at: Position, out: &mut Outcome) {
        match &mut self.phase {
            Phase::Waiting => {}
            Phase::Loading(loading) if loading.at.source != at.source => out.foreign += 1,
            Phase::Loading(loading) if at.seq < loading.at.seq => out.absurd += 1,
            Phase::Loading(loading) => {
                loading.covered(sequence, at.seq, out);
                loading.beat = Some((sequence, at.seq));
                loading.beats += 1;
            }
            Phase::Following { source } if *source != at.source => out.foreign += 1,
            Phase::Following { .. } => {
                // One that was written before we connected says nothing about who lives now.
                if sequence > self.tip {
                    out.events.push(Event::Heartbeat { seq: at.seq });
                }
            }
        }
    }

    /// Takes in the newest heartbeat, which was asked for and may be ahead of what has been read.
    pub(super) fn heard(&mut self, sequence: u64, at: &Position, out: &mut Outcome) -> Next {
        let Phase::Loading(loading) = &mut self.phase else { return Next::Read };
        if sequence > self.marker && at.source == loading.at.source && at.seq >= loading.at.seq {
            loading.covered(sequence, at.seq, out);
        }
        if loading.held.len() >= MAX_HELD { Next::AskHeartbeat } else { Next::Read }
    }

    /// Completes the state when the stream still begins with the marker at `marker`, the newest one that it keeps.
    /// Otherwise a part may have moved behind a marker that is still to come.
    pub(super) fn finish(&mut self, marker: Option<u64>, pending: u64, out: &mut Outcome) {
        match std::mem::take(&mut self.phase) {
            Phase::Loading(mut loading) if marker == Some(self.marker) => {
                let Some((_, seq)) = loading.beat else { return };
                loading.flush(out);
                out.events.push(Event::SnapshotEnds { source: loading.at.source.clone(), seq });
                self.delivered = Some(Position { source: loading.at.source.clone(), seq });
                self.phase = Phase::Following { source: loading.at.source };
                let is_more = !loading.held.is_empty();
                for (_, change) in loading.held {
                    self.deliver(change, out);
                }
                if is_more && pending == 0 {
                    self.settle(out);
                }
            }
            _ => {}
        }
    }
}

impl Loading {
    fn push(&mut self, change: Change, out: &mut Outcome) {
        let Change { scope, effect, in_force, .. } = change;
        self.part.push(Entry { scope, effect, in_force });
        if self.part.len() >= PART {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Outcome) {
        if !self.part.is_empty() {
            out.events.push(Event::SnapshotPart(std::mem::take(&mut self.part)));
        }
    }

    /// Everything up to `seq` is of the source, and nothing above it that was written before `sequence`.
    fn covered(&mut self, sequence: u64, seq: u64, out: &mut Outcome) {
        self.bound = self.bound.max(seq);
        for (written, change) in std::mem::take(&mut self.held) {
            if change.seq <= seq {
                self.push(change, out);
            } else if written < sequence {
                out.absurd += 1;
            } else {
                self.held.push((written, change));
            }
        }
    }

    /// Whether a heartbeat has been read after the marker, and nothing that was there then is still to come.
    fn may_end(&self, pending: u64, delivered: Option<&Position>, tip: u64) -> bool {
        let Some((sequence, seq)) = self.beat else { return false };
        // A broker that has lost its newest messages must not take them back here: either it catches up, or its source
        // says anew that this is how far it has come.
        let is_behind = delivered.is_some_and(|delivered| delivered.source == self.at.source && seq < delivered.seq);
        (pending == 0 || self.beats >= MAX_BEATS) && (!is_behind || sequence > tip)
    }
}

#[cfg(test)]
mod tests;

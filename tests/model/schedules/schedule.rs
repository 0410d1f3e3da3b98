//! What happens in one schedule, and when: all of it from one seed.

use std::time::Duration;

use super::proxy::Flow;
use super::truth::{SLOTS, TIMES, canonical};

/// SplitMix64: small, and the same everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("small")
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// What somebody wants of one effect on one scope, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// With the time of an `issued_before`.
    Impose(usize, u64),
    Lift(usize),
}

/// Who is on one side of a way to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Node(usize),
    Control(usize),
}

/// What somebody does to the broker who has no business there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tamper {
    /// One of the newest messages is sent again, or one of any age.
    Again {
        newest: bool,
    },
    /// So many of the newest messages are taken away.
    DeleteNewest(u64),
    /// Only the newest message is left.
    DeleteOthers,
    Malformed,
    FutureVersion,
    /// A change of this source, so far ahead.
    Ahead(u64),
    /// A heartbeat of this source, so far ahead.
    BeatAhead(u64),
    /// A change, a heartbeat or a state of another source.
    ForeignChange,
    ForeignBeat,
    ForeignState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Committed one after the other by one control node, in one call.
    Change {
        control: usize,
        wishes: Vec<Wish>,
    },
    /// The same, and the control node dies before it has said that it is done.
    ChangeAndDie {
        control: usize,
        wish: Wish,
    },
    Kill(usize),
    Start(usize),
    /// A node goes, and another one comes with nothing.
    Renew(usize),
    Network(End, Flow),
    Reset(End),
    KillBroker {
        loses: bool,
    },
    RunBroker,
    /// It hangs.
    StopBroker,
    ContinueBroker,
    Tamper(Tamper),
}

/// Everything that one seed stands for.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) nodes: usize,
    pub(super) controls: usize,
    /// Each with its time since the beginning.
    pub(super) steps: Vec<(Duration, Step)>,
}

impl Schedule {
    /// What `seed` stands for; without trouble, only changes happen.
    pub(super) fn new(seed: u64, trouble: Trouble) -> Schedule {
        let mut random = Random::new(seed);
        let (nodes, controls) = (2 + random.index(3), 1 + random.index(3));
        let mut making = Making { random, nodes, controls, now: 0, steps: Vec::new() };
        // A tenth of them has outages that are longer than a node may believe in silence.
        let longest = if making.random.one_in(8) { 2500 } else { 500 };
        let length = 700 + making.random.below(500) + if longest > 500 { 1500 } else { 0 };
        while making.now < length {
            making.now += making.random.below(40);
            match making.random.below(10) {
                0..7 => making.change(),
                _ if trouble == Trouble::None => making.change(),
                _ => making.trouble(longest),
            }
        }
        making.steps.sort_by_key(|(at, _)| *at);
        let steps = making.steps.into_iter().map(|(at, step)| (Duration::from_millis(at), step)).collect();
        Schedule { nodes, controls, steps }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    All,
}

struct Making {
    random: Random,
    nodes: usize,
    controls: usize,
    now: u64,
    steps: Vec<(u64, Step)>,
}

impl Making {
    fn wish(&mut self) -> Wish {
        let slot = canonical(self.random.index(SLOTS));
        // More of them in force than not.
        if self.random.below(5) < 2 {
            return Wish::Lift(slot);
        }
        Wish::Impose(slot, TIMES[self.random.index(TIMES.len())])
    }

    fn change(&mut self) {
        let control = self.random.index(self.controls);
        let len = if self.random.one_in(8) { 30 } else { 1 + self.random.index(3) };
        let wishes = (0..len).map(|_| self.wish()).collect();
        self.push(Step::Change { control, wishes });
    }

    fn push(&mut self, step: Step) {
        self.steps.push((self.now, step));
    }

    /// Begins `step`, and ends it with `end` some time later.
    fn between(&mut self, step: Step, longest: u64, end: Step) {
        let until = self.now + 10 + self.random.below(longest);
        self.push(step);
        self.steps.push((until, end));
    }

    fn end(&mut self) -> End {
        if self.random.one_in(2) {
            End::Control(self.random.index(self.controls))
        } else {
            End::Node(self.random.index(self.nodes))
        }
    }

    fn trouble(&mut self, longest: u64) {
        match self.random.below(24) {
            0..2 => {
                let loses = self.random.one_in(2);
                self.between(Step::KillBroker { loses }, longest, Step::RunBroker);
            }
            2 => self.between(Step::StopBroker, longest, Step::ContinueBroker),
            3..7 => {
                let control = self.random.index(self.controls);
                let wish = self.wish();
                let dies =
                    if self.random.one_in(2) { Step::ChangeAndDie { control, wish } } else { Step::Kill(control) };
                self.between(dies, longest, Step::Start(control));
            }
            7..10 => {
                let node = self.random.index(self.nodes);
                self.push(Step::Renew(node));
            }
            10..16 => {
                let end = self.end();
                let pause = Duration::from_millis(5 + self.random.below(60));
                let flow = [Flow::Held, Flow::Refused, Flow::Slow(pause)][self.random.index(3)];
                self.between(Step::Network(end, flow), longest, Step::Network(end, Flow::Through));
                if self.random.one_in(3) {
                    self.steps.push((self.now + self.random.below(longest), Step::Reset(end)));
                }
            }
            16 => {
                // No relay gets through.
                let until = self.now + 10 + self.random.below(longest);
                for control in 0..self.controls {
                    self.push(Step::Network(End::Control(control), Flow::Refused));
                    self.steps.push((until, Step::Network(End::Control(control), Flow::Through)));
                }
                let node = self.random.index(self.nodes);
                let last = until.saturating_sub(self.random.below(100)).max(self.now);
                self.steps
                    .push((last, if self.random.one_in(2) { Step::Renew(node) } else { Step::Reset(End::Node(node)) }));
            }
            17 => {
                let end = self.end();
                self.push(Step::Reset(end));
            }
            _ => {
                let tamper = self.tamper();
                self.push(Step::Tamper(tamper));
            }
        }
    }

    fn tamper(&mut self) -> Tamper {
        match self.random.below(12) {
            0..2 => Tamper::Again { newest: true },
            2..4 => Tamper::Again { newest: false },
            4 => Tamper::DeleteNewest(1 + self.random.below(4)),
            5 => Tamper::DeleteOthers,
            6 => Tamper::Malformed,
            7 => Tamper::FutureVersion,
            8 => Tamper::Ahead([1 << 50, 1 << 20, 1000][self.random.index(3)]),
            9 => Tamper::BeatAhead([1 << 50, 1 << 20, 1000][self.random.index(3)]),
            10 => Tamper::ForeignChange,
            _ if self.random.one_in(2) => Tamper::ForeignBeat,
            _ => Tamper::ForeignState,
        }
    }
}

//! Every case of a broker's position, and of a message.

use super::*;
use crate::restrictions::{Change, Effect, Scope};

fn at(source: &str, seq: u64) -> Position {
    Position { source: source.into(), seq }
}

fn held(seq: u64) -> Held {
    Held { at: at("db", seq), generation: "g1".into(), last: EntryId::default() }
}

fn meta(source: &str, seq: u64, generation: &str) -> Meta {
    Meta { at: at(source, seq), generation: generation.into(), count: 1 }
}

fn change(source: &str, seq: u64) -> Message {
    let scope = Scope::App { app: "acme".into() };
    let change = Change { seq, scope, effect: Effect::Deactivated, in_force: true };
    Message::Change { source: source.into(), change }
}

#[test]
fn a_gap_is_judged_by_where_the_broker_stands() {
    let check = |held: Option<Held>, reload, meta: Option<Meta>, has, expected: &str| {
        let look = Look { raw: Default::default(), meta: meta.clone(), buckets: None, last: EntryId::default(), has };
        let verdict = format!("{:?}", verdict(held.as_ref(), reload, look));
        assert!(verdict.starts_with(expected), "{verdict}, not {expected}, for {held:?} and {meta:?}");
    };
    // Nothing whole to load: never half a state, and never an empty one.
    check(None, false, None, false, "Empty");
    check(Some(held(7)), true, None, true, "Empty");
    check(None, false, Some(meta("db", 7, "g1")), true, "Load");
    check(Some(held(7)), false, Some(meta("db", 7, "g1")), false, "Resume");
    check(Some(held(7)), false, Some(meta("db", 9, "g1")), true, "Resume");
    check(Some(held(7)), false, Some(meta("db", 9, "g1")), false, "Load");
    check(Some(held(7)), true, Some(meta("db", 7, "g1")), true, "Load");
    check(Some(held(7)), false, Some(meta("db", 7, "g2")), true, "Load");
    check(Some(held(7)), false, Some(meta("other", 1, "g1")), true, "Load");
    for (reload, generation) in [(false, "g1"), (true, "g1"), (false, "g2")] {
        check(Some(held(7)), reload, Some(meta("db", 6, generation)), true, "Behind");
    }
}

#[test]
fn a_message_is_delivered_only_where_it_follows() {
    let check = |message, expected| assert_eq!(step(&at("db", 7), message), expected);
    for seq in [1, 6, 7] {
        check(Ok(change("db", seq)), Step::Skip);
    }
    let Message::Change { change: eighth, .. } = change("db", 8) else { unreachable!("a change") };
    check(Ok(change("db", 8)), Step::Deliver(Event::Change(eighth), 8));
    check(Ok(change("db", 9)), Step::Ask(Claim::Ahead(9)));
    check(Ok(change("db", u64::MAX)), Step::Ask(Claim::Ahead(u64::MAX)));
    check(Ok(change("other", 8)), Step::Ask(Claim::Other("other".into())));
    check(Ok(Message::Heartbeat(at("db", 7))), Step::Deliver(Event::Heartbeat { seq: 7 }, 7));
    check(Ok(Message::Heartbeat(at("db", 6))), Step::Ask(Claim::Behind(6)));
    check(Ok(Message::Heartbeat(at("db", 8))), Step::Ask(Claim::Ahead(8)));
    check(Ok(Message::Heartbeat(at("other", 7))), Step::Ask(Claim::Other("other".into())));
    check(Ok(Message::Snapshot { at: at("db", 7), entries: 0 }), Step::Ask(Claim::Snapshot));
    check(Err(WireError::Malformed), Step::Count("malformed"));
    check(Err(WireError::Unknown), Step::Count("unknown"));
}

#[test]
fn a_message_that_does_not_fit_is_believed_only_with_the_broker() {
    let check = |claim: Claim, meta: Option<Meta>, expected| {
        assert_eq!(settled(&held(7), &claim, meta.as_ref()), expected, "{claim:?} {meta:?}");
    };
    check(Claim::Ahead(9), Some(meta("db", 9, "g1")), Settled::Missed);
    check(Claim::Ahead(9), Some(meta("db", 8, "g1")), Settled::False);
    check(Claim::Ahead(u64::MAX), Some(meta("db", 8, "g1")), Settled::False);
    check(Claim::Behind(6), Some(meta("db", 6, "g1")), Settled::WentBack);
    check(Claim::Behind(6), Some(meta("db", 7, "g1")), Settled::Old);
    check(Claim::Other("x".into()), Some(meta("x", 1, "g2")), Settled::Missed);
    check(Claim::Other("x".into()), Some(meta("db", 7, "g1")), Settled::False);
    check(Claim::Snapshot, Some(meta("db", 7, "g2")), Settled::Missed);
    check(Claim::Snapshot, Some(meta("db", 7, "g1")), Settled::False);
    check(Claim::Ahead(9), None, Settled::Missed);
    check(Claim::Behind(6), Some(meta("db", 6, "g2")), Settled::Missed);
}

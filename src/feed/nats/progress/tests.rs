use super::*;
use crate::restrictions::{Effect, Scope};

fn at(source: &str, seq: u64) -> Position {
    Position { source: source.into(), seq }
}

fn scope(name: &str) -> Scope {
    Scope::User { app: "demo".into(), uid: name.into() }
}

fn changed(name: &str, seq: u64) -> Change {
    Change { seq, scope: scope(name), effect: Effect::Deactivated, in_force: true }
}

/// `m` marker, `h` heartbeat, `c` change, each with source and seq: `m:s:5`, `c:s:6`.
fn said(text: &str) -> Said {
    let parts: Vec<&str> = text.split(':').collect();
    let seq = parts[2].parse().expect("a number");
    match parts[0] {
        "m" => Said::Marker { at: at(parts[1], seq), entries: 7 },
        "h" => Said::Heartbeat(at(parts[1], seq)),
        _ => Said::Change { source: parts[1].into(), change: changed(&format!("u{seq}"), seq) },
    }
}

fn shown(event: &Event) -> String {
    match event {
        Event::SnapshotBegins { .. } => "begins".into(),
        Event::SnapshotPart(entries) => {
            entries.iter().map(|entry| entry.scope.parts().1.to_owned()).collect::<Vec<_>>().join("+")
        }
        Event::SnapshotEnds { seq, .. } => format!("ends {seq}"),
        Event::Change(change) => format!("change {}", change.seq),
        Event::Heartbeat { seq } => format!("heartbeat {seq}"),
        Event::Snapshot { .. } => "snapshot".into(),
    }
}

/// Feeds messages from sequence `first` on, the last with nothing pending; the marker is found in place.
fn feed(progress: &mut Progress, first: u64, messages: &[&str]) -> (Vec<String>, u64, u64) {
    let mut out = Outcome::default();
    for (index, message) in messages.iter().enumerate() {
        let pending = (messages.len() - 1 - index) as u64;
        let next = progress.take(first + index as u64, pending, said(message), &mut out);
        if next == Next::Verify {
            progress.finish(Some(progress.marker()), pending, &mut out);
        }
    }
    (out.events.iter().map(shown).collect(), out.absurd, out.foreign)
}

#[track_caller]
fn check(messages: &[&str], expected: &[&str], absurd: u64, foreign: u64) {
    let told = feed(&mut Progress::default(), 1, messages);
    assert_eq!(told, (expected.iter().map(ToString::to_string).collect(), absurd, foreign), "{messages:?}");
}

#[test]
fn a_state_is_what_stands_between_its_marker_and_a_heartbeat() {
    check(&["c:s:1", "h:s:1"], &[], 0, 0);
    check(&["m:s:5", "c:s:5"], &["begins"], 0, 0);
    check(&["c:s:1", "m:s:5", "c:s:5", "h:s:5"], &["begins", "u5", "ends 5"], 0, 0);
    check(&["m:s:0", "h:s:0"], &["begins", "ends 0"], 0, 0);
    check(&["m:s:5", "c:s:6", "c:s:7", "h:s:7"], &["begins", "u6+u7", "ends 7"], 0, 0);
    check(&["m:s:5", "h:t:5"], &["begins"], 0, 1);
    check(&["m:s:5", "h:s:4"], &["begins"], 1, 0);
}

#[test]
fn what_no_heartbeat_covers_is_not_in_the_state() {
    check(&["m:s:5", "c:s:900", "c:t:5", "h:s:6"], &["begins", "ends 6"], 1, 1);
    // Written after the heartbeat: it may well be true.
    check(&["m:s:5", "h:s:5", "c:s:6"], &["begins", "ends 5", "change 6", "heartbeat 6"], 0, 0);
}

#[test]
fn a_state_that_is_read_more_slowly_than_it_grows_is_complete_all_the_same() {
    let mut progress = Progress::default();
    let mut out = Outcome::default();
    let mut nexts = vec![];
    for (sequence, message) in (1..).zip(["m:s:5", "h:s:5", "h:s:6", "h:s:7"]) {
        nexts.push(progress.take(sequence, 9, said(message), &mut out));
    }
    assert_eq!(nexts, [Next::Read, Next::Read, Next::Read, Next::Verify]);
}

#[test]
fn changes_are_followed_and_settle_when_nothing_is_pending() {
    let mut progress = Progress::default();
    feed(&mut progress, 1, &["m:s:5", "h:s:5"]);
    let told = feed(&mut progress, 3, &["c:s:7", "c:t:8", "c:s:9", "h:t:9", "h:s:9"]);
    assert_eq!(told, (vec!["change 7".into(), "change 9".into(), "heartbeat 9".into()], 0, 2));
    let far = format!("c:s:{}", 10 + MAX_AHEAD);
    let told = feed(&mut progress, 8, &[&far]).0;
    assert_eq!(told, [format!("change {}", 10 + MAX_AHEAD), "heartbeat 9".into()]);
}

#[test]
fn a_marker_begins_a_new_state_and_another_source_is_believed_with_it() {
    let mut progress = Progress::default();
    feed(&mut progress, 1, &["m:s:5", "h:s:5"]);
    let told = feed(&mut progress, 3, &["m:t:1", "c:t:1", "h:t:1"]).0;
    assert_eq!(told, ["begins", "u1", "ends 1"]);
}

#[test]
fn a_marker_that_has_moved_makes_the_state_incomplete() {
    let mut progress = Progress::default();
    let mut out = Outcome::default();
    progress.take(1, 1, said("m:s:5"), &mut out);
    assert_eq!(progress.take(2, 0, said("h:s:5"), &mut out), Next::Verify);
    progress.finish(Some(9), 0, &mut out);
    let told = feed(&mut progress, 3, &["c:s:5", "h:s:5"]).0;
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(feed(&mut progress, 9, &["m:s:5", "h:s:5"]).0, ["begins", "ends 5"]);
}

#[test]
fn a_broker_that_is_behind_takes_nothing_back_until_its_source_says_so_anew() {
    let behind = |messages: &[&str]| {
        let mut progress = Progress::default();
        feed(&mut progress, 1, &["m:s:5", "h:s:9"]);
        progress.restart();
        progress.connected(2);
        feed(&mut progress, 1, messages).0
    };
    assert_eq!(behind(&["m:s:5", "h:s:7"]), ["begins"]);
    assert_eq!(behind(&["m:s:5", "h:s:9"]), ["begins", "ends 9"]);
    assert_eq!(behind(&["m:s:5", "h:s:7", "c:s:8", "c:s:9", "h:s:9"]), ["begins", "u8+u9", "ends 9"]);
    assert_eq!(behind(&["m:s:5", "h:s:7", "h:s:7"]), ["begins", "ends 7"]);
    // Another source's numbers say nothing about ours.
    assert_eq!(behind(&["m:t:1", "h:t:1"]), ["begins", "ends 1"]);
}

#[test]
fn too_much_that_is_not_covered_asks_for_a_heartbeat() {
    let mut progress = Progress::default();
    let mut out = Outcome::default();
    progress.take(1, 1, said("m:s:1"), &mut out);
    let mut next = Next::Read;
    let mut seq = 1;
    while next == Next::Read {
        seq += 1;
        next = progress.take(seq, 9, said(&format!("c:s:{seq}")), &mut out);
    }
    assert_eq!((next, seq), (Next::AskHeartbeat, MAX_HELD as u64 + 1));
    // Nothing new: asked again.
    assert_eq!(progress.heard(1, &at("s", 1), &mut out), Next::AskHeartbeat);
    assert_eq!(progress.heard(seq - 9, &at("s", seq - 10), &mut out), Next::Read);
    // One of them was written before that heartbeat and is above it.
    assert_eq!(out.absurd, 0);
    assert_eq!(progress.heard(seq + 1, &at("s", seq - 9), &mut out), Next::Read);
    assert_eq!(out.absurd, 9);
}

//! Messages as a broker may hold them: any bytes, in any order, over and over.
//!
//! Nothing may panic; a change says in `Applied` what became of it, and a check says the same right after.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use mediagate::restrictions::wire::{self, Message};
use mediagate::restrictions::{Applied, Effect, Event, RestrictionSet, Scope};

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let set = RestrictionSet::new([1, 2], now);
    set.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, now);

    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(report) = wire::decode_report(line) {
            assert_eq!(wire::decode_report(&wire::encode_report(&report)), Ok(report));
        }
        if let Some(at) = line.iter().position(|byte| *byte == b'=') {
            let (name, value) = (&line[..at], &line[at + 1..]);
            if let Ok((seq, scope, effect)) = wire::entry(name, value) {
                // There is one way to write it.
                assert_eq!((wire::key(&scope, effect).as_bytes(), wire::value(seq, effect).as_bytes()), (name, value));
            }
        }
        let Ok(message) = wire::decode(line) else { continue };
        // What was read can be written, and read again as the same.
        assert_eq!(wire::decode(&wire::encode(&message)).as_ref(), Ok(&message));
        let change = match message {
            Message::Change { change, .. } => change,
            Message::Heartbeat(at) => {
                set.apply(Event::Heartbeat { seq: at.seq }, now);
                continue;
            }
            Message::Snapshot { at, entries } => {
                set.apply(Event::SnapshotBegins { expected: entries.min(1000) as usize }, now);
                set.apply(Event::SnapshotEnds { source: at.source, seq: at.seq }, now);
                continue;
            }
        };

        let (app, uid, sid, jti) = match &change.scope {
            Scope::App { app } => (app, None, None, None),
            Scope::User { app, uid } => (app, Some(uid), None, None),
            Scope::Session { app, sid } => (app, None, Some(sid), None),
            Scope::Token { app, jti } => (app, None, None, Some(jti)),
            // What is set of an app restricts nobody.
            Scope::Prefix { .. } | Scope::ApiKey { .. } => {
                set.apply(Event::Change(change), now);
                continue;
            }
        };
        let subject =
            set.subject(app, uid.map_or("", String::as_str), sid.map(String::as_str), jti.map(String::as_str), None);

        let applied = set.apply(Event::Change(change.clone()), now);
        let restricts = matches!(change.effect, Effect::Deactivated | Effect::IssuedBefore { .. });
        if applied == Applied::Yes && change.in_force && restricts {
            // A token that does not say when it was issued counts as issued before any flush.
            assert!(set.check(&subject).is_err(), "{change:?} is in force and lets its subject pass");
        }
        if applied == Applied::Yes && !change.in_force && change.effect == Effect::Deactivated {
            let generation = set.generation();
            assert_eq!(set.apply(Event::Change(change), now), Applied::Stale);
            assert_eq!(set.generation(), generation, "a duplicate changed something");
        }
    }
    assert_eq!(set.is_empty(), set.len() == 0);
});

//! What things are called in NATS, and which message belongs where.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::feed::wire::{self, Message, Position, WireError};
use crate::restrictions::{Change, Effect, Scope};

/// Longest prefix, in bytes.
const MAX_PREFIX_BYTES: usize = 64;

/// The names under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subjects {
    /// The stream.
    pub(super) stream: String,
    /// Everything in the stream.
    pub(super) all: String,
    /// What the subjects of changes begin with.
    state: String,
    /// Everything up to there has been published.
    pub(super) heartbeat: String,
    /// A whole state begins.
    pub(super) snapshot: String,
    /// A relay takes over; of no interest to nodes.
    pub(super) relay: String,
    /// What nodes say of themselves; not in the stream.
    pub(super) reports: String,
}

/// What a message of the stream says to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// A whole state begins.
    Marker { at: Position, entries: u64 },
    /// Everything up to there has been published.
    Heartbeat(Position),
    /// One change.
    Change { source: String, change: Change },
    /// A relay has taken over where the stream stood.
    Claim(Position),
    /// Nothing that could be read.
    Nothing,
}

impl Subjects {
    pub(super) fn new(prefix: &str) -> Result<Subjects, String> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_good);
        if prefix.len() > MAX_PREFIX_BYTES || !prefix.split('.').all(is_part) {
            return Err("a prefix for NATS has letters, digits, - and _, in parts joined by dots".to_owned());
        }
        let under = |name: &str| format!("{prefix}.restrictions.{name}");
        Ok(Subjects {
            // A stream's name has no dots.
            stream: prefix.replace('.', "_").to_ascii_uppercase(),
            all: under(">"),
            state: under("state."),
            heartbeat: under("heartbeat"),
            snapshot: under("snapshot"),
            relay: under("relay"),
            reports: format!("{prefix}.reports"),
        })
    }

    /// The subject that keeps the newest change of `effect` on `scope`.
    pub(super) fn state(&self, scope: &Scope, effect: Effect) -> String {
        let mut subject = self.state.clone();
        URL_SAFE_NO_PAD.encode_string(wire::key(scope, effect), &mut subject);
        subject
    }

    /// Reads a message of the stream: what it says has to be what its subject is for.
    pub(super) fn read(&self, subject: &str, payload: &[u8]) -> Result<Said, WireError> {
        match wire::decode(payload)? {
            Message::Change { source, change } if subject == self.state(&change.scope, change.effect) => {
                Ok(Said::Change { source, change })
            }
            Message::Heartbeat(at) if subject == self.heartbeat => Ok(Said::Heartbeat(at)),
            Message::Heartbeat(at) if subject == self.relay => Ok(Said::Claim(at)),
            Message::Snapshot { at, entries } if subject == self.snapshot => Ok(Said::Marker { at, entries }),
            _ => Err(WireError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_prefix() {
        let subjects = Subjects::new("prod.media-gate").expect("a prefix");
        assert_eq!(subjects.stream, "PROD_MEDIA-GATE");
        assert_eq!(subjects.all, "prod.media-gate.restrictions.>");
        assert_eq!(subjects.reports, "prod.media-gate.reports");
        let scope = Scope::User { app: "acme".into(), uid: "bob *.>".into() };
        let subject = subjects.state(&scope, Effect::Deactivated);
        assert_eq!(subject, "prod.media-gate.restrictions.state.ZGVhY3RpdmF0ZWQvdXNlci9hY21lL2JvYiAqLj4");
        for prefix in ["", ".", "a.", "a..b", "a b", "a.>", "*", "ä", &"a".repeat(65)] {
            assert!(Subjects::new(prefix).is_err(), "{prefix}");
        }
    }

    #[test]
    fn a_message_belongs_to_its_subject() {
        let subjects = Subjects::new("m").expect("a prefix");
        let change =
            Change { seq: 3, scope: Scope::App { app: "acme".into() }, effect: Effect::Deactivated, in_force: true };
        let other = Scope::App { app: "other".into() };
        let payload = wire::encode(&Message::Change { source: "s".into(), change: change.clone() });
        let subject = subjects.state(&change.scope, change.effect);
        assert_eq!(subjects.read(&subject, &payload), Ok(Said::Change { source: "s".into(), change: change.clone() }));
        for subject in [subjects.state(&other, change.effect), subjects.heartbeat.clone(), "m.x".to_owned()] {
            assert_eq!(subjects.read(&subject, &payload), Err(WireError::Malformed), "{subject}");
        }
        let at = Position { source: "s".into(), seq: 3 };
        let beat = wire::encode(&Message::Heartbeat(at.clone()));
        assert_eq!(subjects.read(&subjects.heartbeat, &beat), Ok(Said::Heartbeat(at.clone())));
        assert_eq!(subjects.read(&subjects.relay, &beat), Ok(Said::Claim(at)));
        assert_eq!(subjects.read(&subjects.snapshot, &beat), Err(WireError::Malformed));
        assert_eq!(subjects.read(&subjects.heartbeat, b"{\"v\":9}"), Err(WireError::Unknown));
    }
}

//! Entries of the stream, as a server answers them.

use std::fmt;

use redis::Value;

use crate::feed::wire::{self, Message, WireError};

/// The id of an entry: milliseconds and a number within them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct EntryId(u64, u64);

impl EntryId {
    fn parse(text: &[u8]) -> Option<EntryId> {
        let (millis, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(EntryId(millis.parse().ok()?, number.parse().ok()?))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// One entry, whoever wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StreamEntry {
    pub(super) id: EntryId,
    pub(super) message: Result<Message, WireError>,
}

/// Reads what XRANGE and XREVRANGE answer. Entries without a message are malformed ones, not errors.
pub(super) fn range(value: Value) -> Option<Vec<StreamEntry>> {
    let Value::Array(entries) = value else { return matches!(value, Value::Nil).then(Vec::new) };
    entries.into_iter().map(entry).collect()
}

/// Reads what XREAD of one stream answers.
pub(super) fn read(value: Value) -> Option<Vec<StreamEntry>> {
    let Value::Array(streams) = value else { return matches!(value, Value::Nil).then(Vec::new) };
    let Some(Value::Array(stream)) = streams.into_iter().next() else { return None };
    range(stream.into_iter().nth(1)?)
}

fn entry(value: Value) -> Option<StreamEntry> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let Some(Value::BulkString(id)) = parts.next() else { return None };
    let id = EntryId::parse(&id)?;
    // An entry that was deleted while it was read has no fields.
    let Some(Value::Array(fields)) = parts.next() else {
        return Some(StreamEntry { id, message: Err(WireError::Malformed) });
    };
    let mut fields = fields.into_iter();
    let mut message = Err(WireError::Malformed);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if let (Value::BulkString(name), Value::BulkString(text)) = (name, value)
            && name == b"m"
        {
            message = wire::decode(&text);
        }
    }
    Some(StreamEntry { id, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::wire::Position;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn entries_are_read_whoever_wrote_them() {
        let beat = r#"{"v":1,"type":"heartbeat","source":"s","seq":8}"#;
        let entries = vec![
            Value::Array(vec![text("5-0"), Value::Array(vec![text("x"), text("y"), text("m"), text(beat)])]),
            Value::Array(vec![text("5-1"), Value::Array(vec![text("m"), Value::BulkString(vec![0xff])])]),
            Value::Array(vec![text("5-2"), Value::Array(vec![text("m")])]),
            Value::Array(vec![text("6-0"), Value::Nil]),
        ];
        let good = Ok(Message::Heartbeat(Position { source: "s".into(), seq: 8 }));
        let bad = || Err(WireError::Malformed);
        let expected = || {
            let messages = [(EntryId(5, 0), good.clone()), (EntryId(5, 1), bad()), (EntryId(5, 2), bad())];
            let last = (EntryId(6, 0), bad());
            messages.into_iter().chain([last]).map(|(id, message)| StreamEntry { id, message }).collect::<Vec<_>>()
        };
        assert_eq!(range(Value::Array(entries.clone())), Some(expected()));
        let streams = Value::Array(vec![Value::Array(vec![text("stream"), Value::Array(entries)])]);
        assert_eq!(read(streams), Some(expected()));
        assert_eq!((read(Value::Nil), range(Value::Nil)), (Some(vec![]), Some(vec![])));
    }

    #[test]
    fn what_is_no_entry_is_no_panic() {
        for value in [
            Value::Int(1),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Array(vec![])]),
            Value::Array(vec![Value::Array(vec![text("stream")])]),
        ] {
            assert_eq!((read(value.clone()), range(value)), (None, None));
        }
        assert_eq!(range(Value::Array(vec![Value::Array(vec![text("no id"), Value::Array(vec![])])])), None);
    }

    #[test]
    fn ids_are_ordered_as_numbers() {
        let id = |text: &str| EntryId::parse(text.as_bytes());
        assert!(id("9-5") < id("10-1") && id("10-2") < id("10-11"));
        assert_eq!(id("10-11").map(|id| id.to_string()).as_deref(), Some("10-11"));
        assert_eq!((id("10"), id("x-1"), id("-"), id("")), (None, None, None, None));
    }
}

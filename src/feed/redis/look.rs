//! Where a broker stands, read at one moment.

use redis::{Cmd, RedisResult, Value, cmd};

use super::buckets::Buckets;
use super::keys::Keys;
use super::link::{Link, unexpected};
use super::message::{self, EntryId};
use crate::feed::wire::{Position, is_label, number};

/// The fields of the meta hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) at: Position,
    pub(super) generation: String,
    pub(super) count: u64,
}

/// What a broker holds at one moment.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// `source`, `seq` and `generation` as they are, good or bad; what is missing is empty.
    pub(super) raw: [Vec<u8>; 3],
    /// What can be built upon; `None` when there is nothing, or a part of it is missing.
    pub(super) meta: Option<Meta>,
    /// The state that it names, whatever the rest says; always there when `meta` is.
    pub(super) buckets: Option<Buckets>,
    /// The newest entry of the stream.
    pub(super) last: EntryId,
    /// Whether the entry that was asked for is still in the stream.
    pub(super) has: bool,
}

/// Looks at everything at once; whether the stream still has the entry `wanted`, too.
pub(super) async fn look(link: &mut Link, keys: &Keys, wanted: Option<EntryId>) -> RedisResult<Look> {
    let wanted_text = wanted.unwrap_or_default().to_string();
    let commands = [
        meta_command(keys),
        cmd("XREVRANGE").arg(&keys.changes).arg("+").arg("-").arg("COUNT").arg(1).take(),
        cmd("XRANGE").arg(&keys.changes).arg(&wanted_text).arg(&wanted_text).arg("COUNT").arg(1).take(),
    ];
    let (fields, newest, found): (Fields, Value, Value) = link.run_together(&commands).await?;
    let newest = message::range(newest).ok_or_else(|| unexpected("XREVRANGE"))?.first().map(|entry| entry.id);
    let found = message::range(found).ok_or_else(|| unexpected("XRANGE"))?;
    let buckets = buckets(keys, &fields);
    let meta = meta(&fields).filter(|_| buckets.is_some() && newest.is_some());
    let [source, seq, generation, ..] = fields.map(Option::unwrap_or_default);
    Ok(Look {
        meta,
        buckets,
        raw: [source, seq, generation],
        last: newest.unwrap_or_default(),
        has: wanted.is_some() && !found.is_empty(),
    })
}

/// Only where the broker says that it stands: enough to tell a true message from a false one.
pub(super) async fn glance(link: &mut Link, keys: &Keys) -> RedisResult<Option<Meta>> {
    Ok(meta(&link.run(&meta_command(keys)).await?))
}

/// `source`, `seq`, `generation`, `count` and `buckets` of the meta hash.
type Fields = [Option<Vec<u8>>; 5];

fn meta_command(keys: &Keys) -> Cmd {
    cmd("HMGET").arg(&keys.meta).arg(&["source", "seq", "generation", "count", "buckets"]).take()
}

fn meta(fields: &Fields) -> Option<Meta> {
    let [source, seq, generation, count, _] = fields;
    Some(Meta {
        at: Position { source: label(source)?, seq: figure(seq)? },
        generation: label(generation)?,
        count: figure(count)?,
    })
}

fn buckets(keys: &Keys, fields: &Fields) -> Option<Buckets> {
    let [.., generation, _, buckets] = fields;
    Buckets::numbered(keys.state(&label(generation)?), figure(buckets)?)
}

fn label(field: &Option<Vec<u8>>) -> Option<String> {
    std::str::from_utf8(field.as_deref()?).ok().filter(|text| is_label(text)).map(str::to_owned)
}

fn figure(field: &Option<Vec<u8>>) -> Option<u64> {
    number(field.as_deref()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_says_of_itself_is_checked() {
        let keys = Keys::new("p");
        let said = |fields: [&str; 5]| {
            let fields = fields.map(|field| Some(field.as_bytes().to_owned()));
            Some((meta(&fields)?, buckets(&keys, &fields)?))
        };
        let good = Meta { at: Position { source: "9f2c".into(), seq: 7 }, generation: "g1".into(), count: 2 };
        let state = Buckets::of("{p}:state:3:g1".into(), 0);
        assert_eq!(said(["9f2c", "7", "g1", "2", "16"]), Some((good, state)));
        for fields in [
            ["", "7", "g1", "2", "16"],
            ["a b", "7", "g1", "2", "16"],
            ["9f2c", "", "g1", "2", "16"],
            ["9f2c", "-7", "g1", "2", "16"],
            ["9f2c", "+7", "g1", "2", "16"],
            ["9f2c", "07", "g1", "2", "16"],
            ["9f2c", "7", "", "2", "16"],
            ["9f2c", "7", "g1", "", "16"],
            ["9f2c", "7", "g1", "18446744073709551616", "16"],
            ["9f2c", "7", "g1", "2", ""],
            ["9f2c", "7", "g1", "2", "17"],
            ["9f2c", "7", "g1", "2", "4294967312"],
        ] {
            assert_eq!(said(fields), None, "{fields:?}");
        }
        assert_eq!(meta(&Fields::default()), None);
    }
}

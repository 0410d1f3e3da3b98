//! Where a broker stands, read at one moment.

use redis::{Cmd, RedisResult, Value, cmd};

use super::keys::Keys;
use super::link::{Link, unexpected};
use super::message::{self, EntryId};
use crate::feed::wire::{Position, is_label, number};

/// How often a look is taken again because the generation changed meanwhile.
const ATTEMPTS: usize = 4;

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
    /// What can be built upon; `None` when there is nothing, or not all of it.
    pub(super) meta: Option<Meta>,
    /// The newest entry of the stream.
    pub(super) last: EntryId,
    /// Whether the entry that was asked for is still in the stream.
    pub(super) has: bool,
}

/// Looks at everything at once; whether the stream still has the entry `wanted`, too.
pub(super) async fn look(link: &mut Link, keys: &Keys, wanted: Option<EntryId>) -> RedisResult<Look> {
    let mut generation = String::new();
    let mut attempt = 0;
    loop {
        let look = look_at(link, keys, &generation, wanted).await?;
        attempt += 1;
        match look.raw_meta() {
            Some(meta) if meta.generation != generation && attempt < ATTEMPTS => generation = meta.generation,
            _ => return Ok(look),
        }
    }
}

/// Looks at the broker; the state is that of `generation`.
async fn look_at(link: &mut Link, keys: &Keys, generation: &str, wanted: Option<EntryId>) -> RedisResult<Look> {
    let wanted_text = wanted.unwrap_or_default().to_string();
    let commands = [
        meta_command(keys),
        cmd("HLEN").arg(keys.state(generation)).take(),
        cmd("XREVRANGE").arg(&keys.changes).arg("+").arg("-").arg("COUNT").arg(1).take(),
        cmd("XRANGE").arg(&keys.changes).arg(&wanted_text).arg(&wanted_text).arg("COUNT").arg(1).take(),
    ];
    let answers = link.run_together(&commands).await?;
    let (fields, length, newest, found): ([Option<Vec<u8>>; 4], u64, Value, Value) = answers;
    let newest = message::range(newest).ok_or_else(|| unexpected("XREVRANGE"))?.first().map(|entry| entry.id);
    let found = message::range(found).ok_or_else(|| unexpected("XRANGE"))?;
    let [source, seq, of, count] = fields.map(Option::unwrap_or_default);
    let meta = meta(&source, &seq, &of, &count);
    let is_whole = |meta: &Meta| meta.generation == generation && meta.count == length && newest.is_some();
    Ok(Look {
        meta: meta.filter(is_whole),
        raw: [source, seq, of],
        last: newest.unwrap_or_default(),
        has: wanted.is_some() && !found.is_empty(),
    })
}

/// Only where the broker says that it stands: enough to tell a true message from a false one.
pub(super) async fn glance(link: &mut Link, keys: &Keys) -> RedisResult<Option<Meta>> {
    let fields: [Option<Vec<u8>>; 4] = link.run(&meta_command(keys)).await?;
    let [source, seq, generation, count] = fields.map(Option::unwrap_or_default);
    Ok(meta(&source, &seq, &generation, &count))
}

fn meta_command(keys: &Keys) -> Cmd {
    cmd("HMGET").arg(&keys.meta).arg(&["source", "seq", "generation", "count"]).take()
}

impl Look {
    /// The meta hash, whether or not the rest agrees with it.
    fn raw_meta(&self) -> Option<Meta> {
        meta(&self.raw[0], &self.raw[1], &self.raw[2], b"0")
    }
}

fn meta(source: &[u8], seq: &[u8], generation: &[u8], count: &[u8]) -> Option<Meta> {
    let label = |text| std::str::from_utf8(text).ok().filter(|text| is_label(text)).map(str::to_owned);
    Some(Meta {
        at: Position { source: label(source)?, seq: number(seq)? },
        generation: label(generation)?,
        count: number(count)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_says_of_itself_is_checked() {
        let good = meta(b"9f2c", b"7", b"g1", b"2").expect("good");
        assert_eq!((good.at.source.as_str(), good.at.seq, good.generation.as_str(), good.count), ("9f2c", 7, "g1", 2));
        for (source, seq, generation, count) in [
            ("", "7", "g1", "2"),
            ("a b", "7", "g1", "2"),
            ("9f2c", "", "g1", "2"),
            ("9f2c", "-7", "g1", "2"),
            ("9f2c", "+7", "g1", "2"),
            ("9f2c", "07", "g1", "2"),
            ("9f2c", "7", "", "2"),
            ("9f2c", "7", "g1", ""),
            ("9f2c", "7", "g1", "18446744073709551616"),
        ] {
            let meta = meta(source.as_bytes(), seq.as_bytes(), generation.as_bytes(), count.as_bytes());
            assert_eq!(meta, None, "{source} {seq} {generation} {count}");
        }
    }
}

//! Restrictions through Redis (6.2 or newer) or Valkey: hashes with the state, a stream with the changes that led to it.
//!
//! [`RedisBroker`] writes them, [`RedisFeed`] reads them; [`RedisReporter`] and [`RedisReports`] carry what nodes say
//! back to the control plane.
//!
//! # Keys
//!
//! With the prefix `mediagate`; the braces keep all of them in one slot of a cluster.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `{mediagate}:meta` | hash | `source`, `seq`, `generation`: where the state stands; `count`, `buckets`: how many entries it has, in how many hashes |
//! | `{mediagate}:state:3:<generation>:<bucket>` | hash | what is in force: field [`wire::key`](super::wire::key), value [`wire::value`](super::wire::value); what is lifted is deleted; in the field with the empty name, how many others there are |
//! | `{mediagate}:changes` | stream | field `m`: one message of [`wire`](super::wire); ids by the server, about the newest 100,000 |
//! | `{mediagate}:reports` | channel | one report of a node for each message |
//!
//! State and stream are written together by one script, so they never disagree. Buckets are numbered from 0; there is a
//! power of two of them, from 16 to 131,072, and an entry is in the bucket that the lowest bits of the 32-bit FNV-1a hash
//! of its field name. Hashes of up to 128 fields (`hash-max-listpack-entries`) are one piece of memory each: a server
//! sends and keeps a state in them at a fraction of what one large hash costs.
//!
//! A refill writes the buckets of a new generation beside the old ones and then swaps them; until then they have an
//! expiry, so what is never finished goes away by itself. The `3` is of the way in which a state is written. A bucket
//! that is not there, or has not as many fields as it says, has lost something (an eviction, a half-restored dump): nodes
//! take no state with such a bucket, and the relay fills the broker again as soon as it finds one. It looks where it
//! writes, and with each heartbeat at the next 1,024 buckets. It also fills it again when there are more than 1,024
//! entries a bucket.
//!
//! # Publishing from elsewhere
//!
//! Whoever has a total order of changes (`seq` 1, 2, 3 …, and a name for it, `source`) can write them with the scripts
//! that this module uses. They are in [`scripts`], each begins with what it takes. Make the buckets of a generation of
//! your own name with [`scripts::SEAL`], fill them, call that script again, swap them in with [`scripts::COMMIT`], append with [`scripts::PUBLISH`], and call
//! [`scripts::HEARTBEAT`] each second. Each answers `OK`; `MOVED` when the broker does not stand where the caller
//! says: read `meta` then and go on from there, or fill it again; or `UNFIT`: fill it again. Only one source may write below one prefix.
//!
//! Keys below the prefix that are of another type than in the table belong to somebody else: nothing is written over
//! them, and everybody waits until an operator has looked.
//!
//! # Where it runs
//!
//! On one server, or behind a name that leads to the current primary, as managed services have it; nodes may read from
//! a replica. Redirections of a cluster are not followed. A fail-over that loses writes takes nothing back: nodes keep
//! what they have, and are not fresh, until the relay has written it again.
//!
//! The server must not evict what is written: `maxmemory-policy noeviction`, which is the default. What is evicted all
//! the same is found and written again, and nodes that start meanwhile wait for it.
//!
//! # Rights
//!
//! A node may be a user that only reads: `+multi +exec +hmget +hgetall +xread +xrange +xrevrange +publish +select`
//! on `%R~{mediagate}:*` (before Redis 7, `~{mediagate}:*`) and `&{mediagate}:reports`. The control plane needs `+evalsha +script +hset +hsetnx +hincrby +hdel +hget +hmget +hlen
//! +expire +persist +unlink +del +exists +xadd +xlen +xrange +xrevrange +multi +exec +subscribe +ping` on
//! `~{mediagate}:*`.

mod behind;
mod broker;
mod buckets;
mod feed;
mod keys;
mod link;
mod load;
mod look;
mod message;
mod options;
mod reports;
mod verdict;
mod worker;

pub use broker::RedisBroker;
pub use feed::RedisFeed;
pub use options::{RedisOptions, RedisTls};
pub use reports::{RedisReporter, RedisReports};

/// The scripts by which a broker is written, for those who publish from elsewhere.
pub mod scripts {
    /// Appends changes.
    pub const PUBLISH: &str = include_str!("redis/publish.lua");

    /// Says that everything has been published.
    pub const HEARTBEAT: &str = include_str!("redis/heartbeat.lua");

    /// Makes the buckets of a state, or counts what is in them.
    pub const SEAL: &str = include_str!("redis/seal.lua");

    /// Puts a state that has been written beside the current one in its place.
    pub const COMMIT: &str = include_str!("redis/commit.lua");
}

//! Restrictions through Redis (6.2 or newer) or Valkey: a hash with the state, a stream with the changes that led to it.
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
//! | `{mediagate}:meta` | hash | `source`, `seq`, `generation`, `count`: where the state stands and how many fields it has |
//! | `{mediagate}:state:2:<generation>` | hash | what is in force: field [`wire::key`](super::wire::key), value [`wire::value`](super::wire::value); what is lifted is deleted |
//! | `{mediagate}:changes` | stream | field `m`: one message of [`wire`](super::wire); ids by the server, about the newest 100,000 |
//! | `{mediagate}:reports` | channel | one report of a node for each message |
//!
//! State and stream are written together by one script, so they never disagree. A refill writes the hash of a new
//! generation beside the old one and then swaps them; until then it has an expiry, so one that is never finished goes
//! away by itself. The `2` is of the way in which fields and values are written. Where `count` is not the length of the hash, or the stream is gone, something was lost (an
//! eviction, a half-restored dump): nodes load nothing from it, and the relay fills it again.
//!
//! # Publishing from elsewhere
//!
//! Whoever has a total order of changes (`seq` 1, 2, 3 …, and a name for it, `source`) can write them with the scripts
//! that this module uses. They are in [`scripts`], each begins with what it takes. Fill the hash of a generation of
//! your own name, swap it in with [`scripts::COMMIT`], append with [`scripts::PUBLISH`], and call
//! [`scripts::HEARTBEAT`] each second. Each answers `OK`, or `MOVED` when the broker does not stand where the caller
//! says: read `meta` then and go on from there, or fill it again. Only one source may write below one prefix.
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
//! # Rights
//!
//! A node may be a user that only reads: `+multi +exec +hmget +hlen +hscan +xread +xrange +xrevrange +publish +select`
//! on `%R~{mediagate}:*` and `&{mediagate}:reports`. The control plane needs `+evalsha +script +hset +hdel +hmget +hlen
//! +expire +persist +unlink +del +exists +xadd +xlen +xrange +xrevrange +multi +exec +subscribe +ping` on
//! `~{mediagate}:*`.

mod behind;
mod broker;
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

    /// Puts a state that has been written beside the current one in its place.
    pub const COMMIT: &str = include_str!("redis/commit.lua");
}

//! What travels through a broker: JSON objects of version 1, one for each message.
//!
//! ```text
//! {"v":1,"type":"change","source":"9f2c","seq":7,"scope":"user","app":"acme","uid":"bob","effect":"deactivated","in_force":true}
//! {"v":1,"type":"change","source":"9f2c","seq":8,"scope":"session","app":"acme","sid":"s1","effect":"issued_before","before":1795267467,"in_force":true}
//! {"v":1,"type":"change","source":"9f2c","seq":9,"scope":"app","app":"acme","effect":"tokenized_since","since":1767225600,"in_force":true}
//! {"v":1,"type":"change","source":"9f2c","seq":10,"scope":"prefix","app":"acme","prefix":"legacy/","effect":"exempt","in_force":true}
//! {"v":1,"type":"change","source":"9f2c","seq":11,"scope":"prefix","app":"acme","prefix":"media/a.jpg","effect":"purged","at":1767225600000000,"in_force":true}
//! {"v":1,"type":"heartbeat","source":"9f2c","seq":8}
//! {"v":1,"type":"snapshot","source":"9f2c","seq":8,"entries":2}
//! {"v":1,"type":"node","node":"edge-1","instance":"5c1e","source":"9f2c","seq":8,"entries":2,"fresh":true}
//! ```
//!
//! A broker that keeps the state under names need not keep messages: see [`key`] and [`value`].
//!
//! `source` names whose numbers `seq` are. Members that are not known are passed over, a version or type that is not
//! known makes the message one for somebody else. Outside systems may write these too, so nothing in them is believed
//! before it is checked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Change, EffectKind, Scope, ScopeKind};

mod state;

#[cfg(feature = "server")]
pub(crate) use state::number;
pub use state::{entry, key, value};

/// Longest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// Longest name of an app, user, session or token, in bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// Most offenders of one reason.
pub const MAX_OFFENDERS: usize = 4;

/// How much of an offender's object is told, in bytes.
pub const MAX_OBJECT_BYTES: usize = 240;

/// Longest name of a source or node, in bytes.
const MAX_LABEL_BYTES: usize = 64;

/// What one message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// One change.
    Change {
        /// Whose numbers the `seq` is of.
        source: String,
        /// The change.
        change: Change,
    },
    /// Everything up to `seq` has been published.
    Heartbeat(Position),
    /// A whole state follows, with everything up to `seq` in it; complete at the next heartbeat.
    Snapshot {
        /// Where the state was taken.
        at: Position,
        /// About how many entries it has.
        entries: u64,
    },
}

/// How far a source has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Whose numbers these are: a database's id.
    pub source: String,
    /// The newest change.
    pub seq: u64,
}

/// What a node says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node's name.
    pub node: String,
    /// What tells two processes of one name apart; new with each start.
    #[serde(default)]
    pub instance: String,
    /// The source that its restrictions come from; empty before its first state.
    pub source: String,
    /// Everything up to here is in force there.
    pub seq: u64,
    /// How many restrictions it holds.
    pub entries: u64,
    /// Whether it has heard its feed lately.
    pub fresh: bool,
    /// Something that it would have refused if access were enforced; another with each report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
}

/// What a node would have refused of one app for one reason, since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The app.
    pub app: String,
    /// The reason, as metrics and logs have it.
    pub reason: String,
    /// How many requests.
    pub count: u64,
    /// The first of them, [`MAX_OFFENDERS`] at most.
    pub first: Vec<Offender>,
}

/// A request that would have been refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offender {
    /// App and key of the object, [`MAX_OBJECT_BYTES`] of it at most.
    pub object: String,
    /// A number for the token that tells nothing about it, as the node's log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Why a message is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not what the version says that it is.
    #[error("malformed")]
    Malformed,
    /// A version or type that is not known here.
    #[error("of an unknown version or type")]
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Raw<'a> {
    v: u32,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    source: Cow<'a, str>,
    #[serde(default)]
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<ScopeKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effect: Option<EffectKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_force: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
}

/// Reads one message.
///
/// # Errors
///
/// Whatever is not a well-formed message of this version.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(WireError::Malformed);
    }
    let raw = match serde_json::from_slice::<Raw<'_>>(bytes) {
        Ok(raw) => raw,
        // A later version may have made anything of the other members.
        Err(_) => return Err(version_of(bytes).map_or(WireError::Malformed, |_| WireError::Unknown)),
    };
    if raw.v != 1 {
        return Err(WireError::Unknown);
    }
    if !is_label(&raw.source) {
        return Err(WireError::Malformed);
    }
    let source = raw.source.to_string();
    match &*raw.kind {
        "change" => {
            let change = change(raw).ok_or(WireError::Malformed)?;
            Ok(Message::Change { source, change })
        }
        "heartbeat" => Ok(Message::Heartbeat(Position { source, seq: raw.seq })),
        "snapshot" => {
            Ok(Message::Snapshot { at: Position { source, seq: raw.seq }, entries: raw.entries.unwrap_or(0) })
        }
        _ => Err(WireError::Unknown),
    }
}

/// The version of a message that is one of another version.
fn version_of(bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Version {
        v: u64,
    }
    serde_json::from_slice::<Version>(bytes).ok().map(|version| version.v).filter(|version| *version != 1)
}

fn change(raw: Raw<'_>) -> Option<Change> {
    let app = raw.app.filter(|app| crate::gate::is_app_id(app))?.into_owned();
    let name = |name: Option<Cow<'_, str>>| name.filter(|name| is_name(name)).map(Cow::into_owned);
    let kind = raw.scope?;
    let name = match kind {
        ScopeKind::App => String::new(),
        ScopeKind::User => name(raw.uid)?,
        ScopeKind::Session => name(raw.sid)?,
        ScopeKind::Token => name(raw.jti)?,
        ScopeKind::Prefix => name(raw.prefix)?,
        ScopeKind::ApiKey => name(raw.digest)?,
    };
    let effect = raw.effect.filter(|effect| effect.is_of(kind))?;
    let time = match effect {
        EffectKind::IssuedBefore => raw.before?,
        EffectKind::TokenizedSince => raw.since?,
        EffectKind::Purged => raw.at?,
        _ => 0,
    };
    let (scope, effect) = (Scope::new(kind, app, name), effect.at(time));
    Some(Change { seq: raw.seq, scope, effect, in_force: raw.in_force? }).filter(|change| change.seq != 0)
}

/// Whether `name` can stand for a session or token: 1 to [`MAX_NAME_BYTES`] bytes without control characters.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Whether `label` can name a source or a node: 1 to 64 visible ASCII characters.
pub fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Writes one message.
pub fn encode(message: &Message) -> Vec<u8> {
    let raw = |kind: &'static str, source, seq| Raw {
        v: 1,
        kind: Cow::Borrowed(kind),
        source: Cow::Borrowed(source),
        seq,
        scope: None,
        app: None,
        uid: None,
        sid: None,
        jti: None,
        prefix: None,
        digest: None,
        effect: None,
        before: None,
        since: None,
        at: None,
        in_force: None,
        entries: None,
    };
    let raw = match message {
        Message::Change { source, change } => with_change(raw("change", source.as_str(), change.seq), change),
        Message::Heartbeat(at) => raw("heartbeat", &at.source, at.seq),
        Message::Snapshot { at, entries } => Raw { entries: Some(*entries), ..raw("snapshot", &at.source, at.seq) },
    };
    serde_json::to_vec(&raw).expect("numbers and strings are JSON")
}

fn with_change<'a>(raw: Raw<'a>, change: &'a Change) -> Raw<'a> {
    let name = |kind| (change.scope.kind() == kind).then(|| Cow::Borrowed(change.scope.parts().1));
    let time = |kind| change.effect.time().filter(|_| change.effect.kind() == kind);
    Raw {
        scope: Some(change.scope.kind()),
        app: Some(Cow::Borrowed(change.scope.parts().0)),
        uid: name(ScopeKind::User),
        sid: name(ScopeKind::Session),
        jti: name(ScopeKind::Token),
        prefix: name(ScopeKind::Prefix),
        digest: name(ScopeKind::ApiKey),
        effect: Some(change.effect.kind()),
        before: time(EffectKind::IssuedBefore),
        since: time(EffectKind::TokenizedSince),
        at: time(EffectKind::Purged),
        in_force: Some(change.in_force),
        ..raw
    }
}

#[derive(Serialize, Deserialize)]
struct RawReport<R> {
    v: u32,
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    report: R,
}

/// Writes a node's report.
pub fn encode_report(report: &NodeReport) -> Vec<u8> {
    let raw = RawReport { v: 1, kind: "node".to_owned(), report };
    serde_json::to_vec(&raw).expect("numbers and strings are JSON")
}

/// Reads a node's report.
///
/// # Errors
///
/// Whatever is not a well-formed report of this version.
pub fn decode_report(bytes: &[u8]) -> Result<NodeReport, WireError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(WireError::Malformed);
    }
    let raw: RawReport<NodeReport> = serde_json::from_slice(bytes).map_err(|_| WireError::Malformed)?;
    if raw.v != 1 || raw.kind != "node" {
        return Err(WireError::Unknown);
    }
    let report = raw.report;
    let is_label_or_empty = |label: &str| label.is_empty() || is_label(label);
    let is_good = is_label(&report.node) && is_label_or_empty(&report.source) && is_label_or_empty(&report.instance);
    let is_sound = report.observed.as_ref().is_none_or(is_sound);
    if is_good && is_sound { Ok(report) } else { Err(WireError::Malformed) }
}

fn is_sound(observed: &Observed) -> bool {
    let is_offender = |offender: &Offender| {
        offender.object.len() <= MAX_OBJECT_BYTES && offender.token.as_deref().is_none_or(is_label)
    };
    let is_named = crate::gate::is_app_id(&observed.app) && is_label(&observed.reason);
    is_named && observed.first.len() <= MAX_OFFENDERS && observed.first.iter().all(is_offender)
}

#[cfg(test)]
mod tests;

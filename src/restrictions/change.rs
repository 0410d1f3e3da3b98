//! What a feed says: scopes, effects, changes of them.

use serde::{Deserialize, Serialize};

/// What a restriction applies to. Always inside one app: the same uid in another app is another user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything of one app.
    App {
        /// The app id.
        app: String,
    },
    /// One user; `uid` in the form that the app's rules give it (folded to lower case by default).
    User {
        /// The app id.
        app: String,
        /// The user.
        uid: String,
    },
    /// One session, the `sid` claim.
    Session {
        /// The app id.
        app: String,
        /// The session.
        sid: String,
    },
    /// One token, the `jti` claim.
    Token {
        /// The app id.
        app: String,
        /// The token's id.
        jti: String,
    },
    /// A folder of one app; where copies are purged, also one object.
    Prefix {
        /// The app id.
        app: String,
        /// The folder in the app, with the `/` at its end; the key of an object has none.
        prefix: String,
    },
    /// A key of the control API that was made for one app.
    ApiKey {
        /// The app id.
        app: String,
        /// SHA-256 of the key, in lower-case hexadecimal digits.
        digest: String,
    },
}

/// A digest as [`Scope::ApiKey`] has it.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The kinds of [`Scope`], as metrics label them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// [`Scope::App`].
    App,
    /// [`Scope::User`].
    User,
    /// [`Scope::Session`].
    Session,
    /// [`Scope::Token`].
    Token,
    /// [`Scope::Prefix`].
    Prefix,
    /// [`Scope::ApiKey`].
    ApiKey,
}

impl ScopeKind {
    /// Every kind, in the order of their counters.
    pub const ALL: [ScopeKind; 6] =
        [ScopeKind::App, ScopeKind::User, ScopeKind::Session, ScopeKind::Token, ScopeKind::Prefix, ScopeKind::ApiKey];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            ScopeKind::App => "app",
            ScopeKind::User => "user",
            ScopeKind::Session => "session",
            ScopeKind::Token => "token",
            ScopeKind::Prefix => "prefix",
            ScopeKind::ApiKey => "api_key",
        }
    }
}

impl Scope {
    /// Which kind of scope this is.
    pub const fn kind(&self) -> ScopeKind {
        match self {
            Scope::App { .. } => ScopeKind::App,
            Scope::User { .. } => ScopeKind::User,
            Scope::Session { .. } => ScopeKind::Session,
            Scope::Token { .. } => ScopeKind::Token,
            Scope::Prefix { .. } => ScopeKind::Prefix,
            Scope::ApiKey { .. } => ScopeKind::ApiKey,
        }
    }

    /// The scope of `kind` called `name` in `app`; an app has no name of its own.
    pub(crate) fn new(kind: ScopeKind, app: String, name: String) -> Scope {
        match kind {
            ScopeKind::App => Scope::App { app },
            ScopeKind::User => Scope::User { app, uid: name },
            ScopeKind::Session => Scope::Session { app, sid: name },
            ScopeKind::Token => Scope::Token { app, jti: name },
            ScopeKind::Prefix => Scope::Prefix { app, prefix: name },
            ScopeKind::ApiKey => Scope::ApiKey { app, digest: name },
        }
    }

    pub(crate) fn parts(&self) -> (&str, &str) {
        match self {
            Scope::App { app } => (app, ""),
            Scope::User { app, uid } => (app, uid),
            Scope::Session { app, sid } => (app, sid),
            Scope::Token { app, jti } => (app, jti),
            Scope::Prefix { app, prefix } => (app, prefix),
            Scope::ApiKey { app, digest } => (app, digest),
        }
    }
}

/// What is said of a scope: a restriction, or a setting that every node must know as soon. Each is independent of the
/// others: lifting a deactivation does not revive what was flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing of the scope is accepted.
    Deactivated,
    /// Tokens issued before this time are dead, later ones live. A token that does not say when it was
    /// issued counts as issued before.
    IssuedBefore {
        /// UNIX seconds.
        before: u64,
    },
    /// Of an app: what would be refused without [`Effect::Enforced`] is counted.
    Observed,
    /// Of an app: only good tokens get in.
    Enforced,
    /// Of an app: objects that were last modified before this time need no token.
    TokenizedSince {
        /// UNIX seconds.
        since: u64,
    },
    /// Of a folder: its objects need no token. Of an API key: it opens every object of its app.
    Exempt,
    /// Of a folder, of one object or of an app: copies that were kept before are of no use any more.
    Purged {
        /// UNIX microseconds, so that no two purges are alike; nodes count by when they hear of it.
        at: u64,
    },
}

/// The kinds of [`Effect`]: a scope has each of them once or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// [`Effect::Deactivated`].
    Deactivated,
    /// [`Effect::IssuedBefore`].
    IssuedBefore,
    /// [`Effect::Observed`].
    Observed,
    /// [`Effect::Enforced`].
    Enforced,
    /// [`Effect::TokenizedSince`].
    TokenizedSince,
    /// [`Effect::Exempt`].
    Exempt,
    /// [`Effect::Purged`].
    Purged,
}

impl EffectKind {
    /// Every kind.
    pub const ALL: [EffectKind; 7] = [
        EffectKind::Deactivated,
        EffectKind::IssuedBefore,
        EffectKind::Observed,
        EffectKind::Enforced,
        EffectKind::TokenizedSince,
        EffectKind::Exempt,
        EffectKind::Purged,
    ];

    /// What messages and databases call it.
    pub const fn label(self) -> &'static str {
        match self {
            EffectKind::Deactivated => "deactivated",
            EffectKind::IssuedBefore => "issued_before",
            EffectKind::Observed => "observed",
            EffectKind::Enforced => "enforced",
            EffectKind::TokenizedSince => "tokenized_since",
            EffectKind::Exempt => "exempt",
            EffectKind::Purged => "purged",
        }
    }

    /// Whether it can be said of scopes of `kind`.
    pub const fn is_of(self, kind: ScopeKind) -> bool {
        match self {
            EffectKind::Deactivated | EffectKind::IssuedBefore => {
                matches!(kind, ScopeKind::App | ScopeKind::User | ScopeKind::Session | ScopeKind::Token)
            }
            EffectKind::Observed | EffectKind::Enforced | EffectKind::TokenizedSince => matches!(kind, ScopeKind::App),
            EffectKind::Exempt => matches!(kind, ScopeKind::Prefix | ScopeKind::ApiKey),
            EffectKind::Purged => matches!(kind, ScopeKind::App | ScopeKind::Prefix),
        }
    }

    /// The effect of this kind, at a time where it has one: in UNIX seconds, of a purge in microseconds.
    pub(crate) const fn at(self, time: u64) -> Effect {
        match self {
            EffectKind::Deactivated => Effect::Deactivated,
            EffectKind::IssuedBefore => Effect::IssuedBefore { before: time },
            EffectKind::Observed => Effect::Observed,
            EffectKind::Enforced => Effect::Enforced,
            EffectKind::TokenizedSince => Effect::TokenizedSince { since: time },
            EffectKind::Exempt => Effect::Exempt,
            EffectKind::Purged => Effect::Purged { at: time },
        }
    }
}

impl Effect {
    /// Which kind of effect this is.
    pub const fn kind(self) -> EffectKind {
        match self {
            Effect::Deactivated => EffectKind::Deactivated,
            Effect::IssuedBefore { .. } => EffectKind::IssuedBefore,
            Effect::Observed => EffectKind::Observed,
            Effect::Enforced => EffectKind::Enforced,
            Effect::TokenizedSince { .. } => EffectKind::TokenizedSince,
            Effect::Exempt => EffectKind::Exempt,
            Effect::Purged { .. } => EffectKind::Purged,
        }
    }

    /// Its time, as [`EffectKind::at`] takes it, where it has one.
    pub(crate) const fn time(self) -> Option<u64> {
        match self {
            Effect::IssuedBefore { before: time }
            | Effect::TokenizedSince { since: time }
            | Effect::Purged { at: time } => Some(time),
            Effect::Deactivated | Effect::Observed | Effect::Enforced | Effect::Exempt => None,
        }
    }
}

/// A change of one effect on one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Position in the source's total order; 1 is the first change ever.
    pub seq: u64,
    /// What it applies to.
    pub scope: Scope,
    /// What it does.
    pub effect: Effect,
    /// Whether the restriction is in force from here on, or no longer.
    pub in_force: bool,
}

/// A part of a state: one effect on one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it applies to.
    pub scope: Scope,
    /// What it does.
    pub effect: Effect,
    /// Whether it is in force; `false` takes an earlier part back.
    pub in_force: bool,
}

/// What a feed delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The whole state, with every change up to and including `seq` in it. Replaces what was held.
    Snapshot {
        /// The newest change that the state contains; 0 for a source without history.
        seq: u64,
        /// Every restriction in force.
        entries: Vec<(Scope, Effect)>,
    },
    /// A state too large for one event begins to arrive; what was held stays in force until it is complete.
    SnapshotBegins {
        /// About how many entries it has, so that the tables need not grow; 0 when that is not known.
        expected: usize,
    },
    /// A part of that state. What comes later wins, so a state that changes while it is read can be mended.
    SnapshotPart(Vec<Entry>),
    /// The state is complete, with every change up to and including `seq` in it, and replaces what was held. A sign of
    /// life of the source only where it is the first.
    SnapshotEnds {
        /// Whose numbers `seq` and those of later changes are.
        source: String,
        /// The newest change that the state contains.
        seq: u64,
    },
    /// One change.
    Change(Change),
    /// The source lives, and everything up to and including `seq` has been delivered.
    Heartbeat {
        /// The newest change delivered.
        seq: u64,
    },
}

/// What became of an [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is in force.
    Yes,
    /// Older than what is held for its scope, or a duplicate: nothing changed.
    Stale,
    /// Nothing can be told from it before a snapshot: none was loaded yet, too much is out of order, or the source
    /// says that it never got as far as what is held.
    NeedsSnapshot,
    /// Its `seq` is so far ahead that no source in order can have come to it: nothing changed.
    Absurd,
}

/// Why a subject is restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restricted {
    /// Its app is deactivated.
    App,
    /// Its user is deactivated.
    User,
    /// Its session is revoked.
    Session,
    /// The token itself is revoked.
    Token,
    /// It was issued before its app, user, session or token was flushed.
    IssuedBefore,
    /// Its API key was deleted.
    ApiKey,
}

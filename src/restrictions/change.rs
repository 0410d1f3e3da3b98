//! What a feed says: scopes, effects, changes of them.

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
}

/// The kinds of [`Scope`], as metrics label them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    /// [`Scope::App`].
    App,
    /// [`Scope::User`].
    User,
    /// [`Scope::Session`].
    Session,
    /// [`Scope::Token`].
    Token,
}

impl ScopeKind {
    /// Every kind, in the order of their counters.
    pub const ALL: [ScopeKind; 4] = [ScopeKind::App, ScopeKind::User, ScopeKind::Session, ScopeKind::Token];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            ScopeKind::App => "app",
            ScopeKind::User => "user",
            ScopeKind::Session => "session",
            ScopeKind::Token => "token",
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
        }
    }

    pub(crate) fn parts(&self) -> (&str, &str) {
        match self {
            Scope::App { app } => (app, ""),
            Scope::User { app, uid } => (app, uid),
            Scope::Session { app, sid } => (app, sid),
            Scope::Token { app, jti } => (app, jti),
        }
    }
}

/// What a restriction does. The two are independent: lifting a deactivation does not revive what was flushed.
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
}

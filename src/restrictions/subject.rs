//! Whose a request is, as the set looks it up.

use super::change::{Restricted, ScopeKind};
use super::tables::ScopeId;

/// Whose a request is, ready to be looked up: what an admitted one keeps to be checked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The holder of a token.
    Holder(Holder),
    /// A service with an API key that the restrictions tell of.
    Service(ScopeId),
}

/// Whom a token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The app.
    pub app: ScopeId,
    /// The user.
    pub user: ScopeId,
    /// The session, when the token names one.
    pub session: Option<ScopeId>,
    /// The token's own id, when it has one.
    pub token: Option<ScopeId>,
    /// UNIX seconds of issue, when the token says.
    pub issued_at: Option<u64>,
}

impl Holder {
    /// What can be restricted of it, the widest first.
    pub(super) fn scopes(&self) -> [(ScopeKind, Option<ScopeId>, Restricted); 4] {
        [
            (ScopeKind::App, Some(self.app), Restricted::App),
            (ScopeKind::User, Some(self.user), Restricted::User),
            (ScopeKind::Session, self.session, Restricted::Session),
            (ScopeKind::Token, self.token, Restricted::Token),
        ]
    }
}

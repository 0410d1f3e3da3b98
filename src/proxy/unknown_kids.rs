//! Tokens whose key is not known: a word to whoever keeps the keys, and no wait for it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::gate::{Denial, SESSION_KEYS, Trace, VerifyError};

/// For each app, and for sessions, whom to tell. Empty unless keys come from somewhere.
#[derive(Debug, Default)]
pub struct UnknownKids(ArcSwap<HashMap<String, Vec<Arc<Notify>>>>);

impl UnknownKids {
    /// Tells others from now on.
    pub fn replace(&self, by_app: HashMap<String, Vec<Arc<Notify>>>) {
        self.0.store(Arc::new(by_app));
    }

    /// Tells them, if that is what `denial` is about. Telling again before they listen changes nothing.
    pub(crate) fn note(&self, trace: &Trace, denial: Option<Denial>) {
        let (Some(Denial::TokenInvalid(VerifyError::UnknownKey)), Some(app)) = (denial, &trace.app) else { return };
        self.tell(app);
    }

    /// The same of sessions.
    pub(crate) fn note_session(&self, denial: Denial) {
        if denial == Denial::SessionInvalid(VerifyError::UnknownKey) {
            self.tell(SESSION_KEYS);
        }
    }

    fn tell(&self, app: &str) {
        for keeper in self.0.load().get(app).into_iter().flatten() {
            keeper.notify_one();
        }
    }
}

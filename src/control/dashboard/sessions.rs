//! Who is logged in to the dashboard. Sessions are of one process, and end with it.
//!
//! Of a session's id a digest is kept, so that nothing in memory is a credential. A session says which API key it was
//! begun with; whether that key still is one is asked at each request, elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use maud::Markup;
use sha2::{Digest as _, Sha256};

use crate::control::auth_tokens::random_hex;
use crate::control::error::ApiError;

/// How long a session goes on without a request.
const MAX_IDLE: Duration = Duration::from_secs(30 * 60);

/// How long a session goes on at all.
pub(super) const MAX_AGE: Duration = Duration::from_secs(12 * 3600);

/// How many sessions there may be; where there are more, the one that was used least lately ends.
const MAX_SESSIONS: usize = 1000;

/// SHA-256 of a session's id.
pub(super) type SessionDigest = [u8; 32];

/// The sessions of this process.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionDigest, Held>>);

/// What is known of one session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) digest: SessionDigest,
    /// Digest of the API key that it was begun with.
    pub(super) api_key: [u8; 32],
    /// The app that it is about.
    pub(super) app: Arc<str>,
    /// What its forms say to be its own.
    pub(super) form_token: Arc<str>,
}

#[derive(Debug)]
struct Held {
    session: Session,
    begun: Instant,
    seen: Instant,
    /// What the next page is to tell.
    notice: Option<Markup>,
}

impl Held {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) >= MAX_IDLE || now.saturating_duration_since(self.begun) >= MAX_AGE
    }
}

impl Sessions {
    /// Begins a session under an id that nobody has had before, and returns the id.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub(super) fn begin(&self, api_key: [u8; 32], app: &str, now: Instant) -> Result<String, ApiError> {
        let (id, form_token) = (random_hex::<32>()?, random_hex::<32>()?);
        let digest = digest(&id);
        let session = Session { digest, api_key, app: app.into(), form_token: form_token.into() };
        let mut held = self.lock();
        held.retain(|_, held| !held.is_over(now));
        if held.len() >= MAX_SESSIONS
            && let Some(oldest) = held.iter().min_by_key(|(_, held)| held.seen).map(|(digest, _)| *digest)
        {
            held.remove(&oldest);
        }
        held.insert(digest, Held { session, begun: now, seen: now, notice: None });
        Ok(id)
    }

    /// Returns the session with this id, which has been used now.
    pub(super) fn find(&self, id: &str, now: Instant) -> Option<Session> {
        let digest = digest(id);
        let mut held = self.lock();
        let found = held.get_mut(&digest)?;
        if found.is_over(now) {
            held.remove(&digest);
            return None;
        }
        found.seen = now;
        Some(found.session.clone())
    }

    /// Ends a session.
    pub(super) fn end(&self, digest: &SessionDigest) {
        self.lock().remove(digest);
    }

    /// Leaves word for the next page of a session.
    pub(super) fn tell(&self, digest: &SessionDigest, notice: Markup) {
        if let Some(held) = self.lock().get_mut(digest) {
            held.notice = Some(notice);
        }
    }

    /// Takes what was left.
    pub(super) fn told(&self, digest: &SessionDigest) -> Option<Markup> {
        self.lock().get_mut(digest)?.notice.take()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionDigest, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn digest(id: &str) -> SessionDigest {
    Sha256::digest(id.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_session_ends_when_it_is_idle_old_or_ended() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let begin = || sessions.begin(KEY, "acme", start).unwrap();
        let (idle, used, ended) = (begin(), begin(), begin());
        assert_eq!(idle.len(), 64);
        assert!(idle != used && sessions.find(&used.to_uppercase(), start).is_none());
        let found = sessions.find(&used, start).unwrap();
        assert_eq!((found.api_key, &*found.app, found.form_token.len()), (KEY, "acme", 64));
        assert_ne!(*found.form_token, used);
        sessions.end(&digest(&ended));
        assert!(sessions.find(&ended, start).is_none());
        let mut now = start;
        while now < start + MAX_AGE {
            assert!(sessions.find(&used, now).is_some());
            now += MAX_IDLE - Duration::from_secs(1);
        }
        assert!(sessions.find(&idle, start + MAX_IDLE).is_none());
        assert!(sessions.find(&used, start + MAX_AGE).is_none());
        assert!(sessions.lock().is_empty());
    }

    #[test]
    fn no_more_sessions_are_kept_than_there_can_be() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let first = sessions.begin(KEY, "acme", start).unwrap();
        let second = sessions.begin(KEY, "acme", start).unwrap();
        let later = start + Duration::from_secs(1);
        assert!(sessions.find(&first, later).is_some());
        for _ in 0..MAX_SESSIONS - 1 {
            sessions.begin(KEY, "acme", later + Duration::from_secs(1)).unwrap();
        }
        assert_eq!(sessions.lock().len(), MAX_SESSIONS);
        assert!(sessions.find(&second, later).is_none());
        assert!(sessions.find(&first, later).is_some());
    }

    #[test]
    fn word_is_left_once_and_nothing_that_is_kept_is_an_id() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let id = sessions.begin(KEY, "acme", now).unwrap();
        sessions.tell(&digest(&id), maud::html! { "<b>" });
        assert_eq!(sessions.told(&digest(&id)).unwrap().0, "&lt;b&gt;");
        assert!(sessions.told(&digest(&id)).is_none());
        assert!(!format!("{sessions:?}").contains(&id));
    }
}

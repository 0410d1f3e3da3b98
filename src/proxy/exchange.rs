//! One request and its answer: what the phases hand to each other. Counted and logged once, when it is dropped, so
//! that no way to end a request (a cut, a vanished client, a shutdown) goes unseen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderMap;

use super::Shared;
use super::cache::CacheUse;
use super::respond::common_fields;
use super::transfer::{SLOT, Slot};
use crate::access_log::{Entry, Timestamp};
use crate::gate::forward::{AllowOrigin, Asked, StorageFailure};
use crate::gate::{CredentialKind, Denial, Now, ObjectPath, Target, Trace};
use crate::metrics::Outcome;
use crate::restrictions::Subject;

/// The `CTX` of a request that passes the gate.
pub struct Exchange {
    pub(super) shared: Arc<Shared>,
    pub(super) slot: Option<Arc<Slot>>,
    pub(super) started: Option<Started>,
    /// Set by *admit*; `upstream_peer` only reads it, because a retry calls it again.
    pub(super) target: Option<Target>,
    pub(super) subject: Option<Subject>,
    /// The restrictions' generation under which the subject was last found clean.
    pub(super) generation: u64,
    pub(super) trace: Trace,
    pub(super) observed: Option<Denial>,
    /// The object must have been last modified before this time.
    pub(super) modified_before: Option<SystemTime>,
    /// Why the request is refused although it was admitted.
    pub(super) refused: Option<Denial>,
    pub(super) origin: AllowOrigin,
    /// What an answer with the object has of the gate's own.
    pub(super) fields: Option<Box<HeaderMap>>,
    /// What was asked of the storage.
    pub(super) asked: Asked,
    /// Why the storage's answer is not passed on, when it is not.
    pub(super) failure: Option<StorageFailure>,
    /// What stands in for the storage's body.
    pub(super) replacement: Replacement,
    pub(super) upstream_took: Option<Duration>,
    /// What copies had to do with it; `None` where there are none.
    pub(super) cache: Option<CacheUse>,
    pub(super) end: Option<End>,
}

/// The body that a client gets.
pub(super) enum Replacement {
    /// The storage's.
    None,
    /// This, once, in place of what the storage sends.
    Pending(Bytes),
    /// It was sent; the storage's body is read to its end, up to a bound.
    Sent {
        /// Bytes of the storage's body thrown away.
        bytes: usize,
        /// Pieces that came since ours was sent.
        pieces: usize,
    },
}

/// When a request was decided, by both clocks, and how.
pub(super) struct Started {
    pub(super) wall: SystemTime,
    pub(super) at: Instant,
    pub(super) method: &'static str,
    /// Only for the log.
    pub(super) client: Option<SocketAddr>,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) reason: &'static str,
    pub(super) status: u16,
    pub(super) bytes: usize,
}

impl Exchange {
    pub(super) fn new(shared: Arc<Shared>) -> Exchange {
        Exchange {
            shared,
            slot: SLOT.try_with(Arc::clone).ok(),
            started: None,
            target: None,
            subject: None,
            generation: 0,
            trace: Trace::default(),
            observed: None,
            modified_before: None,
            refused: None,
            origin: AllowOrigin::Nobody,
            fields: None,
            asked: Asked::default(),
            failure: None,
            replacement: Replacement::None,
            upstream_took: None,
            cache: None,
            end: None,
        }
    }

    /// The request is about to be decided: from here on it counts.
    pub(super) fn begin(&mut self, now: Now, method: &'static str, client: Option<SocketAddr>) {
        self.started = Some(Started { wall: now.wall, at: now.monotonic, method, client });
        self.shared.metrics.in_flight.inc();
    }

    /// Returns whether the subject is still welcome: one comparison, unless the restrictions have changed.
    ///
    /// # Errors
    ///
    /// What stands against it by now.
    pub(super) fn recheck(&mut self) -> Result<(), Denial> {
        let Some(subject) = &self.subject else { return Ok(()) };
        // Read first: a change during the check is seen by the next one.
        let generation = self.shared.restrictions.generation();
        if generation != self.generation {
            self.shared.restrictions.check(subject).map_err(crate::gate::denial)?;
            self.generation = generation;
        }
        Ok(())
    }

    /// Adds what an answer with the object has of the gate's own, and what every answer has.
    pub(super) fn add_fields(&self, fields: &mut HeaderMap) {
        for (name, value) in self.fields.iter().flat_map(|own| own.iter()) {
            fields.insert(name.clone(), value.clone());
        }
        common_fields(fields, &self.origin);
    }

    /// Notes that the storage has answered.
    pub(super) fn note_upstream(&mut self) {
        self.upstream_took = self.started.as_ref().map(|started| started.at.elapsed());
        if let Some(took) = self.upstream_took {
            self.shared.metrics.upstream_seconds.observe(took.as_secs_f64());
        }
    }

    /// Bytes are about to flow: from here on a restriction of the subject ends them.
    ///
    /// # Errors
    ///
    /// What stands against it by now.
    pub(super) fn begin_transfer(&mut self) -> Result<(), Denial> {
        if let (Some(slot), Some(subject)) = (&self.slot, self.subject) {
            // Entered before it is checked again: either the check or the next sweep sees a change.
            slot.transfer_begins(subject);
        }
        self.recheck()
    }

    /// The same for each piece that follows; one that is not sent takes with it what is buffered.
    ///
    /// # Errors
    ///
    /// What stands against it by now.
    pub(super) fn check_transfer(&mut self) -> Result<(), Denial> {
        let checked = self.recheck();
        if let (Err(_), Some(slot)) = (checked, &self.slot) {
            slot.reset_on_close();
        }
        checked
    }

    fn log(&self, started: &Started, end: End, now: Instant) {
        let Some(access_log) = &self.shared.access_log else { return };
        let entry = Entry {
            time: Timestamp(started.wall),
            client: started.client,
            method: started.method,
            status: end.status,
            outcome: end.outcome.label(),
            reason: end.reason,
            observed: self.observed.map(Denial::reason),
            app: self.trace.app.as_deref(),
            object: self.trace.object.as_ref().map(ObjectPath::as_str),
            uid: self.trace.uid.as_deref(),
            token: self.trace.token,
            credential: self.trace.credential.map(CredentialKind::label),
            bytes: end.bytes,
            took: now.saturating_duration_since(started.at),
            upstream_took: self.upstream_took,
            cache: self.cache.map(CacheUse::label),
        };
        if !access_log.log(&entry) {
            self.shared.metrics.log_lines_dropped.inc();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(slot) = &self.slot {
            slot.request_ends(now);
        }
        let Some(started) = self.started.take() else { return };
        self.shared.metrics.in_flight.dec();
        let was_cut = self.slot.as_ref().is_some_and(|slot| slot.resets_on_close());
        let (outcome, reason) = if was_cut { (Outcome::Cut, "restricted") } else { (Outcome::Aborted, "ended_early") };
        let end = self.end.unwrap_or(End { outcome, reason, status: 0, bytes: 0 });
        self.shared.metrics.count(end.outcome, end.reason);
        self.shared.metrics.response_bytes.inc_by(end.bytes as u64);
        if let (Some(denial), Some(app)) = (self.observed, &self.trace.app) {
            self.shared.metrics.observed.with_label_values(&[app, denial.reason()]).inc();
            let object = self.trace.object.as_ref().map_or("", ObjectPath::as_str);
            self.shared.metrics.observations.note(app, denial.reason(), object, self.trace.token);
        }
        self.log(&started, end, now);
    }
}

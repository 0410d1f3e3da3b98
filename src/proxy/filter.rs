//! The gate in pieces: one method for each Pingora phase, to be called from anybody's `ProxyHttp`.
//!
//! No rule is here. What is refused, forwarded or passed back is decided in [`gate`](crate::gate).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::HttpPeer;
use pingora::proxy::{FailToProxy, Session};
use pingora::{Error, ErrorSource, ErrorType, Result};
use quick_cache::sync::Cache;

use super::Shared;
use super::exchange::{End, Exchange, Replacement};
use super::failure::{failure_of, warn_of};
use super::pass::{ends_with_connection, method_label, passed_fields, replace};
use super::pool::Pool;
use super::respond::{Answer, respond, respond_options, respond_presigned, response};
use super::upstream::{peer_of, place_of, request_to};
use crate::gate::forward::{self, StorageAnswer, StorageFailure};
use crate::gate::{Decision, Denial, Handout, Now};
use crate::metrics::Outcome;

/// `request_filter` answered the request itself.
pub(super) const ANSWERED: bool = true;

/// `request_filter` lets the request go on.
pub(super) const CONTINUE: bool = false;

/// Bytes of a storage's error body that are read and thrown away to keep its connection.
pub(super) const MAX_DISCARDED_BYTES: usize = 64 * 1024;

/// Pieces of it that are read at least: Pingora filters up to five before it writes the first, and an error among
/// them takes our own answer with it.
const MIN_DISCARDED_PIECES: usize = 8;

/// A write to a client that makes no headway for so long ends the transfer.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Objects too new to need no token that are remembered.
const NEWER_OBJECTS: usize = 16_384;

/// An error that carries nothing but "the subject was restricted meanwhile".
pub(super) const CUT: &str = "the subject was restricted";

/// What becomes of a storage's answer.
pub(super) enum Passage {
    /// It goes to the client.
    Content,
    /// This goes in its place.
    Ours(Answer),
}

/// The gate's part in each phase.
///
/// Create an [`Exchange`] for each request with [`MediaFilter::exchange`], keep it in your `CTX`, and call the
/// methods from the phases of the same name, as [`MediaProxy`](super::MediaProxy) does. Whether a request goes
/// through the gate is your `request_filter`'s choice: the other methods leave alone what did not.
#[derive(Debug, Clone)]
pub struct MediaFilter {
    /// One count for each request, not one for each part.
    pub(super) shared: Arc<Shared>,
    /// Objects that are too new to need no token, with the date that they were compared with: they only grow newer.
    pub(super) newer: Arc<Cache<(u64, SystemTime), ()>>,
    /// Connections to storages.
    pub(super) pool: Arc<Pool>,
}

impl MediaFilter {
    /// Returns a filter over `shared`.
    pub fn new(shared: Shared) -> MediaFilter {
        MediaFilter {
            shared: Arc::new(shared),
            newer: Arc::new(Cache::new(NEWER_OBJECTS)),
            pool: Arc::new(Pool::new()),
        }
    }

    /// Returns the context of a new request.
    pub fn exchange(&self) -> Exchange {
        Exchange::new(Arc::clone(&self.shared))
    }

    /// Tells the connection that a request head is there.
    pub fn early_request_filter(&self, exchange: &mut Exchange) {
        if let Some(slot) = &exchange.slot {
            slot.head_arrived();
        }
    }

    /// Decides. Returns whether the request was answered here: refused, `OPTIONS`, or from a copy.
    ///
    /// # Errors
    ///
    /// When the client cannot be written to.
    pub async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        let now = now();
        let gate = self.shared.gate.load();
        let request = session.req_header();
        let client = session.client_addr().and_then(|client| client.as_inet()).copied();
        exchange.begin(now, method_label(&request.method), client);
        exchange.origin = gate.cors_of(&request.headers);
        exchange.generation = self.shared.restrictions.generation();
        let decision = if gate.may_be_prepended(request) {
            drop(gate);
            match Box::pin(self.visit(session, exchange, now)).await? {
                Some(decision) => decision,
                None => return Ok(ANSWERED),
            }
        } else {
            let decision = gate.admit(request, &self.shared.restrictions, now);
            self.shared.metrics.decided(now.monotonic.elapsed());
            drop(gate);
            decision
        };
        session.set_write_timeout(Some(CLIENT_WRITE_TIMEOUT));
        session.set_ignore_info_resp(true);
        match decision {
            Ok(Decision::Forward(admission)) => {
                self.shared.unknown_kids.note(&admission.trace, admission.observed);
                exchange.modified_before = admission.modified_before;
                exchange.fields = admission.fields;
                exchange.trace = admission.trace;
                exchange.observed = admission.observed;
                if exchange.observed.is_none() && self.is_known_newer(exchange) {
                    self.refuse(session, exchange, Denial::TokenMissing).await?;
                    return Ok(ANSWERED);
                }
                exchange.target = Some(admission.target);
                exchange.subject = admission.subject;
                match &self.shared.cache {
                    // Not a part of every request's state.
                    Some(cache) => Box::pin(self.answer_from(cache, session, exchange)).await,
                    None => Ok(CONTINUE),
                }
            }
            Ok(Decision::HandOut(handout)) => {
                let Handout { presigned, form, trace, observed } = handout;
                exchange.trace = trace;
                exchange.observed = observed;
                if presigned.expires_at.is_some() {
                    self.shared.metrics.presigned_urls.inc();
                }
                let status = respond_presigned(session, &presigned, form, &exchange.origin).await?;
                exchange.end = Some(End { outcome: Outcome::Answered, reason: "presigned", status, bytes: 0 });
                Ok(ANSWERED)
            }
            Ok(Decision::Options) => {
                exchange.end = Some(End { outcome: Outcome::Answered, reason: "options", status: 204, bytes: 0 });
                respond_options(session, &exchange.origin).await?;
                Ok(ANSWERED)
            }
            Err(refusal) => {
                self.shared.unknown_kids.note(&refusal.trace, Some(refusal.denial));
                exchange.trace = *refusal.trace;
                self.refuse(session, exchange, refusal.denial).await?;
                Ok(ANSWERED)
            }
        }
    }

    pub(super) async fn refuse(&self, session: &mut Session, exchange: &mut Exchange, denial: Denial) -> Result<()> {
        let (outcome, reason, status) = (Outcome::Denied, denial.reason(), denial.status());
        exchange.end = Some(End { outcome, reason, status, bytes: 0 });
        respond(session, denial.into(), &exchange.origin).await
    }

    /// Returns where the granted object is fetched from; `None` for a request that did not go through
    /// [`MediaFilter::request_filter`].
    ///
    /// # Errors
    ///
    /// When no address of the storage is known yet.
    pub fn upstream_peer(&self, exchange: &mut Exchange) -> Result<Option<Box<HttpPeer>>> {
        let Some(endpoint) = exchange.target.as_ref().map(|target| target.endpoint()) else { return Ok(None) };
        match peer_of(endpoint, &self.shared.origins) {
            Ok(peer) => Ok(Some(Box::new(peer))),
            Err(error) => {
                exchange.failure = Some(StorageFailure::Unreachable);
                Err(error)
            }
        }
    }

    /// Builds the request to the storage from nothing: the presigned URL, and the client's fields that are allowed.
    /// Leaves a request alone that was not granted here.
    ///
    /// # Errors
    ///
    /// When a field cannot be written.
    pub fn upstream_request_filter(
        &self,
        session: &Session,
        upstream_request: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if let Some(request) = request_of(session, exchange)? {
            *upstream_request = request;
        }
        Ok(())
    }

    /// Replaces the storage's header by what a client may see, or by an answer of our own.
    ///
    /// # Errors
    ///
    /// When the subject was restricted meanwhile, or the storage's answer has no body to put ours in place of; then
    /// [`MediaFilter::fail_to_proxy`] answers.
    pub fn response_filter(
        &self,
        session: &Session,
        upstream_response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if exchange.target.is_none() {
            return Ok(());
        }
        let status = upstream_response.status.as_u16();
        // 101 is final: what follows it would no longer be HTTP.
        if upstream_response.status.is_informational() && status != 101 {
            let fields: Vec<_> = upstream_response.headers.keys().cloned().collect();
            for name in fields {
                upstream_response.remove_header(&name);
            }
            return Ok(());
        }
        match self.passage(status, &upstream_response.headers, exchange)? {
            Passage::Content => {
                // Pingora has said on the storage's header already whether chunks come.
                let fields = passed_fields(session, upstream_response, exchange, false);
                *upstream_response = response(upstream_response.status, fields);
                Ok(())
            }
            Passage::Ours(answer) => replace(session, upstream_response, exchange, answer),
        }
    }

    /// What becomes of a storage's answer with `status` and `fields`.
    pub(super) fn passage(&self, status: u16, fields: &HeaderMap, exchange: &mut Exchange) -> Result<Passage> {
        exchange.note_upstream();
        if exchange.begin_transfer().is_err() {
            return Error::e_explain(ErrorType::InternalError, CUT);
        }
        if let Err(denial) = self.check_date(fields, exchange) {
            exchange.refused = Some(denial);
            return Error::e_explain(ErrorType::InternalError, "the object is too new to need no token");
        }
        Ok(match forward::storage_answer(status, fields, exchange.asked) {
            StorageAnswer::Content | StorageAnswer::NotModified => Passage::Content,
            StorageAnswer::RangeNotSatisfiable => Passage::Ours(Answer::RANGE_NOT_SATISFIABLE),
            StorageAnswer::PreconditionFailed => Passage::Ours(Answer::PRECONDITION_FAILED),
            StorageAnswer::Failure(failure) => {
                exchange.failure = Some(failure);
                Passage::Ours(failure.into())
            }
        })
    }

    /// Puts our own body in place of the storage's where it must not pass, and cuts a transfer whose subject was
    /// restricted since the last chunk.
    ///
    /// # Errors
    ///
    /// When the transfer is cut.
    pub fn response_body_filter(&self, body: &mut Option<Bytes>, exchange: &mut Exchange) -> Result<()> {
        if exchange.check_transfer().is_err() {
            *body = None;
            return Error::e_explain(ErrorType::InternalError, CUT);
        }
        match &mut exchange.replacement {
            Replacement::None => {}
            Replacement::Pending(ours) => {
                let bytes = body.as_ref().map_or(0, Bytes::len);
                *body = Some(std::mem::take(ours));
                exchange.replacement = Replacement::Sent { bytes, pieces: 0 };
            }
            Replacement::Sent { bytes, pieces } => {
                *bytes += body.take().map_or(0, |body| body.len());
                *pieces += 1;
                if *bytes > MAX_DISCARDED_BYTES && *pieces > MIN_DISCARDED_PIECES {
                    return Error::e_explain(ErrorType::InternalError, "the storage's error body has no end");
                }
            }
        }
        Ok(())
    }

    /// Answers for a storage that failed, unless the answer has begun; then the connection is closed.
    pub async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
        let restricted = exchange.recheck().err().or(exchange.refused);
        if session.response_written().is_none() && *error.esource() != ErrorSource::Downstream {
            let failure = exchange.failure.unwrap_or_else(|| failure_of(error));
            let sent = match restricted {
                Some(denial) => self.refuse(session, exchange, denial).await,
                None => {
                    let answer = if *error.esource() == ErrorSource::Internal && exchange.failure.is_none() {
                        Answer::INTERNAL
                    } else {
                        warn_of(failure, error, exchange);
                        failure.into()
                    };
                    let (outcome, status) = (Outcome::Failed, answer.status);
                    exchange.end = Some(End { outcome, reason: failure.reason(), status, bytes: 0 });
                    respond(session, answer, &exchange.origin).await
                }
            };
            if sent.is_err() {
                session.set_keepalive(None);
            }
        }
        if ends_with_connection(session)
            && let Some(slot) = &exchange.slot
        {
            slot.reset_on_close();
        }
        let error_code = session.response_written().map_or(0, |response| response.status.as_u16());
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    /// Notes how the request ended; it is counted and logged when its [`Exchange`] is dropped.
    pub fn logging(&self, session: &Session, error: Option<&Error>, exchange: &mut Exchange) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let bytes = session.body_bytes_sent();
        if let Some(end) = &mut exchange.end {
            end.bytes = bytes;
            return;
        }
        let (outcome, reason) = match error {
            Some(_) if exchange.recheck().is_err() => (Outcome::Cut, "restricted"),
            Some(error) if *error.esource() == ErrorSource::Downstream => (Outcome::Aborted, "client_gone"),
            Some(error) => (Outcome::Failed, exchange.failure.unwrap_or_else(|| failure_of(error)).reason()),
            None => match exchange.failure {
                Some(failure) => (Outcome::Failed, failure.reason()),
                None => (Outcome::Served, "ok"),
            },
        };
        exchange.end = Some(End { outcome, reason, status, bytes });
    }
}

/// Returns the request to the storage; `None` where nothing was granted.
pub(super) fn request_of(session: &Session, exchange: &mut Exchange) -> Result<Option<RequestHeader>> {
    let Some(target) = exchange.target.as_ref() else { return Ok(None) };
    let client = session.req_header();
    let (path_and_query, host) = place_of(target)?;
    let fields = forward::request_fields(&client.headers).map(|(name, value)| (name.clone(), value.clone()));
    let request = request_to(client.method.clone(), path_and_query, host, fields);
    exchange.asked = forward::Asked::of(&request.headers).of_foreigner(target.is_foreign());
    Ok(Some(request.into()))
}

/// Reads both clocks.
#[expect(clippy::disallowed_methods, reason = "the shell is where time comes in")]
pub(super) fn now() -> Now {
    Now { wall: std::time::SystemTime::now(), monotonic: Instant::now() }
}

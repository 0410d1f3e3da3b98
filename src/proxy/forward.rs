//! The storage's answer on its way to the client, without Pingora's proxy in between.
//!
//! A request for media has no body, so nothing has to flow both ways: the request goes out, the answer comes in and is
//! handed on piece by piece, from the buffer that it was read into. Pingora's connections, parsers and writers do the work;
//! what is left out are its channels, its tasks for idle connections and two copies of each body.

use std::sync::Arc;

use http::header::{self, HeaderValue};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result, RetryType};

use super::exchange::{End, Exchange};
use super::filter::{ANSWERED, CONTINUE, CUT, MAX_DISCARDED_BYTES, MediaFilter, Passage, request_of};
use super::pass::passed_fields;
use super::pool::Place;
use super::respond::{Answer, respond_with, response};
use super::upstream::peer_at;
use crate::gate::Endpoint;
use crate::gate::forward::StorageFailure;
use crate::metrics::Outcome;

/// Attempts for one request: a kept connection that the storage has closed meanwhile is replaced.
const MAX_ATTEMPTS: usize = 3;

/// Heads of answers that are read for one request, informational ones included (RFC 9110 §15.2).
const MAX_HEADS: usize = 16;

impl MediaFilter {
    /// Fetches what was granted and sends it to the client; for use after [`MediaFilter::request_filter`], in the same phase.
    /// Returns whether the request was answered: not if it did not go through the gate. It costs less than Pingora's own
    /// way through `upstream_peer` and the phases behind it, none of which are called then.
    ///
    /// # Errors
    ///
    /// When the storage fails, the client is gone, or the subject was restricted meanwhile: for
    /// [`MediaFilter::fail_to_proxy`] to answer.
    pub async fn forward(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        let Some(endpoint) = exchange.target.as_ref().map(|target| Arc::clone(target.endpoint())) else {
            return Ok(CONTINUE);
        };
        let (place, mut upstream) = self.ask(session, exchange, &endpoint).await?;
        let head = upstream.resp_header().ok_or_else(|| Error::new_up(ErrorType::InvalidHTTPHeader))?;
        match self.passage(head.status.as_u16(), &head.headers, exchange)? {
            Passage::Content => send(session, exchange, &mut upstream).await?,
            Passage::Ours(answer) => answer_instead(session, exchange, &mut upstream, answer).await?,
        }
        upstream.respect_keepalive();
        if let Some(stream) = upstream.reuse().await {
            self.pool.keep(place, stream);
        }
        Ok(ANSWERED)
    }

    /// Sends the request and reads the head of the answer; again where a kept connection turns out to be closed.
    async fn ask(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(Place, HttpSession)> {
        let mut attempt = 1;
        loop {
            let Some(request) = request_of(session, exchange)? else {
                return Error::e_explain(ErrorType::InternalError, "nothing was granted");
            };
            let Some(address) = self.shared.origins.address(endpoint) else {
                exchange.failure = Some(StorageFailure::Unreachable);
                return Error::e_explain(ErrorType::ConnectNoRoute, "no address of the storage is known").map_err(up);
            };
            let place = Place { endpoint: Arc::clone(endpoint), address };
            let kept = if attempt < MAX_ATTEMPTS { self.pool.take(&place).await } else { None };
            let is_kept = kept.is_some();
            let stream = match kept {
                Some(stream) => stream,
                None => self.connect(session, &place).await?,
            };
            let mut upstream = HttpSession::new(stream);
            upstream.write_timeout = Some(endpoint.timeouts.response);
            // For all of the head, however many answers go before the final one.
            let heads = exchange_heads(session, &mut upstream, Box::new(request));
            let heads = tokio::time::timeout(endpoint.timeouts.response, heads).await;
            let late = || Error::e_explain(ErrorType::ReadTimedout, "the storage does not answer").map_err(up);
            match heads.unwrap_or_else(|_| late()) {
                Ok(()) => {
                    upstream.read_timeout = Some(endpoint.timeouts.response);
                    return Ok((place, upstream));
                }
                Err(error) if is_kept && was_closed(&error) => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect(&self, session: &mut Session, place: &Place) -> Result<Stream> {
        let peer = peer_at(&place.endpoint, place.address);
        tokio::select! {
            stream = self.pool.connector.new_stream(&peer) => stream.map_err(up),
            gone = client_gone(session) => Err(gone),
        }
    }
}

/// Whether a kept connection had come to its end before the storage answered anything.
fn was_closed(error: &Error) -> bool {
    matches!(error.retry, RetryType::ReusedOnly) || *error.etype() == ErrorType::WriteError
}

fn up(error: Box<Error>) -> Box<Error> {
    error.into_up()
}

fn down(error: Box<Error>) -> Box<Error> {
    error.into_down()
}

/// Waits until the client is gone, or says more than was asked of it.
async fn client_gone(session: &mut Session) -> Box<Error> {
    match session.as_downstream_mut().read_body_or_idle(true).await {
        Ok(_) => Error::explain(ErrorType::ConnectionClosed, "more than a request").into_down(),
        Err(error) => error.into_down(),
    }
}

/// Informational answers are passed over; 101 is final: what follows it would no longer be HTTP.
async fn exchange_heads(session: &mut Session, upstream: &mut HttpSession, request: Box<RequestHeader>) -> Result<()> {
    upstream.write_request_header(request).await.map_err(up)?;
    for _ in 0..MAX_HEADS {
        tokio::select! {
            read = upstream.read_response() => read.map_err(up)?,
            gone = client_gone(session) => return Err(gone),
        };
        let status = upstream.get_status();
        if status.is_none_or(|status| !status.is_informational() || status == http::StatusCode::SWITCHING_PROTOCOLS) {
            return Ok(());
        }
    }
    Error::e_explain(ErrorType::InvalidHTTPHeader, "informational answers without end").map_err(up)
}

/// Hands the storage's answer on, each piece while its subject is welcome.
async fn send(session: &mut Session, exchange: &mut Exchange, upstream: &mut HttpSession) -> Result<()> {
    let head = upstream.resp_header().ok_or_else(|| Error::new_up(ErrorType::InvalidHTTPHeader))?;
    let status = head.status;
    let has_body = session.req_header().method != http::Method::HEAD && status != http::StatusCode::NOT_MODIFIED;
    let fields = passed_fields(session, head, exchange, has_body);
    session.write_response_header(Box::new(response(status, fields)), !has_body).await.map_err(down)?;
    if !has_body {
        return Ok(());
    }
    loop {
        let piece = tokio::select! {
            biased;
            piece = upstream.read_body_ref() => piece.map_err(up)?,
            gone = client_gone(session) => return Err(gone),
        };
        let Some(piece) = piece else { break };
        if exchange.check_transfer().is_err() {
            return Error::e_explain(ErrorType::InternalError, CUT);
        }
        // The end of a chunk may come by itself; nothing of it would be the end of the body.
        if !piece.is_empty() {
            write(session, piece).await?;
        }
    }
    session.write_response_body(None, true).await.map_err(down)
}

async fn write(session: &mut Session, piece: &[u8]) -> Result<()> {
    match session.as_downstream_mut() {
        // From where it was read into: only HTTP/2 keeps what it is given.
        ServerSession::H1(client) => client.write_body(piece).await.map(|_| ()).map_err(down),
        _ => session.write_response_body(Some(bytes::Bytes::copy_from_slice(piece)), false).await.map_err(down),
    }
}

/// Puts `answer` in place of the storage's, whose body is read to its end if it has come already.
async fn answer_instead(
    session: &mut Session,
    exchange: &mut Exchange,
    upstream: &mut HttpSession,
    answer: Answer,
) -> Result<()> {
    let mut more = http::HeaderMap::new();
    if answer.status == 416
        && let Some(range) = upstream.get_header(header::CONTENT_RANGE)
    {
        more.insert(header::CONTENT_RANGE, HeaderValue::clone(range));
    }
    if let Some(failure) = exchange.failure {
        exchange.end =
            Some(End { outcome: Outcome::Failed, reason: failure.reason(), status: answer.status, bytes: 0 });
    }
    respond_with(session, answer, &exchange.origin, more).await.map_err(down)?;
    let mut discarded = 0;
    let rest = async {
        while let Ok(Some(piece)) = upstream.read_body_ref().await {
            discarded += piece.len();
            if discarded > MAX_DISCARDED_BYTES {
                break;
            }
        }
    };
    // Nobody waits for more: a connection that is not at its end is closed.
    tokio::select! {
        biased;
        () = rest => {}
        () = std::future::ready(()) => {}
    }
    Ok(())
}

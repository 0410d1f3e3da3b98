//! One fetch for all who wait: it runs by itself, and goes on when any of them leaves or is slow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use pingora::http::RequestHeader;
use pingora::prelude::HttpPeer;
use pingora::protocols::http::client::HttpSession;
use pingora::{Error, ErrorType, OkOrErr, Result};
use tokio::sync::watch;

use super::copy::Filling;
use super::{Entry, Kept, Look, MAX_FLIGHTS, ObjectCache, ObjectCopy};
use crate::caching::{CopyKey, Renewal, Revalidation, Verdict};
use crate::proxy::upstream::{UPSTREAM_IDLE, request_to};
use crate::restrictions::RestrictionSet;

/// A fetch that runs.
#[derive(Debug)]
pub(super) struct Flight {
    /// The restrictions' generation before the storage was asked.
    generation: u64,
    news: watch::Sender<News>,
}

/// What those who wait are told.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// The storage has not answered yet.
    Asking,
    /// This is the copy; its bytes may still be coming.
    Fetched(Kept),
    /// The copy that there was is good.
    Renewed(Kept),
    /// There is no copy: each asks by itself.
    Passes,
}

/// Where an object is fetched from.
pub(super) struct Source {
    pub(super) peer: HttpPeer,
    pub(super) path_and_query: PathAndQuery,
    pub(super) host: http::HeaderValue,
    /// How long the storage may take for each step.
    pub(super) patience: Duration,
}

/// What a request for an object finds.
pub(super) enum Joined {
    /// A fetch is under way.
    Waits(watch::Receiver<News>),
    /// A copy that came meanwhile.
    Fresh(Kept),
    /// Each asks by itself.
    Passes,
}

impl ObjectCache {
    /// Waits with the others for `key`, or begins the fetch that they wait for.
    pub(super) fn join(
        self: &Arc<Self>,
        key: &CopyKey,
        restrictions: &RestrictionSet,
        source: impl FnOnce() -> Result<Source>,
    ) -> Joined {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(key)
            && !restrictions.is_purged(key.app(), key.key(), flight.generation)
        {
            return Joined::Waits(flight.news.subscribe());
        }
        // Looked at again: a fetch ends with its copy here, before it is no longer among the flights.
        let stale = match self.look(key, restrictions, Instant::now()) {
            Look::Fresh(kept) => return Joined::Fresh(kept),
            Look::Passes => return Joined::Passes,
            Look::Stale(kept) => Some(kept),
            Look::Nothing => None,
        };
        if flights.len() >= MAX_FLIGHTS {
            return Joined::Passes;
        }
        let Ok(source) = source() else { return Joined::Passes };
        let flight = Arc::new(Flight { generation: restrictions.generation(), news: watch::Sender::new(News::Asking) });
        flights.insert(key.clone(), Arc::clone(&flight));
        let news = flight.news.subscribe();
        let flying = Flying { cache: Arc::clone(self), key: key.clone(), flight };
        tokio::spawn(async move { flying.fly(&source, stale).await });
        Joined::Waits(news)
    }
}

/// A fetch, seen from inside. However it ends, nobody goes on waiting for it.
struct Flying {
    cache: Arc<ObjectCache>,
    key: CopyKey,
    flight: Arc<Flight>,
}

impl Drop for Flying {
    fn drop(&mut self) {
        let mut flights = self.cache.flights();
        if flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flights.remove(&self.key);
        }
        drop(flights);
        self.flight.news.send_if_modified(|news| {
            let is_waiting = matches!(news, News::Asking);
            if is_waiting {
                *news = News::Passes;
            }
            is_waiting
        });
    }
}

impl Flying {
    async fn fly(self, source: &Source, stale: Option<Kept>) {
        if let Err(error) = self.fetch(source, stale).await {
            // The error's own text stays out: it may quote what was sent.
            log::warn!("storage {}: no copy of an object ({})", source.peer, error.etype().as_str());
        }
    }

    async fn fetch(&self, source: &Source, stale: Option<Kept>) -> Result<()> {
        let mut session = match stale {
            None => self.ask(source, None).await?,
            Some(kept) => match self.renew(source, kept).await? {
                Some(session) => session,
                None => return Ok(()),
            },
        };
        let response = session.response_header().or_err(ErrorType::InvalidHTTPHeader, "no answer")?;
        let asked = Instant::now();
        let generation = self.flight.generation;
        let (head, fresh_for) = match self.cache.policy.verdict(response.status.as_u16(), &response.headers) {
            Verdict::Keep { head, fresh_for } => (*head, fresh_for),
            Verdict::Pass(pause) => {
                self.cache.note_pass(&self.key, asked + pause, generation);
                session.shutdown().await;
                return Ok(());
            }
        };
        let Some((copy, filling)) = ObjectCopy::begin(head, self.key.bytes(), &self.cache.room) else {
            session.shutdown().await;
            return Ok(());
        };
        let kept = Kept { copy, generation, asked, fresh_for };
        self.flight.news.send_replace(News::Fetched(kept.clone()));
        fill(&mut session, filling).await?;
        // Only now: nobody is to find a copy that may never be whole.
        self.cache.note(&self.key, Entry::Kept(kept));
        self.cache.connector.release_http_session(session, &source.peer, Some(UPSTREAM_IDLE)).await;
        Ok(())
    }

    /// Asks whether `kept` is still good. Returns the storage's answer where it is another object.
    async fn renew(&self, source: &Source, kept: Kept) -> Result<Option<HttpSession>> {
        let Some(condition) = kept.copy.head.revalidation() else { return self.ask(source, None).await.map(Some) };
        let mut session = self.ask(source, Some(condition)).await?;
        let response = session.response_header().or_err(ErrorType::InvalidHTTPHeader, "no answer")?;
        let renewal = self.cache.policy.renewal(&kept.copy.head, response.status.as_u16(), &response.headers);
        match renewal {
            Renewal::Replaced => Ok(Some(session)),
            Renewal::Fresh(fresh_for) => {
                // What an answer without a body does not say again stays as it was (RFC 9111 §3.2).
                let says = response.headers.contains_key(http::header::CACHE_CONTROL);
                let fresh_for = if says { fresh_for } else { kept.fresh_for };
                // What was purged meanwhile stays so: the storage was asked after that or before, nobody knows.
                let kept = Kept { generation: self.flight.generation, asked: Instant::now(), fresh_for, ..kept };
                self.cache.note(&self.key, Entry::Kept(kept.clone()));
                self.flight.news.send_replace(News::Renewed(kept));
                if session.response_done() {
                    self.cache.connector.release_http_session(session, &source.peer, Some(UPSTREAM_IDLE)).await;
                }
                Ok(None)
            }
            Renewal::FetchAnew => {
                session.shutdown().await;
                self.ask(source, None).await.map(Some)
            }
            Renewal::Unknown => {
                session.shutdown().await;
                Ok(None)
            }
        }
    }

    /// Sends the request and reads the head of the answer; once more where a kept connection turns out to be closed.
    async fn ask(&self, source: &Source, condition: Option<Revalidation>) -> Result<HttpSession> {
        loop {
            let (mut session, is_reused) = self.cache.connector.get_http_session(&source.peer).await?;
            match exchange_heads(&mut session, source, condition.clone()).await {
                Ok(()) => return Ok(session),
                Err(_) if is_reused => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn exchange_heads(session: &mut HttpSession, source: &Source, condition: Option<Revalidation>) -> Result<()> {
    session.set_read_timeout(Some(source.patience));
    session.set_write_timeout(Some(source.patience));
    let request = request_to(http::Method::GET, source.path_and_query.clone(), source.host.clone(), condition);
    session.write_request_header(Box::new(RequestHeader::from(request))).await?;
    session.finish_request_body().await?;
    loop {
        session.read_response_header().await?;
        let status = session.response_header().map(|response| response.status);
        if status.is_none_or(|status| !status.is_informational() || status.as_u16() == 101) {
            return Ok(());
        }
    }
}

/// Reads the body to its end. An error leaves the copy broken.
async fn fill(session: &mut HttpSession, mut filling: Filling) -> Result<()> {
    const WRONG: ErrorType = ErrorType::InvalidHTTPHeader;
    while let Some(bytes) = session.read_response_body().await? {
        if filling.add(&bytes).is_err() {
            return Error::e_explain(WRONG, "more than was announced");
        }
    }
    if filling.is_whole() { Ok(()) } else { Error::e_explain(ErrorType::ConnectionClosed, "less than was announced") }
}

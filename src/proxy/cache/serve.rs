//! A request that was admitted → an answer from a copy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::flight::{Joined, News, Source};
use super::{Kept, Look, ObjectCache};
use crate::caching::{CopyAnswer, CopyKey};
use crate::gate::Target;
use crate::proxy::exchange::Exchange;
use crate::proxy::filter::{ANSWERED, CONTINUE, CUT, MediaFilter};
use crate::proxy::respond::{Answer, respond_with, response};
use crate::proxy::upstream::{peer_of, place_of};

/// How much longer than the storage's own time-outs one waits for the head of its answer.
const SLACK: Duration = Duration::from_secs(1);

/// What copies had to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum CacheUse {
    /// It came from a copy.
    Hit,
    /// The copy was fetched for it, or for somebody with whom it waited.
    Miss,
    /// It came from a copy that the storage was asked about.
    Revalidated,
    /// The storage answered: the object is not kept.
    Pass,
}

impl CacheUse {
    /// The log field.
    pub(in crate::proxy) const fn label(self) -> &'static str {
        match self {
            CacheUse::Hit => "hit",
            CacheUse::Miss => "miss",
            CacheUse::Revalidated => "revalidated",
            CacheUse::Pass => "pass",
        }
    }
}

impl MediaFilter {
    /// Answers an admitted request from a copy, where there is one or comes one. Returns whether it did.
    ///
    /// # Errors
    ///
    /// When the client cannot be written to, the copy breaks off, or the subject was restricted meanwhile.
    pub(in crate::proxy) async fn answer_from(
        &self,
        cache: &Arc<ObjectCache>,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<bool> {
        let (Some(target), Some(object)) = (&exchange.target, &exchange.trace.object) else { return Ok(CONTINUE) };
        let key = CopyKey::of(object, target);
        let is_head = session.req_header().method == http::Method::HEAD;
        let (kept, used) = match cache.look(&key, &self.shared.restrictions, Instant::now()) {
            Look::Fresh(kept) => (Some(kept), CacheUse::Hit),
            Look::Passes => (None, CacheUse::Pass),
            // Nothing is fetched whole for somebody who only asks what it is.
            Look::Nothing | Look::Stale(_) if is_head => (None, CacheUse::Pass),
            Look::Nothing | Look::Stale(_) => self.wait_for(cache, &key, target).await,
        };
        exchange.cache = Some(used);
        cache.metrics.count(used.label());
        let Some(kept) = kept else { return Ok(CONTINUE) };
        if used != CacheUse::Hit {
            exchange.note_upstream();
        }
        if let Err(denial) = self.check_date(kept.copy.head.fields(), exchange) {
            self.refuse(session, exchange, denial).await?;
            return Ok(ANSWERED);
        }
        if let Err(denial) = exchange.begin_transfer() {
            self.refuse(session, exchange, denial).await?;
            return Ok(ANSWERED);
        }
        send(session, exchange, &kept, used).await?;
        Ok(ANSWERED)
    }

    /// Waits for the storage's answer, for as long as the storage may take.
    async fn wait_for(&self, cache: &Arc<ObjectCache>, key: &CopyKey, target: &Target) -> (Option<Kept>, CacheUse) {
        let timeouts = target.endpoint().timeouts;
        let source = || {
            let peer = peer_of(target.endpoint(), &self.shared.origins)?;
            let (path_and_query, host) = place_of(target)?;
            Ok(Source { peer, path_and_query, host, patience: timeouts.response })
        };
        let mut news = match cache.join(key, &self.shared.restrictions, source) {
            Joined::Waits(news) => news,
            Joined::Fresh(kept) => return (Some(kept), CacheUse::Hit),
            Joined::Passes => return (None, CacheUse::Pass),
        };
        let has_come = news.wait_for(|news| !matches!(news, News::Asking));
        let come = tokio::time::timeout(timeouts.connect + timeouts.response + SLACK, has_come).await;
        let news = come.map(|news| news.map(|news| news.clone()));
        match news {
            Ok(Ok(News::Fetched(kept))) => (Some(kept), CacheUse::Miss),
            Ok(Ok(News::Renewed(kept))) => (Some(kept), CacheUse::Revalidated),
            Ok(Ok(News::Passes | News::Asking) | Err(_)) | Err(_) => (None, CacheUse::Pass),
        }
    }
}

/// Sends what the request gets of the copy.
async fn send(session: &mut Session, exchange: &mut Exchange, kept: &Kept, used: CacheUse) -> Result<()> {
    let (head, request) = (&kept.copy.head, session.req_header());
    let answer = head.answer(&request.method, &request.headers);
    let mut fields = head.answer_fields(answer);
    let ours = match answer {
        CopyAnswer::PreconditionFailed => Some(Answer::PRECONDITION_FAILED),
        CopyAnswer::RangeNotSatisfiable => Some(Answer::RANGE_NOT_SATISFIABLE),
        CopyAnswer::Whole | CopyAnswer::Part { .. } | CopyAnswer::NotModified => None,
    };
    if let Some(ours) = ours {
        return respond_with(session, ours, &exchange.origin, fields).await;
    }
    let is_head = request.method == http::Method::HEAD;
    if used == CacheUse::Hit {
        fields.insert(header::AGE, kept.asked.elapsed().as_secs().into());
    }
    exchange.add_fields(&mut fields);
    let bytes = match answer {
        CopyAnswer::Whole if !is_head && !head.is_empty() => Some((0, head.len() - 1)),
        CopyAnswer::Part { first, last } => Some((first, last)),
        _ => None,
    };
    session.write_response_header(Box::new(response(answer.status(), fields)), bytes.is_none()).await?;
    let Some((mut next, last)) = bytes else { return Ok(()) };
    while next <= last {
        let piece: Bytes = match kept.copy.piece(next, last).await {
            Ok(piece) => piece,
            Err(_) => {
                let broken = "the storage broke its answer off";
                return Error::e_explain(ErrorType::ConnectionClosed, broken).map_err(|e: Box<Error>| e.into_up());
            }
        };
        exchange.check_transfer().or_else(|_| Error::e_explain(ErrorType::InternalError, CUT))?;
        next += piece.len() as u64;
        session.write_response_body(Some(piece), next > last).await?;
    }
    Ok(())
}

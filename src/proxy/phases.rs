//! [`MediaProxy`]: the gate as a whole Pingora proxy.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::{ErrorType, Result};

use super::pool::Pool;
use super::{Exchange, MediaFilter, Shared};

/// A proxy that does nothing but gate: every phase is [`MediaFilter`]'s.
#[derive(Debug, Clone)]
pub struct MediaProxy(MediaFilter);

impl MediaProxy {
    /// Returns a proxy over `shared`.
    pub fn new(shared: Shared) -> MediaProxy {
        MediaProxy(MediaFilter::new(shared))
    }

    pub(super) fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.0.pool)
    }
}

#[async_trait]
impl ProxyHttp for MediaProxy {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        self.0.exchange()
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // None: media is compressed already.
    }

    async fn early_request_filter(&self, _session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        self.0.early_request_filter(exchange);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        Ok(self.0.request_filter(session, exchange).await? || self.0.forward(session, exchange).await?)
    }

    async fn upstream_peer(&self, _session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        self.0.upstream_peer(exchange)?.ok_or_else(|| pingora::Error::new_in(ErrorType::InternalError))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        self.0.upstream_request_filter(session, upstream_request, exchange)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        self.0.response_filter(session, upstream_response, exchange)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        self.0.response_body_filter(body, exchange).map(|()| None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &pingora::Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        self.0.fail_to_proxy(session, error, exchange).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&pingora::Error>, exchange: &mut Exchange) {
        self.0.logging(session, error, exchange);
    }

    // The access log says it once, without the request's text.
    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &pingora::Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Exchange, _: &pingora::Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, _: &Exchange) -> String {
        String::new()
    }
}

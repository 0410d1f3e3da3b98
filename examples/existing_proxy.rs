//! Adds the gate to a proxy that exists already. Its own peers and headers stay; `/demo/…` goes through the gate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mediagate::gate::{Gate, GateOptions};
use mediagate::proxy::{Exchange, MediaFilter, Shared};
use mediagate::restrictions::{Event, RestrictionSet};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;

struct Existing(MediaFilter);

#[async_trait]
impl ProxyHttp for Existing {
    type CTX = Exchange;
    fn new_ctx(&self) -> Exchange {
        self.0.exchange()
    }
    async fn request_filter(&self, s: &mut Session, ctx: &mut Exchange) -> Result<bool> {
        if s.req_header().uri.path().starts_with("/demo/") { self.0.request_filter(s, ctx).await } else { Ok(false) }
    }
    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Exchange) -> Result<Box<HttpPeer>> {
        let existing = || Box::new(HttpPeer::new(("127.0.0.1", 8000), false, String::new()));
        Ok(self.0.upstream_peer(ctx)?.unwrap_or_else(existing))
    }
    async fn upstream_request_filter(&self, s: &mut Session, r: &mut RequestHeader, ctx: &mut Exchange) -> Result<()> {
        self.0.upstream_request_filter(s, r, ctx)
    }
    async fn response_filter(&self, s: &mut Session, r: &mut ResponseHeader, ctx: &mut Exchange) -> Result<()> {
        self.0.response_filter(s, r, ctx)
    }
    #[rustfmt::skip]
    fn response_body_filter(&self, _: &mut Session, body: &mut Option<bytes::Bytes>, _: bool, ctx: &mut Exchange) -> Result<Option<Duration>> {
        self.0.response_body_filter(body, ctx).map(|()| None)
    }
    async fn logging(&self, s: &mut Session, error: Option<&Error>, ctx: &mut Exchange) {
        self.0.logging(s, error, ctx);
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // Apps, keys and storages go into the options; a feed of your own into `mediagate::feed::follow`.
    let gate = Gate::new(GateOptions::default())?;
    let restrictions = Arc::new(RestrictionSet::new([0x5eed, 0xfeed], Instant::now()));
    restrictions.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, Instant::now());

    let mut server = Server::new(None)?;
    server.bootstrap();
    let filter = MediaFilter::new(Shared::new(gate, restrictions));
    let mut service = http_proxy_service(&server.configuration, Existing(filter));
    service.add_tcp("127.0.0.1:6188");
    server.add_service(service);
    server.run_forever();
}

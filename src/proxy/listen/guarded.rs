//! A connection whose request heads are checked before Pingora parses them.
//!
//! A head that is refused is answered here, in our own form, and Pingora sees the connection end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use async_trait::async_trait;
use http::HeaderMap;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::access_log::{Entry, Timestamp};
use crate::gate::{Denial, HeadCheck, Progress};
use crate::metrics::Outcome;
use crate::proxy::Shared;
use crate::proxy::respond::Answer;
use crate::proxy::transfer::Slot;

/// What is read next.
#[derive(Debug)]
enum Reading {
    /// A request head.
    Head(HeadCheck),
    /// Whatever comes behind the head of request number `u64` of this connection.
    Rest(u64),
    /// Nothing: this answer goes out, then the connection ends.
    Refused { answer: Vec<u8>, sent: usize },
}

/// An HTTP/1 connection that passes on only heads in their one strict form.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    reading: Reading,
    slot: Arc<Slot>,
    shared: Shared,
}

impl<S: IO> Guarded<S> {
    pub(crate) fn new(stream: S, slot: Arc<Slot>, shared: Shared) -> Guarded<S> {
        Guarded { stream, reading: Reading::Head(HeadCheck::default()), slot, shared }
    }

    /// What is guarded.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Makes the answer to a refused head, and counts and logs it.
    fn refuse(&self, denial: Denial, is_head: bool) -> Vec<u8> {
        self.shared.metrics.count(Outcome::Denied, denial.reason());
        if let Some(access_log) = &self.shared.access_log {
            let digest = self.stream.get_socket_digest();
            let client = digest.and_then(|digest| digest.peer_addr()?.as_inet().copied());
            let entry = Entry {
                time: now(),
                client,
                method: "-",
                status: denial.status(),
                outcome: Outcome::Denied.label(),
                reason: denial.reason(),
                ..Entry::default()
            };
            if !access_log.log(&entry) {
                self.shared.metrics.log_lines_dropped.inc();
            }
        }
        let origin = self.shared.gate.load().cors_of(&HeaderMap::new());
        let (mut answer, body) = Answer::from(denial).to_http_1(&origin);
        if !is_head {
            answer.extend_from_slice(&body);
        }
        answer
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Reading::Refused { answer, sent } = &mut self.reading else { return Poll::Ready(Ok(())) };
        while let Some(rest) = answer.get(*sent..).filter(|rest| !rest.is_empty()) {
            *sent += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<S: IO> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &this.reading {
            // The answer is on its way; Pingora reads the end of the connection.
            Reading::Refused { .. } => return this.poll_refusal(cx),
            Reading::Rest(request) if *request != this.slot.requests() => {
                this.reading = Reading::Head(HeadCheck::default());
            }
            Reading::Rest(_) | Reading::Head(_) => {}
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let Reading::Head(check) = &mut this.reading else { return Poll::Ready(Ok(())) };
        match check.take(&buf.filled()[before..]) {
            Ok(Progress::Partial) => Poll::Ready(Ok(())),
            Ok(Progress::Complete) => {
                this.reading = Reading::Rest(this.slot.requests());
                Poll::Ready(Ok(()))
            }
            Err(denial) => {
                buf.set_filled(before);
                let is_head = check.is_head();
                let answer = this.refuse(denial, is_head);
                this.reading = Reading::Refused { answer, sent: 0 };
                this.poll_refusal(cx)
            }
        }
    }
}

impl<S: IO> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if matches!(self.reading, Reading::Refused { .. }) {
            // Answered already: whatever Pingora makes of the end stays here.
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if matches!(self.reading, Reading::Refused { .. }) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl<S: IO> Shutdown for Guarded<S> {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl<S: IO> UniqueID for Guarded<S> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<S: IO> Ssl for Guarded<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<S: IO> Peek for Guarded<S> {}

impl<S: IO> GetTimingDigest for Guarded<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl<S: IO> GetProxyDigest for Guarded<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl<S: IO> GetSocketDigest for Guarded<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

/// The time now, for a log line.
#[expect(clippy::disallowed_methods, reason = "the shell is where time comes in")]
fn now() -> Timestamp {
    Timestamp(SystemTime::now())
}

//! How a connection ends: it is said in the answer, and the answer is not lost.
//!
//! A socket that is closed while bytes come in is reset, and a client that still sends may then never see what it was
//! answered. RFC 9112 §9.6: the sending side is closed first, what comes is read for a while, then all is closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long, after its own end, a connection is read from.
const LINGER: Duration = Duration::from_secs(2);

/// The most that is read then.
const LINGER_BYTES: usize = 1024 * 1024;

/// A stream that, once shut down, reads on until the client has closed it too.
#[derive(Debug)]
pub(super) struct Lingering<S> {
    stream: S,
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Ending {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S) -> Lingering<S> {
        Lingering { stream, ending: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Lingering { stream, ending } = &mut *self;
        if ending.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        let ending = ending
            .get_or_insert_with(|| Ending { until: Box::pin(tokio::time::sleep(LINGER)), bytes_left: LINGER_BYTES });
        let mut scrap = [0; 4096];
        while ending.bytes_left > 0 && ending.until.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    ending.bytes_left = ending.bytes_left.saturating_sub(buffer.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A request's body that says whether all of it was read.
#[derive(Debug)]
pub(super) struct Watched {
    body: Body,
    ended: Arc<AtomicBool>,
}

/// Whether a body was read to its end, known after whoever may read it has answered.
#[derive(Debug)]
pub(super) struct Ended(Arc<AtomicBool>);

impl Watched {
    pub(super) fn new(body: Body) -> (Watched, Ended) {
        let ended = Arc::new(AtomicBool::new(body.is_end_stream()));
        (Watched { body, ended: Arc::clone(&ended) }, Ended(ended))
    }
}

impl Ended {
    pub(super) fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.ended.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! The client's TCP connection: buffered writes, a short queue in the kernel, and a close that can throw the queue
//! away.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;

use crate::proxy::transfer::Slot;

/// Enough for a response's header and a small body to leave in one system call.
const WRITE_BUFFER: usize = 4096;

/// Bytes that may wait unsent in the kernel: what a cut transfer has left to throw away, and what a slow client costs.
const UNSENT: u32 = 256 * 1024;

/// A connection from a client.
#[derive(Debug)]
pub(crate) struct Downstream {
    stream: BufWriter<TcpStream>,
    digest: Arc<SocketDigest>,
    slot: Arc<Slot>,
    /// Whether there was nothing to read since something was last written.
    is_idle: bool,
}

impl Downstream {
    pub(crate) fn new(stream: TcpStream, client: SocketAddr, slot: Arc<Slot>) -> Downstream {
        // Both only cost speed when they fail.
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        let _ = digest.peer_addr.set(Some(client.into()));
        Downstream {
            stream: BufWriter::with_capacity(WRITE_BUFFER, stream),
            digest: Arc::new(digest),
            slot,
            is_idle: false,
        }
    }

    /// Waits until there is something to read, or the end.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.get_ref().poll_read_ready(cx)
    }

    /// Sends what is buffered once nobody adds to it: Pingora flushes a body that has a length only at its end, and
    /// looks whether the client says something whenever it waits for the storage.
    ///
    /// Not at the first look: what comes next may be on its way, and leaves in the same system call.
    fn flush_when_idle(&mut self, cx: &mut Context<'_>) {
        if self.stream.buffer().is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.is_idle, true) {
            // Looks again once this thread has seen what has arrived meanwhile. Waking the task at once would rouse
            // another thread, which costs more than the system call that is saved.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
            return;
        }
        // An error is found by the next write.
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        if self.slot.resets_on_close() {
            // RST instead of FIN: what the kernel has not sent is gone.
            let _ = SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO));
        } else if !self.stream.buffer().is_empty() {
            // Pingora drops a connection whose exchange failed, and with it what was written and not flushed.
            let _ = self.stream.get_ref().try_write(self.stream.buffer());
        }
    }
}

impl AsyncRead for Downstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(self.stream.get_mut()).poll_read(cx, buf);
        if read.is_pending() {
            self.flush_when_idle(cx);
        }
        read
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_idle = false;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_idle = false;
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
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        // The client may be gone already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().as_raw_fd()
    }
}

impl Ssl for Downstream {}

impl Peek for Downstream {}

impl GetTimingDigest for Downstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Downstream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Downstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

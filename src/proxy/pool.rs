//! Connections to storages that are kept between requests.
//!
//! Pingora's pool gives each idle connection a task that waits for its end. Here it is looked at when it is taken, which
//! costs no system call while nothing has come, and swept when its time is over.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use pingora::connectors::TransportConnector;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::upstream::UPSTREAM_IDLE;
use crate::gate::Endpoint;

/// Idle connections that are kept at most.
const MAX_IDLE: usize = 512;

/// How often they are looked over.
const SWEEP: Duration = Duration::from_secs(5);

/// One address of a storage.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) address: SocketAddr,
}

impl Place {
    /// A reload makes endpoints anew; what was connected for the old ones is not used for them.
    fn is(&self, other: &Place) -> bool {
        Arc::ptr_eq(&self.endpoint, &other.endpoint) && self.address == other.address
    }
}

struct Idle {
    place: Place,
    stream: Stream,
    since: Instant,
}

/// The pool, and what makes new connections.
pub(super) struct Pool {
    pub(super) connector: TransportConnector,
    /// The newest last.
    idle: Mutex<VecDeque<Idle>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle().len()).finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new() -> Pool {
        Pool { connector: TransportConnector::new(None), idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection to `place` that was used last, if the storage has neither closed it nor said anything since.
    pub(super) async fn take(&self, place: &Place) -> Option<Stream> {
        loop {
            let mut stream = {
                let mut idle = self.idle();
                let at = idle.iter().rposition(|idle| idle.place.is(place))?;
                idle.remove(at)?.stream
            };
            if is_silent(&mut stream).await {
                return Some(stream);
            }
        }
    }

    /// Keeps `stream` for later; the oldest makes room for it.
    pub(super) fn keep(&self, place: Place, stream: Stream) {
        let oldest = {
            let mut idle = self.idle();
            idle.push_back(Idle { place, stream, since: Instant::now() });
            if idle.len() > MAX_IDLE { idle.pop_front() } else { None }
        };
        drop(oldest);
    }

    /// Sweeps until the process ends.
    pub(super) async fn keep_sweeping(&self) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            self.sweep(ticks.tick().await.into_std());
        }
    }

    /// Closes what has been idle for too long.
    fn sweep(&self, now: Instant) {
        let mut old = Vec::new();
        let mut idle = self.idle();
        while let Some(first) = idle.pop_front_if(|first| now.saturating_duration_since(first.since) >= UPSTREAM_IDLE) {
            old.push(first);
        }
        drop(idle);
    }
}

/// Whether nothing has come from a storage that was asked nothing: not its end, and no words that the next request would
/// take for its answer.
async fn is_silent(stream: &mut Stream) -> bool {
    let mut byte = [0; 1];
    let look = poll_fn(|cx| {
        let mut buffer = ReadBuf::new(&mut byte);
        Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buffer).is_pending())
    });
    // A task whose budget is used up would see nothing, whatever is there.
    tokio::task::unconstrained(look).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::protocols::l4::stream::Stream as L4Stream;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    fn place() -> Place {
        let endpoint = Arc::new(Endpoint::parse("http://127.0.0.1:9000").unwrap());
        Place { endpoint, address: "127.0.0.1:9000".parse().unwrap() }
    }

    /// Our end and the storage's.
    async fn connection() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Box::new(L4Stream::from(ours)), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_was_used_last_is_taken_first_and_for_its_own_place_only() {
        let (pool, place) = (Pool::new(), place());
        let (first, _keep_first) = connection().await;
        let (last, _keep_last) = connection().await;
        let (first_id, last_id) = (first.id(), last.id());
        pool.keep(place.clone(), first);
        pool.keep(place.clone(), last);
        let elsewhere = Place { address: "127.0.0.1:9001".parse().unwrap(), ..place.clone() };
        let reloaded = Place { endpoint: Arc::new(Endpoint::clone(&place.endpoint)), ..place.clone() };
        assert!(pool.take(&elsewhere).await.is_none() && pool.take(&reloaded).await.is_none());
        assert_eq!(pool.take(&place).await.unwrap().id(), last_id);
        assert_eq!(pool.take(&place).await.unwrap().id(), first_id);
        assert!(pool.take(&place).await.is_none());
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_or_spoken_is_not_taken() {
        let (pool, place) = (Pool::new(), place());
        for closes in [true, false] {
            let (ours, mut theirs) = connection().await;
            if closes {
                drop(theirs.shutdown().await);
            } else {
                theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
            }
            // Until it has arrived.
            let mut ours = ours;
            while is_silent_without_reading(&mut ours) {
                tokio::task::yield_now().await;
            }
            pool.keep(place.clone(), ours);
            assert!(pool.take(&place).await.is_none(), "{closes}");
            assert!(pool.idle().is_empty());
        }
    }

    fn is_silent_without_reading(stream: &mut Stream) -> bool {
        let look = &mut std::task::Context::from_waker(std::task::Waker::noop());
        let mut nothing = ReadBuf::new(&mut []);
        Pin::new(stream).poll_read(look, &mut nothing).is_pending()
    }

    #[tokio::test]
    async fn the_pool_is_bounded_and_swept() {
        let (pool, place) = (Pool::new(), place());
        let mut theirs = Vec::new();
        for _ in 0..=MAX_IDLE {
            let (ours, other) = connection().await;
            pool.keep(place.clone(), ours);
            theirs.push(other);
        }
        assert_eq!(pool.idle().len(), MAX_IDLE);
        let now = Instant::now();
        pool.sweep(now);
        assert_eq!(pool.idle().len(), MAX_IDLE);
        pool.sweep(now + UPSTREAM_IDLE);
        assert!(pool.idle().is_empty());
    }
}

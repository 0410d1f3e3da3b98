//! Running transfers, so that one whose user gets restricted ends even while nothing flows.
//!
//! Each chunk compares one number (see [`Exchange`](super::Exchange)); that ends whatever moves. What stands still,
//! because its client or its storage is slow, is found here by a sweep.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::restrictions::{RestrictionSet, Subject};

/// How often transfers and connections are looked over.
const SWEEP: Duration = Duration::from_millis(250);

/// How long a connection may take to bring a whole request head, from its opening or from the last answer.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);

tokio::task_local! {
    /// The slot of the connection or stream that the current task serves.
    pub(super) static SLOT: Arc<Slot>;
}

/// What a connection is doing, as far as a sweep must know.
#[derive(Debug, Default)]
struct Doing {
    /// Waiting for a request head since then; `None` while one is being answered.
    waiting_since: Option<Instant>,
    /// Whose transfer runs.
    subject: Option<Subject>,
    /// Rouses what serves it.
    waker: Option<Waker>,
}

/// One HTTP/1 connection or HTTP/2 stream.
#[derive(Debug)]
pub(super) struct Slot {
    doing: Mutex<Doing>,
    /// Whether a sweep has ended it.
    ended: AtomicBool,
    /// Whether what is buffered for the client is thrown away when the connection closes.
    reset: AtomicBool,
    /// How many requests have ended.
    requests: AtomicU64,
}

impl Slot {
    fn update(&self, change: impl FnOnce(&mut Doing)) {
        change(&mut self.doing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A request head is there: the clock for it stops.
    pub(super) fn head_arrived(&self) {
        self.update(|doing| doing.waiting_since = None);
    }

    /// Bytes for `subject` begin to flow.
    pub(super) fn transfer_begins(&self, subject: Subject) {
        self.update(|doing| doing.subject = Some(subject));
    }

    /// The request is done; the connection waits for the next.
    pub(super) fn request_ends(&self, now: Instant) {
        self.update(|doing| {
            doing.waiting_since = Some(now);
            doing.subject = None;
        });
        self.requests.fetch_add(1, Ordering::SeqCst);
    }

    /// How many requests have ended on this connection.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Closing throws away what is buffered, so that a cut transfer does not go on from a buffer.
    pub(super) fn reset_on_close(&self) {
        self.reset.store(true, Ordering::SeqCst);
    }

    pub(super) fn resets_on_close(&self) -> bool {
        self.reset.load(Ordering::SeqCst)
    }

    /// Runs `serve` to its end, or until a sweep ends this slot; then what is buffered is thrown away.
    pub(super) async fn serve<F: Future>(&self, serve: F) -> Option<F::Output> {
        let mut serve = pin!(serve);
        // A task has one waker for good: knowing it costs less at each poll than a look behind a lock.
        let mut known: Option<Waker> = None;
        poll_fn(|cx| {
            if !known.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                known = Some(cx.waker().clone());
                self.update(|doing| doing.waker = known.clone());
            }
            if let Poll::Ready(output) = serve.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if self.ended.load(Ordering::SeqCst) {
                self.reset_on_close();
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.rouse();
    }

    fn rouse(&self) {
        let mut waker = None;
        self.update(|doing| waker = doing.waker.clone());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_due(&self, restrictions: &RestrictionSet, changed: bool, now: Instant) -> bool {
        let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        let too_slow = doing.waiting_since.is_some_and(|since| now.saturating_duration_since(since) > HEAD_DEADLINE);
        too_slow || (changed && doing.subject.is_some_and(|subject| restrictions.check(&subject).is_err()))
    }
}

/// Every open connection and stream.
#[derive(Debug, Default)]
pub(super) struct Slots {
    open: Mutex<Vec<Weak<Slot>>>,
    generation: AtomicU64,
}

impl Slots {
    /// Returns the slot of a new connection or stream; it is forgotten when dropped.
    pub(super) fn open(&self, now: Instant) -> Arc<Slot> {
        let doing = Doing { waiting_since: Some(now), ..Doing::default() };
        let slot = Arc::new(Slot {
            doing: Mutex::new(doing),
            ended: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            requests: AtomicU64::new(0),
        });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&slot));
        slot
    }

    /// Makes everything that is open look about itself.
    pub(super) fn rouse(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().filter_map(Weak::upgrade).for_each(|slot| slot.rouse());
    }

    /// Ends what must not go on: one look at everything that is open.
    pub(super) fn sweep(&self, restrictions: &RestrictionSet, now: Instant) {
        let generation = restrictions.generation();
        let changed = self.generation.swap(generation, Ordering::SeqCst) != generation;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|slot| {
            let Some(slot) = slot.upgrade() else { return false };
            if slot.is_due(restrictions, changed, now) {
                slot.end();
            }
            true
        });
    }

    /// Sweeps until the process ends.
    pub(super) async fn keep_sweeping(&self, restrictions: &RestrictionSet) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            self.sweep(restrictions, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restrictions::{Change, Effect, Event, Scope};

    fn is_ended(slot: &Slot) -> bool {
        let serving = pin!(slot.serve(std::future::pending::<()>()));
        serving.poll(&mut std::task::Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn what_is_served_ends_by_itself_or_by_a_sweep() {
        let slots = Slots::default();
        let slot = slots.open(Instant::now());
        assert_eq!(slot.serve(async { 7 }).await, Some(7));
        let swept = Arc::clone(&slot);
        let serving = tokio::spawn(async move { swept.serve(std::future::pending::<()>()).await });
        tokio::task::yield_now().await;
        assert!(!serving.is_finished());
        slot.end();
        assert_eq!(serving.await.expect("it ends"), None);
        assert!(slot.resets_on_close());
    }

    #[test]
    fn a_sweep_ends_the_transfers_of_restricted_users_and_no_others() {
        let now = Instant::now();
        let restrictions = RestrictionSet::new([1, 2], now);
        restrictions.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, now);
        let slots = Slots::default();
        let (bob, alice, idle) = (slots.open(now), slots.open(now), slots.open(now));
        for (slot, uid) in [(&bob, "bob"), (&alice, "alice")] {
            slot.head_arrived();
            slot.transfer_begins(restrictions.subject("demo", uid, None, None, None));
        }
        slots.sweep(&restrictions, now);
        assert!(!is_ended(&bob));
        let scope = Scope::User { app: "demo".into(), uid: "bob".into() };
        restrictions.apply(Event::Change(Change { seq: 1, scope, effect: Effect::Deactivated, in_force: true }), now);
        slots.sweep(&restrictions, now);
        assert_eq!([is_ended(&bob), is_ended(&alice), is_ended(&idle)], [true, false, false]);
        assert!(bob.resets_on_close() && !alice.resets_on_close());
    }

    #[test]
    fn a_sweep_ends_connections_that_never_bring_a_head() {
        let now = Instant::now();
        let restrictions = RestrictionSet::new([1, 2], now);
        let slots = Slots::default();
        let (slow, busy, quick) = (slots.open(now), slots.open(now), slots.open(now));
        busy.head_arrived();
        quick.head_arrived();
        quick.request_ends(now + HEAD_DEADLINE);
        slots.sweep(&restrictions, now + HEAD_DEADLINE);
        assert!(!is_ended(&slow));
        slots.sweep(&restrictions, now + HEAD_DEADLINE + Duration::from_millis(1));
        assert_eq!([is_ended(&slow), is_ended(&busy), is_ended(&quick)], [true, false, false]);
    }

    #[test]
    fn closed_slots_are_forgotten() {
        let now = Instant::now();
        let slots = Slots::default();
        for _ in 0..100 {
            drop(slots.open(now));
        }
        slots.sweep(&RestrictionSet::new([1, 2], now), now);
        assert!(slots.open.lock().unwrap().is_empty());
    }
}

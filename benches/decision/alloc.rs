//! The system's allocator, counting while it is told to.
#![expect(unsafe_code, reason = "a global allocator cannot be written without; it only passes on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

static COUNTING: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

/// The system's allocator. Costs one load of a flag while nothing is counted.
pub(crate) struct Counting;

/// What was allocated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    /// Calls that returned memory, growing included.
    pub(crate) calls: u64,
    /// Bytes that they asked for.
    pub(crate) bytes: u64,
    /// Bytes asked for and not given back.
    pub(crate) live: i64,
}

/// Returns what `work` allocates, on every thread.
pub(crate) fn count(work: impl FnOnce()) -> Count {
    for counter in [&CALLS, &BYTES] {
        counter.store(0, Relaxed);
    }
    LIVE.store(0, Relaxed);
    COUNTING.store(true, Relaxed);
    work();
    COUNTING.store(false, Relaxed);
    Count { calls: CALLS.load(Relaxed), bytes: BYTES.load(Relaxed), live: LIVE.load(Relaxed) }
}

fn note(gained: usize, lost: usize) {
    if COUNTING.load(Relaxed) {
        if gained > 0 {
            CALLS.fetch_add(1, Relaxed);
            BYTES.fetch_add(gained as u64, Relaxed);
        }
        LIVE.fetch_add(gained as i64 - lost as i64, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator with the arguments that it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

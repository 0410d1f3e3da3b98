//! How many calls one key may make.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::ControlState;
use super::error::ApiError;

/// After so many calls, keys and sessions at rest are forgotten.
const FORGET_EVERY: usize = 10_000;

/// The calls of each key in the last minute.
pub(super) struct Limits {
    limiter: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    calls: AtomicUsize,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limits(..)")
    }
}

impl Limits {
    pub(super) fn new(per_minute: Option<NonZeroU32>) -> Limits {
        let limiter = per_minute.map(|per_minute| RateLimiter::keyed(Quota::per_minute(per_minute)));
        Limits { limiter, calls: AtomicUsize::new(0) }
    }
}

impl ControlState {
    /// Counts a call of a key or session that is known to be good.
    pub(super) fn limit(&self, name: Arc<str>) -> Result<(), ApiError> {
        let Limits { limiter: Some(limiter), calls } = &self.0.limits else { return Ok(()) };
        if calls.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            limiter.retain_recent();
        }
        limiter.check_key(&name).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            ApiError::TooMany(wait.as_secs() + 1)
        })
    }
}

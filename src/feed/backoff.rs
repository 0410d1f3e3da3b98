//! Pauses between attempts: longer each time, up to a bound, and never the same for all nodes.

use std::time::Duration;

/// The next pause.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Default for Backoff {
    /// From 50 milliseconds to 3 seconds.
    fn default() -> Backoff {
        Backoff::new(Duration::from_millis(50), Duration::from_secs(3))
    }
}

impl Backoff {
    /// Starts with `first` and doubles up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, attempts: 0 }
    }

    /// How many pauses there have been since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the next pause: between half and the whole of what it has grown to, at random, so that nodes which
    /// lost their broker together do not come back together.
    pub fn next_pause(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.attempts.min(20)).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        let mut random = [0];
        // Without randomness the pause is the longest.
        let part = aws_lc_rs::rand::fill(&mut random).map_or(255, |()| random[0]);
        whole / 2 + (whole / 2).mul_f64(f64::from(part) / 255.0)
    }

    /// Waits for the next pause.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next_pause()).await;
    }

    /// Starts anew after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_start_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for whole in [100, 200, 400, 800, 1000, 1000].map(Duration::from_millis) {
            let pause = backoff.next_pause();
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        backoff.attempts = u32::MAX;
        assert!(backoff.next_pause() <= Duration::from_secs(1));
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(100));
    }
}

//! Which API keys the store has: calls with any other key cost it a look at times, however many they are.

use std::collections::HashSet;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::ApiError;
use crate::store::StoreError;

/// The least time between two looks at the store. A call with a key that is not known waits so long at most, because
/// another process may just have made the key.
const GAP: Duration = Duration::from_millis(250);

/// The digests of all keys that the store had when somebody last looked: a few for each app.
#[derive(Debug, Default)]
pub(super) struct StoredKeys {
    hashes: ArcSwap<HashSet<String>>,
    /// Held by the one who looks.
    last: Mutex<Option<Look>>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    begun: Instant,
    succeeded: bool,
}

impl StoredKeys {
    /// Whether the store has, or had, a key with the digest `hash`; `look` returns all that it has. A key that is known
    /// waits for nobody; calls with others wait for one look together.
    ///
    /// # Errors
    ///
    /// When the look fails.
    pub(super) async fn contain(
        &self,
        hash: &str,
        look: impl AsyncFnOnce() -> Result<HashSet<String>, StoreError>,
    ) -> Result<bool, ApiError> {
        if self.hashes.load().contains(hash) {
            return Ok(true);
        }
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        match *last {
            Some(Look { begun, succeeded }) if begun > asked => {
                return if succeeded { Ok(self.hashes.load().contains(hash)) } else { Err(ApiError::Store) };
            }
            Some(Look { begun, .. }) => tokio::time::sleep_until(begun + GAP).await,
            None => {}
        }
        let begun = Instant::now();
        let found = look().await;
        *last = Some(Look { begun, succeeded: found.is_ok() });
        self.hashes.store(found?.into());
        Ok(self.hashes.load().contains(hash))
    }

    /// Forgets a key that the store no longer has.
    pub(super) fn forget(&self, hash: &str) {
        self.hashes.rcu(|hashes| {
            let mut hashes = HashSet::clone(hashes);
            hashes.remove(hash);
            hashes
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn failure() -> StoreError {
        StoreError::Failed { store: "a database".into(), cause: "gone".into() }
    }

    async fn never() -> Result<HashSet<String>, StoreError> {
        panic!("nobody has to look")
    }

    #[tokio::test]
    async fn unknown_keys_cost_one_look_together_and_a_known_key_none() {
        let (keys, looks) = (StoredKeys::default(), AtomicUsize::new(0));
        let look = async || {
            looks.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(HashSet::from(["good".to_owned()]))
        };
        assert_eq!(keys.contain("good", look).await, Ok(true));
        let begun = Instant::now();
        let unknown: Vec<String> = (0..1000).map(|n| format!("bad-{n}")).collect();
        let asked = futures_util::future::join_all(unknown.iter().map(|hash| keys.contain(hash, look))).await;
        assert!(asked.iter().all(|found| *found == Ok(false)));
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        assert!(begun.elapsed() >= GAP / 2, "not at once after the first");
        assert_eq!(keys.contain("good", never).await, Ok(true));
        keys.forget("good");
        assert_eq!(keys.contain("good", look).await, Ok(true), "looked for again");
    }

    #[tokio::test]
    async fn a_known_key_does_not_wait_for_a_store_that_does_not_answer() {
        let keys = Arc::new(StoredKeys::default());
        assert_eq!(keys.contain("good", async || Ok(HashSet::from(["good".to_owned()]))).await, Ok(true));
        let waiting = Arc::clone(&keys);
        let waiting = tokio::spawn(async move { waiting.contain("bad", async || std::future::pending().await).await });
        while keys.last.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(keys.contain("good", never).await, Ok(true));
        waiting.abort();
    }

    #[tokio::test]
    async fn a_look_that_fails_is_nobodys_no() {
        let keys = StoredKeys::default();
        let fail = async || {
            tokio::task::yield_now().await;
            Err(failure())
        };
        let asked = futures_util::future::join(keys.contain("a", fail), keys.contain("b", fail)).await;
        assert_eq!(asked, (Err(ApiError::Store), Err(ApiError::Store)));
        assert_eq!(keys.contain("a", async || Ok(HashSet::from(["a".to_owned()]))).await, Ok(true));
    }
}

//! The relay: what the database has committed, written to the broker in the order of its `seq`.
//!
//! One control node relays at a time; a lease in the database says which, and another takes over when it is not
//! renewed. Should two relay at once all the same, because one was held up, nothing is spoilt: a broker takes only what
//! follows what it has. A broker that lost anything is filled again from the database.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::feed::wire::Position;
use crate::feed::{Backoff, Broker, BrokerError};
use crate::restrictions::Entry;
use crate::store::{Changes, Snapshot, Store, StoreError};

/// What the lease is called.
const LEASE: &str = "relay";

/// Changes that are read and written at once.
const BATCH: u32 = 4000;

/// How often restrictions that have expired are lifted.
pub const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// How long after its time a restriction is lifted: tokens live on for the leeway, and clocks differ.
const EXPIRY_MARGIN: Duration = Duration::from_secs(3600);

/// Expired restrictions that are lifted at once.
const EXPIRE_BATCH: u32 = 1000;

/// How the relay keeps time.
#[derive(Debug, Clone, Copy)]
pub struct RelayTimes {
    /// Between two heartbeats; with each of them the lease is renewed.
    pub beat: Duration,
    /// How long a lease lasts that is not renewed: the longest that nobody relays after a relay has died.
    pub lease: Duration,
    /// How often the store is asked for changes of other processes that it cannot tell us of.
    pub poll: Duration,
    /// The longest that one step of the broker may take.
    pub step: Duration,
}

impl Default for RelayTimes {
    fn default() -> RelayTimes {
        RelayTimes {
            beat: Duration::from_secs(1),
            lease: Duration::from_secs(5),
            poll: Duration::from_millis(50),
            step: Duration::from_secs(10),
        }
    }
}

/// Why a relay stopped leading.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("another control node relays now")]
    LostLease,
    #[error("the broker did not answer in time")]
    TimedOut,
}

/// Relays from `store` to `broker` whenever it is this process's turn, until it is dropped. `holder` names the process
/// and must be its own.
pub async fn relay(store: Store, mut broker: impl Broker, holder: &str, times: RelayTimes) {
    let mut backoff = Backoff::default();
    loop {
        match store.lease(LEASE, holder, times.lease).await {
            Ok(true) => {}
            Ok(false) => {
                tokio::time::sleep(times.lease / 4).await;
                continue;
            }
            Err(error) => {
                log::error!("relay: cannot ask for the lease: {error}");
                backoff.pause().await;
                continue;
            }
        }
        let mut leading = Leading { store: &store, broker: &mut broker, holder, times, backoff: &mut backoff };
        match leading.lead().await {
            Stopped::LostLease => log::info!("relay: {}", Stopped::LostLease),
            stopped @ (Stopped::Store(_) | Stopped::Broker(BrokerError::Moved)) => {
                log::warn!("relay: {stopped}; trying again");
                backoff.pause().await;
            }
            stopped => {
                log::warn!("relay: {stopped}; trying again");
                // Another may reach the broker: it gets its turn before we try again.
                if let Err(error) = step_down(&store, holder).await {
                    log::warn!("relay: {error}");
                }
                tokio::time::sleep(times.lease / 3).await;
                backoff.pause().await;
            }
        }
    }
}

/// Gives the lease back, so that another relay need not wait for its end.
///
/// # Errors
///
/// When the store cannot be written.
pub async fn step_down(store: &Store, holder: &str) -> Result<(), StoreError> {
    store.release(LEASE, holder).await
}

struct Leading<'a, B> {
    store: &'a Store,
    broker: &'a mut B,
    holder: &'a str,
    times: RelayTimes,
    backoff: &'a mut Backoff,
}

impl<B: Broker> Leading<'_, B> {
    async fn lead(&mut self) -> Stopped {
        match self.keep_leading().await {
            Ok(()) => Stopped::LostLease,
            Err(stopped) => stopped,
        }
    }

    async fn keep_leading(&mut self) -> Result<(), Stopped> {
        let mut changed = self.store.changed();
        let mut at = self.position().await?;
        let mut beat = tokio::time::interval(self.times.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut poll = tokio::time::interval(self.times.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expired_at = None::<Instant>;
        loop {
            self.catch_up(&mut at).await?;
            tokio::select! {
                biased;
                _ = beat.tick() => {
                    self.renew().await?;
                    // What was committed before now must come before a word that all of it has come.
                    self.catch_up(&mut at).await?;
                    match self.step_heartbeat(&at).await {
                        Err(Stopped::Broker(BrokerError::Moved)) => at = self.position().await?,
                        other => other?,
                    }
                    self.backoff.reset();
                    if expired_at.is_none_or(|at| at.elapsed() >= EXPIRE_EVERY) && expire(self.store).await? {
                        expired_at = Some(Instant::now());
                    }
                }
                Ok(()) = changed.changed() => {}
                _ = poll.tick() => {}
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Stopped> {
        if self.store.lease(LEASE, self.holder, self.times.lease).await? { Ok(()) } else { Err(Stopped::LostLease) }
    }

    async fn step_heartbeat(&mut self, at: &Position) -> Result<(), Stopped> {
        in_time(self.times.step, self.broker.heartbeat(at)).await
    }

    /// Writes everything that the store has and the broker has not.
    async fn catch_up(&mut self, at: &mut Position) -> Result<(), Stopped> {
        let mut renewed = Instant::now();
        loop {
            match self.store.changes_after(at.seq, BATCH).await? {
                Changes::Kept(changes) => {
                    let Some(newest) = changes.last().map(|change| change.seq) else { return Ok(()) };
                    match in_time(self.times.step, self.broker.publish(at, &changes)).await {
                        Ok(()) => at.seq = newest,
                        Err(Stopped::Broker(BrokerError::Moved)) => *at = self.position().await?,
                        Err(other) => return Err(other),
                    }
                }
                Changes::Gone => {
                    if self.store.seq().await? < at.seq {
                        log::error!("relay: the store was put back in time; its state replaces the broker's");
                        self.store.rename_source().await?;
                    }
                    *at = self.refill().await?;
                }
            }
            if renewed.elapsed() >= self.times.beat {
                renewed = Instant::now();
                self.renew().await?;
            }
        }
    }

    /// Finds out where the broker stands, and brings it to where it can be built upon.
    async fn position(&mut self) -> Result<Position, Stopped> {
        let asked = in_time(self.times.step, self.broker.position());
        let found = renewing(self.store, self.holder, self.times, asked).await?;
        let (source, seq) = (self.store.source().await?, self.store.seq().await?);
        match found {
            Some(at) if at.source == source && at.seq <= seq => Ok(at),
            Some(at) if at.source == source => {
                log::error!(
                    "relay: the store is at change {seq} and the broker has {}: the store was put back in time. Its \
                     state replaces the broker's",
                    at.seq
                );
                self.store.rename_source().await?;
                self.refill().await
            }
            Some(at) => {
                log::warn!("relay: the broker has the state of another store ({}), which is replaced", at.source);
                self.refill().await
            }
            None => {
                log::info!("relay: the broker has no whole state; it is filled");
                self.refill().await
            }
        }
    }

    /// Replaces what the broker holds by the store's state.
    async fn refill(&mut self) -> Result<Position, Stopped> {
        let snapshot = self.store.snapshot().await?;
        let to = Position { source: snapshot.source.clone(), seq: snapshot.seq };
        let expected = snapshot.expected;
        let (sender, parts) = mpsc::channel(2);
        let started = Instant::now();
        let fill = async {
            let mut read = pin!(read(snapshot, sender));
            let mut filled = pin!(self.broker.refill(&to, expected, parts));
            let mut is_read = false;
            loop {
                tokio::select! {
                    // An error leaves at once: the broker does not get to see that no more parts come, which would look
                    // like the end of the state.
                    read = &mut read, if !is_read => { read?; is_read = true; }
                    filled = &mut filled => return Ok(filled?),
                }
            }
        };
        renewing(self.store, self.holder, self.times, fill).await?;
        log::info!("relay: the broker was filled with {expected} restrictions in {:?}", started.elapsed());
        Ok(to)
    }
}

/// Lifts what can concern nobody any more, for as long as it is not dropped: what a relay does besides, where the feed is
/// the store itself. Several at once do no harm.
pub async fn keep_expiring(store: Store, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        loop {
            match expire(&store).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    log::error!("expired restrictions stay for now: {error}");
                    break;
                }
            }
        }
    }
}

/// Lifts some of what has expired, as ordinary changes; returns whether that was all.
async fn expire(store: &Store) -> Result<bool, StoreError> {
    let expired = store.expired(now_secs().saturating_sub(EXPIRY_MARGIN.as_secs()), EXPIRE_BATCH).await?;
    let count = expired.len();
    if count > 0 {
        match store.apply(expired).await {
            Ok(_) => log::info!("{count} restrictions have expired and are lifted"),
            Err(error) => {
                log::error!("expired restrictions stay for now: {error}");
                return Ok(true);
            }
        }
    }
    Ok(count < EXPIRE_BATCH as usize)
}

/// Hands on what is read, to its end.
async fn read(mut snapshot: Snapshot, parts: mpsc::Sender<Vec<Entry>>) -> Result<(), StoreError> {
    while let Some(part) = snapshot.next().await? {
        if parts.send(part).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Does `work`, which may take long, and keeps the lease meanwhile.
async fn renewing<T>(
    store: &Store,
    holder: &str,
    times: RelayTimes,
    work: impl Future<Output = Result<T, Stopped>>,
) -> Result<T, Stopped> {
    let mut work = pin!(work);
    let mut renewal = tokio::time::interval(times.beat);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = renewal.tick() => {
                if !store.lease(LEASE, holder, times.lease).await? {
                    return Err(Stopped::LostLease);
                }
            }
        }
    }
}

async fn in_time<T>(limit: Duration, step: impl Future<Output = Result<T, BrokerError>>) -> Result<T, Stopped> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Stopped::TimedOut),
    }
}

/// UNIX seconds.
pub(crate) fn now_secs() -> u64 {
    now_micros() / 1_000_000
}

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the shell is where time comes in")]
pub(crate) fn now_micros() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restrictions::{Effect, Scope};
    use crate::store::{Action, Wanted};

    #[tokio::test]
    async fn what_has_expired_is_lifted_whatever_the_feed_is() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("mediagate.db")).await.unwrap();
        let until = |sid: String, at| Wanted {
            scope: Scope::Session { app: "acme".into(), sid },
            effect: Effect::Deactivated,
            action: Action::Impose { expires_at: at },
        };
        let gone = (0..EXPIRE_BATCH + 5).map(|n| until(format!("gone-{n}"), Some(now_secs() - 3601)));
        let stays = [until("later".into(), Some(now_secs() - 3000)), until("always".into(), None)];
        store.apply(gone.chain(stays).collect()).await.unwrap();
        let mut changed = store.changed();
        let expiring = store.clone();
        let keeping = tokio::spawn(async move { keep_expiring(expiring, Duration::from_secs(1000)).await });
        while store.state().await.unwrap().1.len() > 2 {
            changed.changed().await.unwrap();
        }
        keeping.abort();
        // Every one of them a change that nodes hear of.
        assert_eq!(store.seq().await.unwrap(), u64::from(2 * (EXPIRE_BATCH + 5) + 2));
    }
}

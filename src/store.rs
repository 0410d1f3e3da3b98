//! What must survive a restart: the restrictions in force, and the `seq` of the newest change.
//!
//! A SQLite file or a PostgreSQL database, with one schema. A change takes the next `seq` in the transaction that makes
//! it, so the numbers have no gaps, and it is on the disk before [`Store::apply`] returns. Requests for files never come
//! here.

pub(crate) mod api_keys;
pub(crate) mod auth_tokens;
mod error;
mod location;
mod rows;
mod schema;
pub(crate) mod settings;
mod snapshot;
pub(crate) mod users;
mod write;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::postgres::PgListener;
use sqlx::{AnyConnection, AnyPool, Connection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use error::StoreError;
use location::Dialect;
pub use location::Location;
use rows::{row_change, row_scope};
pub(crate) use schema::random_id;
pub use snapshot::Snapshot;

use crate::feed::Backoff;
use crate::restrictions::{Change, Effect, Scope};

/// Connections to the database: one writes, the others read beside it.
const CONNECTIONS: u32 = 4;

/// How long a call waits for one of them.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls that may wait for the writer.
const WAITING_CALLS: usize = 1024;

/// The store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    location: Location,
    pool: AnyPool,
    calls: mpsc::Sender<write::Call>,
    /// Steps on when something may have been committed, here or by another process that can tell.
    changed: watch::Sender<u64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What somebody wants of one effect on one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it applies to.
    pub scope: Scope,
    /// What it does.
    pub effect: Effect,
    /// What is to become of it.
    pub action: Action,
}

/// What is to become of a restriction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It comes into force.
    Impose {
        /// UNIX seconds at which nothing that it concerns can be alive any more, so that it may be forgotten; `None`
        /// when that is not known.
        expires_at: Option<u64>,
    },
    /// It is lifted; an [`Effect::IssuedBefore`] whatever its time.
    Lift,
    /// It is lifted if it has expired by `now`, in UNIX seconds.
    Expire {
        /// The time.
        now: u64,
    },
}

impl Wanted {
    /// A restriction without an end.
    pub fn impose(scope: Scope, effect: Effect) -> Wanted {
        Wanted { scope, effect, action: Action::Impose { expires_at: None } }
    }

    /// The end of one.
    pub fn lift(scope: Scope, effect: Effect) -> Wanted {
        Wanted { scope, effect, action: Action::Lift }
    }
}

/// The newest changes after some `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// These, without a gap; none when there are no newer ones.
    Kept(Vec<Change>),
    /// Some of them are no longer kept, or the store never came to that `seq`.
    Gone,
}

impl Store {
    /// Opens the store, makes what is missing and brings it to this version's schema. A new file is for its owner's
    /// eyes only.
    ///
    /// A SQLite file is checked whole: half a list of deactivated users must not pass for the list.
    ///
    /// # Errors
    ///
    /// A database that cannot be opened, is damaged or another program's, or was written by a newer version.
    pub async fn open(location: impl Into<Location>) -> Result<Store, StoreError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let location = location.into();
        if let Location::Sqlite(path) = &location {
            touch(path).map_err(|cause| StoreError::Open { store: location.to_string(), cause })?;
        }
        let failed = |error| StoreError::new(&location, &error);
        let dialect = location.dialect();
        let options: AnyConnectOptions = location.url().parse().map_err(failed)?;
        // The first by itself: a pool would go on trying what cannot succeed.
        let mut connection = AnyConnection::connect_with(&options).await.map_err(failed)?;
        say(&mut connection, dialect).await.map_err(failed)?;
        check(&mut connection, &location).await?;
        schema::migrate(&mut connection, &location).await?;
        connection.close().await.map_err(failed)?;
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| Box::pin(say(connection, dialect)))
            .connect_lazy_with(options);
        let (calls, waiting) = mpsc::channel(WAITING_CALLS);
        let (changed, _) = watch::channel(0);
        let mut tasks = vec![tokio::spawn(write::answer(pool.clone(), location.clone(), waiting, changed.clone()))];
        if dialect == Dialect::Postgres {
            tasks.push(tokio::spawn(listen(location.url(), changed.clone())));
        }
        Ok(Store(Arc::new(Inner { location, pool, calls, changed, tasks })))
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// The name of this store, as events carry it: whose numbers `seq` are.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn source(&self) -> Result<String, StoreError> {
        let source = sqlx::query_scalar("SELECT id FROM source").fetch_one(&self.0.pool);
        source.await.map_err(|error| self.failed(&error))
    }

    /// Gives the store another name: what was numbered under the old one no longer counts.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn rename_source(&self) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE source SET id = $1").bind(random_id()).execute(&self.0.pool);
        update.await.map(drop).map_err(|error| self.failed(&error))
    }

    /// Steps on whenever something may have been committed by this process or, on PostgreSQL, by any. A commit of
    /// another process to a SQLite file is seen by asking [`Store::seq`] only.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The `seq` of the newest change; 0 before the first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn seq(&self) -> Result<u64, StoreError> {
        let seq: Result<i64, _> = sqlx::query_scalar("SELECT seq FROM counter").fetch_one(&self.0.pool).await;
        seq.map(|seq| seq as u64).map_err(|error| self.failed(&error))
    }

    /// Returns the changes after `seq`, `limit` at most.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn changes_after(&self, seq: u64, limit: u32) -> Result<Changes, StoreError> {
        // Nothing new is what is asked about most.
        if self.seq().await? == seq {
            return Ok(Changes::Kept(Vec::new()));
        }
        let read = async {
            let mut connection = self.0.pool.acquire().await?;
            let mut transaction = connection.begin_with(self.0.location.dialect().begin_read()).await?;
            let newest: i64 = sqlx::query_scalar("SELECT seq FROM counter").fetch_one(&mut *transaction).await?;
            let rows = sqlx::query(
                "SELECT seq, app, scope, id, effect, issued_before, in_force FROM changes
                 WHERE seq > $1 ORDER BY seq LIMIT $2",
            );
            let rows = rows.bind(seq.min(i64::MAX as u64) as i64).bind(i64::from(limit));
            let rows = rows.fetch_all(&mut *transaction).await?;
            let changes = rows.iter().map(row_change).collect::<Result<Vec<_>, _>>()?;
            transaction.commit().await?;
            Ok((newest as u64, changes))
        };
        let (newest, changes) = read.await.map_err(|error: sqlx::Error| self.failed(&error))?;
        let follows = changes.first().map_or(newest == seq, |first| first.seq == seq + 1);
        Ok(if follows { Changes::Kept(changes) } else { Changes::Gone })
    }

    /// Begins to read the whole state.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::begin(self.0.pool.clone(), self.0.location.clone()).await
    }

    /// Returns the newest `seq` and every restriction in force at that `seq`: for small states.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn state(&self) -> Result<(u64, Vec<(Scope, Effect)>), StoreError> {
        let mut snapshot = self.snapshot().await?;
        let mut entries = Vec::new();
        while let Some(part) = snapshot.next().await? {
            entries.extend(part.into_iter().map(|entry| (entry.scope, entry.effect)));
        }
        Ok((snapshot.seq, entries))
    }

    /// Makes what is wanted where it alters anything, all of it or nothing. Returns for each the change with its
    /// `seq`, or `None` when it was so already. What is returned is on the disk.
    ///
    /// # Errors
    ///
    /// When the database fails, or has not answered after seconds. Nothing has changed then, unless that was while it
    /// committed: the changes may have been made in that case, and to ask for them again is safe.
    pub async fn apply(&self, wanted: Vec<Wanted>) -> Result<Vec<Option<Change>>, Arc<StoreError>> {
        self.call(wanted, None).await
    }

    /// Does `work` and then what it wants of the restrictions, all of it or nothing. Returns what it returned, and the
    /// changes as [`Store::apply`] does.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<(T, Vec<Wanted>), sqlx::Error>>
        + Send
        + 'static,
    ) -> Result<(T, Vec<Option<Change>>), Arc<StoreError>> {
        let (done, value) = oneshot::channel();
        let work: write::Work = Box::new(move |connection| {
            let working = work(connection);
            Box::pin(async move {
                let (value, wanted) = working.await?;
                let _ = done.send(value);
                Ok(wanted)
            })
        });
        let changes = self.call(Vec::new(), Some(work)).await?;
        let value = value.await.map_err(|_| self.stopped())?;
        Ok((value, changes))
    }

    async fn call(
        &self,
        wanted: Vec<Wanted>,
        work: Option<write::Work>,
    ) -> Result<Vec<Option<Change>>, Arc<StoreError>> {
        let (answer, answered) = oneshot::channel();
        let call = write::Call { wanted, work, answer };
        self.0.calls.send(call).await.map_err(|_| self.stopped())?;
        answered.await.map_err(|_| self.stopped())?
    }

    fn stopped(&self) -> Arc<StoreError> {
        let store = self.0.location.to_string();
        Arc::new(StoreError::Failed { store, cause: "its writer has stopped".to_owned() })
    }

    /// Restrictions that have expired by `now`, in UNIX seconds, `limit` at most.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn expired(&self, now: u64, limit: u32) -> Result<Vec<Wanted>, StoreError> {
        let rows = sqlx::query(
            "SELECT app, scope, id, effect, issued_before FROM restrictions
             WHERE expires_at > 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $2",
        );
        let rows = rows.bind(now.min(i64::MAX as u64) as i64).bind(i64::from(limit)).fetch_all(&self.0.pool).await;
        let expired = |row: &AnyRow| {
            let (scope, effect) = row_scope(row)?;
            Ok(Wanted { scope, effect, action: Action::Expire { now } })
        };
        rows.and_then(|rows| rows.iter().map(expired).collect()).map_err(|error: sqlx::Error| self.failed(&error))
    }

    /// Takes or renews the lease called `name` for `ttl`; returns whether `holder` has it now.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let take = sqlx::query(self.0.location.dialect().take_lease());
        let take = take.bind(name).bind(holder).bind(ttl.as_millis() as i64).execute(&self.0.pool).await;
        take.map(|taken| taken.rows_affected() == 1).map_err(|error| self.failed(&error))
    }

    /// Gives the lease back, so that the next holder need not wait.
    ///
    /// # Errors
    ///
    /// When the database fails; the lease ends by itself then.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let release = sqlx::query("UPDATE leases SET until = 0 WHERE name = $1 AND holder = $2");
        let release = release.bind(name).bind(holder).execute(&self.0.pool).await;
        release.map(drop).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &sqlx::Error) -> StoreError {
        StoreError::new(&self.0.location, error)
    }
}

/// Makes the file, for its owner's eyes only: SQLite gives its two side files the permissions of this one.
fn touch(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

/// Says what holds for a connection.
async fn say(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), sqlx::Error> {
    for setting in dialect.settings() {
        sqlx::raw_sql(*setting).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Looks at what a database must be before anything is made of it.
async fn check(connection: &mut AnyConnection, location: &Location) -> Result<(), StoreError> {
    let (question, good) = match location.dialect() {
        Dialect::Sqlite => ("PRAGMA quick_check(1)", "ok"),
        // Any other could not keep every name.
        Dialect::Postgres => ("SELECT current_setting('server_encoding')", "UTF8"),
    };
    let answer: Result<String, _> = sqlx::query_scalar(question).fetch_one(connection).await;
    let answer = answer.map_err(|error| StoreError::new(location, &error))?;
    if answer == good {
        return Ok(());
    }
    let reason = match location.dialect() {
        Dialect::Sqlite => answer,
        Dialect::Postgres => format!("its encoding is {answer} and must be UTF8"),
    };
    Err(StoreError::Damaged { store: location.to_string(), reason })
}

/// Hears of other processes' commits, from PostgreSQL. Steps on after a reconnect too: something may have been missed.
async fn listen(url: String, changed: watch::Sender<u64>) {
    let mut backoff = Backoff::default();
    loop {
        let listening = async {
            let mut listener = PgListener::connect(&url).await?;
            listener.listen("mediagate").await?;
            Ok::<_, sqlx::Error>(listener)
        };
        if let Ok(mut listener) = listening.await {
            backoff.reset();
            loop {
                changed.send_modify(|times| *times += 1);
                if !matches!(listener.try_recv().await, Ok(Some(_))) {
                    break;
                }
            }
        }
        backoff.pause().await;
    }
}

#[cfg(test)]
pub(crate) mod tests;

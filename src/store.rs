//! What must survive a restart: the restrictions in force, and the `seq` of the newest change.
//!
//! One SQLite file. A change takes the next `seq` in the transaction that makes it, so the numbers have no gaps,
//! and it is on the disk before [`Store::apply`] returns. Requests for files never come here.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, Row};
use tokio::sync::Mutex;

use crate::restrictions::{Change, Effect, Scope, ScopeKind};

/// The schema, step by step; a store's version is the number of steps that were taken. Never edited, only added to.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE restrictions (
        app TEXT NOT NULL,
        scope TEXT NOT NULL,
        id TEXT NOT NULL,
        effect TEXT NOT NULL,
        issued_before BIGINT NOT NULL,
        seq BIGINT NOT NULL,
        PRIMARY KEY (app, scope, id, effect)
    );
    CREATE TABLE counter (seq BIGINT NOT NULL);
    INSERT INTO counter (seq) VALUES (0);
"];

const IMPOSE: &str = "
    INSERT INTO restrictions (app, scope, id, effect, issued_before, seq) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (app, scope, id, effect)
    DO UPDATE SET issued_before = excluded.issued_before, seq = excluded.seq
    WHERE restrictions.issued_before <> excluded.issued_before";

const LIFT: &str = "DELETE FROM restrictions WHERE app = $1 AND scope = $2 AND id = $3 AND effect = $4";

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite's primary result codes for a damaged file and for one that is no database.
const CORRUPT_CODES: [i32; 2] = [11, 26];

/// The embedded store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Every change goes through this one connection, so changes are in one order.
    writer: Mutex<SqliteConnection>,
    /// Reads a consistent state beside the writer, however long that takes.
    reader: Mutex<SqliteConnection>,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be read and written.
    #[error("cannot open the store `{path}`: {cause}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The file is no database, or its content does not hold together.
    #[error(
        "the store `{path}` is damaged or is no mediagate store ({reason}): restore it from a backup; without it \
         every deactivation is forgotten"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version has changed the file in ways that this one does not know.
    #[error("the store `{path}` has schema {found}, this version knows {known} at most: run the newer mediagate")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// A statement failed: a full disk, a lost file system, another process that keeps the file locked.
    #[error("the store `{path}` failed: {cause}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the database says.
        cause: sqlx::Error,
    },
}

impl StoreError {
    fn new(path: &Path, cause: sqlx::Error) -> StoreError {
        let path = path.to_owned();
        let code = cause.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
        match code {
            Some(code) if CORRUPT_CODES.contains(&(code & 0xff)) => {
                StoreError::Damaged { path, reason: cause.to_string() }
            }
            _ => StoreError::Failed { path, cause },
        }
    }
}

impl Store {
    /// Opens the store in `path`, for its owner's eyes only where it is made, and brings it to this version's schema.
    ///
    /// The whole file is checked: half a list of deactivated users must not pass for the list.
    ///
    /// # Errors
    ///
    /// A file that cannot be opened, is damaged or another program's, or was written by a newer version.
    pub async fn open(path: &Path) -> Result<Store, StoreError> {
        // SQLite gives its two side files the permissions of this one.
        let created = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        created.map_err(|cause| StoreError::Open { path: path.to_owned(), cause })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let failed = |error| StoreError::new(path, error);
        let mut writer = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        let check: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut writer).await.map_err(failed)?;
        if check != "ok" {
            return Err(StoreError::Damaged { path: path.to_owned(), reason: check });
        }
        migrate(&mut writer, path).await?;
        let reader = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        let inner = Inner { path: path.to_owned(), writer: Mutex::new(writer), reader: Mutex::new(reader) };
        Ok(Store(Arc::new(inner)))
    }

    /// The `seq` of the newest change; 0 before the first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn seq(&self) -> Result<u64, StoreError> {
        let mut reader = self.0.reader.lock().await;
        self.seq_on(&mut reader).await
    }

    /// Returns the newest `seq` and every restriction in force at that `seq`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn state(&self) -> Result<(u64, Vec<(Scope, Effect)>), StoreError> {
        let failed = |error| StoreError::new(&self.0.path, error);
        let mut reader = self.0.reader.lock().await;
        // One transaction, so that both see the same moment.
        let mut transaction = reader.begin().await.map_err(failed)?;
        let seq = self.seq_on(&mut transaction).await?;
        let entries = sqlx::query("SELECT app, scope, id, effect, issued_before FROM restrictions")
            .try_map(|row: SqliteRow| restriction(&row))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok((seq, entries))
    }

    /// Makes those changes that alter anything, all of them or none. Returns for each request the change with its
    /// `seq`, or `None` when it was so already. What is returned is on the disk.
    ///
    /// Lifting an [`Effect::IssuedBefore`] lifts it whatever its time.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing has changed then, unless it failed while it committed: the changes may have
    /// been made in that case, and to ask for them again is safe.
    pub async fn apply(&self, wanted: Vec<(Scope, Effect, bool)>) -> Result<Vec<Option<Change>>, StoreError> {
        let failed = |error| StoreError::new(&self.0.path, error);
        let mut writer = self.0.writer.lock().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let before = self.seq_on(&mut transaction).await?;
        let mut seq = before;
        let mut changes = Vec::with_capacity(wanted.len());
        for (scope, effect, in_force) in wanted {
            let change = Change { seq: seq + 1, scope, effect: storable(effect), in_force };
            let altered = alter(&mut transaction, &change).await.map_err(failed)?;
            seq += u64::from(altered);
            changes.push(altered.then_some(change));
        }
        if seq == before {
            transaction.rollback().await.map_err(failed)?;
        } else {
            let counted = sqlx::query("UPDATE counter SET seq = $1").bind(seq as i64);
            counted.execute(&mut *transaction).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
        }
        Ok(changes)
    }

    async fn seq_on(&self, connection: &mut SqliteConnection) -> Result<u64, StoreError> {
        let seq: i64 = sqlx::query_scalar("SELECT seq FROM counter")
            .fetch_one(connection)
            .await
            .map_err(|error| StoreError::new(&self.0.path, error))?;
        Ok(seq as u64)
    }
}

/// Makes one change; returns whether it altered anything.
async fn alter(connection: &mut SqliteConnection, change: &Change) -> Result<bool, sqlx::Error> {
    let (app, id) = change.scope.parts();
    let scope = change.scope.kind().label();
    let (effect, issued_before) = match change.effect {
        Effect::Deactivated => ("deactivated", 0),
        Effect::IssuedBefore { before } => ("issued_before", before as i64),
    };
    let query = sqlx::query(if change.in_force { IMPOSE } else { LIFT }).bind(app).bind(scope).bind(id).bind(effect);
    let query = if change.in_force { query.bind(issued_before).bind(change.seq as i64) } else { query };
    Ok(query.execute(connection).await?.rows_affected() != 0)
}

/// An effect that the database gives back as it took it: times end where a signed number does.
fn storable(effect: Effect) -> Effect {
    match effect {
        Effect::Deactivated => Effect::Deactivated,
        Effect::IssuedBefore { before } => Effect::IssuedBefore { before: before.min(i64::MAX as u64) },
    }
}

/// Reads one row; a label that this version does not know is an error, never a row left out.
fn restriction(row: &SqliteRow) -> Result<(Scope, Effect), sqlx::Error> {
    let (app, id): (String, String) = (row.try_get("app")?, row.try_get("id")?);
    let label: &str = row.try_get("scope")?;
    let kind = ScopeKind::ALL.into_iter().find(|kind| kind.label() == label);
    let scope = match kind.ok_or_else(|| unknown("scope", label))? {
        ScopeKind::App => Scope::App { app },
        ScopeKind::User => Scope::User { app, uid: id },
        ScopeKind::Session => Scope::Session { app, sid: id },
        ScopeKind::Token => Scope::Token { app, jti: id },
    };
    let effect = match row.try_get("effect")? {
        "deactivated" => Effect::Deactivated,
        "issued_before" => Effect::IssuedBefore { before: row.try_get::<i64, _>("issued_before")? as u64 },
        label => return Err(unknown("effect", label)),
    };
    Ok((scope, effect))
}

fn unknown(column: &str, label: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("unknown {column} {label:?}").into())
}

/// Takes the steps that the store has not taken yet, all of them or none.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::new(path, error);
    let damaged = |reason: &str| StoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
    let found: i64 = if tables.iter().any(|table| table == "schema_version") {
        let version = sqlx::query_scalar("SELECT version FROM schema_version").fetch_optional(&mut *transaction);
        version.await.map_err(failed)?.ok_or_else(|| damaged("it does not say its version"))?
    } else if tables.is_empty() {
        let create = sqlx::raw_sql(
            "CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version (version) VALUES (0)",
        );
        create.execute(&mut *transaction).await.map_err(failed)?;
        0
    } else {
        return Err(damaged("it is the database of another program"));
    };
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    let taken = usize::try_from(found).map_err(|_| damaged("its version is negative"))?;
    for step in &MIGRATIONS[taken..] {
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed)?;
    }
    let update = sqlx::query("UPDATE schema_version SET version = $1").bind(known);
    update.execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

#[cfg(test)]
pub(crate) mod tests;

//! The tables, step by step, the same for both databases.

use sqlx::{AnyConnection, Connection};

use super::location::Dialect;
use super::{Location, StoreError};

/// The steps; a store's version is the number of steps that were taken. Never edited, only added to.
const MIGRATIONS: [&str; 3] = [
    "
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
    ",
    // `expires_at`: UNIX seconds, 0 for never. `changes`: the newest of them, for the relay.
    "
    ALTER TABLE restrictions ADD COLUMN expires_at BIGINT NOT NULL DEFAULT 0;
    CREATE INDEX restrictions_expires_at ON restrictions (expires_at) WHERE expires_at > 0;
    CREATE TABLE changes (
        seq BIGINT NOT NULL PRIMARY KEY,
        app TEXT NOT NULL,
        scope TEXT NOT NULL,
        id TEXT NOT NULL,
        effect TEXT NOT NULL,
        issued_before BIGINT NOT NULL,
        in_force BIGINT NOT NULL
    );
    CREATE TABLE source (id TEXT NOT NULL);
    CREATE TABLE leases (name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, until BIGINT NOT NULL);
    INSERT INTO leases (name, holder, until) VALUES ('relay', '', 0);
    ",
    // Times: UNIX seconds; `created_us`: microseconds, for the order. Empty text: not there. `hash`: SHA-256 of the
    // credential, in hexadecimal digits.
    "
    CREATE TABLE users (
        app TEXT NOT NULL,
        uid TEXT NOT NULL,
        name TEXT NOT NULL,
        folded TEXT NOT NULL,
        avatar TEXT NOT NULL,
        link TEXT NOT NULL,
        role TEXT NOT NULL,
        status_message TEXT NOT NULL,
        metadata TEXT NOT NULL,
        tags TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (app, uid)
    );
    CREATE TABLE auth_tokens (
        app TEXT NOT NULL,
        hash TEXT NOT NULL,
        uid TEXT NOT NULL,
        sid TEXT NOT NULL,
        created_us BIGINT NOT NULL,
        platform TEXT NOT NULL,
        user_agent TEXT NOT NULL,
        app_info TEXT NOT NULL,
        archived BIGINT NOT NULL,
        PRIMARY KEY (app, hash)
    );
    CREATE UNIQUE INDEX auth_tokens_sid ON auth_tokens (app, sid);
    CREATE INDEX auth_tokens_uid ON auth_tokens (app, uid, archived, created_us);
    CREATE TABLE api_keys (
        app TEXT NOT NULL,
        id TEXT NOT NULL,
        hash TEXT NOT NULL,
        name TEXT NOT NULL,
        scope TEXT NOT NULL,
        created_us BIGINT NOT NULL,
        PRIMARY KEY (app, id)
    );
    CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);
    ",
];

/// Keeps two processes that start together from taking the same step twice.
const POSTGRES_LOCK: &str = "SELECT CAST(pg_advisory_xact_lock(7309453672519041381) AS TEXT)";

/// Takes the steps that the store has not taken yet, all of them or none.
pub(super) async fn migrate(connection: &mut AnyConnection, location: &Location) -> Result<(), StoreError> {
    let failed = |error| StoreError::new(location, &error);
    let damaged = |reason: &str| StoreError::Damaged { store: location.to_string(), reason: reason.to_owned() };
    let dialect = location.dialect();
    let mut transaction = connection.begin_with(dialect.begin_write()).await.map_err(failed)?;
    if dialect == Dialect::Postgres {
        sqlx::query(POSTGRES_LOCK).execute(&mut *transaction).await.map_err(failed)?;
    }
    let tables: Vec<String> =
        sqlx::query_scalar(dialect.tables()).fetch_all(&mut *transaction).await.map_err(failed)?;
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
        return Err(StoreError::Newer { store: location.to_string(), found, known });
    }
    let taken = usize::try_from(found).map_err(|_| damaged("its version is negative"))?;
    for step in &MIGRATIONS[taken..] {
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed)?;
    }
    if taken < MIGRATIONS.len() {
        let update = sqlx::query("UPDATE schema_version SET version = $1").bind(known);
        update.execute(&mut *transaction).await.map_err(failed)?;
    }
    let source: Option<String> =
        sqlx::query_scalar("SELECT id FROM source").fetch_optional(&mut *transaction).await.map_err(failed)?;
    if source.is_none() {
        let insert = sqlx::query("INSERT INTO source (id) VALUES ($1)").bind(random_id());
        insert.execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// A name that no other store has.
///
/// # Panics
///
/// When the system has no randomness: nothing of it can be trusted then.
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    format!("{:016x}", u64::from_be_bytes(bytes))
}

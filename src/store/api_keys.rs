//! API keys that were made through the API, each for one app. Only a digest is kept.

use std::collections::HashSet;

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Arc, Change, Effect, Scope, Store, StoreError, Wanted};
use crate::control::ApiScope;

/// How many keys an app has at most.
pub(crate) const MAX_KEYS: usize = 25;

/// A key, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredKey {
    pub(crate) app: String,
    /// What tells it from others; no secret.
    pub(crate) id: String,
    /// SHA-256 of the key, in hexadecimal digits.
    pub(crate) hash: String,
    pub(crate) name: String,
    pub(crate) scope: ApiScope,
    /// Microseconds since 1970.
    pub(crate) created_us: u64,
}

/// Which key a call names.
#[derive(Debug, Clone)]
pub(crate) enum KeyName {
    /// By the digest of the key itself.
    Hash(String),
    /// By its id.
    Id(String),
}

impl KeyName {
    fn column(&self) -> (&'static str, &str) {
        match self {
            KeyName::Hash(hash) => ("hash", hash),
            KeyName::Id(id) => ("id", id),
        }
    }
}

const COLUMNS: &str = "app, id, hash, name, scope, created_us";

impl Store {
    /// Adds a key; one with full access opens the files of its app. Returns whether there was room, and the changes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn create_key(&self, key: StoredKey) -> Result<(bool, Vec<Option<Change>>), Arc<StoreError>> {
        self.transact(move |connection| {
            Box::pin(async move {
                let counting = sqlx::query_scalar("SELECT count(*) FROM api_keys WHERE app = $1").bind(&key.app);
                let count: i64 = counting.fetch_one(&mut *connection).await?;
                if count >= MAX_KEYS as i64 {
                    return Ok((false, Vec::new()));
                }
                let insert = sqlx::query(
                    "INSERT INTO api_keys (app, id, hash, name, scope, created_us) VALUES ($1, $2, $3, $4, $5, $6)",
                );
                let insert = insert.bind(&key.app).bind(&key.id).bind(&key.hash).bind(&key.name);
                insert.bind(key.scope.label()).bind(key.created_us as i64).execute(&mut *connection).await?;
                let opens = (key.scope == ApiScope::FullAccess).then(|| Wanted::impose(scope(&key), Effect::Exempt));
                Ok((true, opens.into_iter().collect()))
            })
        })
        .await
    }

    /// Returns the key with this digest, of whatever app.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn key_by_hash(&self, hash: &str) -> Result<Option<StoredKey>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE hash = $1");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(hash).fetch_optional(&self.0.pool).await;
        row.and_then(|row| row.as_ref().map(row_key).transpose()).map_err(|error| self.failed(&error))
    }

    /// Returns the digests of all keys of all apps.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn key_hashes(&self) -> Result<HashSet<String>, StoreError> {
        let hashes: Result<Vec<String>, _> =
            sqlx::query_scalar("SELECT hash FROM api_keys").fetch_all(&self.0.pool).await;
        hashes.map(HashSet::from_iter).map_err(|error| self.failed(&error))
    }

    /// Returns the keys of an app, the newest first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn keys(&self, app: &str) -> Result<Vec<StoredKey>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE app = $1 ORDER BY created_us DESC, id");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(app).fetch_all(&self.0.pool).await;
        rows.and_then(|rows| rows.iter().map(row_key).collect()).map_err(|error| self.failed(&error))
    }

    /// Renames a key. Returns it as it is then.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn rename_key(
        &self,
        app: &str,
        key: KeyName,
        name: String,
    ) -> Result<Option<StoredKey>, Arc<StoreError>> {
        let app = app.to_owned();
        let renamed = self.transact(move |connection| {
            Box::pin(async move {
                let (column, value) = key.column();
                let sql = format!("UPDATE api_keys SET name = $3 WHERE app = $1 AND {column} = $2 RETURNING {COLUMNS}");
                let row = sqlx::query(AssertSqlSafe(sql)).bind(app).bind(value).bind(name);
                let row = row.fetch_optional(&mut *connection).await?;
                Ok((row.as_ref().map(row_key).transpose()?, Vec::new()))
            })
        });
        renamed.await.map(|(key, _)| key)
    }

    /// Removes a key: no call and no file is opened with it any more. Returns whether there was one, and the changes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn delete_key(
        &self,
        app: &str,
        key: KeyName,
    ) -> Result<(Option<StoredKey>, Vec<Option<Change>>), Arc<StoreError>> {
        let app = app.to_owned();
        self.transact(move |connection| {
            Box::pin(async move {
                let (column, value) = key.column();
                let sql = format!("DELETE FROM api_keys WHERE app = $1 AND {column} = $2 RETURNING {COLUMNS}");
                let row = sqlx::query(AssertSqlSafe(sql)).bind(app).bind(value).fetch_optional(&mut *connection);
                let key = row.await?.as_ref().map(row_key).transpose()?;
                let closes = key.as_ref().map(|key| Wanted::lift(scope(key), Effect::Exempt));
                Ok((key, closes.into_iter().collect()))
            })
        })
        .await
    }
}

fn scope(key: &StoredKey) -> Scope {
    Scope::ApiKey { app: key.app.clone(), digest: key.hash.clone() }
}

fn row_key(row: &AnyRow) -> Result<StoredKey, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let label = text("scope")?;
    let scope = ApiScope::ALL.into_iter().find(|scope| scope.label() == label);
    let scope = scope.ok_or_else(|| sqlx::Error::Decode(format!("unknown scope {label:?}").into()))?;
    let created_us = row.try_get::<i64, _>("created_us")? as u64;
    Ok(StoredKey { app: text("app")?, id: text("id")?, hash: text("hash")?, name: text("name")?, scope, created_us })
}

//! The whole state, read part by part.

use futures_util::TryStreamExt;
use sqlx::{AnyPool, Connection};
use tokio::sync::{mpsc, oneshot};

use super::location::Dialect;
use super::rows::row_scope;
use super::{Location, StoreError};
use crate::restrictions::Entry;

/// Entries in one part.
const PART: usize = 4096;

/// A state that is being read.
#[derive(Debug)]
pub struct Snapshot {
    /// The store's name.
    pub source: String,
    /// The newest change in it.
    pub seq: u64,
    /// How many entries it has.
    pub expected: usize,
    parts: mpsc::Receiver<Result<Option<Vec<Entry>>, StoreError>>,
    location: Location,
}

impl Snapshot {
    pub(super) async fn begin(pool: AnyPool, location: Location) -> Result<Snapshot, StoreError> {
        let (begin, begun) = oneshot::channel();
        let (sender, parts) = mpsc::channel(2);
        let mut snapshot = Snapshot { source: String::new(), seq: 0, expected: 0, parts, location: location.clone() };
        tokio::spawn(async move {
            if let Err(error) = read_state(&pool, location.dialect(), begin, &sender).await {
                let _ = sender.send(Err(StoreError::new(&location, &error))).await;
            }
        });
        match begun.await {
            Ok((source, seq, expected)) => {
                (snapshot.source, snapshot.seq, snapshot.expected) = (source, seq, expected);
                Ok(snapshot)
            }
            Err(_) => match snapshot.next().await {
                Err(error) => Err(error),
                Ok(_) => Err(snapshot.broken_off()),
            },
        }
    }

    /// Returns the next part; `None` when the state is complete. Cancel-safe.
    ///
    /// # Errors
    ///
    /// When the database fails: what came so far is not the state.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        match self.parts.recv().await {
            Some(part) => part,
            None => Err(self.broken_off()),
        }
    }

    fn broken_off(&self) -> StoreError {
        StoreError::Failed { store: self.location.to_string(), cause: "reading the state broke off".to_owned() }
    }
}

async fn read_state(
    pool: &AnyPool,
    dialect: Dialect,
    begin: oneshot::Sender<(String, u64, usize)>,
    parts: &mpsc::Sender<Result<Option<Vec<Entry>>, StoreError>>,
) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    // One transaction, so that all of it is of one moment.
    let mut transaction = connection.begin_with(dialect.begin_read()).await?;
    let seq: i64 = sqlx::query_scalar("SELECT seq FROM counter").fetch_one(&mut *transaction).await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM restrictions").fetch_one(&mut *transaction).await?;
    let source: String = sqlx::query_scalar("SELECT id FROM source").fetch_one(&mut *transaction).await?;
    if begin.send((source, seq as u64, usize::try_from(count).unwrap_or(0))).is_err() {
        return Ok(());
    }
    let mut rows =
        sqlx::query("SELECT app, scope, id, effect, issued_before FROM restrictions").fetch(&mut *transaction);
    let mut part = Vec::with_capacity(PART);
    while let Some(row) = rows.try_next().await? {
        let (scope, effect) = row_scope(&row)?;
        part.push(Entry { scope, effect, in_force: true });
        if part.len() == PART
            && parts.send(Ok(Some(std::mem::replace(&mut part, Vec::with_capacity(PART))))).await.is_err()
        {
            return Ok(());
        }
    }
    drop(rows);
    transaction.commit().await?;
    let _ = parts.send(Ok(Some(part))).await;
    let _ = parts.send(Ok(None)).await;
    Ok(())
}

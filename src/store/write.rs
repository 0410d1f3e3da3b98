//! One transaction for all calls that wait: what each wants is compared with what is there, and only what alters
//! something becomes a change with the next `seq`. What a call does to other tables is part of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Row};
use tokio::sync::{mpsc, oneshot, watch};

use super::rows::{parts_of, row_scope};
use super::{Action, Location, StoreError, Wanted};
use crate::restrictions::{Change, Effect, EffectKind, Scope};

/// Rows that one statement takes: their parameters stay below the limits of both databases.
const ROWS: usize = 1000;

/// Rows that one `DELETE` takes: SQLite looks each of them up in the index as long as they are joined by `OR`, and reads
/// the whole table when they are a list.
const ALTERNATIVES: usize = 100;

/// Changes that one transaction makes at most, unless one call wants more.
const BATCH: usize = 4000;

/// How long a commit may take, from its first statement on. Longer than either database waits for a lock, so that this
/// is heard from one that does not answer at all: a server that has vanished, a disk that stands still.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// Changes that are kept for a relay that lags; one that is further behind loads the whole state.
pub(super) const KEPT_CHANGES: u64 = 500_000;

/// How often the older ones are thrown away, in changes.
const PRUNE_EVERY: u64 = 10_000;

/// One effect on one scope, as rows are told apart.
type Key = (Scope, EffectKind);

/// What the store says of one effect on one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// The time of the effect, 0 where it has none.
    time: u64,
    expires_at: u64,
    seq: u64,
}

/// What a transaction does to one row.
struct Slot {
    before: Option<Held>,
    after: Option<Held>,
}

/// What a call does to other tables, by itself in the transaction; returns what it wants of the restrictions then.
pub(super) type Work =
    Box<dyn for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<Vec<Wanted>, sqlx::Error>> + Send>;

/// A call that waits.
pub(super) struct Call {
    pub(super) wanted: Vec<Wanted>,
    pub(super) work: Option<Work>,
    pub(super) answer: oneshot::Sender<Result<Vec<Option<Change>>, Arc<StoreError>>>,
}

/// Answers calls until there is nobody left to call, as many as wait in one transaction.
pub(super) async fn answer(
    pool: AnyPool,
    location: Location,
    mut waiting: mpsc::Receiver<Call>,
    changed: watch::Sender<u64>,
) {
    while let Some(first) = waiting.recv().await {
        let mut answers = vec![first.answer];
        let mut count = first.wanted.len();
        let mut calls = vec![(first.work, first.wanted)];
        while count < BATCH
            && let Ok(call) = waiting.try_recv()
        {
            count += call.wanted.len().max(1);
            calls.push((call.work, call.wanted));
            answers.push(call.answer);
        }
        let committed = commit(&pool, &location, calls).await;
        // One that failed may have been made all the same.
        changed.send_modify(|times| *times += 1);
        match committed {
            Ok(changes) => {
                for (answer, changes) in answers.into_iter().zip(changes) {
                    let _ = answer.send(Ok(changes));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for answer in answers {
                    let _ = answer.send(Err(Arc::clone(&error)));
                }
            }
        }
    }
}

/// Makes what `calls` want, in their order, all or nothing. Returns for each call what [`Store::apply`] returns.
///
/// [`Store::apply`]: super::Store::apply
async fn commit(
    pool: &AnyPool,
    location: &Location,
    calls: Vec<(Option<Work>, Vec<Wanted>)>,
) -> Result<Vec<Vec<Option<Change>>>, StoreError> {
    let mut connection = pool.acquire().await.map_err(|error| StoreError::new(location, &error))?;
    if let Ok(written) = tokio::time::timeout(COMMIT_TIMEOUT, write(&mut connection, location, calls)).await {
        return written.map_err(|error| StoreError::new(location, &error));
    }
    // Not given back: the pool would wait for its answer.
    drop(connection.detach());
    let cause = format!("no answer in {} s; whether it has committed is not known", COMMIT_TIMEOUT.as_secs());
    Err(StoreError::Failed { store: location.to_string(), cause })
}

async fn write(
    connection: &mut AnyConnection,
    location: &Location,
    calls: Vec<(Option<Work>, Vec<Wanted>)>,
) -> Result<Vec<Vec<Option<Change>>>, sqlx::Error> {
    let dialect = location.dialect();
    let mut transaction = connection.begin_with(dialect.begin_write()).await?;
    let before: i64 = sqlx::query_scalar(dialect.lock_counter()).fetch_one(&mut *transaction).await?;
    let mut all = Vec::with_capacity(calls.len());
    for (work, mut wanted) in calls {
        if let Some(work) = work {
            wanted.extend(work(&mut transaction).await?);
        }
        all.push(wanted);
    }
    let calls = all;
    let mut rows = read(&mut transaction, calls.iter().flatten()).await?;
    let mut seq = before as u64;
    let answers: Vec<Vec<Option<Change>>> =
        calls.iter().map(|call| call.iter().map(|wanted| alter(&mut rows, wanted, &mut seq)).collect()).collect();
    upsert(&mut transaction, &rows).await?;
    delete(&mut transaction, &rows).await?;
    if seq == before as u64 {
        // An expiry may have moved without a change of its own.
        transaction.commit().await?;
        return Ok(answers);
    }
    let changes: Vec<&Change> = answers.iter().flatten().flatten().collect();
    record(&mut transaction, &changes).await?;
    sqlx::query("UPDATE counter SET seq = $1").bind(seq as i64).execute(&mut *transaction).await?;
    if before as u64 / PRUNE_EVERY != seq / PRUNE_EVERY {
        let oldest = seq.saturating_sub(KEPT_CHANGES) as i64;
        sqlx::query("DELETE FROM changes WHERE seq <= $1").bind(oldest).execute(&mut *transaction).await?;
    }
    if let Some(notify) = dialect.notify() {
        sqlx::raw_sql(notify).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(answers)
}

/// Reads the rows that are spoken of.
async fn read(
    connection: &mut AnyConnection,
    wanted: impl Iterator<Item = &Wanted>,
) -> Result<HashMap<Key, Slot>, sqlx::Error> {
    let mut rows: HashMap<Key, Slot> =
        wanted.map(|wanted| (key(&wanted.scope, wanted.effect), Slot { before: None, after: None })).collect();
    let keys: Vec<Key> = rows.keys().cloned().collect();
    for keys in keys.chunks(ROWS) {
        let sql = format!(
            "WITH wanted (app, scope, id, effect) AS (VALUES {})
             SELECT r.app, r.scope, r.id, r.effect, r.issued_before, r.expires_at, r.seq
             FROM wanted JOIN restrictions r ON r.app = wanted.app AND r.scope = wanted.scope AND r.id = wanted.id
             AND r.effect = wanted.effect",
            tuples(keys.len(), 4)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(keys.len() == 1 || keys.len() == ROWS);
        for (scope, effect) in keys {
            let (app, kind, id) = parts_of(scope);
            query = query.bind(app).bind(kind).bind(id).bind(effect.label());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let (scope, effect) = row_scope(&row)?;
            let number = |column: &str| Ok::<u64, sqlx::Error>(row.try_get::<i64, _>(column)? as u64);
            let held = Held { time: number("issued_before")?, expires_at: number("expires_at")?, seq: number("seq")? };
            rows.insert(key(&scope, effect), Slot { before: Some(held), after: Some(held) });
        }
    }
    Ok(rows)
}

/// Does what is wanted to the row in memory; returns the change, when it is one.
fn alter(rows: &mut HashMap<Key, Slot>, wanted: &Wanted, seq: &mut u64) -> Option<Change> {
    let effect = storable(wanted.effect);
    let row = rows.get_mut(&key(&wanted.scope, effect))?;
    let time = effect.time().unwrap_or(0);
    let in_force = match (wanted.action, row.after) {
        (Action::Impose { expires_at }, held) => {
            let mut expires_at = expires_at.map_or(0, |at| at.clamp(1, i64::MAX as u64));
            if let Some(held) = held {
                // The later of both, and never is the latest: what one call has killed another does not revive.
                expires_at = if held.expires_at == 0 || expires_at == 0 { 0 } else { held.expires_at.max(expires_at) };
                let is_so = match effect {
                    // A later flush holds what an earlier one asks for.
                    Effect::IssuedBefore { .. } => held.time >= time,
                    _ => held.time == time,
                };
                if is_so {
                    row.after = Some(Held { expires_at, ..held });
                    return None;
                }
            }
            row.after = Some(Held { time, expires_at, seq: *seq + 1 });
            true
        }
        (Action::Lift, Some(_)) => {
            row.after = None;
            false
        }
        (Action::Expire { now }, Some(held)) if (1..=now).contains(&held.expires_at) => {
            row.after = None;
            false
        }
        (Action::Lift | Action::Expire { .. }, _) => return None,
    };
    *seq += 1;
    Some(Change { seq: *seq, scope: wanted.scope.clone(), effect, in_force })
}

async fn upsert(connection: &mut AnyConnection, rows: &HashMap<Key, Slot>) -> Result<(), sqlx::Error> {
    let altered: Vec<(&Key, Held)> = rows
        .iter()
        .filter(|(_, row)| row.after != row.before)
        .filter_map(|(key, row)| Some((key, row.after?)))
        .collect();
    for altered in altered.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO restrictions (app, scope, id, effect, issued_before, expires_at, seq) VALUES {}
             ON CONFLICT (app, scope, id, effect) DO UPDATE SET
             issued_before = excluded.issued_before, expires_at = excluded.expires_at, seq = excluded.seq",
            tuples(altered.len(), 7)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(altered.len() == 1 || altered.len() == ROWS);
        for ((scope, effect), held) in altered {
            let (app, kind, id) = parts_of(scope);
            query = query.bind(app).bind(kind).bind(id).bind(effect.label());
            query = query.bind(held.time as i64).bind(held.expires_at as i64).bind(held.seq as i64);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn delete(connection: &mut AnyConnection, rows: &HashMap<Key, Slot>) -> Result<(), sqlx::Error> {
    let gone: Vec<&Key> =
        rows.iter().filter(|(_, row)| row.before.is_some() && row.after.is_none()).map(|(key, _)| key).collect();
    for gone in gone.chunks(ALTERNATIVES) {
        let one = |at: usize| {
            let [app, scope, id, effect] = [1, 2, 3, 4].map(|column| 4 * at + column);
            format!("(app = ${app} AND scope = ${scope} AND id = ${id} AND effect = ${effect})")
        };
        let any = (0..gone.len()).map(one).collect::<Vec<_>>().join(" OR ");
        let sql = format!("DELETE FROM restrictions WHERE {any}");
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(gone.len() == 1 || gone.len() == ALTERNATIVES);
        for (scope, effect) in gone {
            let (app, kind, id) = parts_of(scope);
            query = query.bind(app).bind(kind).bind(id).bind(effect.label());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn record(connection: &mut AnyConnection, changes: &[&Change]) -> Result<(), sqlx::Error> {
    for changes in changes.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO changes (seq, app, scope, id, effect, issued_before, in_force) VALUES {}",
            tuples(changes.len(), 7)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(changes.len() == 1 || changes.len() == ROWS);
        for change in changes {
            let (app, kind, id) = parts_of(&change.scope);
            let time = change.effect.time().unwrap_or(0) as i64;
            query = query.bind(change.seq as i64).bind(app).bind(kind).bind(id);
            query = query.bind(change.effect.kind().label()).bind(time).bind(i64::from(change.in_force));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// `($1,$2),($3,$4)`: `rows` tuples of `columns` parameters.
fn tuples(rows: usize, columns: usize) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { "," };
            let _ = write!(text, "{comma}${}", row * columns + column + 1);
        }
        text.push(')');
    }
    text
}

fn key(scope: &Scope, effect: Effect) -> Key {
    (scope.clone(), effect.kind())
}

/// An effect that the database gives back as it took it: times end where a signed number does.
fn storable(effect: Effect) -> Effect {
    effect.kind().at(effect.time().unwrap_or(0).min(i64::MAX as u64))
}

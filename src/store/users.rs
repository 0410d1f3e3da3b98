//! The users of an app, as platforms register them. Whether one is deactivated is said by the restrictions alone.

use std::collections::HashMap;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::auth_tokens::{self, NewToken};
use super::{Arc, Change, Store, StoreError};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct User {
    pub(crate) uid: String,
    pub(crate) profile: Profile,
    /// UNIX seconds.
    pub(crate) created_at: u64,
    /// UNIX seconds; 0 until it was changed.
    pub(crate) updated_at: u64,
    pub(crate) state: UserState,
}

/// What the restrictions say of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct UserState {
    pub(crate) is_deactivated: bool,
    /// UNIX seconds: what was issued before is dead.
    pub(crate) flushed: u64,
}

/// What a platform says of a user; empty text is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) avatar: String,
    pub(crate) link: String,
    pub(crate) role: String,
    pub(crate) status_message: String,
    /// A JSON object.
    pub(crate) metadata: String,
    /// A JSON array of strings.
    pub(crate) tags: String,
}

/// Which users a list is to have.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserQuery {
    /// What the uid or the name begins with, without regard to case.
    pub(crate) search: String,
    /// One of these roles; none: any.
    pub(crate) roles: Vec<String>,
    /// Each of these tags.
    pub(crate) tags: Vec<String>,
    pub(crate) deactivated: Deactivated,
    pub(crate) page: Page,
}

/// Whether deactivated users are in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Deactivated {
    #[default]
    Without,
    With,
    Only,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Page {
    /// Rows in a part.
    pub(crate) size: u32,
    /// Which part, from 1.
    pub(crate) number: u32,
}

impl Page {
    pub(super) fn offset(self) -> i64 {
        i64::from(self.size) * (i64::from(self.number) - 1)
    }
}

const COLUMNS: &str = "u.uid, u.name, u.avatar, u.link, u.role, u.status_message, u.metadata, u.tags, u.created_at, \
                       u.updated_at";

/// What tells deactivated users from others, in a query over `users u`.
pub(super) const IS_DEACTIVATED: &str = "EXISTS (SELECT 1 FROM restrictions r WHERE r.app = u.app AND r.scope = 'user' AND r.id = u.uid AND \
     r.effect = 'deactivated')";

/// What the restrictions say, as columns of a query over `users u`.
const STATE: &str = "\
    (SELECT count(*) FROM restrictions r WHERE r.app = u.app AND r.scope = 'user' AND r.id = u.uid \
     AND r.effect = 'deactivated') AS deactivated, \
    COALESCE((SELECT r.issued_before FROM restrictions r WHERE r.app = u.app AND r.scope = 'user' AND r.id = u.uid \
     AND r.effect = 'issued_before'), 0) AS flushed";

impl Store {
    /// Registers a user, with an auth token where one is given. Returns whether there was none of that uid.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn create_user(
        &self,
        app: &str,
        user: User,
        token: Option<NewToken>,
    ) -> Result<bool, Arc<StoreError>> {
        let app = app.to_owned();
        let created = self.transact(move |connection| {
            Box::pin(async move {
                let insert = sqlx::query(
                    "INSERT INTO users (app, uid, name, folded, avatar, link, role, status_message, metadata, tags,
                     created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)
                     ON CONFLICT (app, uid) DO NOTHING",
                );
                let Profile { name, avatar, link, role, status_message, metadata, tags } = user.profile;
                let insert = insert.bind(&app).bind(&user.uid).bind(&name).bind(name.to_lowercase());
                let insert = insert.bind(avatar).bind(link).bind(role).bind(status_message).bind(metadata).bind(tags);
                let inserted = insert.bind(user.created_at as i64).execute(&mut *connection).await?;
                if inserted.rows_affected() == 0 {
                    return Ok((false, Vec::new()));
                }
                let wanted = match token {
                    Some(token) => auth_tokens::insert(connection, &app, &user.uid, token).await?,
                    None => Vec::new(),
                };
                Ok((true, wanted))
            })
        });
        created.await.map(|(created, _)| created)
    }

    /// Returns a user.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn user(&self, app: &str, uid: &str) -> Result<Option<User>, StoreError> {
        let read = async {
            let mut connection = self.0.pool.acquire().await?;
            find(&mut connection, app, uid).await
        };
        read.await.map_err(|error| self.failed(&error))
    }

    /// Changes a user's profile by what `change` makes of it. Returns the user as it is then; `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn update_user(
        &self,
        app: &str,
        uid: &str,
        now: u64,
        change: impl FnOnce(&mut Profile) + Send + 'static,
    ) -> Result<Option<User>, Arc<StoreError>> {
        let (app, uid) = (app.to_owned(), uid.to_owned());
        let updated = self.transact(move |connection| {
            Box::pin(async move {
                let Some(mut user) = find(connection, &app, &uid).await? else { return Ok((None, Vec::new())) };
                change(&mut user.profile);
                user.updated_at = now;
                let update = sqlx::query(
                    "UPDATE users SET name = $3, folded = $4, avatar = $5, link = $6, role = $7, status_message = $8,
                     metadata = $9, tags = $10, updated_at = $11 WHERE app = $1 AND uid = $2",
                );
                let Profile { name, avatar, link, role, status_message, metadata, tags } = &user.profile;
                let update = update.bind(&app).bind(&uid).bind(name).bind(name.to_lowercase()).bind(avatar).bind(link);
                let update = update.bind(role).bind(status_message).bind(metadata).bind(tags).bind(now as i64);
                update.execute(&mut *connection).await?;
                Ok((Some(user), Vec::new()))
            })
        });
        updated.await.map(|(user, _)| user)
    }

    /// Returns the users that `query` asks for, in the order of their uids, and how many there are on all pages.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn users(&self, app: &str, query: &UserQuery) -> Result<(Vec<User>, u64), StoreError> {
        let read = async {
            let (condition, values) = condition(app, query);
            let sql = format!("SELECT count(*) FROM users u WHERE {condition}");
            let mut counting = sqlx::query_scalar(AssertSqlSafe(sql));
            for value in &values {
                counting = counting.bind(value);
            }
            let total: i64 = counting.fetch_one(&self.0.pool).await?;
            let (limit, offset) = (values.len() + 1, values.len() + 2);
            let sql = format!(
                "SELECT {COLUMNS}, {STATE}
                 FROM users u WHERE {condition} ORDER BY u.uid LIMIT ${limit} OFFSET ${offset}"
            );
            let mut listing = sqlx::query(AssertSqlSafe(sql));
            for value in &values {
                listing = listing.bind(value);
            }
            let rows =
                listing.bind(i64::from(query.page.size)).bind(query.page.offset()).fetch_all(&self.0.pool).await?;
            Ok((rows.iter().map(row_user).collect::<Result<_, _>>()?, total as u64))
        };
        read.await.map_err(|error: sqlx::Error| self.failed(&error))
    }

    /// Returns those of `uids` that are registered, and what the restrictions say of each.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn known_users(
        &self,
        app: &str,
        uids: &[String],
    ) -> Result<HashMap<String, UserState>, StoreError> {
        // One parameter and one row, however many they are.
        let dialect = self.0.location.dialect();
        let (gathered, listed) = (dialect.gathered(), dialect.listed());
        let sql = format!(
            "SELECT {gathered} FROM (SELECT u.uid, {STATE}
             FROM {listed} CROSS JOIN users u WHERE u.app = $1 AND u.uid = listed.value) AS known"
        );
        let listed = serde_json::Value::from(uids).to_string();
        let known = sqlx::query_scalar(AssertSqlSafe(sql)).bind(app).bind(listed).fetch_one(&self.0.pool);
        let known: String = known.await.map_err(|error| self.failed(&error))?;
        let known: Vec<(String, u64, u64)> =
            serde_json::from_str(&known).map_err(|error| self.failed(&decoded(error)))?;
        let state = |deactivated, flushed| UserState { is_deactivated: deactivated != 0, flushed };
        Ok(known.into_iter().map(|(uid, deactivated, flushed)| (uid, state(deactivated, flushed))).collect())
    }

    /// Forgets a user and the user's auth tokens; what was issued until `now`, in UNIX seconds, is dead. A deactivation
    /// stays. Returns whether there was one, and the changes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn remove_user(
        &self,
        app: &str,
        uid: &str,
        now: u64,
        sessions_until: u64,
    ) -> Result<(bool, Vec<Option<Change>>), Arc<StoreError>> {
        let (app, uid) = (app.to_owned(), uid.to_owned());
        self.transact(move |connection| {
            Box::pin(async move {
                let delete = sqlx::query("DELETE FROM users WHERE app = $1 AND uid = $2").bind(&app).bind(&uid);
                if delete.execute(&mut *connection).await?.rows_affected() == 0 {
                    return Ok((false, Vec::new()));
                }
                Ok((true, auth_tokens::flush(connection, app, uid, now, sessions_until).await?))
            })
        })
        .await
    }
}

fn decoded(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// The condition of a query for a list, and the values for its parameters.
fn condition(app: &str, query: &UserQuery) -> (String, Vec<String>) {
    let mut values = vec![app.to_owned()];
    let mut terms = vec!["u.app = $1".to_owned()];
    let mut parameter = |value: String| {
        values.push(value);
        values.len()
    };
    if !query.search.is_empty() {
        let at = parameter(format!("{}%", like(&query.search.to_lowercase())));
        terms.push(format!("(lower(u.uid) LIKE ${at} ESCAPE '!' OR u.folded LIKE ${at} ESCAPE '!')"));
    }
    if !query.roles.is_empty() {
        let places: Vec<String> = query.roles.iter().map(|role| format!("${}", parameter(role.clone()))).collect();
        terms.push(format!("u.role IN ({})", places.join(",")));
    }
    for tag in &query.tags {
        let quoted = serde_json::Value::from(tag.as_str()).to_string();
        let at = parameter(format!("%{}%", like(&quoted)));
        terms.push(format!("u.tags LIKE ${at} ESCAPE '!'"));
    }
    match query.deactivated {
        Deactivated::Without => terms.push(format!("NOT {IS_DEACTIVATED}")),
        Deactivated::With => {}
        Deactivated::Only => terms.push(IS_DEACTIVATED.to_owned()),
    }
    (terms.join(" AND "), values)
}

/// `text` as a pattern that only matches itself.
fn like(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

async fn find(connection: &mut AnyConnection, app: &str, uid: &str) -> Result<Option<User>, sqlx::Error> {
    let sql = format!("SELECT {COLUMNS}, {STATE} FROM users u WHERE u.app = $1 AND u.uid = $2");
    let row = sqlx::query(AssertSqlSafe(sql)).bind(app).bind(uid).fetch_optional(connection).await?;
    row.as_ref().map(row_user).transpose()
}

fn row_user(row: &AnyRow) -> Result<User, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let number = |column: &str| row.try_get::<i64, _>(column);
    let profile = Profile {
        name: text("name")?,
        avatar: text("avatar")?,
        link: text("link")?,
        role: text("role")?,
        status_message: text("status_message")?,
        metadata: text("metadata")?,
        tags: text("tags")?,
    };
    Ok(User {
        uid: text("uid")?,
        profile,
        created_at: number("created_at")? as u64,
        updated_at: number("updated_at")? as u64,
        state: row_state(row)?,
    })
}

fn row_state(row: &AnyRow) -> Result<UserState, sqlx::Error> {
    let number = |column: &str| row.try_get::<i64, _>(column);
    Ok(UserState { is_deactivated: number("deactivated")? != 0, flushed: number("flushed")? as u64 })
}

/// Whether there is a user, within a transaction.
pub(super) async fn exists(connection: &mut AnyConnection, app: &str, uid: &str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("SELECT uid FROM users WHERE app = $1 AND uid = $2").bind(app).bind(uid);
    Ok(found.fetch_optional(connection).await?.is_some())
}

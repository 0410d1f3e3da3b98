//! Auth tokens: what a user logs in with. Each is a session; its FATs die with it.
//!
//! Only a digest is kept: whoever reads the database cannot log in with what it says.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::users::{IS_DEACTIVATED, Page, User, exists};
use super::{Action, Arc, Change, Effect, Scope, Store, StoreError, Wanted};

/// How many of a user's auth tokens live: the newest.
pub(crate) const LIVE_TOKENS: i64 = 100;

/// How many of those that live no longer are kept for the record.
const ARCHIVED_TOKENS: i64 = 100;

/// An auth token, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthToken {
    pub(crate) uid: String,
    /// The session, as FATs name it.
    pub(crate) sid: String,
    /// Microseconds since 1970.
    pub(crate) created_us: u64,
    pub(crate) details: TokenDetails,
}

/// What a client says of itself; empty text is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TokenDetails {
    pub(crate) platform: String,
    pub(crate) user_agent: String,
    /// A JSON object.
    pub(crate) app_info: String,
}

/// An auth token that is to be.
#[derive(Debug, Clone)]
pub(crate) struct NewToken {
    /// SHA-256 of the token, in hexadecimal digits.
    pub(crate) hash: String,
    pub(crate) sid: String,
    /// Microseconds since 1970.
    pub(crate) created_us: u64,
    pub(crate) details: TokenDetails,
    /// UNIX seconds at which no FAT of a session that ends now can be alive any more.
    pub(crate) sessions_until: u64,
}

/// Which of a user's auth tokens a call names.
#[derive(Debug, Clone)]
pub(crate) enum TokenName {
    /// By the digest of the token itself.
    Hash(String),
    /// By its session.
    Sid(String),
}

impl TokenName {
    fn column(&self) -> (&'static str, &str) {
        match self {
            TokenName::Hash(hash) => ("hash", hash),
            TokenName::Sid(sid) => ("sid", sid),
        }
    }
}

const COLUMNS: &str = "t.uid, t.sid, t.created_us, t.platform, t.user_agent, t.app_info";

impl Store {
    /// Makes an auth token of a user who exists and is not deactivated; the oldest ends where there would be too many.
    /// Returns whether there is such a user, and the changes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn create_token(
        &self,
        app: &str,
        uid: &str,
        token: NewToken,
    ) -> Result<(bool, Vec<Option<Change>>), Arc<StoreError>> {
        let (app, uid) = (app.to_owned(), uid.to_owned());
        self.transact(move |connection| {
            Box::pin(async move {
                let sql = format!("SELECT u.uid FROM users u WHERE u.app = $1 AND u.uid = $2 AND NOT {IS_DEACTIVATED}");
                let found = sqlx::query(AssertSqlSafe(sql)).bind(&app).bind(&uid);
                if found.fetch_optional(&mut *connection).await?.is_none() {
                    return Ok((false, Vec::new()));
                }
                Ok((true, insert(connection, &app, &uid, token).await?))
            })
        })
        .await
    }

    /// Returns the live auth token with this digest and its user, unless that one is deactivated.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn session(&self, app: &str, hash: &str) -> Result<Option<(AuthToken, User)>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM auth_tokens t WHERE t.app = $1 AND t.hash = $2 AND t.archived = 0");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(app).bind(hash).fetch_optional(&self.0.pool).await;
        let token = row.and_then(|row| row.as_ref().map(row_token).transpose()).map_err(|error| self.failed(&error))?;
        let Some(token) = token else { return Ok(None) };
        let user = self.user(app, &token.uid).await?.filter(|user| !user.state.is_deactivated);
        Ok(user.map(|user| (token, user)))
    }

    /// Returns one of a user's live auth tokens.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn token(&self, app: &str, uid: &str, name: &TokenName) -> Result<Option<AuthToken>, StoreError> {
        let read = async {
            let mut connection = self.0.pool.acquire().await?;
            find(&mut connection, app, uid, name).await
        };
        read.await.map_err(|error| self.failed(&error))
    }

    /// Returns a user's live auth tokens, the newest first, and how many there are.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn tokens(&self, app: &str, uid: &str, page: Page) -> Result<(Vec<AuthToken>, u64), StoreError> {
        let read = async {
            let counting = "SELECT count(*) FROM auth_tokens WHERE app = $1 AND uid = $2 AND archived = 0";
            let total: i64 = sqlx::query_scalar(counting).bind(app).bind(uid).fetch_one(&self.0.pool).await?;
            let sql = format!(
                "SELECT {COLUMNS} FROM auth_tokens t WHERE t.app = $1 AND t.uid = $2 AND t.archived = 0
                 ORDER BY t.created_us DESC, t.sid LIMIT $3 OFFSET $4"
            );
            let rows = sqlx::query(AssertSqlSafe(sql)).bind(app).bind(uid);
            let rows = rows.bind(i64::from(page.size)).bind(page.offset()).fetch_all(&self.0.pool).await?;
            Ok((rows.iter().map(row_token).collect::<Result<_, _>>()?, total as u64))
        };
        read.await.map_err(|error: sqlx::Error| self.failed(&error))
    }

    /// Changes what is said of an auth token. Returns it as it is then.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn update_token(
        &self,
        app: &str,
        uid: &str,
        name: TokenName,
        change: impl FnOnce(&mut TokenDetails) + Send + 'static,
    ) -> Result<Option<AuthToken>, Arc<StoreError>> {
        let (app, uid) = (app.to_owned(), uid.to_owned());
        let updated = self.transact(move |connection| {
            Box::pin(async move {
                let Some(mut token) = find(connection, &app, &uid, &name).await? else { return Ok((None, Vec::new())) };
                change(&mut token.details);
                let update = sqlx::query(
                    "UPDATE auth_tokens SET platform = $3, user_agent = $4, app_info = $5 WHERE app = $1 AND sid = $2",
                );
                let TokenDetails { platform, user_agent, app_info } = &token.details;
                let update = update.bind(&app).bind(&token.sid).bind(platform).bind(user_agent).bind(app_info);
                update.execute(&mut *connection).await?;
                Ok((Some(token), Vec::new()))
            })
        });
        updated.await.map(|(token, _)| token)
    }

    /// Ends one session. Returns whether there was such an auth token, and the changes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn delete_token(
        &self,
        app: &str,
        uid: &str,
        name: TokenName,
        sessions_until: u64,
    ) -> Result<(bool, Vec<Option<Change>>), Arc<StoreError>> {
        let (app, uid) = (app.to_owned(), uid.to_owned());
        self.transact(move |connection| {
            Box::pin(async move {
                let (column, value) = name.column();
                let sql = format!(
                    "DELETE FROM auth_tokens WHERE app = $1 AND uid = $2 AND {column} = $3 AND archived = 0 RETURNING sid"
                );
                let deleted = sqlx::query_scalar(AssertSqlSafe(sql)).bind(&app).bind(&uid).bind(value);
                let sids: Vec<String> = deleted.fetch_all(&mut *connection).await?;
                Ok((!sids.is_empty(), sessions_end(&app, sids, sessions_until)))
            })
        })
        .await
    }

    /// Ends every session of a user; what was issued until `now`, in UNIX seconds, is dead. Returns whether there is such a user, and the changes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn flush_tokens(
        &self,
        app: &str,
        uid: &str,
        now: u64,
        sessions_until: u64,
    ) -> Result<(bool, Vec<Option<Change>>), Arc<StoreError>> {
        let (app, uid) = (app.to_owned(), uid.to_owned());
        self.transact(move |connection| {
            Box::pin(async move {
                if !exists(connection, &app, &uid).await? {
                    return Ok((false, Vec::new()));
                }
                Ok((true, flush(connection, app, uid, now, sessions_until).await?))
            })
        })
        .await
    }
}

async fn find(
    connection: &mut AnyConnection,
    app: &str,
    uid: &str,
    name: &TokenName,
) -> Result<Option<AuthToken>, sqlx::Error> {
    let (column, value) = name.column();
    let sql = format!(
        "SELECT {COLUMNS} FROM auth_tokens t WHERE t.app = $1 AND t.uid = $2 AND t.{column} = $3 AND t.archived = 0"
    );
    let row = sqlx::query(AssertSqlSafe(sql)).bind(app).bind(uid).bind(value).fetch_optional(connection).await?;
    row.as_ref().map(row_token).transpose()
}

/// Adds a token; returns how the sessions end that are too many then.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    app: &str,
    uid: &str,
    token: NewToken,
) -> Result<Vec<Wanted>, sqlx::Error> {
    let insert = sqlx::query(
        "INSERT INTO auth_tokens (app, hash, uid, sid, created_us, platform, user_agent, app_info, archived)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)",
    );
    let TokenDetails { platform, user_agent, app_info } = token.details;
    let insert = insert.bind(app).bind(token.hash).bind(uid).bind(&token.sid).bind(token.created_us as i64);
    insert.bind(platform).bind(user_agent).bind(app_info).execute(&mut *connection).await?;
    // The new one lives, whatever the clock says of the others.
    let archive = sqlx::query_scalar(
        "UPDATE auth_tokens SET archived = 1 WHERE app = $1 AND sid IN (
             SELECT sid FROM auth_tokens WHERE app = $1 AND uid = $2 AND archived = 0 AND sid <> $3
             ORDER BY created_us DESC, sid LIMIT 1000 OFFSET $4)
         RETURNING sid",
    );
    let archive = archive.bind(app).bind(uid).bind(&token.sid).bind(LIVE_TOKENS - 1);
    let archived: Vec<String> = archive.fetch_all(&mut *connection).await?;
    if !archived.is_empty() {
        let forget = sqlx::query(
            "DELETE FROM auth_tokens WHERE app = $1 AND sid IN (
                 SELECT sid FROM auth_tokens WHERE app = $1 AND uid = $2 AND archived = 1
                 ORDER BY created_us DESC, sid LIMIT 1000 OFFSET $3)",
        );
        forget.bind(app).bind(uid).bind(ARCHIVED_TOKENS).execute(&mut *connection).await?;
    }
    Ok(sessions_end(app, archived, token.sessions_until))
}

/// Removes every token of a user; returns how the sessions end, and whatever else was issued until `now`.
pub(super) async fn flush(
    connection: &mut AnyConnection,
    app: String,
    uid: String,
    now: u64,
    sessions_until: u64,
) -> Result<Vec<Wanted>, sqlx::Error> {
    let delete = sqlx::query("DELETE FROM auth_tokens WHERE app = $1 AND uid = $2 RETURNING sid, archived");
    let deleted = delete.bind(&app).bind(&uid).fetch_all(&mut *connection).await?;
    let mut sids = Vec::new();
    for row in &deleted {
        // The others ended when they were archived.
        if row.try_get::<i64, _>("archived")? == 0 {
            sids.push(row.try_get("sid")?);
        }
    }
    let mut wanted = sessions_end(&app, sids, sessions_until);
    // What is issued within this second is dead too; a login right after says that it was issued in the next.
    wanted.push(Wanted::impose(Scope::User { app, uid }, Effect::IssuedBefore { before: now + 1 }));
    Ok(wanted)
}

/// FATs of these sessions are dead from now on; after `until`, none can be alive.
pub(super) fn sessions_end(app: &str, sids: Vec<String>, until: u64) -> Vec<Wanted> {
    let action = Action::Impose { expires_at: Some(until) };
    let scope = |sid| Scope::Session { app: app.to_owned(), sid };
    sids.into_iter().map(|sid| Wanted { scope: scope(sid), effect: Effect::Deactivated, action }).collect()
}

fn row_token(row: &AnyRow) -> Result<AuthToken, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let details =
        TokenDetails { platform: text("platform")?, user_agent: text("user_agent")?, app_info: text("app_info")? };
    let created_us = row.try_get::<i64, _>("created_us")? as u64;
    Ok(AuthToken { uid: text("uid")?, sid: text("sid")?, created_us, details })
}

//! What the control plane has set of an app, as its restrictions carry it.

use std::collections::BTreeSet;

use sqlx::AnyConnection;

use super::rows::row_scope;
use super::{Arc, Change, Effect, Scope, Store, StoreError, Wanted};
use crate::restrictions::AppSettings;

/// What is set of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    pub(crate) app: AppSettings,
    /// Folders whose objects need no token.
    pub(crate) prefixes: BTreeSet<String>,
}

impl Settings {
    /// What makes these settings of `app` into `wanted`.
    fn changes_to(&self, app: &str, wanted: &Settings) -> Vec<Wanted> {
        let of_app = || Scope::App { app: app.to_owned() };
        let switch = |is: bool, effect| match is {
            true => Wanted::impose(of_app(), effect),
            false => Wanted::lift(of_app(), effect),
        };
        let date = match wanted.app.tokenized_since {
            Some(since) => Wanted::impose(of_app(), Effect::TokenizedSince { since }),
            None => Wanted::lift(of_app(), Effect::TokenizedSince { since: 0 }),
        };
        let prefix = |prefix: &String| Scope::Prefix { app: app.to_owned(), prefix: prefix.clone() };
        let gone = self.prefixes.difference(&wanted.prefixes).map(|gone| Wanted::lift(prefix(gone), Effect::Exempt));
        let new = wanted.prefixes.difference(&self.prefixes).map(|new| Wanted::impose(prefix(new), Effect::Exempt));
        let of_switch =
            [switch(wanted.app.is_observed, Effect::Observed), switch(wanted.app.is_enforced, Effect::Enforced), date];
        of_switch.into_iter().chain(gone).chain(new).collect()
    }
}

impl Store {
    /// Returns what is set of an app.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn settings(&self, app: &str) -> Result<Settings, StoreError> {
        let read = async {
            let mut connection = self.0.pool.acquire().await?;
            read(&mut connection, app).await
        };
        read.await.map_err(|error: sqlx::Error| self.failed(&error))
    }

    /// Returns everything that is in force of an app as a whole, and of this user, session and token of it.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn restrictions_of(
        &self,
        app: &str,
        [uid, sid, jti]: [&str; 3],
    ) -> Result<Vec<(Scope, Effect)>, StoreError> {
        let rows = sqlx::query(
            "SELECT app, scope, id, effect, issued_before FROM restrictions
             WHERE app = $1 AND (scope = 'prefix' OR (scope = 'app' AND id = '') OR (scope = 'user' AND id = $2)
                 OR (scope = 'session' AND id = $3) OR (scope = 'token' AND id = $4))",
        );
        let rows = rows.bind(app).bind(uid).bind(sid).bind(jti).fetch_all(&self.0.pool).await;
        rows.and_then(|rows| rows.iter().map(row_scope).collect()).map_err(|error| self.failed(&error))
    }

    /// Sets what `change` makes of an app's settings, unless it refuses. Returns the settings, and the changes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn set<E: Send + 'static>(
        &self,
        app: &str,
        change: impl FnOnce(&mut Settings) -> Result<(), E> + Send + 'static,
    ) -> Result<(Result<Settings, E>, Vec<Option<Change>>), Arc<StoreError>> {
        let app = app.to_owned();
        self.transact(move |connection| {
            Box::pin(async move {
                let held = read(connection, &app).await?;
                let mut wanted = held.clone();
                if let Err(refused) = change(&mut wanted) {
                    return Ok((Err(refused), Vec::new()));
                }
                let changes = held.changes_to(&app, &wanted);
                Ok((Ok(wanted), changes))
            })
        })
        .await
    }
}

async fn read(connection: &mut AnyConnection, app: &str) -> Result<Settings, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT app, scope, id, effect, issued_before FROM restrictions
         WHERE app = $1 AND (scope = 'prefix' OR (scope = 'app' AND id = ''))",
    );
    let mut settings = Settings::default();
    for row in rows.bind(app).fetch_all(connection).await? {
        match row_scope(&row)? {
            (Scope::Prefix { prefix, .. }, Effect::Exempt) => drop(settings.prefixes.insert(prefix)),
            (_, Effect::Observed) => settings.app.is_observed = true,
            (_, Effect::Enforced) => settings.app.is_enforced = true,
            (_, Effect::TokenizedSince { since }) => settings.app.tokenized_since = Some(since),
            _ => {}
        }
    }
    Ok(settings)
}

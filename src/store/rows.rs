//! Rows to values and back.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::restrictions::{Change, Effect, EffectKind, Scope, ScopeKind};

/// App, kind and name of a scope, as columns have them.
pub(super) fn parts_of(scope: &Scope) -> (&str, &'static str, &str) {
    let (app, id) = scope.parts();
    (app, scope.kind().label(), id)
}

/// Reads one row; a label that this version does not know is an error, never a row left out.
pub(super) fn row_scope(row: &AnyRow) -> Result<(Scope, Effect), sqlx::Error> {
    let (app, id): (String, String) = (row.try_get("app")?, row.try_get("id")?);
    let label: &str = row.try_get("scope")?;
    let kind = ScopeKind::ALL.into_iter().find(|kind| kind.label() == label).ok_or_else(|| unknown("scope", label))?;
    let label: &str = row.try_get("effect")?;
    let effect = EffectKind::ALL.into_iter().find(|effect| effect.label() == label);
    let effect = effect.filter(|effect| effect.is_of(kind)).ok_or_else(|| unknown("effect", label))?;
    let (scope, effect) = (Scope::new(kind, app, id), effect.at(row.try_get::<i64, _>("issued_before")? as u64));
    Ok((scope, effect))
}

pub(super) fn row_change(row: &AnyRow) -> Result<Change, sqlx::Error> {
    let (scope, effect) = row_scope(row)?;
    let in_force = row.try_get::<i64, _>("in_force")? != 0;
    Ok(Change { seq: row.try_get::<i64, _>("seq")? as u64, scope, effect, in_force })
}

fn unknown(column: &str, label: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("unknown {column} {label:?}").into())
}

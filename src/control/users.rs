//! `/users`: who is deactivated.
//!
//! There is no table of users yet: platforms issue their tokens themselves, so every well-formed uid is one that may
//! be deactivated, and `notFound` never has anything in it.

use std::collections::HashSet;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use serde::Serialize;
use serde_json::Value;

use super::api_key::Caller;
use super::call::{self, App};
use super::error::{ApiError, Details};
use super::{ControlState, MAX_UIDS, body};
use crate::restrictions::{Effect, Scope};

/// How many wrong items of a list a refusal speaks of.
const MAX_COMPLAINTS: usize = 10;

const WELL_FORMED: &str = "must be 1 to 255 visible ASCII characters.";

#[derive(Debug, Clone, Serialize)]
pub(super) struct Data<T> {
    data: T,
}

/// The users of a call by what became of them; the empty lists are left out.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deactivated {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deactivated_uids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    already_deactivated_uids: Vec<String>,
}

/// The same for the way back.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reactivated {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reactivated_uids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    non_deactivated_uids: Vec<String>,
}

/// `DELETE /users {"uidsToDeactivate":[…]}`.
pub(super) async fn deactivate(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Deactivated>>, ApiError> {
    let (app, uids) = listed(&state, &caller, request, "uidsToDeactivate").await?;
    let (deactivated_uids, already_deactivated_uids) = set(&state, &caller, app, uids, true).await?;
    Ok(Json(Data { data: Deactivated { deactivated_uids, already_deactivated_uids } }))
}

/// `PUT /users {"uidsToActivate":[…]}`.
pub(super) async fn reactivate(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Reactivated>>, ApiError> {
    let (app, uids) = listed(&state, &caller, request, "uidsToActivate").await?;
    let (reactivated_uids, non_deactivated_uids) = set(&state, &caller, app, uids, false).await?;
    Ok(Json(Data { data: Reactivated { reactivated_uids, non_deactivated_uids } }))
}

/// `DELETE /users/{uid}`, with `{"permanent":false}` or nothing.
pub(super) async fn delete(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    uid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Deactivated>>, ApiError> {
    caller.full_access()?;
    let (app, json) = call::read(request, &state.gate()).await?;
    let uid = uid.ok().and_then(|Path(uid)| app.uid(&uid));
    let uid = uid.ok_or_else(|| ApiError::invalid("uid", format!("The uid {WELL_FORMED}")))?;
    let permanent = json.map(|json| body::member(&json, "permanent")).transpose()?.flatten();
    match permanent {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => {
            let why = "Deleting for good is not available in this version: leave out permanent to deactivate.";
            return Err(ApiError::invalid("permanent", why));
        }
        Some(_) => return Err(ApiError::invalid("permanent", "The permanent field must be true or false.")),
    }
    let (deactivated_uids, already_deactivated_uids) = set(&state, &caller, app, vec![uid], true).await?;
    Ok(Json(Data { data: Deactivated { deactivated_uids, already_deactivated_uids } }))
}

/// Returns the app of a call and the users in the list `field` of its body, each once.
async fn listed(
    state: &ControlState,
    caller: &Caller,
    request: Request,
    field: &str,
) -> Result<(App, Vec<String>), ApiError> {
    caller.full_access()?;
    let (app, json) = call::read(request, &state.gate()).await?;
    let list = json.map(|json| body::member(&json, field)).transpose()?.flatten();
    let list = list.ok_or_else(|| ApiError::invalid(field, format!("The {field} field is required.")))?;
    let uids = uids(&app, field, list)?;
    Ok((app, uids))
}

fn uids(app: &App, field: &str, list: Value) -> Result<Vec<String>, ApiError> {
    let Value::Array(items) = list else {
        return Err(ApiError::invalid(field, format!("The {field} must be an array.")));
    };
    if !(1..=MAX_UIDS).contains(&items.len()) {
        return Err(ApiError::invalid(field, format!("The {field} must have between 1 and {MAX_UIDS} items.")));
    }
    let mut seen = HashSet::with_capacity(items.len());
    let mut uids = Vec::with_capacity(items.len());
    let mut complaints = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match item.as_str().map(|uid| app.uid(uid)) {
            Some(Some(uid)) => {
                if seen.insert(uid.clone()) {
                    uids.push(uid);
                }
            }
            Some(None) => complaints.push(format!("The {field}.{at} {WELL_FORMED}")),
            None => complaints.push(format!("The {field}.{at} must be a string.")),
        }
    }
    if complaints.is_empty() {
        return Ok(uids);
    }
    complaints.truncate(MAX_COMPLAINTS);
    Err(ApiError::Invalid(Details::from([(field.to_owned(), complaints)])))
}

/// Deactivates or reactivates users. Returns those for whom that changed something, and the others, once it holds
/// for every request for a file.
async fn set(
    state: &ControlState,
    caller: &Caller,
    app: App,
    uids: Vec<String>,
    in_force: bool,
) -> Result<(Vec<String>, Vec<String>), ApiError> {
    let scope = |uid: &String| Scope::User { app: app.id.clone(), uid: uid.clone() };
    let wanted = uids.iter().map(|uid| (scope(uid), Effect::Deactivated, in_force)).collect();
    let changes = state.commit(wanted).await?;
    let (changed, unchanged): (Vec<_>, Vec<_>) =
        uids.into_iter().zip(changes).partition(|(_, change)| change.is_some());
    let done = if in_force { "deactivated" } else { "reactivated" };
    log::info!("control: `{}` {done} {} users of app `{}`", caller.name, changed.len(), app.id);
    let names = |users: Vec<(String, _)>| users.into_iter().map(|(uid, _)| uid).collect();
    Ok((names(changed), names(unchanged)))
}

//! `/users`: who is deactivated.
//!
//! A platform that issues its tokens itself need not register its users here, so every well-formed uid can be
//! deactivated; one that is not registered is told of in `notFound`, too.

use std::collections::HashSet;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::api_key::Caller;
use super::call::{self, App};
use super::error::{ApiError, Details};
use super::nodes::Receipt;
use super::{ControlState, MAX_UIDS, body};
use crate::relay::now_secs;
use crate::restrictions::{Effect, Scope};
use crate::store::Wanted;

/// How many wrong items of a list a refusal speaks of.
const MAX_COMPLAINTS: usize = 10;

const WELL_FORMED: &str = "must be 1 to 255 visible ASCII characters.";

#[derive(Debug, Clone, Serialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

/// The users of a call by what became of them; the empty lists are left out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deactivated {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deactivated_uids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    already_deactivated_uids: Vec<String>,
    /// Those that are not registered, as they were sent; they are in one of the other lists as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_found: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// The same for the way back.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reactivated {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reactivated_uids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    non_deactivated_uids: Vec<String>,
    /// Those that are not registered, as they were sent; they are in one of the other lists as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_found: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// `DELETE /users {"uidsToDeactivate":[…]}`.
pub(super) async fn deactivate(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Deactivated>>, ApiError> {
    let call = listed(&state, &caller, request, "uidsToDeactivate").await?;
    Ok(Json(Data { data: deactivated(&state, &caller, call).await? }))
}

/// `PUT /users {"uidsToActivate":[…]}`.
pub(super) async fn reactivate(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Reactivated>>, ApiError> {
    let call = listed(&state, &caller, request, "uidsToActivate").await?;
    let Done { changed, unchanged, not_found, receipt } = set(&state, &caller, call, false).await?;
    let (reactivated_uids, non_deactivated_uids) = (changed, unchanged);
    Ok(Json(Data { data: Reactivated { reactivated_uids, non_deactivated_uids, not_found, receipt } }))
}

/// `DELETE /users/{uid}`, with `{"permanent":false}` or nothing.
pub(super) async fn delete(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    uid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    caller.full_access()?;
    let call::Call { app, wait, json } = call::read(request, &state.gate(), &caller).await?;
    let sent = uid.as_ref().map(|Path(uid)| uid.clone()).unwrap_or_default();
    let uid = app.uid_in_path(uid)?;
    let permanent = json.map(|json| body::member(&json, "permanent")).transpose()?.flatten();
    match permanent {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => return Ok(remove(&state, &caller, &app, uid, wait).await?.into_response()),
        Some(_) => return Err(ApiError::invalid("permanent", "The permanent field must be true or false.")),
    }
    let call = UsersCall { app, uids: vec![Named { uid, sent }], wait };
    Ok(Json(Data { data: deactivated(&state, &caller, call).await? }).into_response())
}

/// What became of a user who was to be forgotten.
#[derive(Debug, Serialize)]
struct Removed {
    success: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// Forgets a user and the user's auth tokens. What was issued until now is dead; a deactivation stays.
async fn remove(
    state: &ControlState,
    caller: &Caller,
    app: &App,
    uid: String,
    wait: Option<Duration>,
) -> Result<Json<Data<Removed>>, ApiError> {
    let removed = state.0.store.remove_user(&app.id, &uid, now_secs(), state.sessions_until(app)).await;
    let (was_there, changes) = removed?;
    if !was_there {
        return Err(ApiError::UidNotFound(uid));
    }
    let committed = state.in_force(changes).await?;
    let receipt = state.receipt(&committed, wait).await?;
    log::info!("control: `{}` deleted a user of app `{}` for good", caller.name, app.id);
    let message = format!("User with {uid} has been deleted successfully.");
    Ok(Json(Data { data: Removed { success: true, message, receipt } }))
}

/// A user of a call: the uid as the app compares it, and as it was sent.
pub(super) struct Named {
    pub(super) uid: String,
    pub(super) sent: String,
}

/// Which users a call is about.
pub(super) struct UsersCall {
    pub(super) app: App,
    pub(super) uids: Vec<Named>,
    /// How long it waits for receipts.
    pub(super) wait: Option<Duration>,
}

async fn deactivated(state: &ControlState, caller: &Caller, call: UsersCall) -> Result<Deactivated, ApiError> {
    let Done { changed, unchanged, not_found, receipt } = set(state, caller, call, true).await?;
    Ok(Deactivated { deactivated_uids: changed, already_deactivated_uids: unchanged, not_found, receipt })
}

/// Returns what a call is about: the users in the list `field` of its body, each once.
async fn listed(state: &ControlState, caller: &Caller, request: Request, field: &str) -> Result<UsersCall, ApiError> {
    caller.full_access()?;
    let call::Call { app, wait, json } = call::read(request, &state.gate(), caller).await?;
    let list = json.map(|json| body::member(&json, field)).transpose()?.flatten();
    let list = list.ok_or_else(|| ApiError::invalid(field, format!("The {field} field is required.")))?;
    let uids = uids(&app, field, list)?;
    Ok(UsersCall { app, uids, wait })
}

fn uids(app: &App, field: &str, list: Value) -> Result<Vec<Named>, ApiError> {
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
        match item.as_str().map(|sent| (sent, app.uid(sent))) {
            Some((sent, Some(uid))) => {
                if seen.insert(uid.clone()) {
                    uids.push(Named { uid, sent: sent.to_owned() });
                }
            }
            Some((_, None)) => complaints.push(format!("The {field}.{at} {WELL_FORMED}")),
            None => complaints.push(format!("The {field}.{at} must be a string.")),
        }
    }
    if complaints.is_empty() {
        return Ok(uids);
    }
    complaints.truncate(MAX_COMPLAINTS);
    Err(ApiError::Invalid(Details::from([(field.to_owned(), complaints)])))
}

/// What became of users.
pub(super) struct Done {
    pub(super) changed: Vec<String>,
    unchanged: Vec<String>,
    not_found: Vec<String>,
    pub(super) receipt: Option<Receipt>,
}

/// Deactivates or reactivates users. Returns those for whom that changed something, and the others, once it holds
/// for every request for a file here, with the nodes' receipts where the call waits for them.
pub(super) async fn set(
    state: &ControlState,
    caller: &Caller,
    call: UsersCall,
    in_force: bool,
) -> Result<Done, ApiError> {
    let UsersCall { app, uids, wait } = call;
    let wanted = |user: &Named| {
        let scope = Scope::User { app: app.id.clone(), uid: user.uid.clone() };
        if in_force { Wanted::impose(scope, Effect::Deactivated) } else { Wanted::lift(scope, Effect::Deactivated) }
    };
    let committed = state.commit(uids.iter().map(wanted).collect()).await?;
    let receipt = state.receipt(&committed, wait).await?;
    let names: Vec<String> = uids.iter().map(|user| user.uid.clone()).collect();
    let known = state.0.store.known_users(&app.id, &names).await?;
    let not_found = uids.iter().filter(|user| !known.contains_key(&user.uid)).map(|user| user.sent.clone()).collect();
    let (changed, unchanged): (Vec<_>, Vec<_>) =
        names.into_iter().zip(committed.changes).partition(|(_, change)| change.is_some());
    let done = if in_force { "deactivated" } else { "reactivated" };
    log::info!("control: `{}` {done} {} users of app `{}`", caller.name, changed.len(), app.id);
    let names = |users: Vec<(String, _)>| users.into_iter().map(|(uid, _)| uid).collect();
    Ok(Done { changed: names(changed), unchanged: names(unchanged), not_found, receipt })
}

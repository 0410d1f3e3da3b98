//! `/users`: who is deactivated.
//!
//! There is no table of users yet: platforms issue their tokens themselves, so every well-formed uid is one that may
//! be deactivated, and `notFound` never has anything in it.

use std::collections::HashSet;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use serde::Serialize;
use serde_json::Value;

use super::api_key::Caller;
use super::call::{self, App};
use super::error::{ApiError, Details};
use super::nodes::Receipt;
use super::{ControlState, MAX_UIDS, body};
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
    let (reactivated_uids, non_deactivated_uids, receipt) = set(&state, &caller, call, false).await?;
    Ok(Json(Data { data: Reactivated { reactivated_uids, non_deactivated_uids, receipt } }))
}

/// `DELETE /users/{uid}`, with `{"permanent":false}` or nothing.
pub(super) async fn delete(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    uid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Deactivated>>, ApiError> {
    caller.full_access()?;
    let (app, wait, json) = call::read(request, &state.gate()).await?;
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
    Ok(Json(Data { data: deactivated(&state, &caller, UsersCall { app, uids: vec![uid], wait }).await? }))
}

/// Which users a call is about.
struct UsersCall {
    app: App,
    uids: Vec<String>,
    /// How long it waits for receipts.
    wait: Option<Duration>,
}

async fn deactivated(state: &ControlState, caller: &Caller, call: UsersCall) -> Result<Deactivated, ApiError> {
    let (deactivated_uids, already_deactivated_uids, receipt) = set(state, caller, call, true).await?;
    Ok(Deactivated { deactivated_uids, already_deactivated_uids, receipt })
}

/// Returns what a call is about: the users in the list `field` of its body, each once.
async fn listed(state: &ControlState, caller: &Caller, request: Request, field: &str) -> Result<UsersCall, ApiError> {
    caller.full_access()?;
    let (app, wait, json) = call::read(request, &state.gate()).await?;
    let list = json.map(|json| body::member(&json, field)).transpose()?.flatten();
    let list = list.ok_or_else(|| ApiError::invalid(field, format!("The {field} field is required.")))?;
    let uids = uids(&app, field, list)?;
    Ok(UsersCall { app, uids, wait })
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
/// for every request for a file here, with the nodes' receipts where the call waits for them.
async fn set(
    state: &ControlState,
    caller: &Caller,
    call: UsersCall,
    in_force: bool,
) -> Result<(Vec<String>, Vec<String>, Option<Receipt>), ApiError> {
    let UsersCall { app, uids, wait } = call;
    let wanted = |uid: &String| {
        let scope = Scope::User { app: app.id.clone(), uid: uid.clone() };
        if in_force { Wanted::impose(scope, Effect::Deactivated) } else { Wanted::lift(scope, Effect::Deactivated) }
    };
    let committed = state.commit(uids.iter().map(wanted).collect()).await?;
    let receipt = state.receipt(&committed, wait).await?;
    let (changed, unchanged): (Vec<_>, Vec<_>) =
        uids.into_iter().zip(committed.changes).partition(|(_, change)| change.is_some());
    let done = if in_force { "deactivated" } else { "reactivated" };
    log::info!("control: `{}` {done} {} users of app `{}`", caller.name, changed.len(), app.id);
    let names = |users: Vec<(String, _)>| users.into_iter().map(|(uid, _)| uid).collect();
    Ok((names(changed), names(unchanged), receipt))
}

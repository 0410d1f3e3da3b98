//! `/restrictions`: what makes sound tokens useless, by app, user, session or token.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Request, State};
use serde::Serialize;
use serde_json::Value;

use super::api_key::Caller;
use super::call::{self, App};
use super::error::ApiError;
use super::nodes::Receipt;
use super::users::Data;
use super::{Committed, ControlState, body};
use crate::feed::wire::is_name;
use crate::relay::now_secs;
use crate::restrictions::{Effect, Scope};
use crate::store::{Action, Wanted};

const FIELDS: [&str; 4] = ["scope", "id", "issuedBefore", "expiresAt"];

/// What a call has done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    /// Whether it was otherwise before.
    changed: bool,
    /// The change, or the newest at the time where it was so already.
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

impl Done {
    pub(super) fn new(committed: &Committed, receipt: Option<Receipt>) -> Done {
        Done { changed: committed.changes.iter().any(Option::is_some), seq: committed.seq, receipt }
    }
}

/// `POST /restrictions {"scope":"session","id":"s1"}`: nothing of it is accepted any more. With `issuedBefore`, only what
/// was issued before that time is dead. `expiresAt` says when no token of a session, or the token, can be alive any more,
/// so that the restriction may be forgotten, once presigned URLs made with one are dead as well; without it, it stays
/// until it is lifted.
pub(super) async fn impose(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Done>>, ApiError> {
    let call = read(&state, &caller, request).await?;
    // A URL that was made with a token at its end goes on from there.
    let outlives = state.gate().presigned_ttl().as_secs();
    let action = Action::Impose { expires_at: call.expires_at.map(|at| at.saturating_add(outlives)) };
    apply(&state, &caller, call, action).await
}

/// `DELETE /restrictions {"scope":"session","id":"s1"}`: it is lifted; with `issuedBefore`, of any time, the flush is.
pub(super) async fn lift(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Done>>, ApiError> {
    let call = read(&state, &caller, request).await?;
    if call.expires_at.is_some() {
        return Err(ApiError::invalid("expiresAt", "What is lifted does not expire: leave expiresAt out."));
    }
    apply(&state, &caller, call, Action::Lift).await
}

struct Call {
    scope: Scope,
    effect: Effect,
    expires_at: Option<u64>,
    wait: Option<Duration>,
}

async fn read(state: &ControlState, caller: &Caller, request: Request) -> Result<Call, ApiError> {
    caller.full_access()?;
    let call::Call { app, wait, json } = call::read(request, &state.gate(), caller).await?;
    let [scope, id, issued_before, expires_at] = match json {
        Some(json) => body::members(&json, FIELDS)?,
        None => [const { None }; 4],
    };
    let scope = scope_of(&app, scope, id)?;
    let effect = match seconds("issuedBefore", issued_before)? {
        Some(before) => Effect::IssuedBefore { before },
        None => Effect::Deactivated,
    };
    let expires_at = seconds("expiresAt", expires_at)?;
    if expires_at.is_some() && !matches!(scope, Scope::Session { .. } | Scope::Token { .. }) {
        let why = "Only restrictions of a session or a token expire: new tokens of a user or an app can always come.";
        return Err(ApiError::invalid("expiresAt", why));
    }
    if expires_at.is_some_and(|at| at <= now_secs()) {
        return Err(ApiError::invalid("expiresAt", "The expiresAt must be a time to come, in UNIX seconds."));
    }
    Ok(Call { scope, effect, expires_at, wait })
}

fn scope_of(app: &App, scope: Option<Value>, id: Option<Value>) -> Result<Scope, ApiError> {
    let scope = match &scope {
        Some(Value::String(scope)) => scope.as_str(),
        _ => "",
    };
    let app_id = || app.id.clone();
    let id = match (scope, id) {
        ("app", None) => return Ok(Scope::App { app: app_id() }),
        ("app", Some(_)) => return Err(ApiError::invalid("id", "The scope app has no id: it is the app of the call.")),
        ("user" | "session" | "token", Some(Value::String(id))) => id,
        ("user" | "session" | "token", _) => return Err(ApiError::invalid("id", "The id must be a string.")),
        _ => return Err(ApiError::invalid("scope", "The scope must be \"app\", \"user\", \"session\" or \"token\".")),
    };
    match scope {
        "user" => match app.uid(&id) {
            Some(uid) => Ok(Scope::User { app: app_id(), uid }),
            None => Err(ApiError::invalid("id", "The id of a user must be 1 to 255 visible ASCII characters.")),
        },
        _ if !is_name(&id) => Err(ApiError::invalid("id", "The id must be 1 to 512 bytes without control characters.")),
        "session" => Ok(Scope::Session { app: app_id(), sid: id }),
        _ => Ok(Scope::Token { app: app_id(), jti: id }),
    }
}

fn seconds(field: &str, value: Option<Value>) -> Result<Option<u64>, ApiError> {
    let seconds = value.as_ref().map(Value::as_u64);
    match seconds {
        None => Ok(None),
        Some(Some(seconds)) if seconds <= i64::MAX as u64 => Ok(Some(seconds)),
        Some(_) => Err(ApiError::invalid(field, format!("The {field} must be a time in UNIX seconds."))),
    }
}

async fn apply(
    state: &ControlState,
    caller: &Caller,
    call: Call,
    action: Action,
) -> Result<Json<Data<Done>>, ApiError> {
    let Call { scope, effect, wait, .. } = call;
    let kind = scope.kind().label();
    let committed = state.commit(vec![Wanted { scope, effect, action }]).await?;
    let receipt = state.receipt(&committed, wait).await?;
    let data = Done::new(&committed, receipt);
    let done = if action == Action::Lift { "lifted" } else { "imposed" };
    log::info!("control: `{}` {done} a restriction of a {kind} (changed: {})", caller.name, data.changed);
    Ok(Json(Data { data }))
}

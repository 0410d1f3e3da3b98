//! `/users/{uid}/auth_tokens`: what a user logs in with.
//!
//! A token is shown when it is made. Lists show the session in its place, which is good for the calls here and not for
//! a login.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use serde::Serialize;
use serde_json::Value;

use super::ControlState;
use super::api_key::{Caller, hash};
use super::call::{self, App};
use super::error::ApiError;
use super::fields::Fields;
use super::nodes::Receipt;
use super::query::{Listed, Query};
use super::users::Data;
use crate::relay::{now_micros, now_secs};
use crate::restrictions::hex;
use crate::store::auth_tokens::{AuthToken, NewToken, TokenDetails, TokenName};

pub(super) const MAX_DETAIL_CHARS: usize = 255;
const MAX_APP_INFO_BYTES: usize = 5 * 1024;

/// An auth token, as the API shows one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    uid: String,
    auth_token: String,
    sid: String,
    created_at: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    platform: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_info: Option<Value>,
}

impl Shown {
    fn new(token: AuthToken, shown: Option<String>) -> Shown {
        let TokenDetails { platform, user_agent, app_info } = token.details;
        Shown {
            uid: token.uid,
            auth_token: shown.unwrap_or_else(|| token.sid.clone()),
            sid: token.sid,
            created_at: token.created_us / 1_000_000,
            platform,
            user_agent,
            app_info: serde_json::from_str(&app_info).ok(),
        }
    }
}

/// What a call that has ended something answers.
#[derive(Debug, Serialize)]
pub(super) struct Ended {
    success: bool,
    message: String,
}

impl Ended {
    pub(super) fn new(message: impl Into<String>) -> Ended {
        Ended { success: true, message: message.into() }
    }
}

/// `POST /users/{uid}/auth_tokens`, with `{"force":true}` or nothing: always a new token, since no old one is known here.
pub(super) async fn create(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    uid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    let uid = call.app.uid_in_path(uid)?;
    let mut fields = Fields::read(call.json.as_deref(), ["force", "platform", "deviceId", "appInfo", "userAgent"])?;
    fields.flag("force");
    fields.text("deviceId", MAX_DETAIL_CHARS);
    let change = changes(&mut fields);
    fields.finish()?;
    let mut details = TokenDetails::default();
    change(&mut details);
    let (token, new) = fresh_token(&uid, details.clone(), state.sessions_until(&call.app))?;
    let made = AuthToken { uid: uid.clone(), sid: new.sid.clone(), created_us: new.created_us, details };
    let created = state.0.store.create_token(&call.app.id, &uid, new).await;
    let (is_user, changes) = created?;
    if !is_user {
        return Err(ApiError::UidNotFound(uid));
    }
    state.in_force(changes).await?;
    Ok(Json(Data { data: Shown::new(made, Some(token)) }))
}

/// `GET /users/{uid}/auth_tokens`.
pub(super) async fn list(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    uid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Listed<Shown>>, ApiError> {
    caller.full_access()?;
    let app = App::of(request.headers(), &state.gate(), &caller)?;
    let page = Query::read(request.uri(), &["perPage", "page"])?.page()?;
    let uid = app.uid_in_path(uid)?;
    state.user(&app, &uid).await?;
    let (tokens, total) = state.0.store.tokens(&app.id, &uid, page).await?;
    Ok(Json(Listed::new(tokens.into_iter().map(|token| Shown::new(token, None)).collect(), total, page)))
}

/// `DELETE /users/{uid}/auth_tokens`: every session of the user ends, and every FAT of the user issued until now.
pub(super) async fn flush(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    uid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Ended>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    Fields::only_force(call.json.as_deref())?;
    let uid = call.app.uid_in_path(uid)?;
    state.end_sessions(&caller, &call.app, &uid, call.wait).await?;
    Ok(Json(Data { data: Ended::new(format!("Cleared Auth Tokens successfully for uid {uid}.")) }))
}

type Names = Result<Path<(String, String)>, PathRejection>;

/// `GET /users/{uid}/auth_tokens/{authToken}`.
pub(super) async fn get(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    names: Names,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    caller.full_access()?;
    call::no_query(request.uri())?;
    let app = App::of(request.headers(), &state.gate(), &caller)?;
    let (uid, shown, name) = named(&app, names)?;
    let token = state.0.store.token(&app.id, &uid, &name).await?;
    let token = token.ok_or(ApiError::AuthTokenNotFound)?;
    Ok(Json(Data { data: Shown::new(token, Some(shown)) }))
}

/// `PUT /users/{uid}/auth_tokens/{authToken} {"platform","userAgent","appInfo"}`.
pub(super) async fn update(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    names: Names,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    let (uid, shown, name) = named(&call.app, names)?;
    let mut fields = Fields::read(call.json.as_deref(), ["platform", "userAgent", "appInfo"])?;
    let change = changes(&mut fields);
    fields.finish()?;
    let updated = state.0.store.update_token(&call.app.id, &uid, name, change).await;
    let token = updated?.ok_or(ApiError::AuthTokenNotFound)?;
    Ok(Json(Data { data: Shown::new(token, Some(shown)) }))
}

/// `DELETE /users/{uid}/auth_tokens/{authToken}`: the session ends, with its FATs.
pub(super) async fn delete(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    names: Names,
    request: Request,
) -> Result<Json<Data<Ended>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    Fields::only_force(call.json.as_deref())?;
    let (uid, _, name) = named(&call.app, names)?;
    state.end_session(&call.app, &uid, name, call.wait).await?;
    log::info!("control: `{}` deleted an auth token of a user of app `{}`", caller.name, call.app.id);
    Ok(Json(Data { data: Ended::new("Auth token deleted successfully.") }))
}

impl ControlState {
    /// Ends every session of a user; all that was issued until now is dead on this node then.
    pub(super) async fn end_sessions(
        &self,
        caller: &Caller,
        app: &App,
        uid: &str,
        wait: Option<Duration>,
    ) -> Result<Option<Receipt>, ApiError> {
        let flushed = self.0.store.flush_tokens(&app.id, uid, now_secs(), self.sessions_until(app)).await;
        let (is_user, changes) = flushed?;
        if !is_user {
            return Err(ApiError::UidNotFound(uid.to_owned()));
        }
        let committed = self.in_force(changes).await?;
        log::info!("control: `{}` cleared the auth tokens of a user of app `{}`", caller.name, app.id);
        self.receipt(&committed, wait).await
    }

    /// Ends a session; its FATs are dead on this node then.
    pub(super) async fn end_session(
        &self,
        app: &App,
        uid: &str,
        name: TokenName,
        wait: Option<Duration>,
    ) -> Result<Option<Receipt>, ApiError> {
        let ended = self.0.store.delete_token(&app.id, uid, name, self.sessions_until(app)).await;
        let (was_there, changes) = ended?;
        if !was_there {
            return Err(ApiError::AuthTokenNotFound);
        }
        let committed = self.in_force(changes).await?;
        self.receipt(&committed, wait).await
    }
}

/// The user and the auth token in the path: the token itself, or its session.
fn named(app: &App, names: Names) -> Result<(String, String, TokenName), ApiError> {
    let Path((uid, shown)) = names.map_err(|_| ApiError::AuthTokenNotFound)?;
    let uid = app.uid_in_path(Ok(Path(uid)))?;
    let is_sid = shown.len() == 32 && shown.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = if is_sid { TokenName::Sid(shown.clone()) } else { TokenName::Hash(hash(&shown)) };
    Ok((uid, shown, name))
}

/// What the fields of a body make of what is said of a token.
pub(super) fn changes(fields: &mut Fields) -> impl FnOnce(&mut TokenDetails) + Send + 'static {
    let platform = fields.text("platform", MAX_DETAIL_CHARS);
    let user_agent = fields.text("userAgent", MAX_DETAIL_CHARS);
    let app_info = fields.object("appInfo", MAX_APP_INFO_BYTES);
    move |details| {
        let TokenDetails { platform: old_platform, user_agent: old_agent, app_info: old_info } = details;
        for (value, field) in [(platform, old_platform), (user_agent, old_agent), (app_info, old_info)] {
            if let Some(value) = value {
                *field = value;
            }
        }
    }
}

/// A token for `uid` and what the store keeps of it: `<uid>_<unix seconds><30 hex digits>`.
pub(super) fn fresh_token(
    uid: &str,
    details: TokenDetails,
    sessions_until: u64,
) -> Result<(String, NewToken), ApiError> {
    let created_us = now_micros();
    let token = format!("{uid}_{}{}", created_us / 1_000_000, random_hex::<15>()?);
    let new = NewToken { hash: hash(&token), sid: random_hex::<16>()?, created_us, details, sessions_until };
    Ok((token, new))
}

/// Random bytes in hexadecimal digits.
pub(super) fn random_hex<const N: usize>() -> Result<String, ApiError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        log::error!("control: the system has no randomness");
        ApiError::Store
    })?;
    Ok(hex(&bytes))
}

//! `/me`: a user logs in with an auth token, and gets a FAT that dies with it.
//!
//! Called by the platform's clients themselves, browsers among them: no API key, and answers that any site may read.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use http::{HeaderMap, header};
use serde::Serialize;

use super::ControlState;
use super::api_key::{hash, single};
use super::auth_tokens::{Ended, MAX_DETAIL_CHARS, changes};
use super::call::{self, App, Call};
use super::error::ApiError;
use super::fats::Fat;
use super::fields::Fields;
use super::users::Data;
use crate::store::auth_tokens::{AuthToken, TokenName};
use crate::store::users::User;

/// The version of the API, as clients put it into paths.
const API_VERSION: &str = "v3.0";

/// Where clients find this server, as far as that is configured.
#[derive(Debug, Clone, Default)]
pub struct ClientHosts {
    /// Of the control listener, with its port; none: what the client has called.
    pub control: Option<String>,
    /// Of the media listener, with its port; none: clients are not told of one, and leave their URLs alone.
    pub media: Option<String>,
}

/// Who has logged in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Me {
    uid: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    avatar: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link: String,
    role: String,
    status: &'static str,
    created_at: u64,
    auth_token: String,
    fat: String,
    /// UNIX seconds at which the FAT ends.
    fat_expires_at: u64,
    settings: Settings,
}

/// What clients need to know.
#[derive(Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Settings {
    client_api_host: String,
    chat_api_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secured_media_host: Option<String>,
}

/// `PUT /me`: login. `GET /me`: the same, with a fresh FAT.
pub(super) async fn login(State(state): State<ControlState>, request: Request) -> Result<Json<Data<Me>>, ApiError> {
    let headers = request.headers().clone();
    let session = Session::of(&state, request).await?;
    let Session { app, token, user, shown, .. } = session;
    let fat = state.fat(&app, &user.uid, user.state.flushed, &Fat { sid: Some(&token.sid), ..Fat::default() })?;
    let settings = state.settings(&app, &headers);
    let profile = user.profile;
    let data = Me {
        uid: user.uid,
        name: profile.name,
        avatar: profile.avatar,
        link: profile.link,
        role: profile.role,
        status: "available",
        created_at: user.created_at,
        auth_token: shown,
        fat: fat.fat,
        fat_expires_at: fat.expires_at,
        settings,
    };
    Ok(Json(Data { data }))
}

/// `DELETE /me`: logout. The session ends, with its FATs.
pub(super) async fn logout(State(state): State<ControlState>, request: Request) -> Result<Json<Data<Ended>>, ApiError> {
    let session = Session::of(&state, request).await?;
    let name = TokenName::Sid(session.token.sid);
    match state.end_session(&session.app, &session.user.uid, name, session.wait).await {
        // Two logouts at a time: both have what they want.
        Ok(_) | Err(ApiError::AuthTokenNotFound) => Ok(Json(Data { data: Ended::new("Logged out successfully.") })),
        Err(error) => Err(error),
    }
}

/// `GET /settings`.
pub(super) async fn settings(
    State(state): State<ControlState>,
    request: Request,
) -> Result<Json<Data<Settings>>, ApiError> {
    let headers = request.headers().clone();
    let session = Session::of(&state, request).await?;
    Ok(Json(Data { data: state.settings(&session.app, &headers) }))
}

/// `POST /user_sessions`: what a client says of itself is not kept.
pub(super) async fn user_sessions(
    State(state): State<ControlState>,
    request: Request,
) -> Result<Json<Data<Ended>>, ApiError> {
    let token = auth_token(request.headers())?;
    let call = call::read_client(request, &state.gate()).await?;
    find(&state, &call, &token).await?;
    Ok(Json(Data { data: Ended::new("Noted.") }))
}

/// A call with an auth token that is good.
struct Session {
    app: App,
    token: AuthToken,
    user: User,
    shown: String,
    wait: Option<std::time::Duration>,
}

impl Session {
    async fn of(state: &ControlState, request: Request) -> Result<Session, ApiError> {
        let shown = auth_token(request.headers())?;
        let call = call::read_client(request, &state.gate()).await?;
        let mut fields = Fields::read(call.json.as_deref(), ["platform", "deviceId", "appInfo"])?;
        fields.text("deviceId", MAX_DETAIL_CHARS);
        // What a client says of itself is checked like that of an auth token, and not kept.
        drop(changes(&mut fields));
        fields.finish()?;
        let (token, user) = find(state, &call, &shown).await?;
        Ok(Session { app: call.app, token, user, shown, wait: call.wait })
    }
}

fn auth_token(headers: &HeaderMap) -> Result<String, ApiError> {
    let shown = single(headers, "authtoken")?.ok_or(ApiError::AuthTokenMissing)?;
    String::from_utf8(shown.to_vec()).map_err(|_| ApiError::AuthTokenUnknown)
}

async fn find(state: &ControlState, call: &Call, shown: &str) -> Result<(AuthToken, User), ApiError> {
    let found = state.0.store.session(&call.app.id, &hash(shown)).await?;
    let (token, user) = found.ok_or(ApiError::AuthTokenUnknown)?;
    state.limit(Arc::from(&*token.sid))?;
    Ok((token, user))
}

impl ControlState {
    fn settings(&self, app: &App, headers: &HeaderMap) -> Settings {
        let called = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        // An app that asks for no tokens needs no client to append them.
        let is_on = self.gate().access(&app.id) != Some(crate::gate::Access::Off);
        let hosts = &self.0.hosts;
        Settings {
            client_api_host: hosts.control.clone().unwrap_or_else(|| called.to_owned()),
            chat_api_version: API_VERSION,
            secured_media_host: hosts.media.clone().filter(|_| is_on),
        }
    }
}

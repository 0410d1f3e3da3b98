//! `/apikeys`: keys of an app beside those of the configuration.
//!
//! A key is shown when it is made; lists show its id, which is good for the calls here and for nothing else.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use serde::Serialize;

use super::api_key::{Caller, hash};
use super::auth_tokens::{Ended, random_hex};
use super::call::{self, App};
use super::error::ApiError;
use super::fields::Fields;
use super::query::{Listed, Query};
use super::users::Data;
use super::{ApiScope, ControlState};
use crate::relay::now_micros;
use crate::restrictions::hex;
use crate::store::api_keys::{KeyName, MAX_KEYS, StoredKey};
use crate::store::users::Page;

const MAX_NAME_CHARS: usize = 100;

/// A key, as the API shows one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    api_key: String,
    id: String,
    name: String,
    scope: &'static str,
    created_at: u64,
}

impl Shown {
    fn new(key: StoredKey, shown: Option<String>) -> Shown {
        let (scope, created_at) = (key.scope.label(), key.created_us / 1_000_000);
        Shown { api_key: shown.unwrap_or_else(|| key.id.clone()), id: key.id, name: key.name, scope, created_at }
    }
}

/// `POST /apikeys {"name","scope"}`.
pub(super) async fn create(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    let mut fields = Fields::read(call.json.as_deref(), ["name", "scope"])?;
    for field in ["name", "scope"] {
        fields.require(field);
    }
    let name = fields.text("name", MAX_NAME_CHARS);
    let scope = fields.text("scope", MAX_NAME_CHARS);
    let scope = scope.and_then(|label| ApiScope::ALL.into_iter().find(|scope| scope.label() == label));
    if scope.is_none() {
        fields.wrong("scope", "The scope must be \"fullAccess\" or \"authOnly\".");
    }
    fields.finish()?;
    let (Some(name), Some(scope)) = (name, scope) else { return Err(ApiError::required("name")) };
    let key = random_hex::<20>()?;
    let id = random_hex::<8>()?;
    let app = call.app.id;
    let stored = StoredKey { app: app.clone(), id, hash: hash(&key), name, scope, created_us: now_micros() };
    let (had_room, changes) = state.0.store.create_key(stored.clone()).await?;
    if !had_room {
        return Err(ApiError::invalid("name", format!("The app has {MAX_KEYS} keys already: delete one.")));
    }
    state.in_force(changes).await?;
    log::info!("control: `{}` made the API key `{}` of app `{app}`", caller.name, stored.id);
    Ok(Json(Data { data: Shown::new(stored, Some(key)) }))
}

/// `GET /apikeys`.
pub(super) async fn list(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Listed<Shown>>, ApiError> {
    caller.full_access()?;
    let app = App::of(request.headers(), &state.gate(), &caller)?;
    let page = Query::read(request.uri(), &["perPage", "page"])?.page()?;
    let keys = state.0.store.keys(&app.id).await?;
    let total = keys.len() as u64;
    let Page { size, number } = page;
    let from = (size as usize).saturating_mul(number as usize - 1);
    let keys = keys.into_iter().skip(from).take(size as usize).map(|key| Shown::new(key, None)).collect();
    Ok(Json(Listed::new(keys, total, page)))
}

/// `GET /apikeys/{apiKey}`.
pub(super) async fn get(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    key: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    caller.full_access()?;
    call::no_query(request.uri())?;
    let app = App::of(request.headers(), &state.gate(), &caller)?;
    let name = named(key)?;
    let keys = state.0.store.keys(&app.id).await?;
    let is_named = |key: &StoredKey| match &name {
        KeyName::Hash(hash) => key.hash == *hash,
        KeyName::Id(id) => key.id == *id,
    };
    let key = keys.into_iter().find(is_named).ok_or(ApiError::ApiKeyNotFound)?;
    Ok(Json(Data { data: Shown::new(key, None) }))
}

/// `PUT /apikeys/{apiKey} {"name"}`.
pub(super) async fn rename(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    key: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    let key = named(key)?;
    let mut fields = Fields::read(call.json.as_deref(), ["name"])?;
    fields.require("name");
    let name = fields.text("name", MAX_NAME_CHARS);
    fields.finish()?;
    let name = name.ok_or_else(|| ApiError::required("name"))?;
    let renamed = state.0.store.rename_key(&call.app.id, key, name).await?;
    Ok(Json(Data { data: Shown::new(renamed.ok_or(ApiError::ApiKeyNotFound)?, None) }))
}

/// `DELETE /apikeys/{apiKey}`: it opens nothing any more.
pub(super) async fn delete(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    key: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Ended>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    Fields::only_force(call.json.as_deref())?;
    let key = named(key)?;
    let own = state.0.store.key_by_hash(&hex(&caller.digest)).await?;
    let is_own = own.is_some_and(|own| match &key {
        KeyName::Hash(hash) => own.hash == *hash,
        KeyName::Id(id) => own.id == *id,
    });
    if is_own {
        return Err(ApiError::SelfAction);
    }
    let deleted = state.0.store.delete_key(&call.app.id, key).await;
    let (key, changes) = deleted?;
    let key = key.ok_or(ApiError::ApiKeyNotFound)?;
    state.in_force(changes).await?;
    log::info!("control: `{}` deleted the API key `{}` of app `{}`", caller.name, key.id, call.app.id);
    Ok(Json(Data { data: Ended::new("API key deleted successfully.") }))
}

/// The key in the path: the key itself, or its id.
fn named(key: Result<Path<String>, PathRejection>) -> Result<KeyName, ApiError> {
    let Path(shown) = key.map_err(|_| ApiError::ApiKeyNotFound)?;
    Ok(if shown.len() == 16 { KeyName::Id(shown) } else { KeyName::Hash(hash(&shown)) })
}

//! `/users/{uid}/fat` and `/fats`: File Access Tokens for platforms that do not sign them themselves.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use serde::Serialize;

use super::api_key::Caller;
use super::auth_tokens::random_hex;
use super::call::{self, App};
use super::error::ApiError;
use super::fields::Fields;
use super::issuer::{Claims, issued_at};
use super::users::Data;
use super::{ControlState, MAX_UIDS};
use crate::gate::PathScope;
use crate::relay::now_micros;

/// The most paths of one FAT.
const MAX_PATHS: usize = 32;

/// FATs that are signed before others have their turn: with a private key each may take a millisecond.
const SIGNED_AT_ONCE: usize = 32;

/// What a FAT is to be good for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fat<'a> {
    pub(super) sid: Option<&'a str>,
    pub(super) paths: &'a [String],
    /// Seconds; none: as configured.
    pub(super) ttl: Option<u64>,
}

/// A FAT that was issued.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Issued {
    uid: String,
    pub(super) fat: String,
    /// UNIX seconds.
    pub(super) expires_at: u64,
    /// A link for this user, where the call names a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// FATs for the receivers of something.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    fats: Vec<Issued>,
    /// Those that are not registered or deactivated, as they were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_found: Vec<String>,
}

/// `POST /users/{uid}/fat {"ttl":900,"path":"7/cover.jpg"}`.
pub(super) async fn one(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    uid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Issued>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    let uid = call.app.uid_in_path(uid)?;
    let mut fields = Fields::read(call.json.as_deref(), ["ttl", "path"])?;
    let (ttl, paths) = terms(&mut fields, &state, &call.app)?;
    fields.finish()?;
    let user = state.user(&call.app, &uid).await?;
    if user.state.is_deactivated {
        return Err(ApiError::UidNotFound(uid));
    }
    let fat = Fat { sid: None, paths: &paths, ttl };
    Ok(Json(Data { data: state.fat(&call.app, &uid, user.state.flushed, &fat)? }))
}

/// `POST /fats {"uids":[…],"url":"https://files.example/acme/media/7.jpg"}`: a link of their own for each receiver.
pub(super) async fn batch(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Batch>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    let mut fields = Fields::read(call.json.as_deref(), ["uids", "ttl", "path", "url"])?;
    fields.require("uids");
    let sent = fields.texts("uids", MAX_UIDS);
    let (ttl, mut paths) = terms(&mut fields, &state, &call.app)?;
    let url = fields.text("url", 8192);
    match url.as_deref().map(|url| path_of(url, &call.app)) {
        Some(Some(path)) if paths.is_empty() => paths.push(path),
        None | Some(Some(_)) => {}
        Some(None) => {
            let why = format!("The url must be the URL of a file of the app {}, without a query.", call.app.id);
            fields.wrong("url", why);
        }
    }
    fields.finish()?;
    let uids: Vec<Option<String>> = sent.iter().map(|uid| call.app.uid(uid)).collect();
    let names: Vec<String> = uids.iter().flatten().cloned().collect();
    let known = state.0.store.known_users(&call.app.id, &names).await?;
    let fat = Fat { sid: None, paths: &paths, ttl };
    let mut batch = Batch { fats: Vec::with_capacity(sent.len()), not_found: Vec::new() };
    for (at, (sent, uid)) in sent.into_iter().zip(uids).enumerate() {
        if at % SIGNED_AT_ONCE == SIGNED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let user = uid.as_ref().and_then(|uid| known.get(uid)).filter(|user| !user.is_deactivated);
        match (uid, user) {
            (Some(uid), Some(user)) => {
                let mut issued = state.fat(&call.app, &uid, user.flushed, &fat)?;
                issued.url = url.as_ref().map(|url| format!("{url}?fat={}", issued.fat));
                batch.fats.push(issued);
            }
            _ => batch.not_found.push(sent),
        }
    }
    Ok(Json(Data { data: batch }))
}

/// How long, and for which paths.
fn terms(fields: &mut Fields, state: &ControlState, app: &App) -> Result<(Option<u64>, Vec<String>), ApiError> {
    let longest = state.0.issuers.load().of(&app.id)?.max_ttl();
    let ttl = fields.number("ttl", 1..=longest);
    let paths = fields.text_or_texts("path", MAX_PATHS);
    let own = |path: &str| {
        let named = path.strip_prefix('/').and_then(|path| path.split('/').next());
        named.is_none_or(|named| named == app.id) && PathScope::parse(path).is_ok()
    };
    if !paths.iter().all(|path| own(path)) {
        let why = format!("The path must be that of a file of the app {}, or a folder ending in /*.", app.id);
        fields.wrong("path", why);
    }
    Ok((ttl, paths))
}

/// The path of a media URL of the app's, as a FAT names it.
fn path_of(url: &str, app: &App) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    let path = uri.path();
    let own = path.strip_prefix('/').and_then(|path| path.split_once('/')).is_some_and(|(named, _)| named == app.id);
    let is_plain = is_web && own && uri.query().is_none() && !url.contains('#');
    (is_plain && PathScope::parse(path).is_ok()).then(|| path.to_owned())
}

impl ControlState {
    /// Issues a FAT to a user who is not deactivated, and what of whom was issued before `flushed` is dead.
    pub(super) fn fat(&self, app: &App, uid: &str, flushed: u64, fat: &Fat<'_>) -> Result<Issued, ApiError> {
        let issuers = self.0.issuers.load();
        let issuer = issuers.of(&app.id)?;
        let iat = issued_at(Duration::from_micros(now_micros()), flushed);
        let exp = iat + fat.ttl.unwrap_or(issuer.max_ttl());
        let jti = random_hex::<16>()?;
        let claims = Claims { sub: uid, app: &app.id, iat, exp, jti, sid: fat.sid, path: fat.paths };
        Ok(Issued { uid: uid.to_owned(), fat: issuer.issue(&claims)?, expires_at: exp, url: None })
    }
}

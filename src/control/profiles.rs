//! `/users` and `/users/{uid}`: who is registered. Who is deactivated is in `users`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use serde::Serialize;
use serde_json::Value;

use super::ControlState;
use super::api_key::Caller;
use super::auth_tokens::fresh_token;
use super::call::{self, App};
use super::error::ApiError;
use super::fields::Fields;
use super::query::{Listed, Query};
use super::users::Data;
use crate::relay::now_secs;
use crate::store::auth_tokens::TokenDetails;
use crate::store::users::{Deactivated, Profile, User, UserQuery};

const MAX_NAME_CHARS: usize = 100;
const MAX_URL_BYTES: usize = 3000;
const MAX_TAGS: usize = 25;
const MAX_METADATA_BYTES: usize = 5 * 1024;

const CREATE: [&str; 9] =
    ["uid", "name", "avatar", "link", "role", "statusMessage", "metadata", "tags", "withAuthToken"];
const UPDATE: [&str; 8] = ["name", "avatar", "link", "role", "statusMessage", "metadata", "tags", "unset"];
const UNSET: [&str; 5] = ["avatar", "link", "metadata", "statusMessage", "tags"];
const LIST: [&str; 12] = [
    "searchKey",
    "searchIn",
    "status",
    "perPage",
    "page",
    "role",
    "roles",
    "tags",
    "withTags",
    "count",
    "onlyDeactivated",
    "withDeactivated",
];

/// A user, as the API shows one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    uid: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    avatar: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link: String,
    role: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    status_message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Value>,
    status: &'static str,
    created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<u64>,
    /// Only where it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deactivated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
}

impl From<User> for Shown {
    fn from(user: User) -> Shown {
        let json = |text: &str| serde_json::from_str(text).ok();
        Shown {
            uid: user.uid,
            metadata: json(&user.profile.metadata),
            tags: json(&user.profile.tags),
            name: user.profile.name,
            avatar: user.profile.avatar,
            link: user.profile.link,
            role: user.profile.role,
            status_message: user.profile.status_message,
            status: "offline",
            created_at: user.created_at,
            updated_at: Some(user.updated_at).filter(|at| *at != 0),
            deactivated: user.state.is_deactivated,
            auth_token: None,
        }
    }
}

/// `POST /users {"uid","name",…}`.
pub(super) async fn create(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    let mut fields = Fields::read(call.json.as_deref(), CREATE)?;
    let uid = fields.uid(&call.app, "uid");
    let mut profile = Profile { role: "default".to_owned(), ..Profile::default() };
    fields.require("name");
    changes(&mut fields)(&mut profile);
    let with_token = fields.flag("withAuthToken");
    fields.finish()?;
    let uid = uid.ok_or_else(|| ApiError::required("uid"))?;
    let (shown, token) = match with_token {
        true => {
            let details = TokenDetails::default();
            let (token, new) = fresh_token(&uid, details, state.sessions_until(&call.app))?;
            (Some(token), Some(new))
        }
        false => (None, None),
    };
    let user = User { uid: uid.clone(), profile, created_at: now_secs(), updated_at: 0, ..User::default() };
    if !state.0.store.create_user(&call.app.id, user, token).await? {
        return Err(ApiError::UidExists(uid));
    }
    log::info!("control: `{}` created a user of app `{}`", caller.name, call.app.id);
    // Read again: the uid may have been deactivated before it was registered.
    let user = state.user(&call.app, &uid).await?;
    Ok(Json(Data { data: Shown { auth_token: shown, ..user.into() } }))
}

/// `GET /users`.
pub(super) async fn list(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Listed<Shown>>, ApiError> {
    caller.full_access()?;
    let app = App::of(request.headers(), &state.gate(), &caller)?;
    let query = Query::read(request.uri(), &LIST)?;
    let page = query.page()?;
    let with_tags = query.flag("withTags")?;
    query.flag("count")?;
    let mut roles = query.list("roles");
    roles.extend(query.text("role").map(str::to_owned));
    let deactivated = match (query.flag("onlyDeactivated")?, query.flag("withDeactivated")?) {
        (true, _) => Deactivated::Only,
        (false, true) => Deactivated::With,
        (false, false) => Deactivated::Without,
    };
    let is_nobody = match query.value("status") {
        None | Some("offline") => false,
        // Presence is not this server's business: nobody is ever seen online.
        Some("available") => true,
        Some(_) => return Err(ApiError::invalid("status", "The status must be available or offline.")),
    };
    let mut fields = query.value("searchIn").into_iter().flat_map(|list| list.split(','));
    if fields.any(|field| !["uid", "name"].contains(&field.trim())) {
        return Err(ApiError::invalid("searchIn", "The searchIn may have uid and name."));
    }
    if roles.len() > 100 || query.list("tags").len() > MAX_TAGS {
        return Err(ApiError::invalid("query", "Too many roles or tags."));
    }
    if is_nobody {
        return Ok(Json(Listed::new(Vec::new(), 0, page)));
    }
    let search = query.text("searchKey").unwrap_or_default().to_owned();
    let query = UserQuery { search, roles, tags: query.list("tags"), deactivated, page };
    let (users, total) = state.0.store.users(&app.id, &query).await?;
    let shown = |user: User| {
        let shown = Shown::from(user);
        Shown { tags: shown.tags.filter(|_| with_tags), ..shown }
    };
    Ok(Json(Listed::new(users.into_iter().map(shown).collect(), total, page)))
}

/// `GET /users/{uid}`.
pub(super) async fn get(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    uid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    caller.full_access()?;
    call::no_query(request.uri())?;
    let app = App::of(request.headers(), &state.gate(), &caller)?;
    let uid = app.uid_in_path(uid)?;
    Ok(Json(Data { data: state.user(&app, &uid).await?.into() }))
}

/// `PUT /users/{uid} {"name":…}`.
pub(super) async fn update(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    uid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Data<Shown>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    let uid = call.app.uid_in_path(uid)?;
    let mut fields = Fields::read(call.json.as_deref(), UPDATE)?;
    let unset = fields.texts("unset", UNSET.len());
    if unset.iter().any(|field| !UNSET.contains(&field.as_str())) {
        fields.wrong("unset", format!("The unset may have {}.", UNSET.join(", ")));
    }
    let change = changes(&mut fields);
    fields.finish()?;
    let change = move |profile: &mut Profile| {
        for field in &unset {
            match field.as_str() {
                "avatar" => profile.avatar.clear(),
                "link" => profile.link.clear(),
                "metadata" => profile.metadata.clear(),
                "statusMessage" => profile.status_message.clear(),
                _ => profile.tags.clear(),
            }
        }
        change(profile);
    };
    let updated = state.0.store.update_user(&call.app.id, &uid, now_secs(), change).await;
    let user = updated?.ok_or(ApiError::UidNotFound(uid))?;
    Ok(Json(Data { data: user.into() }))
}

/// What the fields of a body make of a profile.
fn changes(fields: &mut Fields) -> impl FnOnce(&mut Profile) + Send + 'static {
    let name = fields.text("name", MAX_NAME_CHARS);
    let role = fields.text("role", MAX_NAME_CHARS);
    let status_message = fields.text("statusMessage", MAX_NAME_CHARS);
    let [avatar, link] = ["avatar", "link"].map(|field| {
        let url = fields.text(field, MAX_URL_BYTES)?;
        if url.len() > MAX_URL_BYTES || !is_url(&url) {
            fields.wrong(field, format!("The {field} must be a valid URL."));
        }
        Some(url)
    });
    let metadata = fields.object("metadata", MAX_METADATA_BYTES);
    let tags = fields.has("tags").then(|| fields.texts("tags", MAX_TAGS));
    if tags.iter().flatten().any(|tag| tag.chars().count() > MAX_NAME_CHARS || tag.is_empty()) {
        fields.wrong("tags", format!("Each of the tags must have 1 to {MAX_NAME_CHARS} characters."));
    }
    let tags = tags.map(|tags| Value::from(tags).to_string());
    move |profile| {
        let into = [
            (name, &mut profile.name),
            (role, &mut profile.role),
            (status_message, &mut profile.status_message),
            (avatar, &mut profile.avatar),
            (link, &mut profile.link),
            (metadata, &mut profile.metadata),
            (tags, &mut profile.tags),
        ];
        for (value, field) in into {
            if let Some(value) = value {
                *field = value;
            }
        }
    }
}

/// Whether `text` is an absolute http(s) URL.
fn is_url(text: &str) -> bool {
    let uri: Option<http::Uri> = text.parse().ok();
    let is_web = |uri: &http::Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    uri.is_some_and(|uri| is_web(&uri) && uri.host().is_some_and(|host| !host.is_empty()))
}

impl ControlState {
    /// Returns a user who is registered.
    pub(super) async fn user(&self, app: &App, uid: &str) -> Result<User, ApiError> {
        let user = self.0.store.user(&app.id, uid).await?;
        user.ok_or_else(|| ApiError::UidNotFound(uid.to_owned()))
    }

    /// UNIX seconds at which no FAT can be alive any more that the API has issued until now, nor a URL made with one.
    pub(super) fn sessions_until(&self, app: &App) -> u64 {
        let longest =
            self.0.issuers.load().of(&app.id).map_or(crate::config::MAX_TOKEN_TTL.as_secs(), |of| of.max_ttl());
        now_secs() + longest + self.gate().presigned_ttl().as_secs() + 600
    }
}

//! Which path and method is whose, and what holds for every call.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use axum::{Json, Router};
use http::{HeaderValue, Method, StatusCode, Version, header};

use super::api_key::{Caller, shown};
use super::dashboard::Dashboard;
use super::ending::Watched;
use super::error::ApiError;
use super::nodes::Node;
use super::users::Data;
use super::{
    ControlState, app, auth_tokens, cache, call, explain, fats, keys, me, openapi, presign, profiles, restrictions,
    users,
};
use crate::restrictions::hex;

/// Headers that clients send to the calls of users.
const CLIENT_HEADERS: &str = "accept, apikey, appid, authtoken, content-type, resource, sdk";

/// How long browsers remember what is allowed, in seconds.
const PREFLIGHT_MAX_AGE: &str = "86400";

pub(super) fn router(state: ControlState, dashboard: &Dashboard) -> Router {
    let keyed = || middleware::from_fn_with_state(state.clone(), authenticate);
    let api = routed(api()).layer(keyed());
    let clients = routed(clients()).layer(middleware::from_fn(across_sites));
    // A platform's page may make the auth token itself, with a key of the scope authOnly.
    let tokens = routed(tokens()).layer(keyed()).layer(middleware::from_fn(across_sites));
    let all = api.merge(clients).merge(tokens);
    Router::new()
        .nest("/v3", all.clone())
        .nest("/v3.0", all)
        .merge(dashboard.router())
        .fallback(not_found.layer(keyed()))
        .with_state(state)
        .layer(middleware::from_fn(frame))
}

/// Paths below the version, each with what answers its methods.
type Routes = Vec<(&'static str, MethodRouter<ControlState>)>;

/// What platforms call.
pub(super) fn api() -> Routes {
    // `any` first: without it an answer to another method would list those that there are.
    let none = || any(not_found);
    let user_token = none().get(auth_tokens::get).put(auth_tokens::update).delete(auth_tokens::delete);
    vec![
        ("/users", none().post(profiles::create).get(profiles::list).delete(users::deactivate).put(users::reactivate)),
        ("/users/{uid}", none().get(profiles::get).put(profiles::update).delete(users::delete)),
        ("/users/{uid}/auth_tokens/{authToken}", user_token),
        ("/users/{uid}/fat", none().post(fats::one)),
        ("/fats", none().post(fats::batch)),
        ("/presign", none().post(presign::presign)),
        ("/explain", none().get(explain::explain)),
        ("/apikeys", none().post(keys::create).get(keys::list)),
        ("/apikeys/{apiKey}", none().get(keys::get).put(keys::rename).delete(keys::delete)),
        ("/app", none().get(app::get).put(app::update)),
        ("/observed", none().get(app::observed)),
        ("/restrictions", none().post(restrictions::impose).delete(restrictions::lift)),
        ("/cache/purge", none().post(cache::purge)),
        ("/nodes", none().get(list_nodes)),
        ("/openapi.json", none().get(openapi::get)),
    ]
}

pub(super) fn tokens() -> Routes {
    let tokens = any(not_found).post(auth_tokens::create).get(auth_tokens::list).delete(auth_tokens::flush);
    vec![("/users/{uid}/auth_tokens", tokens)]
}

/// What users' clients call, with an auth token.
pub(super) fn clients() -> Routes {
    let none = || any(not_found);
    vec![
        ("/me", none().put(me::login).get(me::login).delete(me::logout)),
        ("/settings", none().get(me::settings)),
        ("/user_sessions", none().post(me::user_sessions)),
    ]
}

fn routed(routes: Routes) -> Router<ControlState> {
    routes.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods))
}

/// `GET /nodes`: who serves files, and how far each has come.
async fn list_nodes(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Vec<Node>>>, ApiError> {
    caller.full_access()?;
    call::no_query(request.uri())?;
    Ok(Json(Data { data: state.nodes().await? }))
}

async fn not_found() -> ApiError {
    ApiError::NotFound
}

/// Lets nothing pass without a key, neither to a route nor to the news that there is none.
async fn authenticate(State(state): State<ControlState>, mut request: Request, next: Next) -> Response {
    let shown = shown(request.headers());
    let caller = async { state.caller(shown?).await };
    match caller.await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

impl ControlState {
    /// The nodes that serve files, and how far each has come.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, ApiError> {
        let seq = self.0.store.seq().await?;
        let source = self.0.store.source().await?;
        Ok(self.0.nodes.list(&source, seq, Instant::now()))
    }

    /// Returns who makes a call: by a configured key, or else by one of the store's.
    pub(super) async fn caller(&self, shown: [u8; 32]) -> Result<Caller, ApiError> {
        let hash = hex(&shown);
        if let Some(caller) = self.0.api_keys.caller(&shown) {
            self.limit(hash.into())?;
            return Ok(caller.clone());
        }
        let store = &self.0.store;
        if !self.0.stored_keys.contain(&hash, async || store.key_hashes().await).await? {
            return Err(ApiError::KeyUnknown);
        }
        self.limit(hash.as_str().into())?;
        // Asked each time: another process may have deleted it.
        let Some(key) = store.key_by_hash(&hash).await? else {
            self.0.stored_keys.forget(&hash);
            return Err(ApiError::KeyUnknown);
        };
        Ok(Caller::stored(key, shown))
    }
}

/// Lets pages of any site call and read the answer: what a call may do depends on what it shows, never on a cookie.
async fn across_sites(request: Request, next: Next) -> Response {
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = if is_preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if is_preflight {
        let methods = HeaderValue::from_static("GET, POST, PUT, DELETE");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(CLIENT_HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE));
    }
    response
}

/// What holds for every call and every answer.
async fn frame(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let ambiguous = hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11);
    // With a length beside it, which is gone by now, two readers would see two bodies (RFC 9112 §6.1).
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let (parts, body) = request.into_parts();
    let (body, ended) = Watched::new(body);
    let mut response = if ambiguous {
        ApiError::invalid("host", "The host header must be there once.").into_response()
    } else {
        next.run(Request::from_parts(parts, Body::new(body))).await
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What is left of a body is not read as another request, and not waited for.
    if ambiguous || chunked || !ended.is_true() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

//! The gallery: a page with a group chat's attachments as alice and as bob see them, in the three modes, and a button that
//! deactivates bob.
//!
//! It is a platform in small: its pages log in through the JavaScript client, its server calls the control API with the API
//! key. It listens on an address of its own, so that its scripts are another origin than the dashboard, and answers under
//! names of this machine only: a name that somebody else points here gets nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{APP, Ready, USERS, object_path};
use crate::cli::call::{ApiKey, ControlArgs, call};
use crate::control::same_origin::{Transport, is_same_origin};
use crate::secret::Secret;

const PICTURES: [&str; 5] = [".png", ".jpg", ".jpeg", ".gif", ".webp"];
const VIDEOS: [&str; 2] = [".mp4", ".webm"];

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page.
const FILES: [(&str, &str, &str); 5] = [
    ("/", "text/html; charset=utf-8", include_str!("page.html")),
    ("/page.js", SCRIPT, include_str!("page.js")),
    ("/style.css", STYLE, include_str!("../../control/dashboard/style.css")),
    ("/page.css", STYLE, include_str!("page.css")),
    ("/mediagate.js", SCRIPT, include_str!("../../../clients/js/mediagate.js")),
];

/// What the page is about. Clones share it.
#[derive(Clone)]
pub(super) struct Gallery(Arc<Inner>);

struct Inner {
    control: ControlArgs,
    api_key: ApiKey,
    /// What the page is told.
    setup: Value,
    policy: HeaderValue,
}

/// Binds the listener.
pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address} (--gallery-listen); is something else using it?"))
}

/// Serves until it is aborted.
pub(super) async fn serve(listener: TcpListener, gallery: Gallery) {
    let files = FILES.into_iter().fold(Router::new(), |router, (path, content_type, content)| {
        router.route(path, get(async move || ([(header::CONTENT_TYPE, content_type)], content)))
    });
    let router = files
        .route("/setup.json", get(setup))
        .route("/users/{uid}/login", post(login))
        .route("/users/{uid}/deactivate", post(deactivate))
        .route("/users/{uid}/reactivate", post(reactivate))
        .layer(middleware::from_fn_with_state(gallery.clone(), guard))
        .with_state(gallery);
    if let Err(error) = axum::serve(listener, router).await {
        log::error!("gallery: {error}");
    }
}

impl Gallery {
    /// Shows the first picture and the last video of `keys`.
    pub(super) fn new(ready: &Ready, keys: &[String]) -> Gallery {
        let is = |key: &&String, endings: &[&str]| {
            let key = key.to_ascii_lowercase();
            endings.iter().any(|ending| key.ends_with(ending))
        };
        let url = |key: &String| format!("{}{}", ready.media, object_path(key));
        let setup = json!({
            "app": APP,
            "control": ready.control,
            "users": USERS,
            "picture": keys.iter().find(|key| is(key, &PICTURES)).map(url),
            "video": keys.iter().rfind(|key| is(key, &VIDEOS)).map(url),
        });
        let (media, control) = (&ready.media, &ready.control);
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: {media}; media-src {media}; \
             connect-src 'self' {media} {control}; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
        );
        Gallery(Arc::new(Inner {
            control: ControlArgs {
                control: ready.control.clone(),
                ca_file: None,
                api_key_file: None,
                app: Some(APP.to_owned()),
            },
            api_key: ApiKey { key: Secret::new(ready.apikey.clone()), origin: "the state folder".to_owned() },
            setup,
            policy: HeaderValue::from_str(&policy).expect("addresses are ASCII"),
        }))
    }

    /// Makes a call of the control API about one of the users; answers with what came of it.
    async fn call(&self, uid: &str, method: Method, path: &str, body: Value) -> Response {
        if !USERS.contains(&uid) {
            return StatusCode::NOT_FOUND.into_response();
        }
        let Inner { control, api_key, .. } = &*self.0;
        match call(control, api_key, &method, path, Some(&body)).await {
            Ok(data) => Json(data).into_response(),
            Err(error) => (StatusCode::BAD_GATEWAY, Json(json!({ "error": error.to_string() }))).into_response(),
        }
    }
}

async fn setup(State(gallery): State<Gallery>) -> Json<Value> {
    Json(gallery.0.setup.clone())
}

async fn login(State(gallery): State<Gallery>, Path(uid): Path<String>) -> Response {
    let client = json!({ "platform": "gallery" });
    gallery.call(&uid, Method::POST, &format!("/users/{uid}/auth_tokens"), client).await
}

async fn deactivate(State(gallery): State<Gallery>, Path(uid): Path<String>) -> Response {
    gallery.call(&uid, Method::DELETE, "/users?wait=2s", json!({ "uidsToDeactivate": [uid] })).await
}

async fn reactivate(State(gallery): State<Gallery>, Path(uid): Path<String>) -> Response {
    gallery.call(&uid, Method::PUT, "/users?wait=2s", json!({ "uidsToActivate": [uid] })).await
}

/// Lets nobody in but pages of its own, under a name of this machine.
async fn guard(State(gallery): State<Gallery>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let mut response = if !headers.get(header::HOST).is_some_and(is_here) {
        StatusCode::MISDIRECTED_REQUEST.into_response()
    } else if *request.method() == Method::POST && !is_same_origin(headers, Transport::Plain) {
        StatusCode::FORBIDDEN.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, gallery.0.policy.clone());
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a `Host` is an address or `localhost`: nobody else can have a name resolve so.
fn is_here(host: &HeaderValue) -> bool {
    let authority = host.to_str().ok().and_then(|host| host.parse::<http::uri::Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
    })
}

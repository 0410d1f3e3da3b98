//! Who is let in: whoever has an API key with full access, by a session of an id of its own.

use std::time::Instant;

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::html;

use super::layout::bare;
use super::sessions::Session;
use super::{Dashboard, Failure, HOME, LOGIN, Visitor, form, see_other};
use crate::control::api_key::digest;
use crate::control::call::App;
use crate::control::error::ApiError;
use crate::control::query::Query;
use crate::control::same_origin::Transport;
use crate::gate::Gate;

/// The cookie's name, and what is said of it. With TLS browsers themselves see to it that it comes from this host by
/// TLS and goes nowhere else (`__Host-`, RFC 6265bis §4.1.3.2); without TLS they would not take such a cookie.
fn cookie(transport: Transport) -> (&'static str, &'static str) {
    match transport {
        Transport::Tls => ("__Host-mediagate", "Path=/; HttpOnly; Secure; SameSite=Strict"),
        Transport::Plain => ("mediagate", "Path=/dashboard; HttpOnly; SameSite=Strict"),
    }
}

/// Returns the session that a request shows. Two cookies of the name are none: one of them is somebody else's doing.
pub(super) fn session(dashboard: &Dashboard, headers: &HeaderMap, now: Instant) -> Option<Session> {
    let (name, _) = cookie(dashboard.0.transport);
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ids = pairs.filter(|(other, _)| *other == name).map(|(_, id)| id);
    match (ids.next(), ids.next()) {
        (Some(id), None) => dashboard.0.sessions.find(id, now),
        _ => None,
    }
}

/// Returns the app called `id`, or the only one that the caller has where it is empty.
pub(super) fn app(id: &str, gate: &Gate, caller: &crate::control::api_key::Caller) -> Result<App, ApiError> {
    let headers = HeaderMap::new();
    if id.is_empty() { App::of(&headers, gate, caller) } else { App::in_body(id, &headers, gate, caller) }
}

/// `GET /dashboard/login`.
pub(super) async fn page() -> Response {
    form_page(StatusCode::OK, "", None)
}

/// `POST /dashboard/login`: the key is compared as that of a call is, and a session begins under a new id.
pub(super) async fn login(State(dashboard): State<Dashboard>, request: Request) -> Result<Response, Failure> {
    let before = session(&dashboard, request.headers(), Instant::now());
    let body = form::read(request).await?;
    let fields = Query::parse(&body, &["app", "key"])?;
    let (app, key) = (fields.text("app").unwrap_or_default().trim(), fields.text("key").unwrap_or_default().trim());
    match dashboard.begin(app, key).await {
        Ok(id) => {
            before.iter().for_each(|before| dashboard.0.sessions.end(&before.digest));
            let (name, attributes) = cookie(dashboard.0.transport);
            Ok(with_cookie(see_other(HOME), &format!("{name}={id}; {attributes}")))
        }
        Err(error) => Ok(form_page(error.status(), app, Some(&error))),
    }
}

/// `POST /dashboard/logout`.
pub(super) async fn logout(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    let body = form::read(request).await?;
    visitor.form(&body, &[])?;
    dashboard.0.sessions.end(&visitor.session.digest);
    let (name, attributes) = cookie(dashboard.0.transport);
    Ok(with_cookie(see_other(LOGIN), &format!("{name}=; {attributes}; Max-Age=0")))
}

impl Dashboard {
    /// Begins a session; returns its id.
    async fn begin(&self, id: &str, key: &str) -> Result<String, ApiError> {
        if key.is_empty() {
            return Err(ApiError::KeyMissing);
        }
        let control = &self.0.control;
        let api_key = digest(key.as_bytes());
        let caller = control.caller(api_key).await?;
        caller.full_access()?;
        let app = app(id, &control.gate(), &caller)?;
        log::info!("dashboard: `{}` logged in for app `{}`", caller.name, app.id);
        self.0.sessions.begin(api_key, &app.id, Instant::now())
    }
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    let cookie = HeaderValue::from_str(cookie).expect("hexadecimal digits and constants");
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response.into_response()
}

fn form_page(status: StatusCode, app: &str, error: Option<&ApiError>) -> Response {
    let message = error.map(|error| match error {
        ApiError::KeyMissing => "Enter an API key.".into(),
        ApiError::AppMissing => "There are several apps: enter the id of one.".into(),
        ApiError::AppUnknown | ApiError::Invalid(_) => "There is no such app, or the key is for another.".into(),
        error => error.message(),
    });
    let content = html! {
        @if let Some(message) = message {
            p class="problem" role="alert" id="problem" { (message) }
        }
        form method="post" action=(LOGIN) {
            label for="app" { "App" }
            input id="app" name="app" value=(app) maxlength="255" autocomplete="username" autocapitalize="off"
                spellcheck="false" aria-describedby="app-hint";
            p class="hint" id="app-hint" { "Its id. Where there is one app only, it may be left out." }
            label for="key" { "API key" }
            input id="key" name="key" type="password" required maxlength="1024" autocomplete="current-password"
                aria-describedby=(if error.is_some() { "problem key-hint" } else { "key-hint" }) autofocus[error.is_some()];
            p class="hint" id="key-hint" { "One with the scope fullAccess." }
            button { "Log in" }
        }
    };
    bare(status, "Log in to mediagate", content)
}

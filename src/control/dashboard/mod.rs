//! The dashboard: pages for people, on the control listener, made here whole. No script, nothing from elsewhere.
//!
//! Its session is a cookie, and that cookie is good below `/dashboard` only: the API, which pages of any site may read,
//! never looks at one. The pages call what the API calls. Markup is `maud`'s: whatever stands in it is escaped, unless it
//! is markup.

mod access;
mod assets;
mod explain;
mod form;
mod layout;
mod login;
mod nodes;
mod overview;
mod plot;
mod sessions;
mod traffic;
mod user;
mod users;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use maud::Markup;

use super::ControlState;
use super::api_key::Caller;
use super::call::App;
use super::error::ApiError;
use super::same_origin::{Transport, is_same_origin};
use crate::store::StoreError;
use sessions::{Session, Sessions};
use traffic::{Traffic, counted};

/// Where it begins.
const HOME: &str = "/dashboard";
const LOGIN: &str = "/dashboard/login";

/// How long a page waits for the nodes to say that they have a change.
const RECEIPT_WAIT: Duration = Duration::from_secs(2);

const MINUTE: Duration = Duration::from_secs(60);

/// What every answer says besides.
const FIELDS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Its own forms say where they are from; nobody else is told.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// What the pages are made of. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Dashboard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    control: ControlState,
    transport: Transport,
    sessions: Sessions,
    traffic: Mutex<Traffic>,
}

/// Who asks for a page.
#[derive(Debug, Clone)]
struct Visitor {
    caller: Caller,
    app: App,
    session: Session,
}

impl Dashboard {
    /// Returns the pages of a listener that speaks `transport`; nobody is logged in.
    pub(super) fn new(control: ControlState, transport: Transport) -> Dashboard {
        let (sessions, traffic) = (Sessions::default(), Mutex::default());
        Dashboard(Arc::new(Inner { control, transport, sessions, traffic }))
    }

    /// Looks at the metrics each minute, for as long as it is let.
    pub(super) async fn count_minutes(&self) -> Infallible {
        let mut minutes = tokio::time::interval_at(tokio::time::Instant::now() + MINUTE, MINUTE);
        loop {
            minutes.tick().await;
            let counted = counted(&self.0.control.0.metrics);
            self.traffic().end_minute(counted);
        }
    }

    pub(super) fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let keyed = pages().layer(middleware::from_fn_with_state(self.clone(), authenticate));
        let open = routed(vec![
            (LOGIN, none().get(login::page).post(login::login)),
            ("/dashboard/assets/{name}", none().get(assets::get)),
        ]);
        keyed.merge(open).layer(middleware::from_fn_with_state(self.clone(), guard)).with_state(self.clone())
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.0.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns who asks: somebody with a session, whose key still is one.
    async fn visitor(&self, headers: &HeaderMap) -> Result<Option<Visitor>, ApiError> {
        let Some(session) = login::session(self, headers, Instant::now()) else { return Ok(None) };
        let control = &self.0.control;
        let caller = match control.caller(session.api_key).await {
            Err(ApiError::KeyUnknown) => Err(ApiError::KeyUnknown),
            caller => Ok(caller?),
        };
        let entitled = caller.and_then(|caller| {
            caller.full_access()?;
            Ok((login::app(&session.app, &control.gate(), &caller)?, caller))
        });
        match entitled {
            Ok((app, caller)) => Ok(Some(Visitor { caller, app, session })),
            Err(_) => {
                self.0.sessions.end(&session.digest);
                Ok(None)
            }
        }
    }

    /// Sends the visitor on to the page at `to`, which will tell `notice`.
    fn tell(&self, visitor: &Visitor, to: &str, notice: Markup) -> Response {
        self.0.sessions.tell(&visitor.session.digest, notice);
        see_other(to)
    }
}

fn none() -> MethodRouter<Dashboard> {
    any(not_found)
}

/// The pages of those who are logged in.
fn pages() -> Router<Dashboard> {
    routed(vec![
        (HOME, none().get(overview::page)),
        ("/dashboard/", none().get(async || see_other(HOME))),
        ("/dashboard/users", none().get(users::page)),
        ("/dashboard/user", none().get(user::page)),
        ("/dashboard/user/deactivate", none().post(user::deactivate)),
        ("/dashboard/user/reactivate", none().post(user::reactivate)),
        ("/dashboard/user/end-session", none().post(user::end_session)),
        ("/dashboard/user/end-sessions", none().post(user::end_sessions)),
        ("/dashboard/access", none().get(access::page).post(access::step_up)),
        ("/dashboard/explain", none().get(explain::page).post(explain::explain)),
        ("/dashboard/nodes", none().get(nodes::page)),
        ("/dashboard/logout", none().post(login::logout)),
        ("/dashboard/{*rest}", none()),
    ])
}

fn routed(routes: Vec<(&'static str, MethodRouter<Dashboard>)>) -> Router<Dashboard> {
    routes.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods))
}

async fn not_found() -> Failure {
    Failure(ApiError::NotFound)
}

/// Lets nothing pass without a session but to the login.
async fn authenticate(State(dashboard): State<Dashboard>, mut request: Request, next: Next) -> Response {
    match dashboard.visitor(request.headers()).await {
        Ok(Some(visitor)) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Ok(None) => see_other(LOGIN),
        Err(error) => Failure(error).into_response(),
    }
}

/// What holds for every page: nothing is changed at another site's wish, and no answer is of use to one.
async fn guard(State(dashboard): State<Dashboard>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if changes && !is_same_origin(request.headers(), dashboard.0.transport) {
        let why = "This form was not sent by a page of the dashboard, so nothing was done.";
        layout::failure(StatusCode::FORBIDDEN, "Not from here", why, &[])
    } else {
        next.run(request).await
    };
    for (name, value) in FIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Sends a browser on, with `GET` whatever it came with.
fn see_other(to: &str) -> Response {
    let to = HeaderValue::from_str(to).expect("paths here are ASCII, and what is put into them is encoded");
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// A refusal as a page.
#[derive(Debug)]
struct Failure(ApiError);

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Failure(error) = self;
        let details: Vec<&str> = match &error {
            ApiError::Invalid(details) => details.values().flatten().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        match &error {
            ApiError::NotFound => layout::failure(error.status(), "Not found", "There is no such page.", &[]),
            error => layout::failure(error.status(), "That did not work", &error.message(), &details),
        }
    }
}

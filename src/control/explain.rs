//! `/explain`: what the gate would answer to a URL, and why.
//!
//! Asked is the gate itself, with what the database says by now of the link's app, user, session and token.

use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::extract::{Extension, Request, State};
use serde::Serialize;

use super::ControlState;
use super::api_key::Caller;
use super::call::App;
use super::error::ApiError;
use super::query::Query;
use super::users::Data;
use crate::feed::wire::is_name;
use crate::gate::{Access, CredentialKind, Decision, Denial, Gate, Now, Trace, named_by};
use crate::relay::now_micros;
use crate::restrictions::{Event, RestrictionSet};

/// What the gate would answer. Of the token itself, nothing is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explained {
    /// Whether the request goes on to the storage.
    pub(super) admitted: bool,
    /// The HTTP status of a refusal; 200 for what is admitted, as far as the gate knows.
    pub(super) status: u16,
    /// The reason, as metrics and logs have it; `ok` without one.
    pub(super) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'static str>,
    /// What would be refused if access were enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) observed: Option<&'static str>,
    /// UNIX seconds: objects that were last modified later are refused without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) modified_before: Option<u64>,
    pub(super) access: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credential: Option<&'static str>,
}

/// `GET /explain?url=<encoded>`.
pub(super) async fn explain(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Explained>>, ApiError> {
    caller.full_access()?;
    let query = Query::read(request.uri(), &["url"])?;
    let url = query.text("url").ok_or_else(|| ApiError::required("url"))?;
    // What the call names must be there.
    if caller.app.is_some() || request.headers().contains_key("appid") {
        App::of(request.headers(), &state.gate(), &caller)?;
    }
    Ok(Json(Data { data: state.explain(url, &caller).await? }))
}

impl ControlState {
    /// Says what the gate would answer to `url`, whose app is its own, unless the caller's key is for another one.
    pub(super) async fn explain(&self, url: &str, caller: &Caller) -> Result<Explained, ApiError> {
        let asked = request_for(url).ok_or_else(|| {
            let why = "The url must be a whole media URL, like https://files.example/app/media/7.jpg?fat=…";
            ApiError::invalid("url", why)
        })?;
        let gate = self.gate();
        let named = asked.uri.path().split('/').nth(1).unwrap_or_default().to_owned();
        if caller.app.as_deref().is_some_and(|own| own != named) {
            return Err(ApiError::AppUnknown);
        }
        let names = named_by(&asked);
        let names = [names.uid, names.sid, names.jti].map(|name| name.filter(|name| is_name(name)).unwrap_or_default());
        let uid_case = gate.uid_case(&named).unwrap_or_default();
        let uid = uid_case.normalize(&names[0]).map(std::borrow::Cow::into_owned).unwrap_or_default();
        let entries = self.0.store.restrictions_of(&named, [&uid, &names[1], &names[2]]).await?;
        let wall = SystemTime::UNIX_EPOCH + Duration::from_micros(now_micros());
        let now = Now { wall, monotonic: Instant::now() };
        let set = RestrictionSet::new([0, 0], now.monotonic);
        set.apply(Event::Snapshot { seq: 0, entries }, now.monotonic);
        Ok(explained(&gate, &asked, &named, &set, now))
    }
}

/// The request that a client makes with `url`.
fn request_for(url: &str) -> Option<http::request::Parts> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.authority().filter(|_| matches!(uri.scheme_str(), Some("http" | "https")))?.to_string();
    let target = uri.path_and_query()?.to_string();
    let request = http::Request::get(target).header(http::header::HOST, host).body(()).ok()?;
    Some(request.into_parts().0)
}

fn explained(gate: &Gate, asked: &http::request::Parts, app: &str, set: &RestrictionSet, now: Now) -> Explained {
    let access = gate.access(app).map_or(Access::Enforce, |access| access.with(set.app_settings(app)));
    let answer = |trace: Trace, denial: Option<Denial>, observed: Option<Denial>| Explained {
        admitted: denial.is_none(),
        status: denial.map_or(200, Denial::status),
        reason: denial.map_or("ok", Denial::reason),
        code: denial.map(Denial::code),
        message: denial.map(Denial::message),
        observed: observed.map(Denial::reason),
        modified_before: None,
        access: access.label(),
        app: trace.app.map(|app| app.to_string()),
        object: trace.object.map(|object| object.as_str().to_owned()),
        uid: trace.uid.map(|uid| uid.to_string()),
        credential: trace.credential.map(CredentialKind::label),
    };
    match gate.admit(asked, set, now) {
        Ok(Decision::Forward(admission)) => {
            let since = admission.modified_before.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok());
            let explained = answer(admission.trace, None, admission.observed);
            Explained { modified_before: since.map(|since| since.as_secs()), ..explained }
        }
        Ok(Decision::HandOut(handout)) => answer(handout.trace, None, handout.observed),
        Ok(Decision::Options) => answer(Trace::default(), None, None),
        Err(refusal) => answer(*refusal.trace, Some(refusal.denial), None),
    }
}

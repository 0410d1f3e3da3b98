//! `/presign`: URLs for one user, many at a time.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Extension, Request, State};
use serde::Serialize;

use super::ControlState;
use super::api_key::Caller;
use super::call;
use super::error::ApiError;
use super::fields::Fields;
use super::users::Data;
use crate::gate::{PresignError, PresignFor};
use crate::relay::now_micros;

/// The most URLs of one call.
const MAX_URLS: usize = 1000;

/// URLs in the order in which they were sent.
#[derive(Debug, Serialize)]
pub(super) struct Signed {
    urls: Vec<One>,
}

/// What became of one URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    /// As it was sent.
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    presigned: Option<String>,
    /// UNIX seconds; absent where the URL needs no signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// `POST /presign {"uid":"alice","urls":[…]}`; with a `sid`, the URLs die with that session.
pub(super) async fn presign(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Signed>>, ApiError> {
    caller.full_access()?;
    let call = call::read(request, &state.gate(), &caller).await?;
    call.no_wait()?;
    let mut fields = Fields::read(call.json.as_deref(), ["uid", "sid", "urls"])?;
    fields.require("urls");
    let uid = fields.uid(&call.app, "uid");
    let sid = fields.text("sid", 255);
    if sid.as_ref().is_some_and(|sid| sid.len() > 255) {
        fields.wrong("sid", "The sid may not be longer than 255 bytes.");
    }
    let urls = fields.texts("urls", MAX_URLS);
    fields.finish()?;
    let uid = uid.ok_or_else(|| ApiError::required("uid"))?;
    let user = state.user(&call.app, &uid).await?;
    if user.state.is_deactivated {
        return Err(ApiError::UidNotFound(uid));
    }
    let settings = state.0.store.settings(&call.app.id).await?;
    let whom = PresignFor {
        app: &call.app.id,
        uid: &uid,
        sid: sid.as_deref(),
        flushed: Some(user.state.flushed),
        settings: settings.app,
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(now_micros());
    let gate = state.gate();
    let mut signed = Vec::with_capacity(urls.len());
    for url in urls {
        let (presigned, expires_at, error) = match gate.presign(&url, whom, now) {
            Ok(presigned) => (Some(presigned.url), presigned.expires_at, None),
            Err(PresignError::Unavailable) => return Err(ApiError::NoPresigned),
            Err(error) => (None, None, Some(error.to_string())),
        };
        signed.push(One { url, presigned, expires_at, error });
    }
    let handed_out = signed.iter().filter(|one| one.expires_at.is_some()).count();
    state.0.metrics.presigned_urls.inc_by(handed_out as u64);
    Ok(Json(Data { data: Signed { urls: signed } }))
}

//! `/cache/purge`: copies of objects that nobody is to get any more, because the objects are gone or others.

use std::time::SystemTime;

use axum::Json;
use axum::extract::{Extension, Request, State};
use serde_json::Value;

use super::api_key::Caller;
use super::call::{self, App};
use super::error::ApiError;
use super::restrictions::Done;
use super::users::Data;
use super::{ControlState, body};
use crate::caching::MAX_CACHE_TTL;
use crate::feed::wire::is_name;
use crate::relay::now_secs;
use crate::restrictions::{Effect, Scope};
use crate::store::{Action, Wanted};

/// `POST /cache/purge {"app":"acme","key":"media/a.jpg"}` or `{"app":"acme","prefix":"media/"}`: of one object, of a
/// folder, or with an empty prefix of the app. What nodes fetch from then on, they keep again.
pub(super) async fn purge(
    State(state): State<ControlState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Data<Done>>, ApiError> {
    caller.full_access()?;
    let call = call::read_unnamed(request).await?;
    let [app, key, prefix] = match &call.json {
        Some(json) => body::members(json, ["app", "key", "prefix"])?,
        None => [const { None }; 3],
    };
    let Some(Value::String(app)) = app else {
        return Err(ApiError::invalid("app", "The app must be a string: the id of an app."));
    };
    let app = App::in_body(&app, &call.headers, &state.gate(), &caller)?;
    let scope = scope_of(app.id, key, prefix)?;
    let kind = scope.kind().label();
    // The row is of no use once no copy from before is fresh: it is asked about then.
    let expires_at = Some(now_secs() + 2 * MAX_CACHE_TTL.as_secs());
    let effect = Effect::Purged { at: now_micros() };
    let committed = state.commit(vec![Wanted { scope, effect, action: Action::Impose { expires_at } }]).await?;
    let receipt = state.receipt(&committed, call.wait).await?;
    log::info!("control: `{}` purged copies of {kind} scope", caller.name);
    Ok(Json(Data { data: Done::new(&committed, receipt) }))
}

fn scope_of(app: String, key: Option<Value>, prefix: Option<Value>) -> Result<Scope, ApiError> {
    match (key, prefix) {
        (Some(Value::String(key)), None) if is_path(&key) => Ok(Scope::Prefix { app, prefix: key }),
        (Some(_), None) => Err(ApiError::invalid(
            "key",
            "The key must be an object's key below its app, like \"media/a.jpg\", of at most 512 bytes.",
        )),
        (None, Some(Value::String(prefix))) if prefix.is_empty() => Ok(Scope::App { app }),
        (None, Some(Value::String(prefix))) if prefix.strip_suffix('/').is_some_and(is_path) && is_name(&prefix) => {
            Ok(Scope::Prefix { app, prefix })
        }
        (None, Some(_)) => Err(ApiError::invalid(
            "prefix",
            "The prefix must be a folder of the app, like \"media/\", of at most 512 bytes, or empty.",
        )),
        (None, None) | (Some(_), Some(_)) => {
            Err(ApiError::invalid("body", "The body must have an app, and either a key or a prefix."))
        }
    }
}

/// Whether `path` can be the key of an object, or a folder without its last slash.
fn is_path(path: &str) -> bool {
    is_name(path) && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// UNIX microseconds now.
#[expect(clippy::disallowed_methods, reason = "the shell is where time comes in")]
fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_purge_is_of_one_object_a_folder_or_an_app() {
        let check = |body: Value, expected: Result<Scope, &str>| {
            let found = scope_of("acme".into(), body.get("key").cloned(), body.get("prefix").cloned());
            let found = found.map_err(|error| match error {
                ApiError::Invalid(details) => details.into_keys().next().unwrap(),
                error => panic!("{error:?}"),
            });
            assert_eq!(found, expected.map_err(str::to_owned), "{body}");
        };
        let prefix = |prefix: &str| Ok(Scope::Prefix { app: "acme".into(), prefix: prefix.into() });
        check(json!({ "key": "media/a.jpg" }), prefix("media/a.jpg"));
        check(json!({ "key": "a b+ü" }), prefix("a b+ü"));
        check(json!({ "prefix": "media/" }), prefix("media/"));
        check(json!({ "prefix": "" }), Ok(Scope::App { app: "acme".into() }));
        for key in ["", "/a", "a/", "a//b", "a/../b", ".", "a\nb", &"a".repeat(513)] {
            check(json!({ "key": key }), Err("key"));
        }
        for prefix in ["a", "/", "/a/", "a//", "../", "a\n/", &format!("{}/", "a".repeat(512))] {
            check(json!({ "prefix": prefix }), Err("prefix"));
        }
        check(json!({ "key": 1 }), Err("key"));
        check(json!({ "key": null }), Err("key"));
        check(json!({ "prefix": ["a/"] }), Err("prefix"));
        check(json!({}), Err("body"));
        check(json!({ "key": "a", "prefix": "a/" }), Err("body"));
    }
}

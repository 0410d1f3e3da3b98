//! Whom a request's credential claims to speak for, before anything of it is checked: for explanations, never to admit
//! anybody.

use http::request::Parts;
use serde_json::Value;

use super::extract::{self, Credential};
use super::verify::unverified_payload;

/// What a credential names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// The user.
    pub uid: Option<String>,
    /// The session.
    pub sid: Option<String>,
    /// The token.
    pub jti: Option<String>,
}

/// Returns what the credential of `request` names, checked in no way.
pub fn named_by(request: &Parts) -> Named {
    match extract::shown(request).ok().and_then(|shown| Some(shown.credential?.0)) {
        Some(Credential::Fat(compact)) => of_token(compact).unwrap_or_default(),
        Some(Credential::Presigned(query)) => of_query(query),
        Some(Credential::ApiKey(_)) | None => Named::default(),
    }
}

fn of_token(compact: &str) -> Option<Named> {
    let claims: Value = serde_json::from_str(&unverified_payload(compact).ok()?).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    // A Twilio token names its user inside `grants`.
    let uid = text(&claims["grants"]["identity"]).or_else(|| text(&claims["sub"]));
    Some(Named { uid, sid: text(&claims["sid"]), jti: text(&claims["jti"]) })
}

fn of_query(query: &str) -> Named {
    let value = |name: &str| {
        let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
        let (_, value) = parameters.find(|(found, _)| *found == name)?;
        Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
    };
    Named { uid: value("Uid"), sid: value("Sid"), jti: value("Jti") }
}

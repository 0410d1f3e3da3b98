//! Every way in which the control listener refuses: status, code, text.
//!
//! Codes and shape are those that clients of the vendor's API know (`message`, `code`, `details`). No key and no
//! internals are ever in a text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::gate::StepDown;
use crate::store::StoreError;

/// What is wrong with each field, by its name.
pub(super) type Details = BTreeMap<String, Vec<String>>;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiError {
    /// The call cannot mean one thing; says of each field why.
    Invalid(Details),
    /// No `apikey` header.
    KeyMissing,
    /// A key that is not configured.
    KeyUnknown,
    /// The key's scope does not reach so far.
    NoAccess,
    /// Several apps, and the call names none.
    AppMissing,
    /// There is no app of that name.
    AppUnknown,
    /// No such path, or not with this method.
    NotFound,
    /// There is a user of that uid already.
    UidExists(String),
    /// No such user, or one who is deactivated.
    UidNotFound(String),
    /// No `authToken` header.
    AuthTokenMissing,
    /// An auth token that is nobody's, or a deactivated user's.
    AuthTokenUnknown,
    /// The user has no such auth token.
    AuthTokenNotFound,
    /// The app has no such API key.
    ApiKeyNotFound,
    /// A key must not remove itself.
    SelfAction,
    /// The app has no key that tokens can be signed with here.
    NoSigningKey,
    /// The app has no key that tokens can be verified with: nobody would get in, for good.
    NoVerifyingKey,
    /// There is no presigned mode.
    NoPresigned,
    /// The switch goes one way.
    StepDown(StepDown),
    /// Too many calls; says for how many seconds to wait.
    TooMany(u64),
    /// The body did not come in time.
    BodySlow,
    /// The body is larger than any call needs.
    BodyTooLarge,
    /// The body is compressed, or not declared to be JSON; says which.
    MediaType(&'static str),
    /// The store cannot be read or written now.
    Store,
    /// The change is in the store, and this node did not come round to it in time.
    NotInForceYet,
}

impl ApiError {
    /// A call without a field that it needs.
    pub(super) fn required(field: &str) -> ApiError {
        ApiError::invalid(field, format!("The {field} field is required."))
    }

    /// A call with one field that is wrong.
    pub(super) fn invalid(field: impl Into<String>, why: impl Into<String>) -> ApiError {
        ApiError::Invalid(Details::from([(field.into(), vec![why.into()])]))
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            ApiError::Invalid(_) | ApiError::AppMissing | ApiError::AppUnknown | ApiError::UidExists(_) => {
                StatusCode::BAD_REQUEST
            }
            ApiError::SelfAction => StatusCode::BAD_REQUEST,
            ApiError::KeyMissing | ApiError::KeyUnknown | ApiError::AuthTokenMissing | ApiError::AuthTokenUnknown => {
                StatusCode::UNAUTHORIZED
            }
            ApiError::NoAccess => StatusCode::FORBIDDEN,
            ApiError::NotFound | ApiError::UidNotFound(_) | ApiError::AuthTokenNotFound | ApiError::ApiKeyNotFound => {
                StatusCode::NOT_FOUND
            }
            ApiError::BodySlow => StatusCode::REQUEST_TIMEOUT,
            ApiError::StepDown(_) | ApiError::NoSigningKey | ApiError::NoVerifyingKey | ApiError::NoPresigned => {
                StatusCode::CONFLICT
            }
            ApiError::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            ApiError::Store | ApiError::NotInForceYet => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            ApiError::Invalid(_) | ApiError::BodySlow | ApiError::BodyTooLarge | ApiError::MediaType(_) => {
                "ERR_BAD_REQUEST"
            }
            ApiError::KeyMissing => "AUTH_ERR_EMPTY_APIKEY",
            ApiError::KeyUnknown => "AUTH_ERR_APIKEY_NOT_FOUND",
            ApiError::NoAccess => "AUTH_ERR_NO_ACCESS",
            ApiError::AppMissing => "AUTH_ERR_EMPTY_APPID",
            ApiError::AppUnknown => "AUTH_ERR_INVALID_APPID",
            ApiError::NotFound => "ERR_API_NOT_FOUND",
            ApiError::UidExists(_) => "ERR_UID_ALREADY_EXISTS",
            ApiError::UidNotFound(_) => "ERR_UID_NOT_FOUND",
            ApiError::AuthTokenMissing => "AUTH_ERR_EMPTY_AUTH_TOKEN",
            ApiError::AuthTokenUnknown => "AUTH_ERR_AUTH_TOKEN_NOT_FOUND",
            ApiError::AuthTokenNotFound => "ERR_AUTH_TOKEN_NOT_FOUND",
            ApiError::ApiKeyNotFound => "ERR_APIKEY_NOT_FOUND",
            ApiError::SelfAction => "ERR_APIKEY_NO_SELF_ACTION",
            ApiError::NoSigningKey => "ERR_NO_SIGNING_KEY",
            ApiError::NoVerifyingKey => "ERR_NO_VERIFYING_KEY",
            ApiError::NoPresigned => "ERR_PRESIGNED_UNAVAILABLE",
            ApiError::StepDown(_) => "ERR_ACCESS_STEP_DOWN",
            ApiError::TooMany(_) => "ERR_TOO_MANY_REQUESTS",
            ApiError::Store => "ERR_STORE_UNAVAILABLE",
            ApiError::NotInForceYet => "ERR_NOT_IN_FORCE_YET",
        }
    }

    pub(super) fn message(&self) -> Cow<'static, str> {
        let message = match self {
            ApiError::UidExists(uid) => {
                return format!("The UID {uid} already exists, please use another UID.").into();
            }
            ApiError::UidNotFound(uid) => {
                let why = "does not exist, please make sure you have created a user with UID";
                return format!("The UID {uid} {why} {uid}.").into();
            }
            ApiError::Invalid(_) => "Failed to validate the data sent with the request.",
            ApiError::KeyMissing => "The apikey header is missing.",
            ApiError::KeyUnknown => "The API key does not exist. Please use one that is configured.",
            ApiError::NoAccess => "The API key may not do this: it needs the scope fullAccess.",
            ApiError::AppMissing => "There are several apps: name one of them in the appId header.",
            ApiError::AppUnknown => "The app named in the appId header does not exist, or is not the key's.",
            ApiError::NotFound => "The API endpoint is invalid. Please verify the API call.",
            ApiError::AuthTokenMissing => "The authToken header is missing.",
            ApiError::AuthTokenUnknown => "The auth token does not exist. Please make a new one.",
            ApiError::AuthTokenNotFound => "The user has no such auth token.",
            ApiError::ApiKeyNotFound => "The app has no such API key.",
            ApiError::SelfAction => "An API key cannot remove itself: use another one.",
            ApiError::NoSigningKey => {
                "The app has no key that tokens can be signed with here: give it one with a secret_file or a private_key_file."
            }
            ApiError::NoVerifyingKey => {
                "The app has no key to verify tokens with, and nobody would get in: give it one in the configuration."
            }
            ApiError::NoPresigned => "Presigned URLs are not configured here: a section [presigned] turns them on.",
            ApiError::StepDown(why) => return why.to_string().into(),
            ApiError::MediaType(message) => message,
            ApiError::TooMany(_) => "Too many calls with this key. Please wait as Retry-After says.",
            ApiError::BodySlow => "The body of the request did not come in time.",
            ApiError::BodyTooLarge => "The body of the request is too large.",
            ApiError::Store => "The store is not available. Nothing was acknowledged; please repeat the call.",
            ApiError::NotInForceYet => {
                "The change is stored and will take effect, but has not yet. Please repeat the call to see when it has."
            }
        };
        message.into()
    }
}

#[derive(Serialize)]
pub(super) struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: Cow<'static, str>,
    source: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
}

/// A refusal as clients read it.
pub(super) fn envelope(error: &ApiError) -> Envelope<'_> {
    let details = if let ApiError::Invalid(details) = error { Some(details) } else { None };
    Envelope { error: Body { message: error.message(), source: "mediagate", code: error.code(), details } }
}

/// Tells the operator what a caller is not told.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        log::error!("control: {error}");
        ApiError::Store
    }
}

impl From<Arc<StoreError>> for ApiError {
    fn from(error: Arc<StoreError>) -> ApiError {
        log::error!("control: {error}");
        ApiError::Store
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(envelope(&self))).into_response();
        match self {
            ApiError::TooMany(seconds) => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            ApiError::Store | ApiError::NotInForceYet => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

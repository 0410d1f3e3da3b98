//! Every way to be refused: its status, its code, its metric label.
//!
//! Texts are constants: nothing that a client sent is ever repeated in an answer.

use super::object_key::PathError;
use super::verify::VerifyError;

/// Why a request is refused. Clients see status, code and message; metrics see the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The request line or path cannot mean one thing.
    Path(PathError),
    /// The request's shape cannot mean one thing.
    BadRequest(BadRequest),
    /// The URL behind the own host is of none of the configured origins.
    UnknownOrigin,
    /// No session of the platform.
    SessionMissing,
    /// A session that does not hold, or no longer.
    SessionInvalid(VerifyError),
    /// A session that would hold, and was revoked.
    SessionEnded,
    /// The session is one user's and the token another's.
    OtherUser,
    /// An answer of a provider, or to one, that belongs to no login of this browser, or to no session.
    LoginFailed,
    /// The platform does not say whether there is a session: fail closed.
    PlatformUnavailable,
    /// `Host` is none of those that are served (RFC 9110 §15.5.20).
    UnknownHost,
    /// Not `GET`, `HEAD` or `OPTIONS`.
    MethodNotAllowed,
    /// The request target is longer than is read.
    UriTooLong,
    /// The header fields are longer or more than are read.
    HeadersTooLarge,
    /// No such app.
    UnknownApp,
    /// No credential at all.
    TokenMissing,
    /// Malformed, forged, not yet valid, or meant for another service.
    TokenInvalid(VerifyError),
    /// The token was sound once.
    TokenExpired,
    /// The token is sound and for another app.
    OtherApp,
    /// The token is sound and does not cover this path.
    PathNotAllowed,
    /// The token is sound; everything of its app is deactivated.
    AppDeactivated,
    /// The token is sound; its user is deactivated.
    UserDeactivated,
    /// The token is sound; its session is revoked.
    SessionRevoked,
    /// The token itself is revoked, or everything issued as early as it was.
    TokenRevoked,
    /// The presigned URL was sound once.
    UrlExpired,
    /// The presigned URL's signature does not hold, or its key is not known.
    UrlInvalid,
    /// No such API key, or not of this app.
    ApiKeyUnknown,
    /// The restrictions are older than `max_staleness`, or were never loaded: fail closed.
    RestrictionsStale,
}

/// What makes a request ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRequest {
    /// More than one credential, equal or not.
    SeveralCredentials,
    /// A parameter that reads as `fat` but is spelled otherwise.
    MisspelledParameter,
    /// `?redirect=` asks for a presigned URL where none are handed out.
    PresignedUnavailable,
    /// `redirect` is neither 0 nor 1, stands twice, or is spelled otherwise.
    Redirect,
    /// `cookie` is not 1, or stands twice.
    Cookie,
    /// `download` stands twice, or is no file name.
    Download,
    /// The parameters of a presigned URL are not exactly those that were handed out.
    PresignedForm,
    /// A body, or framing that announces one.
    Body,
    /// `Upgrade`.
    Upgrade,
    /// No `Host`, several, or one that is not a host.
    Host,
    /// The URL behind the own host is not in its one form.
    PrependedUrl,
    /// More than one session cookie.
    SeveralSessions,
    /// Not HTTP/1 in its one strict form.
    Malformed,
    /// Another proxy does not say clearly which request it asks about.
    Asked,
}

/// What an answer does to the connection that it goes out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It may carry the next request.
    Keep,
    /// Nothing more is read from it.
    Close,
}

impl Denial {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Denial::Path(PathError::NoObject) | Denial::UnknownApp => 404,
            Denial::Path(PathError::TooLong) | Denial::UriTooLong => 414,
            Denial::Path(_) | Denial::BadRequest(_) => 400,
            Denial::UnknownHost => 421,
            Denial::MethodNotAllowed => 405,
            Denial::HeadersTooLarge => 431,
            Denial::TokenMissing
            | Denial::TokenInvalid(_)
            | Denial::TokenExpired
            | Denial::ApiKeyUnknown
            | Denial::SessionMissing
            | Denial::SessionInvalid(_)
            | Denial::SessionEnded => 401,
            Denial::UnknownOrigin
            | Denial::OtherUser
            | Denial::LoginFailed
            | Denial::OtherApp
            | Denial::PathNotAllowed
            | Denial::AppDeactivated
            | Denial::UserDeactivated
            | Denial::SessionRevoked
            | Denial::TokenRevoked
            | Denial::UrlExpired
            | Denial::UrlInvalid => 403,
            Denial::RestrictionsStale | Denial::PlatformUnavailable => 503,
        }
    }

    /// The `code` of the error body.
    pub const fn code(self) -> &'static str {
        match self {
            Denial::Path(PathError::NoObject) | Denial::UnknownApp => "ERR_NOT_FOUND",
            Denial::Path(PathError::TooLong) | Denial::UriTooLong => "ERR_URI_TOO_LONG",
            Denial::Path(_) | Denial::BadRequest(_) | Denial::UnknownHost => "ERR_BAD_REQUEST",
            Denial::UnknownOrigin => "ERR_ORIGIN_NOT_ALLOWED",
            Denial::SessionMissing => "ERR_SESSION_MISSING",
            Denial::SessionInvalid(_) | Denial::SessionEnded => "ERR_SESSION_INVALID",
            Denial::OtherUser => "ERR_OTHER_USER",
            Denial::LoginFailed => "ERR_LOGIN_FAILED",
            Denial::PlatformUnavailable => "ERR_PLATFORM_UNAVAILABLE",
            Denial::MethodNotAllowed => "ERR_METHOD_NOT_ALLOWED",
            Denial::HeadersTooLarge => "ERR_HEADERS_TOO_LARGE",
            Denial::TokenMissing => "ERR_FAT_MISSING",
            Denial::TokenInvalid(_) => "ERR_FAT_INVALID",
            Denial::TokenExpired => "ERR_FAT_EXPIRED",
            Denial::OtherApp | Denial::PathNotAllowed => "ERR_PATH_NOT_ALLOWED",
            Denial::AppDeactivated | Denial::UserDeactivated => "ERR_USER_DEACTIVATED",
            Denial::SessionRevoked | Denial::TokenRevoked => "ERR_SESSION_REVOKED",
            Denial::UrlExpired => "ERR_URL_EXPIRED",
            Denial::UrlInvalid => "ERR_URL_INVALID",
            Denial::ApiKeyUnknown => "ERR_APIKEY_INVALID",
            Denial::RestrictionsStale => "ERR_RESTRICTIONS_STALE",
        }
    }

    /// The metric label and log field: one of a fixed few.
    pub const fn reason(self) -> &'static str {
        match self {
            Denial::Path(error) => match error {
                PathError::NoObject => "no_object",
                PathError::TooLong => "key_too_long",
                PathError::HoldsToken => "path_holds_token",
                PathError::NotAbsolute
                | PathError::EmptySegment
                | PathError::DotSegment
                | PathError::MalformedEscape
                | PathError::EncodedSeparator
                | PathError::ForbiddenCharacter
                | PathError::NotUtf8 => "path_ambiguous",
            },
            Denial::BadRequest(bad) => match bad {
                BadRequest::SeveralCredentials => "several_credentials",
                BadRequest::MisspelledParameter => "misspelled_parameter",
                BadRequest::PresignedUnavailable => "presigned_unavailable",
                BadRequest::Redirect => "redirect_invalid",
                BadRequest::Cookie => "cookie_invalid",
                BadRequest::Download => "download_invalid",
                BadRequest::PresignedForm => "presigned_malformed",
                BadRequest::Body => "body",
                BadRequest::Upgrade => "upgrade",
                BadRequest::Host => "host_invalid",
                BadRequest::PrependedUrl => "prepended_url",
                BadRequest::SeveralSessions => "several_sessions",
                BadRequest::Malformed => "malformed",
                BadRequest::Asked => "asked_unclear",
            },
            Denial::UnknownOrigin => "origin_unknown",
            Denial::SessionMissing => "session_missing",
            Denial::SessionInvalid(VerifyError::Expired) => "session_expired",
            Denial::SessionInvalid(_) => "session_invalid",
            Denial::SessionEnded => "session_ended",
            Denial::OtherUser => "other_user",
            Denial::LoginFailed => "login_failed",
            Denial::PlatformUnavailable => "platform_unavailable",
            Denial::UnknownHost => "host_unknown",
            Denial::MethodNotAllowed => "method",
            Denial::UriTooLong => "uri_too_long",
            Denial::HeadersTooLarge => "headers_too_large",
            Denial::UnknownApp => "app_unknown",
            Denial::TokenMissing => "token_missing",
            Denial::TokenInvalid(error) => error.reason(),
            Denial::TokenExpired => "token_expired",
            Denial::OtherApp => "other_app",
            Denial::PathNotAllowed => "path_not_allowed",
            Denial::AppDeactivated => "app_deactivated",
            Denial::UserDeactivated => "user_deactivated",
            Denial::SessionRevoked => "session_revoked",
            Denial::TokenRevoked => "token_revoked",
            Denial::UrlExpired => "url_expired",
            Denial::UrlInvalid => "url_invalid",
            Denial::ApiKeyUnknown => "api_key_unknown",
            Denial::RestrictionsStale => "restrictions_stale",
        }
    }

    /// What a person reads: what was wrong and, where it helps, what to do.
    pub const fn message(self) -> &'static str {
        match self {
            Denial::Path(error) => match error {
                PathError::NotAbsolute => "The request target must be a path that starts with `/`.",
                PathError::NoObject => "There is no such object.",
                PathError::EmptySegment => "The path has an empty segment.",
                PathError::DotSegment => "The path has a `.` or `..` segment.",
                PathError::MalformedEscape => "The path has a `%` that two hexadecimal digits do not follow.",
                PathError::EncodedSeparator => "The path has an encoded separator.",
                PathError::ForbiddenCharacter => {
                    "The path has a character that is not allowed there or must be percent-encoded."
                }
                PathError::NotUtf8 => "The path is not UTF-8.",
                PathError::TooLong => "The object key is longer than 1024 bytes.",
                PathError::HoldsToken => "The path holds a token or a signature, which belong behind a `?`.",
            },
            Denial::BadRequest(bad) => match bad {
                BadRequest::SeveralCredentials => {
                    "The request carries more than one token or signature. Send exactly one, in one place."
                }
                BadRequest::MisspelledParameter => "The token's query parameter is spelled `fat`.",
                BadRequest::PresignedUnavailable => {
                    "Presigned URLs are not configured at this gate. Leave out the `redirect` parameter."
                }
                BadRequest::Redirect => "`redirect` stands once and is 0 (an answer with the URL) or 1 (a redirect).",
                BadRequest::Cookie => "`cookie` stands once and is 1.",
                BadRequest::Download => "`download` stands once, without a value, as 1 or as a file name in UTF-8.",
                BadRequest::PresignedForm => "Use a presigned URL exactly as it was handed out.",
                BadRequest::Body => "A request for media has no body.",
                BadRequest::Upgrade => "This server does not upgrade connections.",
                BadRequest::Host => "The request must name exactly one valid host.",
                BadRequest::PrependedUrl => {
                    "What stands behind the host must be one whole URL of a media server, exactly as browsers write it."
                }
                BadRequest::SeveralSessions => "The request carries more than one session cookie.",
                BadRequest::Malformed => "The request is not well-formed HTTP.",
                BadRequest::Asked => {
                    "The proxy must say in one way which request it asks about: X-Original-URI and X-Original-Method, \
                     X-Forwarded-Uri and X-Forwarded-Method, or a path behind /auth."
                }
            },
            Denial::UnknownOrigin => "Media of that server is not served here.",
            Denial::SessionMissing => "A login is required.",
            Denial::SessionInvalid(_) | Denial::SessionEnded => {
                "The session does not hold, or no longer. Log in again."
            }
            Denial::OtherUser => "The link is for another user than the one who is logged in.",
            Denial::LoginFailed => "The login could not be completed. Open the link again.",
            Denial::PlatformUnavailable => "The platform does not say who is logged in. Try again shortly.",
            Denial::UnknownHost => "This host is not served here.",
            Denial::MethodNotAllowed => "Only GET, HEAD and OPTIONS are allowed.",
            Denial::UriTooLong => "The URL is too long.",
            Denial::HeadersTooLarge => "The header fields are too large.",
            Denial::UnknownApp => "There is no such object.",
            Denial::TokenMissing => "A file access token is required: `?fat=`, the `fat` header or a bearer token.",
            Denial::TokenInvalid(_) => "The file access token is not valid.",
            Denial::TokenExpired => "The file access token has expired.",
            Denial::OtherApp | Denial::PathNotAllowed => "The file access token does not cover this path.",
            Denial::AppDeactivated => "This app is deactivated.",
            Denial::UserDeactivated => "The user is deactivated.",
            Denial::SessionRevoked => "The session is no longer valid.",
            Denial::TokenRevoked => "The file access token, or the URL made with it, has been revoked.",
            Denial::UrlExpired => "The URL has expired.",
            Denial::UrlInvalid => "The URL's signature is not valid.",
            Denial::ApiKeyUnknown => "The API key does not open the links of this app.",
            Denial::RestrictionsStale => "The gate has no fresh state and lets nobody in. Try again shortly.",
        }
    }

    /// Whether the connection survives: not when its framing, or the client's idea of it, is in doubt.
    pub const fn connection(self) -> Connection {
        match self.status() {
            400 | 405 | 414 | 421 | 431 => Connection::Close,
            _ => Connection::Keep,
        }
    }

    /// The `WWW-Authenticate` field of a 401 (RFC 6750 §3).
    pub const fn challenge(self) -> Option<&'static str> {
        match self {
            Denial::TokenMissing | Denial::ApiKeyUnknown | Denial::SessionMissing => Some("Bearer realm=\"mediagate\""),
            Denial::TokenInvalid(_) | Denial::SessionInvalid(_) | Denial::SessionEnded => {
                Some("Bearer realm=\"mediagate\", error=\"invalid_token\"")
            }
            Denial::TokenExpired => {
                Some("Bearer realm=\"mediagate\", error=\"invalid_token\", error_description=\"expired\"")
            }
            _ => None,
        }
    }
}

//! What can go wrong for a client: the host and the reason, never a URL, a token or what a server wrote.

use std::time::Duration;

/// Why a call of [`Client`](super::Client) failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A client cannot be made like this.
    #[error("`{option}` {why}")]
    Option {
        /// The field of [`ClientOptions`](super::ClientOptions), or the argument.
        option: &'static str,
        /// What it must be.
        why: &'static str,
    },
    /// Nobody is logged in, or no longer the one who was when the call began.
    #[error("nobody is logged in")]
    NotLoggedIn,
    /// No `http://` or `https://` URL in its plain form, with a host and without a user.
    #[error("not a URL that can be fetched")]
    Url,
    /// No connection, or none that TLS trusts.
    #[error("cannot talk to {host}: {why}")]
    Unreachable {
        /// Whom it was to be with.
        host: String,
        /// What the system says.
        why: String,
    },
    /// No answer, or no more of it, in time.
    #[error("{host} was silent for {after:?}")]
    Timeout {
        /// Who is late.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection ended within the answer.
    #[error("{host} broke off its answer")]
    Broken {
        /// Whose answer it was.
        host: String,
    },
    /// The server says no. Media listeners say so with 401 and 403, after one retry with a fresh token.
    #[error("{host} refused: {status} {code}")]
    Refused {
        /// Who says so.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The code, like `ERR_USER_DEACTIVATED`; empty where there is none.
        code: String,
    },
    /// The answer is not one of mediagate's.
    #[error("the answer of {host} {why}")]
    Answer {
        /// Whose answer it is.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A body is longer than the caller takes.
    #[error("the answer of {host} has more than {limit} bytes")]
    TooLarge {
        /// Whose answer it is.
        host: String,
        /// How many bytes are taken.
        limit: usize,
    },
}

impl ClientError {
    /// Whether a fresh token could help.
    pub(super) fn is_denial(&self) -> bool {
        matches!(self, ClientError::Refused { status: 401 | 403, .. })
    }
}

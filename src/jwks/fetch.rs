//! One attempt to have a JWK Set: bounded in time and size, and led nowhere else.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;

use super::KeySetSource;
use crate::config::files;
use crate::gate::{JwkSet, JwkSetError, MAX_JWKS_BYTES};
use crate::outbound::{Outbound, OutboundError};

/// Why a set could not be had. What was held before is held on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No connection, or one that was broken off.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// Not whole in time.
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    /// Any status but 200; redirects are not followed, so that nobody else is believed.
    #[error("the answer is {0}, and only 200 is taken")]
    Status(StatusCode),
    /// A file that cannot be read.
    #[error("it cannot be read: {0}")]
    File(String),
    /// An answer that is no JWK Set.
    #[error("{0}")]
    NoSet(#[from] JwkSetError),
}

impl FetchError {
    /// The metric label.
    pub const fn reason(&self) -> &'static str {
        match self {
            FetchError::Unreachable(_) => "unreachable",
            FetchError::Timeout(_) => "timeout",
            FetchError::Status(_) => "status",
            FetchError::File(_) => "file",
            FetchError::NoSet(JwkSetError::TooLarge) => "too_large",
            FetchError::NoSet(_) => "malformed",
        }
    }
}

/// Returns the document at `source`, once it is known to be a JWK Set.
pub(super) async fn fetch(source: &KeySetSource, timeout: Duration) -> Result<Bytes, FetchError> {
    let document = match source {
        KeySetSource::Url(url) => {
            tokio::time::timeout(timeout, get(url.clone())).await.map_err(|_| FetchError::Timeout(timeout))??
        }
        KeySetSource::File(path) => read(path.clone()).await?,
    };
    JwkSet::parse(&document, None)?;
    Ok(document)
}

async fn read(path: PathBuf) -> Result<Bytes, FetchError> {
    let read = move || files::read(&path, MAX_JWKS_BYTES as u64);
    let content = tokio::task::spawn_blocking(read).await.map_err(|error| FetchError::File(error.to_string()))?;
    content.map(Bytes::from).map_err(|error| FetchError::File(error.to_string()))
}

/// Over a connection of its own: sets are had once in minutes.
async fn get(url: Uri) -> Result<Bytes, FetchError> {
    let unreachable = |error: &dyn std::fmt::Display| FetchError::Unreachable(error.to_string());
    let client = Outbound::new(url.scheme(), 0).await?;
    let request = Request::get(url).header(header::ACCEPT, "application/jwk-set+json, application/json");
    let request = request.body(Full::default()).map_err(|error| unreachable(&error))?;
    let (head, body) = client.ask(request, MAX_JWKS_BYTES).await?.into_parts();
    if head.status == StatusCode::OK { Ok(body) } else { Err(FetchError::Status(head.status)) }
}

impl From<OutboundError> for FetchError {
    fn from(error: OutboundError) -> FetchError {
        match error {
            OutboundError::Unreachable(why) => FetchError::Unreachable(why),
            OutboundError::TooLarge => JwkSetError::TooLarge.into(),
        }
    }
}

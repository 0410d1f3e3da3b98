//! One attempt to have a JWK Set: bounded in time and size, and led nowhere else.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::crypto::CryptoProvider;

use super::KeySetSource;
use crate::config::files;
use crate::gate::{JwkSet, JwkSetError, MAX_JWKS_BYTES};

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
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    if url.scheme_str() == Some("http") {
        return get_over(connector, url).await;
    }
    // More than one is compiled in, and rustls takes none by itself then.
    pingora::tls::install_default_crypto_provider();
    let unreachable = |error: &dyn std::fmt::Display| FetchError::Unreachable(error.to_string());
    let provider = CryptoProvider::get_default().cloned().ok_or_else(|| unreachable(&"no TLS library"))?;
    // Reads the system's certificates, anew each time because they are renewed, too.
    let builder = tokio::task::spawn_blocking(|| HttpsConnectorBuilder::new().with_provider_and_native_roots(provider));
    let builder = builder.await.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?;
    get_over(builder.https_only().enable_http1().wrap_connector(connector), url).await
}

async fn get_over(connector: impl Connect + Clone + Send + Sync + 'static, url: Uri) -> Result<Bytes, FetchError> {
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let request = Request::get(url).header(header::ACCEPT, "application/jwk-set+json, application/json");
    let request = request.body(Empty::new()).map_err(|error| FetchError::Unreachable(error.to_string()))?;
    let response = client.request(request).await.map_err(|error| FetchError::Unreachable(chain(&error)))?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_JWKS_BYTES).collect().await;
    Ok(body.map_err(|error| too_large_or_broken_off(&*error))?.to_bytes())
}

fn too_large_or_broken_off(error: &(dyn std::error::Error + 'static)) -> FetchError {
    match error.is::<LengthLimitError>() {
        true => JwkSetError::TooLarge.into(),
        false => FetchError::Unreachable(chain(error)),
    }
}

/// The whole of an error: what hyper says first is only that there was one.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

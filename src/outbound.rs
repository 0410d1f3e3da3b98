//! Questions that the gateway itself asks of servers that its operator names: bounded in size, and led nowhere else.

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};

/// A client for one server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbound(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    /// No connection, or one that was broken off.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// More than is read.
    #[error("the answer is too large")]
    TooLarge,
}

impl Outbound {
    /// Returns a client for servers of `scheme` that keeps up to `idle` connections.
    ///
    /// For TLS it reads the system's certificates, anew each time because they are renewed, too.
    ///
    /// # Errors
    ///
    /// When there are none to be read.
    pub(crate) async fn new(scheme: Option<&Scheme>, idle: usize) -> Result<Outbound, OutboundError> {
        // More than one is compiled in, and rustls takes none by itself then.
        pingora::tls::install_default_crypto_provider();
        let unreachable = |error: &dyn std::fmt::Display| OutboundError::Unreachable(error.to_string());
        let provider = CryptoProvider::get_default().cloned().ok_or_else(|| unreachable(&"no TLS library"))?;
        let builder = HttpsConnectorBuilder::new();
        let builder = if scheme == Some(&Scheme::HTTP) {
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.map_err(|error| unreachable(&error))?;
            builder.with_tls_config(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
        } else {
            let builder = tokio::task::spawn_blocking(|| builder.with_provider_and_native_roots(provider));
            builder.await.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let mut client = Client::builder(TokioExecutor::new());
        Ok(Outbound(client.pool_timer(TokioTimer::new()).pool_max_idle_per_host(idle).build(connector)))
    }

    /// Returns the answer to `request`, whatever its status, with a body of at most `most` bytes. Redirects are answers.
    /// Who asks sets the time.
    ///
    /// # Errors
    ///
    /// No answer, or a larger one.
    pub(crate) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Response<Bytes>, OutboundError> {
        let answer = self.0.request(request).await.map_err(|error| OutboundError::Unreachable(chain(&error)))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, most).collect().await.map_err(|error| match error.is::<LengthLimitError>() {
            true => OutboundError::TooLarge,
            false => OutboundError::Unreachable(chain(&*error)),
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// The whole of an error: what hyper says first is only that there was one.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

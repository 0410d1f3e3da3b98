//! One request, one answer: bounded in time and size, over TLS where the URL says so. Redirects are never followed.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as HyperError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::error::ClientError;
use super::session::FAT;

/// The longest code of a refusal.
const MAX_CODE_BYTES: usize = 64;

/// How long a connection that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The most connections to one host that nobody uses.
const MAX_IDLE: usize = 16;

/// How long the steps of an exchange may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) connect: Duration,
    pub(crate) answer: Duration,
}

/// Connections, kept for the next request. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    times: Times,
}

impl Http {
    /// Trusts the certificates of `roots` (PEM), in place of the system's.
    ///
    /// # Errors
    ///
    /// When there is none in `roots`.
    pub(crate) fn new(roots: Option<&[u8]>, times: Times) -> Result<Http, ClientError> {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of TLS 1.2 and 1.3")
            .with_root_certificates(root_store(roots)?)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(times.connect));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        Ok(Http { client, times })
    }

    /// How long an answer, and each piece of it, may take.
    pub(super) fn answer_timeout(&self) -> Duration {
        self.times.answer
    }

    /// Returns the head of the answer; its body comes behind.
    ///
    /// # Errors
    ///
    /// Without a head in time.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let host = host(request.uri());
        match timeout(self.times.answer, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(failure(host, &error)),
            Err(_) => Err(ClientError::Timeout { host, after: self.times.answer }),
        }
    }

    /// Returns status and body of the answer, which has `limit` bytes at most.
    ///
    /// # Errors
    ///
    /// Without all of it in time.
    pub(crate) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let host = host(request.uri());
        let exchange = async {
            let response = self.send(request).await?;
            Ok((response.status(), read(response.into_body(), limit, &host).await?))
        };
        let late = |_| ClientError::Timeout { host: host.clone(), after: self.times.answer };
        timeout(self.times.answer, exchange).await.map_err(late)?
    }
}

/// Returns a body of `limit` bytes at most; the caller minds the time.
pub(super) async fn read(body: Incoming, limit: usize, host: &str) -> Result<Bytes, ClientError> {
    let host = || host.to_owned();
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLarge { host: host(), limit }),
        Err(_) => Err(ClientError::Broken { host: host() }),
    }
}

/// Whom `uri` is about, with the port where it has one.
pub(super) fn host(uri: &Uri) -> String {
    uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default()
}

/// Whom `url` is about, likewise.
pub(super) fn host_of(url: &Url) -> String {
    url.authority().to_owned()
}

/// A request for `url`, with `fat` where its host is the one that tokens are for.
pub(super) fn get(url: &Url, fat: Option<HeaderValue>) -> Result<Request<Full<Bytes>>, ClientError> {
    let mut url = url.clone();
    url.set_fragment(None);
    let mut request = Request::get(url.as_str()).body(Full::default()).map_err(|_| ClientError::Url)?;
    request.headers_mut().extend(fat.map(|fat| (FAT, fat)));
    Ok(request)
}

/// An answer that says no. Only its code is kept, and only where it looks like one: a server may repeat what it was
/// sent.
pub(super) fn refusal(host: String, status: StatusCode, body: &[u8]) -> ClientError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_code = |code: &&str| {
        code.len() <= MAX_CODE_BYTES && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let code = body["error"]["code"].as_str().filter(is_code).unwrap_or_default().to_owned();
    ClientError::Refused { host, status: status.as_u16(), code }
}

/// The innermost cause says most: `Connection refused`, `invalid peer certificate`.
fn failure(host: String, error: &HyperError) -> ClientError {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    ClientError::Unreachable { host, why: cause.to_string() }
}

fn root_store(pem: Option<&[u8]>) -> Result<RootCertStore, ClientError> {
    let mut store = RootCertStore::empty();
    let Some(pem) = pem else {
        // Without any, plain HTTP still works, and TLS says whom it does not trust.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    let wrong = ClientError::Option { option: "root_certificates", why: "must be certificates in PEM" };
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| wrong.clone())?;
        store.add(certificate).map_err(|_| wrong.clone())?;
    }
    if store.is_empty() { Err(wrong) } else { Ok(store) }
}

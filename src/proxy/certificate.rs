//! Certificates of TLS listeners, which can be replaced while the listeners serve.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::listeners::tls::Acceptor;
use pingora::tls::sign::CertifiedKey;
use pingora::tls::{ClientHello, CryptoProvider, ResolvesServerCert, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What makes a media listener speak TLS.
pub struct Tls(pub(super) Acceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Tls {
    /// Returns TLS with `certificate` as it is at each handshake; HTTP/2 is offered beside HTTP/1.1.
    pub fn new(certificate: Arc<Certificate>) -> Tls {
        Tls(Acceptor::from_server_config(Arc::new(server_config(certificate, &[b"h2", b"http/1.1"]))))
    }
}

/// Returns TLS with `certificate` as it is at each handshake, for the protocols `alpn` (RFC 7301).
pub(crate) fn server_config(certificate: Arc<Certificate>, alpn: &[&[u8]]) -> ServerConfig {
    let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(certificate);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// A certificate chain with its private key.
pub struct Certificate(ArcSwap<CertifiedKey>);

impl Certificate {
    /// Reads a PEM certificate chain, the server's own first, and its private key.
    ///
    /// # Errors
    ///
    /// Files that do not hold them, or that do not fit together.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Certificate, TlsError> {
        pingora::tls::install_default_crypto_provider();
        let provider = CryptoProvider::get_default().expect("one was installed by the line above");
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|_| TlsError::Certificate)?;
        if chain.is_empty() {
            return Err(TlsError::Certificate);
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|_| TlsError::Key)?;
        let certified = CertifiedKey::from_der(chain, key, provider);
        let certified = certified.map_err(|error| TlsError::Mismatch(error.to_string()))?;
        Ok(Certificate(ArcSwap::from_pointee(certified)))
    }

    /// Becomes what `fresh` is, from the next handshake on. Connections that are open keep what they have.
    pub fn replace(&self, fresh: &Certificate) {
        self.0.store(fresh.0.load_full());
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate(..)")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Why a certificate and its key cannot be used. Shows nothing of the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate file has no certificate.
    #[error("no PEM certificate can be read from the certificate file")]
    Certificate,
    /// The key file has no private key.
    #[error("no PEM private key can be read from the key file")]
    Key,
    /// They do not belong together, or are of a kind that is not supported.
    #[error("certificate and key do not fit: {0}")]
    Mismatch(String),
}

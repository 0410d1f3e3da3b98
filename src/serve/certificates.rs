//! The certificates of a process's listeners, which a reload replaces.

use std::sync::Arc;

use anyhow::Context;

use crate::config::{Config, TlsFiles};
use crate::proxy::Certificate;

/// What each listener speaks TLS with; `None`: it is plain HTTP.
pub(super) struct Certificates {
    pub(super) media: Option<Arc<Certificate>>,
    pub(super) control: Option<Arc<Certificate>>,
}

impl Certificates {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    ///
    /// Names the certificate's file when it and its key cannot be used.
    pub(super) fn read(config: &Config) -> anyhow::Result<Certificates> {
        Ok(Certificates {
            media: read(config.media.as_ref().and_then(|media| media.tls.as_ref()))?,
            control: read(config.control.as_ref().and_then(|control| control.tls.as_ref()))?,
        })
    }

    /// Becomes `fresh`, from the next handshakes on.
    pub(super) fn replace(&self, fresh: &Certificates) {
        replace("media", self.media.as_deref(), fresh.media.as_deref());
        replace("control", self.control.as_deref(), fresh.control.as_deref());
    }
}

fn read(files: Option<&TlsFiles>) -> anyhow::Result<Option<Arc<Certificate>>> {
    let Some(files) = files else { return Ok(None) };
    let certificate = Certificate::from_pem_files(&files.cert_file, &files.key_file);
    Ok(Some(Arc::new(certificate.with_context(|| format!("cannot use {}", files.cert_file.display()))?)))
}

fn replace(section: &str, own: Option<&Certificate>, fresh: Option<&Certificate>) {
    match (own, fresh) {
        (Some(own), Some(fresh)) => own.replace(fresh),
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            log::warn!(
                "[{section}]: TLS is turned on or off by a restart; until then the listener goes on as it began"
            );
        }
    }
}

//! Files that a configuration names: secrets, public keys, certificates.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::tree::Text;
use crate::secret::Secret;

/// Longest secret, in bytes.
const MAX_SECRET_BYTES: u64 = 4096;

/// Longest key or certificate chain, in bytes.
const MAX_PEM_BYTES: u64 = 256 << 10;

/// How the secrets begin that are published with the gateway.
const EXAMPLE: &[u8] = b"mediagate-example-";

/// Reads files below the folder of the configuration.
pub(super) struct Files<'a> {
    folder: &'a Path,
    documents: RefCell<HashMap<PathBuf, Arc<[u8]>>>,
    examples: RefCell<Vec<PathBuf>>,
}

impl<'a> Files<'a> {
    pub(super) fn new(folder: &'a Path) -> Files<'a> {
        Files { folder, documents: RefCell::default(), examples: RefCell::default() }
    }

    /// The files whose secret is published, each once.
    pub(super) fn into_examples(self) -> Vec<PathBuf> {
        self.examples.into_inner()
    }

    /// What [`Files::document`] has read.
    pub(super) fn documents(&self) -> HashMap<PathBuf, Arc<[u8]>> {
        self.documents.borrow().clone()
    }

    /// The path that `name` stands for.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read(&self, name: &Text<'_>, most: u64) -> Option<Vec<u8>> {
        if name.value.is_empty() {
            name.wrong("is empty: must be the path of a file");
            return None;
        }
        // The name is not repeated: it may be the secret itself.
        let content = read(&self.path(name.value), most).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("no such file; relative paths start at {}", shown(self.folder)),
            _ => format!("cannot be read: {error}"),
        });
        content.map_err(|message| name.wrong(message)).ok()
    }

    /// The secret in a file, without the line break at its end.
    pub(super) fn secret(&self, name: &Text<'_>) -> Option<Secret> {
        let secret = Secret::from_file_content(self.read(name, MAX_SECRET_BYTES)?);
        if secret.expose().is_empty() {
            name.wrong("the file is empty: must hold a secret");
            return None;
        }
        let path = self.path(name.value);
        let mut examples = self.examples.borrow_mut();
        if secret.expose().starts_with(EXAMPLE) && !examples.contains(&path) {
            examples.push(path);
        }
        Some(secret)
    }

    /// The same, of characters that a header field or a URL can carry.
    pub(super) fn visible_secret(&self, name: &Text<'_>) -> Option<Secret> {
        let secret = self.secret(name)?;
        if !secret.expose().iter().all(u8::is_ascii_graphic) {
            name.wrong("the file must hold one line of visible ASCII characters, without spaces");
            return None;
        }
        Some(secret)
    }

    /// The content of a public key's file.
    pub(super) fn public_key(&self, name: &Text<'_>) -> Option<Vec<u8>> {
        self.read(name, MAX_PEM_BYTES)
    }

    /// The content of a file that is public and may change; kept beside its path.
    pub(super) fn document(&self, name: &Text<'_>, most: u64) -> Option<Arc<[u8]>> {
        let content: Arc<[u8]> = self.read(name, most)?.into();
        self.documents.borrow_mut().insert(self.path(name.value), Arc::clone(&content));
        Some(content)
    }

    /// The path of a certificate chain in PEM.
    pub(super) fn certificates(&self, name: &Text<'_>) -> Option<PathBuf> {
        let pem = Secret::new(self.read(name, MAX_PEM_BYTES)?);
        let sound: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.expose()).collect();
        if !sound.is_ok_and(|certificates| !certificates.is_empty()) {
            name.wrong(
                "the file must hold certificates in PEM (`-----BEGIN CERTIFICATE-----`), the server's own first",
            );
            return None;
        }
        Some(self.path(name.value))
    }

    /// The content of a private key's file.
    pub(super) fn pem(&self, name: &Text<'_>) -> Option<Secret> {
        self.read(name, MAX_PEM_BYTES).map(Secret::new)
    }

    /// The path of a private key in PEM.
    pub(super) fn private_key(&self, name: &Text<'_>) -> Option<PathBuf> {
        let pem = self.pem(name)?;
        if PrivateKeyDer::from_pem_slice(pem.expose()).is_err() {
            name.wrong("the file must hold a private key in PEM (`-----BEGIN PRIVATE KEY-----`), not encrypted");
            return None;
        }
        Some(self.path(name.value))
    }
}

/// Returns the secret in the file at `path`, without the line break at its end.
///
/// # Errors
///
/// As the operating system says; also when it is not a plain file, or too large for a secret.
pub(crate) fn read_secret(path: &Path) -> io::Result<Secret> {
    Ok(Secret::from_file_content(read(path, MAX_SECRET_BYTES)?))
}

/// Returns the private key file at `path`, as it is.
///
/// # Errors
///
/// As [`read_secret`].
pub(crate) fn read_pem(path: &Path) -> io::Result<Secret> {
    Ok(Secret::new(read(path, MAX_PEM_BYTES)?))
}

/// Returns the content of the plain file at `path`.
///
/// # Errors
///
/// As the operating system says; also when it is not a plain file, or has more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    // A pipe would wait for its writer, a device may have no end.
    if !metadata.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    // With room for all of it, no copy is left behind where the buffer grew.
    let mut content = Vec::with_capacity(metadata.len().min(most) as usize + 1);
    File::open(path)?.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::other(format!("larger than {most} bytes")));
    }
    Ok(content)
}

fn shown(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { "the current folder".to_owned() } else { format!("`{}`", folder.display()) }
}

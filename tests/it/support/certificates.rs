//! Certificates for servers of the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An authority and a certificate for `127.0.0.1` that it has signed: authority, certificate, key.
pub fn certificates(dir: &Path) -> [PathBuf; 3] {
    let [ca, ca_key, cert, key] = ["ca.pem", "ca.key", "cert.pem", "key.pem"].map(|name| dir.join(name));
    let request = |arguments: &[&str], key: &Path, cert: &Path| {
        let status = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(arguments)
            .arg("-keyout")
            .arg(key)
            .arg("-out")
            .arg(cert)
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("openssl runs").success());
    };
    request(&["-subj", "/CN=authority"], &ca_key, &ca);
    let (ca_path, ca_key_path) = (ca.to_str().expect("UTF-8"), ca_key.to_str().expect("UTF-8"));
    let leaf =
        ["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"];
    request(&[&leaf[..], &["-CA", ca_path, "-CAkey", ca_key_path]].concat(), &key, &cert);
    [ca, cert, key]
}

//! Certificates that are replaced while the listeners serve.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::origin::Origin;
use crate::support::process::Mediagate;
use crate::support::{certificate, eventually};

/// Whether a server shows a certificate that `cert` vouches for.
fn is_trusted(cert: &Path, address: SocketAddr) -> bool {
    let url = format!("https://{address}/");
    let status =
        Command::new("curl").args(["-s", "-m", "20", "-o", "/dev/null", "--cacert"]).arg(cert).arg(url).status();
    match status.expect("curl runs").code() {
        Some(0) => true,
        Some(60) => false,
        other => panic!("curl ended with {other:?}"),
    }
}

#[test]
fn a_reload_takes_over_a_certificate_and_a_bad_one_changes_nothing() {
    let (own, next) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (cert, key) = certificate(own.path());
    let (next_cert, next_key) = certificate(next.path());
    let first: PathBuf = own.path().join("first.pem");
    std::fs::copy(&cert, &first).unwrap();
    let storage = Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let files = format!("tls_cert_file = \"{}\"\ntls_key_file = \"{}\"\n", cert.display(), key.display());
    let gate = Mediagate::serve(storage.address, |text| {
        ["[media]\n", "[control]\n"].iter().fold(text, |text, at| text.replacen(at, &format!("{at}{files}"), 1))
    });
    let shows = |wanted: &Path, other: &Path| {
        [gate.media, gate.control].iter().all(|address| is_trusted(wanted, *address) && !is_trusted(other, *address))
    };
    assert!(shows(&first, &next_cert));

    // A certificate without its key: nobody is shown half of it, and nothing else of the file is taken over either.
    std::fs::copy(&next_cert, &cert).unwrap();
    gate.signal("HUP");
    eventually("the error is logged", || gate.log().contains("not reloaded: cannot use "));
    assert!(gate.log().contains("certificate and key do not fit"), "{}", gate.log());
    assert!(!gate.log().contains("\"reloaded "), "{}", gate.log());
    assert!(shows(&first, &next_cert));

    // No certificate at all.
    std::fs::write(&cert, "nothing").unwrap();
    gate.signal("HUP");
    eventually("the error is logged", || gate.log().contains("must hold certificates in PEM"));
    assert!(shows(&first, &next_cert));

    std::fs::copy(&next_cert, &cert).unwrap();
    std::fs::copy(&next_key, &key).unwrap();
    gate.signal("HUP");
    eventually("it is reloaded", || gate.log().contains("\"reloaded "));
    assert!(shows(&next_cert, &first));

    // TLS itself is a matter of a start: the listeners go on with it, and the log says so.
    let config = gate.state.join("mediagate.toml");
    let without = std::fs::read_to_string(&config).unwrap().replace(&files, "");
    std::fs::write(&config, without).unwrap();
    gate.signal("HUP");
    eventually("the log says so", || gate.log().matches("TLS is turned on or off by a restart").count() == 2);
    assert!(shows(&next_cert, &first));
}

//! An HTTP/1.1 client that sends exactly what it is told, well-formed or not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Longer than anything here takes; a test that waits for it has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The head as it came.
    pub head: Vec<u8>,
}

impl Response {
    /// The value of a field, in any case, when it stands exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands twice: {:?}", self.headers);
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The `code` of an error body.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no code: {}", self.text())).to_owned()
    }
}

/// Status, fields and bytes of a head.
pub type Head = (u16, Vec<(String, String)>, Vec<u8>);

/// One connection.
pub struct Connection<S = TcpStream>(pub BufReader<S>);

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out can be set");
        stream.set_write_timeout(Some(TIMEOUT)).expect("a time-out can be set");
        Connection(BufReader::new(stream))
    }
}

/// Opens connections with TLS to servers that an authority vouches for.
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the authority in the PEM file `ca` and nobody else.
    pub fn trusting(ca: &Path) -> Tls {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("an authority");
        pingora::tls::install_default_crypto_provider();
        Tls(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
    }

    /// Sends `request` as it is on a connection of its own and reads the answer.
    pub fn raw(&self, address: SocketAddr, request: impl AsRef<[u8]>) -> Response {
        let name = ServerName::IpAddress(address.ip().into());
        let client = ClientConnection::new(Arc::clone(&self.0), name).expect("a client");
        let stream = Connection::open(address).0.into_inner();
        let mut connection = Connection(BufReader::new(StreamOwned::new(client, stream)));
        connection.send(request);
        connection.read(false).expect("an answer")
    }
}

impl<S: Read + Write> Connection<S> {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A server that refuses early may close before everything is written.
        let _ = self.0.get_mut().write_all(bytes.as_ref());
    }

    /// Sends a request that leaves the connection open, and reads its answer.
    pub fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: gate.test\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        self.send(text + "\r\n");
        self.read(method == "HEAD").unwrap_or_else(|| panic!("no answer to {method} {target} {headers:?}"))
    }

    /// Reads one response; `None` when the connection closed before one began.
    pub fn read(&mut self, to_head: bool) -> Option<Response> {
        let (status, headers, head) = self.read_head()?;
        let mut response = Response { status, headers, body: Vec::new(), head };
        if to_head || matches!(status, 100..=199 | 204 | 304) {
            return Some(response);
        }
        if response.header("transfer-encoding").is_some() {
            loop {
                let size = self.line().expect("a chunk size");
                let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
                let mut chunk = vec![0; size + 2];
                self.0.read_exact(&mut chunk).expect("a whole chunk");
                response.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return Some(response);
                }
            }
        }
        match response.header("content-length") {
            Some(length) => {
                let mut body = vec![0; length.parse().expect("a length")];
                self.0.read_exact(&mut body).expect("as many bytes as announced");
                response.body = body;
            }
            None => {
                self.0.read_to_end(&mut response.body).expect("a body until the end");
            }
        }
        Some(response)
    }

    /// Reads a response's head only: its status, its fields, and its bytes.
    pub fn read_head(&mut self) -> Option<Head> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let mut head = status_line.into_bytes();
        let mut headers = Vec::new();
        loop {
            let line = self.line().expect("a whole head");
            head.extend_from_slice(line.as_bytes());
            let line = line.trim_end();
            let Some((name, value)) = line.split_once(':') else { return Some((status, headers, head)) };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(String::from_utf8_lossy(&line).into_owned()),
        }
    }

    /// Whether the server has closed: waits for the end of what it sends.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Sends `request` as it is on a connection of its own and reads the answer.
pub fn raw(address: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    let request = request.as_ref();
    let mut connection = Connection::open(address);
    connection.send(request);
    let answer = connection.read(request.starts_with(b"HEAD "));
    answer.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&request[..request.len().min(200)])))
}

/// Sends a request with `Host` and `Connection: close`.
pub fn request(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    raw(address, text)
}

/// A `GET` without further fields.
pub fn get(address: SocketAddr, target: &str) -> Response {
    request(address, "GET", target, &[])
}

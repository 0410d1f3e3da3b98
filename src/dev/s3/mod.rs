//! An S3 server over a folder, inside this process: what `mediagate dev` and the tests put behind the gate.
//!
//! Signatures are verified as the real storage does it (SigV4, by `s3s`). It answers nothing but `GET` and `HEAD` of
//! one object, and never writes: every other operation of S3 is left unimplemented.

mod bucket;
mod conditions;
mod object;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use http::header::ALLOW;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use bucket::Folder;
use conditions::Conditions;

/// What to serve, where, and to whom.
#[derive(Clone)]
pub struct S3Options {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder whose files are the objects.
    pub dir: PathBuf,
    /// The one bucket there is; named as S3 wants it (3 to 63 of `a-z`, `0-9`, `.`, `-`).
    pub bucket: String,
    /// The id that requests must be signed with.
    pub access_key_id: String,
    /// The secret that requests must be signed with.
    pub secret_access_key: String,
    /// An object that is sent no faster than it is played; `None`: every one as fast as it goes.
    pub paced: Option<Paced>,
}

/// How fast one object is sent.
#[derive(Debug, Clone)]
pub struct Paced {
    /// Its key.
    pub key: String,
    /// How much of it a player takes in a second; not 0.
    pub bytes_per_second: u64,
}

/// A running server. It stops, and cuts what it is sending, when dropped.
#[derive(Debug)]
pub struct S3Server {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl S3Server {
    /// Starts to serve.
    ///
    /// # Errors
    ///
    /// When the folder does not exist, the bucket's name is not one, or the address is taken.
    pub async fn start(options: S3Options) -> anyhow::Result<S3Server> {
        let S3Options { listen, dir, bucket, access_key_id, secret_access_key, paced } = options;
        anyhow::ensure!(s3s::path::check_bucket_name(&bucket), "`{bucket}` cannot name a bucket");
        let dir = dir.canonicalize().with_context(|| format!("cannot open the folder {}", dir.display()))?;
        anyhow::ensure!(dir.is_dir(), "{} is not a folder", dir.display());
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let addr = listener.local_addr()?;
        let mut builder = S3ServiceBuilder::new(Folder { dir, bucket, paced });
        builder.set_auth(SimpleAuth::from_single(access_key_id, secret_access_key));
        Ok(S3Server { addr, accepting: tokio::spawn(accept(listener, builder.build())) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops and waits until the port is free.
    pub async fn shutdown(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts until it is aborted; its connections end with it.
async fn accept(listener: TcpListener, s3: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, s3.clone()))),
            Err(error) => {
                log::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors: do not spin
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests of one connection.
async fn serve(stream: TcpStream, s3: S3Service) {
    // Without it the last part of a response waits for the acknowledgement of the one before: 40 ms a request.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(s3.clone(), request));
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        log::debug!("connection to the folder's S3 server: {error}");
    }
}

/// Lets only reads pass, and smooths what `s3s` does not say as HTTP does.
async fn answer(s3: S3Service, request: Request<Incoming>) -> Result<Response<Body>, HttpError> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    let mut request = request.map(Body::from);
    let conditions = Conditions::take_from(request.headers_mut());
    request.extensions_mut().insert(conditions);
    let mut response = s3.call(request).await?;
    if response.status() == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty(); // `s3s` sends its XML with every error
    }
    Ok(response)
}

#[cfg(test)]
mod tests;

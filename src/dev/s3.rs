//! An S3 server over a folder, inside this process: what `mediagate dev` and the tests put behind the gate.
//!
//! Signatures are verified as the real storage does it (SigV4, by `s3s`). It answers nothing but `GET` and `HEAD` of
//! one object, and never writes: every other operation of S3 is left unimplemented.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, ALLOW, CONTENT_RANGE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE};
use http::header::{IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::dto::{ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Range, StreamingBlob};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Bytes of a file that one response holds in memory at a time.
const CHUNK: u64 = 64 * 1024;

/// Headers that `s3s` would refuse in forms which HTTP allows (lists, several ranges): read here instead.
///
/// They are gone before the signature is verified, so it may not cover them; that of a presigned URL covers `host`.
const CONDITIONS: [HeaderName; 6] = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

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
        let S3Options { listen, dir, bucket, access_key_id, secret_access_key } = options;
        anyhow::ensure!(s3s::path::check_bucket_name(&bucket), "`{bucket}` cannot name a bucket");
        let dir = dir.canonicalize().with_context(|| format!("cannot open the folder {}", dir.display()))?;
        anyhow::ensure!(dir.is_dir(), "{} is not a folder", dir.display());
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let addr = listener.local_addr()?;
        let mut builder = S3ServiceBuilder::new(Folder { dir, bucket });
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
    let mut conditions = HeaderMap::new();
    for name in CONDITIONS {
        for value in request.headers().get_all(&name) {
            conditions.append(&name, value.clone());
        }
        request.headers_mut().remove(name);
    }
    request.extensions_mut().insert(Conditions(conditions));
    let mut response = s3.call(request).await?;
    if response.status() == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty(); // `s3s` sends its XML with every error
    }
    Ok(response)
}

/// The headers of a request that name a range or a condition.
#[derive(Clone, Default)]
struct Conditions(HeaderMap);

impl Conditions {
    /// Whether to send the object at all (RFC 9110 §13.2.2, in its order).
    fn check(&self, object: &Object) -> S3Result<()> {
        let modified = &object.last_modified;
        let since = |name| self.text(name).and_then(|s| Timestamp::parse(TimestampFormat::HttpDate, s).ok());
        if let Some(list) = self.list(IF_MATCH) {
            if !names(&list, &object.etag) {
                return Err(object.error(S3ErrorCode::PreconditionFailed));
            }
        } else if since(IF_UNMODIFIED_SINCE).is_some_and(|date| *modified > date) {
            return Err(object.error(S3ErrorCode::PreconditionFailed));
        }
        let unchanged = match self.list(IF_NONE_MATCH) {
            Some(list) => names(&list.replace("W/", ""), &object.etag),
            None => since(IF_MODIFIED_SINCE).is_some_and(|date| *modified <= date),
        };
        if unchanged { Err(object.error(S3ErrorCode::NotModified)) } else { Ok(()) }
    }

    /// The one range to send. `None`, the whole object, for several ranges, ranges that make no sense, and an
    /// `If-Range` that names another version (RFC 9110 §13.1.5, §14.2).
    fn range(&self, object: &Object) -> Option<Range> {
        let current = |validator: &str| validator == object.etag || validator == object.last_modified_text();
        if self.0.contains_key(IF_RANGE) && !self.text(IF_RANGE).is_some_and(current) {
            return None;
        }
        Range::parse(self.text(RANGE)?).ok()
    }

    /// The value of a header that may be sent once.
    fn text(&self, name: HeaderName) -> Option<&str> {
        let mut values = self.0.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())?.to_str().ok()
    }

    /// The value of a header that is a list, its lines joined.
    fn list(&self, name: HeaderName) -> Option<String> {
        let lines: Vec<_> = self.0.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
        (!lines.is_empty()).then(|| lines.join(","))
    }
}

/// Whether the list of an `If-Match` or `If-None-Match` names `etag`; ours hold no comma.
fn names(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag)
}

/// The bucket: a folder, read where it is.
struct Folder {
    dir: PathBuf,
    bucket: String,
}

#[async_trait::async_trait]
impl S3 for Folder {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let mut object = self.open(&request.input.bucket, &request.input.key).await?;
        let conditions = request.extensions.get::<Conditions>().cloned().unwrap_or_default();
        conditions.check(&object)?;
        let mut output = GetObjectOutput { content_length: Some(object.len.cast_signed()), ..Default::default() };
        let mut left = object.len;
        if let Some(range) = conditions.range(&object) {
            let (first, end) = match range.check(object.len) {
                Ok(range) if !range.is_empty() => (range.start, range.end),
                _ => return Err(object.error(S3ErrorCode::InvalidRange)),
            };
            object.file.seek(SeekFrom::Start(first)).map_err(S3Error::internal_error)?;
            left = end - first;
            output.content_length = Some(left.cast_signed());
            output.content_range = Some(format!("bytes {first}-{}/{}", end - 1, object.len));
        }
        output.accept_ranges = Some("bytes".to_owned());
        output.content_type = Some(content_type(&request.input.key).to_owned());
        output.e_tag = Some(object.e_tag());
        output.last_modified = Some(object.last_modified);
        let body = FileBody { file: tokio::fs::File::from_std(object.file), left };
        output.body = Some(StreamingBlob::from(Body::http_body(body)));
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.open(&request.input.bucket, &request.input.key).await?;
        request.extensions.get::<Conditions>().cloned().unwrap_or_default().check(&object)?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(object.len.cast_signed()),
            content_type: Some(content_type(&request.input.key).to_owned()),
            e_tag: Some(object.e_tag()),
            last_modified: Some(object.last_modified),
            ..Default::default()
        }))
    }
}

impl Folder {
    /// Opens the file that is the object.
    async fn open(&self, bucket: &str, key: &str) -> S3Result<Object> {
        if bucket != self.bucket {
            return Err(S3ErrorCode::NoSuchBucket.into());
        }
        let path = path_of(&self.dir, key).ok_or(S3ErrorCode::NoSuchKey)?;
        let dir = self.dir.clone();
        let opened = tokio::task::spawn_blocking(move || Object::open(&dir, &path)).await;
        opened.map_err(S3Error::internal_error)?.map_err(|_| S3ErrorCode::NoSuchKey.into())
    }
}

/// Where the object is, or `None` for a key that no file has: a key names files below `dir` only.
fn path_of(dir: &Path, key: &str) -> Option<PathBuf> {
    let names = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    key.split('/').all(names).then(|| dir.join(key))
}

/// A file that has been opened to be sent.
struct Object {
    file: File,
    len: u64,
    /// In whole seconds, as `Last-Modified` tells it.
    last_modified: Timestamp,
    /// Strong, quoted: when the file was last written, to the nanosecond, and its length.
    etag: String,
}

impl Object {
    /// Opens `path` when it is a regular file that, its links followed, is below `dir`.
    fn open(dir: &Path, path: &Path) -> io::Result<Object> {
        let path = path.canonicalize()?;
        if !path.is_file() || !path.starts_with(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let age = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let last_modified = Timestamp::from(UNIX_EPOCH + Duration::from_secs(age.as_secs()));
        let etag = format!("\"{:x}-{:x}\"", age.as_nanos(), metadata.len());
        Ok(Object { file, len: metadata.len(), last_modified, etag })
    }

    fn e_tag(&self) -> ETag {
        ETag::Strong(self.etag.trim_matches('"').to_owned())
    }

    fn last_modified_text(&self) -> String {
        let mut text = Vec::new();
        self.last_modified.format(TimestampFormat::HttpDate, &mut text).expect("a date after 1970 has an HTTP form");
        String::from_utf8(text).expect("an HTTP date is ASCII")
    }

    /// An answer without the object that still says which version it is.
    fn error(&self, code: S3ErrorCode) -> S3Error {
        let mut headers = HeaderMap::new();
        let header = |text: String| HeaderValue::from_str(&text).expect("made of visible ASCII");
        headers.insert(ETAG, header(self.etag.clone()));
        headers.insert(LAST_MODIFIED, header(self.last_modified_text()));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if code == S3ErrorCode::InvalidRange {
            headers.insert(CONTENT_RANGE, header(format!("bytes */{}", self.len)));
        }
        let mut error = S3Error::new(code);
        error.set_headers(headers);
        error
    }
}

/// What is left to send of a file, a chunk at a time.
struct FileBody {
    file: tokio::fs::File,
    left: u64,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = vec![0; self.left.min(CHUNK) as usize];
        let mut read = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.file).poll_read(cx, &mut read))?;
        let len = read.filled().len();
        if len == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))); // it was cut short meanwhile
        }
        chunk.truncate(len);
        self.left -= len as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What a browser should take the file for.
fn content_type(key: &str) -> &'static str {
    let extension = key.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "ts" => "video/mp2t",
        "txt" => "text/plain; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use hmac::{Hmac, KeyInit, Mac};
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    use sha2::{Digest, Sha256};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    const TEXT: &[u8] = b"0123456789";
    const GIB: u64 = 1 << 30;

    /// A folder and its server; the folder goes when it is dropped.
    struct Storage(S3Server, tempfile::TempDir);

    async fn storage() -> Storage {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "not in the bucket").unwrap();
        let objects = dir.path().join("my files. ünï");
        fs::create_dir(&objects).unwrap();
        fs::write(objects.join("a.txt"), TEXT).unwrap();
        fs::write(objects.join("empty"), "").unwrap();
        File::create(objects.join("big.mp4")).unwrap().set_len(GIB).unwrap(); // sparse
        fs::create_dir(objects.join("folder")).unwrap();
        std::os::unix::fs::symlink("../secret", objects.join("out")).unwrap();
        std::os::unix::fs::symlink("a.txt", objects.join("in")).unwrap();
        let server = S3Server::start(options("127.0.0.1:0".parse().unwrap(), &objects)).await.unwrap();
        Storage(server, dir)
    }

    fn options(listen: SocketAddr, dir: &Path) -> S3Options {
        let (access_key_id, secret_access_key) = ("id".to_owned(), "secret".to_owned());
        S3Options { listen, dir: dir.to_owned(), bucket: "media".to_owned(), access_key_id, secret_access_key }
    }

    /// `age` seconds ago, as `YYYYMMDDThhmmssZ`.
    #[expect(clippy::disallowed_methods, reason = "the server verifies against the clock")]
    fn amz_date(age: u64) -> String {
        let mut text = Vec::new();
        let then = Timestamp::from(SystemTime::now() - Duration::from_secs(age));
        then.format(TimestampFormat::DateTime, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        text[..19].replace(['-', ':'], "") + "Z"
    }

    fn hex(bytes: impl AsRef<[u8]>) -> String {
        bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The target of a URL that was presigned `age` seconds ago for a minute, as AWS describes it for query parameters.
    fn presigned(method: &str, path: &str, secret: &str, age: u64) -> String {
        let (at, path) = (amz_date(age), utf8_percent_encode(path, UNRESERVED));
        let scope = format!("{}/us-east-1/s3/aws4_request", &at[..8]);
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=id%2F{}&X-Amz-Date={at}&X-Amz-Expires=60\
             &X-Amz-SignedHeaders=host",
            scope.replace('/', "%2F")
        );
        let canonical_request = format!("{method}\n{path}\n{query}\nhost:gate.test\n\nhost\nUNSIGNED-PAYLOAD");
        let string_to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(Sha256::digest(canonical_request)));
        let signing_key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part));
        format!("{path}?{query}&X-Amz-Signature={}", hex(mac(&signing_key, &string_to_sign)))
    }

    fn mac(key: &[u8], message: &str) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    /// Sends one request and returns status, head and body.
    async fn ask(server: &S3Server, method: &str, target: &str, headers: &str) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        let request = format!("{method} {target} HTTP/1.1\r\nhost: gate.test\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let body = answer.split_off(end);
        let head = String::from_utf8(answer).unwrap();
        (head[9..12].parse().unwrap(), head, body)
    }

    /// Asks for `key` with a good signature and checks status, body (of a success) and a piece of the head.
    async fn check(storage: &Storage, key: &str, headers: &str, expected: (u16, &[u8], &str)) {
        let target = presigned("GET", &format!("/media/{key}"), "secret", 0);
        let (status, head, body) = ask(&storage.0, "GET", &target, headers).await;
        assert_eq!(status, expected.0, "{key} {headers}: {head}");
        assert!(head.contains(expected.2), "{key} {headers}: {head}");
        assert!(status >= 400 || body == expected.1, "{key} {headers}: {} bytes", body.len());
    }

    #[tokio::test]
    async fn any_file_is_an_object_byte_for_byte() {
        let storage = storage().await;
        let keys =
            ["odd name + @ () % # ünïcödé 文字.txt", "a&b=c?d;e.PNG", "100%25", "dir.v1/..x/.y", "c:\\d'\"*.mp4"];
        let types = ["text/plain", "image/png", "application/octet-stream", "application/octet-stream", "video/mp4"];
        for (key, content_type) in keys.into_iter().zip(types) {
            let path = storage.1.path().join("my files. ünï").join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, key).unwrap();
            check(&storage, key, "", (200, key.as_bytes(), &format!("content-type: {content_type}"))).await;
        }
        check(&storage, "in", "", (200, TEXT, "accept-ranges: bytes")).await;
        check(&storage, "empty", "", (200, b"", "content-length: 0")).await;
        let head = ask(&storage.0, "HEAD", &presigned("HEAD", "/media/a.txt", "secret", 0), "").await;
        assert!(head.0 == 200 && head.1.contains("content-length: 10") && head.2.is_empty(), "{head:?}");
    }

    #[tokio::test]
    async fn what_is_not_an_object_is_not_found() {
        let storage = storage().await;
        let keys = ["none", "folder", "folder/", "a.txt/", "../secret", "folder/../a.txt", "./a.txt", "/a.txt", "out"];
        for key in keys.into_iter().chain(["..", "nul\0", "/etc/passwd", "folder//../a.txt", &"x".repeat(300)]) {
            check(&storage, key, "", (404, b"", "")).await;
        }
        let encoded = presigned("GET", "/media/../secret", "secret", 0).replace("..", "%2e%2E");
        assert_eq!(ask(&storage.0, "GET", &encoded, "").await.0, 404);
    }

    #[tokio::test]
    async fn only_signed_reads_of_the_bucket_succeed() {
        let storage = storage().await;
        let path = "/media/a.txt";
        let good = presigned("GET", path, "secret", 0);
        let post = "content-length: 0\r\n";
        for (method, target, headers, status) in [
            ("GET", good.clone(), "", 200),
            ("HEAD", good.clone(), "", 403), // signed for another method
            ("GET", path.to_owned(), "", 403),
            ("GET", path.to_owned(), "if-none-match: *\r\n", 403),
            ("GET", good.replace("a.txt", "empty"), "", 403),
            ("GET", good.replace("Expires=60", "Expires=600"), "", 403),
            ("GET", presigned("GET", path, "wrong", 0), "", 403),
            ("GET", presigned("GET", path, "secret", 61), "", 403),
            ("GET", presigned("GET", "/other/a.txt", "secret", 0), "", 404),
            ("GET", presigned("GET", "/media", "secret", 0), "", 501), // a listing
            ("GET", presigned("GET", "/", "secret", 0), "", 501),
            ("PUT", presigned("PUT", path, "secret", 0), post, 405),
            ("POST", presigned("POST", "/media?delete", "secret", 0), post, 405),
            ("DELETE", presigned("DELETE", path, "secret", 0), "", 405),
        ] {
            assert_eq!(ask(&storage.0, method, &target, headers).await.0, status, "{method} {target}");
        }
        check(&storage, "a.txt", "", (200, TEXT, "")).await;
        let files = fs::read_dir(storage.1.path().join("my files. ünï")).unwrap().count();
        assert_eq!(files, 6, "nothing is written into the folder");
    }

    #[tokio::test]
    async fn ranges() {
        let storage = storage().await;
        for (range, status, body, content_range) in [
            ("bytes=2-4", 206, "234", "content-range: bytes 2-4/10"),
            ("bytes=7-", 206, "789", "content-range: bytes 7-9/10"),
            ("bytes=8-99", 206, "89", "content-range: bytes 8-9/10"),
            ("bytes=-3", 206, "789", "content-range: bytes 7-9/10"),
            ("bytes=-99", 206, "0123456789", "content-range: bytes 0-9/10"),
            ("bytes=10-", 416, "", "content-range: bytes */10"),
            ("bytes=-0", 416, "", "content-range: bytes */10"),
            ("bytes=0-1,4-5", 200, "0123456789", "content-length: 10"),
            ("bytes=4-2", 200, "0123456789", "content-length: 10"),
            ("lines=0-1", 200, "0123456789", "content-length: 10"),
        ] {
            check(&storage, "a.txt", &format!("range: {range}\r\n"), (status, body.as_bytes(), content_range)).await;
        }
        check(&storage, "empty", "range: bytes=-1\r\n", (416, b"", "content-range: bytes */0")).await;
        let tail = format!("range: bytes={}-\r\n", GIB - 2);
        check(&storage, "big.mp4", &tail, (206, &[0, 0], "content-type: video/mp4")).await;
    }

    #[tokio::test]
    async fn conditions() {
        let storage = storage().await;
        let head = ask(&storage.0, "GET", &presigned("GET", "/media/a.txt", "secret", 0), "").await.1;
        let value = |name: &str| head.split("\r\n").find_map(|line| line.strip_prefix(name)).unwrap();
        let (etag, date) = (value("etag: "), value("last-modified: "));
        let (old, future) = ("Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
        for (headers, status, body) in [
            (format!("if-none-match: {etag}"), 304, ""),
            (format!("if-none-match: \"other\", W/{etag}"), 304, ""),
            ("if-none-match: *".to_owned(), 304, ""),
            (format!("if-none-match: \"other\"\r\nif-modified-since: {future}"), 200, "0123456789"),
            (format!("if-modified-since: {date}"), 304, ""),
            (format!("if-modified-since: {old}"), 200, "0123456789"),
            (format!("if-match: \"other\", {etag}"), 200, "0123456789"),
            (format!("if-match: W/{etag}"), 412, ""),
            (format!("if-unmodified-since: {date}"), 200, "0123456789"),
            (format!("if-unmodified-since: {old}"), 412, ""),
            (format!("range: bytes=0-1\r\nif-range: {etag}"), 206, "01"),
            (format!("range: bytes=0-1\r\nif-range: {date}"), 206, "01"),
            ("range: bytes=0-1\r\nif-range: \"other\"".to_owned(), 200, "0123456789"),
            (format!("range: bytes=0-1\r\nif-range: {old}"), 200, "0123456789"),
            (format!("range: bytes=0-1\r\nif-none-match: {etag}"), 304, ""),
        ] {
            let etag = format!("etag: {etag}\r\n");
            check(&storage, "a.txt", &format!("{headers}\r\n"), (status, body.as_bytes(), &etag)).await;
        }
    }

    #[tokio::test]
    async fn it_stops_cuts_what_it_sends_and_frees_its_port() {
        let Storage(server, dir) = storage().await;
        let (addr, target) = (server.addr(), presigned("GET", "/media/big.mp4", "secret", 0));
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: gate.test\r\n\r\n").as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 1000]).await.unwrap();
        server.shutdown().await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!((rest.len() as u64) < GIB / 4, "what was on its way arrives, no more: {}", rest.len());
        S3Server::start(options(addr, dir.path())).await.unwrap().shutdown().await;
        assert!(S3Server::start(options(addr, &dir.path().join("secret"))).await.is_err());
    }
}

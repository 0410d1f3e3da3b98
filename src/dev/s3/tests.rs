use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use hyper::body::Body as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{Timestamp, TimestampFormat};
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
    S3Options { listen, dir: dir.to_owned(), bucket: "media".to_owned(), access_key_id, secret_access_key, paced: None }
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
    let keys = ["odd name + @ () % # ünïcödé 文字.txt", "a&b=c?d;e.PNG", "100%25", "dir.v1/..x/.y", "c:\\d'\"*.mp4"];
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

#[tokio::test(start_paused = true)]
async fn a_paced_object_comes_no_faster_than_it_is_played() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film");
    File::create(&path).unwrap().set_len(1_000_000).unwrap();
    let took = async |bytes_per_second| {
        let begun = tokio::time::Instant::now();
        let mut body = object::FileBody::new(File::open(&path).unwrap(), 1_000_000, bytes_per_second);
        let mut bytes = 0;
        while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
            bytes += frame.unwrap().into_data().unwrap().len();
        }
        (bytes, begun.elapsed().as_secs())
    };
    assert_eq!(took(None).await, (1_000_000, 0));
    // The first quarter of a megabyte comes at once.
    assert_eq!(took(Some(100_000)).await, (1_000_000, 7));
}

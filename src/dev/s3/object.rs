//! One object: a file, the version that it is, and its bytes on their way out.

use std::fs::File;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use s3s::dto::{ETag, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes of a file that one response holds in memory at a time.
const CHUNK: u64 = 64 * 1024;

/// A file that has been opened to be sent.
pub(super) struct Object {
    pub(super) file: File,
    pub(super) len: u64,
    /// In whole seconds, as `Last-Modified` tells it.
    pub(super) last_modified: Timestamp,
    /// Strong, quoted: when the file was last written, to the nanosecond, and its length.
    pub(super) etag: String,
}

impl Object {
    /// Opens `path` when it is a regular file that, its links followed, is below `dir`.
    pub(super) fn open(dir: &Path, path: &Path) -> io::Result<Object> {
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

    pub(super) fn e_tag(&self) -> ETag {
        ETag::Strong(self.etag.trim_matches('"').to_owned())
    }

    pub(super) fn last_modified_text(&self) -> String {
        let mut text = Vec::new();
        self.last_modified.format(TimestampFormat::HttpDate, &mut text).expect("a date after 1970 has an HTTP form");
        String::from_utf8(text).expect("an HTTP date is ASCII")
    }

    /// An answer without the object that still says which version it is.
    pub(super) fn error(&self, code: S3ErrorCode) -> S3Error {
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

/// Bytes of a paced file that are sent at once, for a player to begin with.
const HEAD_START: u64 = 256 * 1024;

/// The same, of what it is sent from then on.
const PACED_CHUNK: u64 = 16 * 1024;

/// What is left to send of a file, a chunk at a time.
pub(super) struct FileBody {
    file: tokio::fs::File,
    left: u64,
    pace: Option<Pace>,
}

impl FileBody {
    /// Sends `left` bytes of `file` from where it stands, so many a second where that is said.
    pub(super) fn new(file: File, left: u64, bytes_per_second: Option<u64>) -> FileBody {
        FileBody { file: tokio::fs::File::from_std(file), left, pace: bytes_per_second.map(Pace::new) }
    }
}

/// When the next chunk is due.
struct Pace {
    bytes_per_second: u64,
    begun: Instant,
    sent: u64,
    due: Pin<Box<Sleep>>,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Pace {
        let begun = Instant::now();
        Pace { bytes_per_second, begun, sent: 0, due: Box::pin(tokio::time::sleep_until(begun)) }
    }

    fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
        let ahead = self.sent.saturating_sub(HEAD_START);
        let due = Duration::from_micros(ahead.saturating_mul(1_000_000) / self.bytes_per_second.max(1));
        self.due.as_mut().reset(self.begun + due);
    }
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut most = CHUNK;
        if let Some(pace) = &mut self.pace {
            ready!(pace.due.as_mut().poll(cx));
            most = PACED_CHUNK;
        }
        let mut chunk = vec![0; self.left.min(most) as usize];
        let mut read = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.file).poll_read(cx, &mut read))?;
        let len = read.filled().len();
        if len == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))); // it was cut short meanwhile
        }
        chunk.truncate(len);
        self.left -= len as u64;
        if let Some(pace) = &mut self.pace {
            pace.sent(len as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

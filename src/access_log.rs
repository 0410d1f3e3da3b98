//! The access log: one JSON line a request on standard error, written by a thread of its own.
//!
//! A request never waits for the log: lines that nobody takes in time are dropped and counted. No token, query,
//! referrer or user agent is ever in it.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Bytes of lines that may wait to be written.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// How long lines gather before they are written together: waking the writer and writing each one costs a request
/// more than deciding about it.
const GATHER: Duration = Duration::from_millis(5);

thread_local! {
    /// The line that this thread makes.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a log line says.
#[derive(Debug, Default)]
pub struct Entry<'a> {
    /// When the request was decided: RFC 3339 in UTC, milliseconds.
    pub time: Timestamp,
    /// The client's address, as the connection has it.
    pub client: Option<SocketAddr>,
    /// The method; `-` for one that does not exist here.
    pub method: &'static str,
    /// The status sent; 0 for none.
    pub status: u16,
    /// What became of it.
    pub outcome: &'static str,
    /// Why.
    pub reason: &'static str,
    /// What `access = "observe"` would have answered.
    pub observed: Option<&'static str>,
    /// The app.
    pub app: Option<&'a str>,
    /// The decoded path of the object, when the path was one.
    pub object: Option<&'a str>,
    /// The user, when the credential held.
    pub uid: Option<&'a str>,
    /// An opaque id of the token or presigned URL, the same for the same one while the process runs.
    pub token: Option<u64>,
    /// What that is: `fat` or `presigned`.
    pub credential: Option<&'static str>,
    /// Bytes of the body sent.
    pub bytes: usize,
    /// From the decision to the end: `ms`, in milliseconds.
    pub took: Duration,
    /// From the decision to the storage's header: `upstream_ms`, in milliseconds.
    pub upstream_took: Option<Duration>,
    /// What copies had to do with it: `hit`, `miss`, `revalidated`, `pass`.
    pub cache: Option<&'static str>,
}

impl Entry<'_> {
    /// Adds the entry to `line` as JSON, without what is not there.
    ///
    /// By hand, because most of it are constants, which a serializer looks over for what must be escaped.
    fn write(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(b"{\"time\":\"");
        self.time.write(line);
        line.push(b'"');
        if let Some(client) = self.client {
            name(line, "client");
            line.push(b'"');
            address(line, client);
            line.push(b'"');
        }
        label(line, "method", Some(self.method));
        name(line, "status");
        number(line, u64::from(self.status), 1);
        label(line, "outcome", Some(self.outcome));
        label(line, "reason", Some(self.reason));
        label(line, "observed", self.observed);
        text(line, "app", self.app);
        text(line, "object", self.object);
        text(line, "uid", self.uid);
        if let Some(token) = self.token {
            name(line, "token");
            line.push(b'"');
            line.extend((0..16).rev().map(|digit| b"0123456789abcdef"[(token >> (4 * digit)) as usize & 15]));
            line.push(b'"');
        }
        label(line, "credential", self.credential);
        name(line, "bytes");
        number(line, self.bytes as u64, 1);
        name(line, "ms");
        millis(line, self.took);
        if let Some(took) = self.upstream_took {
            name(line, "upstream_ms");
            millis(line, took);
        }
        label(line, "cache", self.cache);
        line.push(b'}');
    }
}

fn name(line: &mut Vec<u8>, name: &'static str) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
}

/// Adds one of the fixed labels, which hold nothing to escape.
fn label(line: &mut Vec<u8>, of: &'static str, label: Option<&'static str>) {
    let Some(label) = label else { return };
    name(line, of);
    line.push(b'"');
    line.extend_from_slice(label.as_bytes());
    line.push(b'"');
}

/// Adds text that others chose, escaped.
fn text(line: &mut Vec<u8>, of: &'static str, text: Option<&str>) {
    let Some(text) = text else { return };
    name(line, of);
    // Writing text to memory does not fail.
    let _ = serde_json::to_writer(line, text);
}

/// Adds `address:port`.
fn address(line: &mut Vec<u8>, address: SocketAddr) {
    let SocketAddr::V4(v4) = address else {
        // Writing text to memory does not fail.
        let _ = write!(line, "{address}");
        return;
    };
    for (at, octet) in v4.ip().octets().into_iter().enumerate() {
        if at > 0 {
            line.push(b'.');
        }
        number(line, u64::from(octet), 1);
    }
    line.push(b':');
    number(line, u64::from(v4.port()), 1);
}

/// Adds `number` with at least `digits` digits.
fn number(line: &mut Vec<u8>, mut number: u64, digits: usize) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while number > 0 || text.len() - at < digits {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    line.extend_from_slice(&text[at..]);
}

/// Adds milliseconds to the microsecond: `12.0`, `0.042`.
fn millis(line: &mut Vec<u8>, took: Duration) {
    let micros = u64::try_from((took.as_nanos() + 500) / 1000).unwrap_or(u64::MAX);
    number(line, micros / 1000, 1);
    line.push(b'.');
    number(line, micros % 1000, 3);
    // As numbers are written elsewhere: no zeros at the end but the first.
    for _ in 0..2 {
        line.pop_if(|digit| *digit == b'0');
    }
}

/// A time as log lines have it: `2026-11-21T13:24:27.042Z` (RFC 3339).
#[derive(Debug, Clone, Copy)]
pub struct Timestamp(pub SystemTime);

impl Default for Timestamp {
    fn default() -> Timestamp {
        Timestamp(SystemTime::UNIX_EPOCH)
    }
}

impl Timestamp {
    fn write(self, line: &mut Vec<u8>) {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (date, seconds) = (crate::gate::calendar_date(since.as_secs() / 86_400), since.as_secs() % 86_400);
        let (year, month, day) = date;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let milli = u64::from(since.subsec_millis());
        let parts = [(year, 4, b'-'), (month, 2, b'-'), (day, 2, b'T'), (hour, 2, b':'), (minute, 2, b':')];
        for (part, digits, end) in parts.into_iter().chain([(second, 2, b'.'), (milli, 3, b'Z')]) {
            number(line, part, digits);
            line.push(end);
        }
    }
}

/// Takes lines and has them written. Dropping it writes what waits.
#[derive(Debug)]
pub struct AccessLog {
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

/// Lines on their way to the writer: one buffer, so that a line costs neither an allocation nor a message.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    not_empty: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    is_closed: bool,
}

impl AccessLog {
    /// Starts the writer on standard error.
    pub fn stderr() -> AccessLog {
        AccessLog::to(io::stderr())
    }

    /// Starts the writer on `sink`.
    pub fn to(sink: impl Write + Send + 'static) -> AccessLog {
        let queue = Arc::new(Queue::default());
        let lines = Arc::clone(&queue);
        let writer = std::thread::spawn(move || lines.write(sink));
        AccessLog { queue, writer: Some(writer) }
    }

    /// Returns whether the line was taken.
    pub fn log(&self, entry: &Entry<'_>) -> bool {
        LINE.with_borrow_mut(|line| {
            line.clear();
            entry.write(line);
            line.push(b'\n');
            self.queue.push(line)
        })
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.not_empty.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() > MAX_WAITING_BYTES {
            return false;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        // Later lines find the writer awake.
        if was_empty {
            self.not_empty.notify_one();
        }
        true
    }

    /// Writes until the log is closed and empty.
    fn write(&self, mut sink: impl Write) {
        let mut lines = Vec::new();
        loop {
            let is_idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_closed;
            let waiting = self.not_empty.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
            let closing = |waiting: &mut Waiting| !waiting.is_closed;
            let gathered = self.not_empty.wait_timeout_while(waiting, GATHER, closing);
            let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut waiting.lines, &mut lines);
            let is_last = waiting.is_closed;
            drop(waiting);
            // Whole lines, few system calls. A closed standard error must not end the gate.
            let _ = sink.write_all(&lines).and_then(|()| sink.flush());
            lines.clear();
            if is_last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_taken_is_written_and_client_text_cannot_forge_one() {
        let sink = Sink::default();
        let log = AccessLog::to(sink.clone());
        let forged = "a\n{\"status\":200}";
        for _ in 0..100 {
            assert!(log.log(&Entry { object: Some(forged), ..Entry::default() }));
        }
        drop(log);
        let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 100);
        for line in written.lines() {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(entry["object"], forged);
        }
    }

    #[test]
    fn a_log_that_nobody_takes_is_bounded() {
        let queue = Queue::default();
        let line = vec![b'x'; 1 << 20];
        let taken = (0..100).filter(|_| queue.push(&line)).count();
        assert_eq!(taken, MAX_WAITING_BYTES >> 20);
    }

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_007, "2000-02-29T12:34:56.007Z"),
            (1_795_267_467_042, "2026-11-21T13:24:27.042Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            let mut text = Vec::new();
            Timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)).write(&mut text);
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }

    #[test]
    fn a_line_is_the_json_that_a_serializer_writes() {
        let line = |entry: &Entry<'_>| {
            let mut line = Vec::new();
            entry.write(&mut line);
            String::from_utf8(line).unwrap()
        };
        let little = r#"{"time":"1970-01-01T00:00:00.000Z","method":"-","status":0,"outcome":"","reason":"","bytes":0,"ms":0.0}"#;
        assert_eq!(line(&Entry { method: "-", ..Entry::default() }), little);
        let all = Entry {
            client: Some("[::1]:80".parse().unwrap()),
            method: "GET",
            status: 206,
            outcome: "served",
            reason: "ok",
            observed: Some("token_missing"),
            app: Some("demo"),
            object: Some("demo/\"\\\u{1}\u{7f}文\u{2028}"),
            uid: Some("alice"),
            token: Some(0x00ab_cdef_0123_4567),
            credential: Some("presigned"),
            bytes: usize::MAX,
            took: Duration::from_nanos(1_234_567_499),
            upstream_took: Some(Duration::from_nanos(99_500)),
            ..Entry::default()
        };
        let json = serde_json::json!({
            "time": "1970-01-01T00:00:00.000Z", "client": "[::1]:80", "method": "GET", "status": 206,
            "outcome": "served", "reason": "ok", "observed": "token_missing", "app": "demo", "object": all.object,
            "uid": "alice", "token": "00abcdef01234567",
            "credential": "presigned", "bytes": usize::MAX, "ms": 1234.567, "upstream_ms": 0.1,
        });
        let found: serde_json::Value = serde_json::from_str(&line(&all)).unwrap();
        assert_eq!(found, json);
        for client in ["127.0.0.1:8080", "0.20.255.103:0", "[::ffff:1.2.3.4]:65535", "[fe80::1]:443"] {
            let mut text = Vec::new();
            address(&mut text, client.parse().unwrap());
            assert_eq!(String::from_utf8(text).unwrap(), client);
        }
        for micros in [0, 1, 9, 10, 99, 100, 101, 110, 999, 1000, 1001, 1010, 1100, 10_000, 123_456_789] {
            let mut text = Vec::new();
            millis(&mut text, Duration::from_micros(micros));
            assert_eq!(String::from_utf8(text).unwrap(), serde_json::json!(micros as f64 / 1e3).to_string());
        }
    }
}

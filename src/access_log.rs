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

use serde::Serializer;

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
#[derive(Debug, Default, serde::Serialize)]
pub struct Entry<'a> {
    /// When the request was decided: RFC 3339 in UTC, milliseconds.
    pub time: Timestamp,
    /// The client's address, as the connection has it.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<&'static str>,
    /// The app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<&'a str>,
    /// The decoded path of the object, when the path was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<&'a str>,
    /// The user, when the token held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<&'a str>,
    /// An opaque id of the token, the same for the same token while the process runs.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hexadecimal")]
    pub token: Option<u64>,
    /// Bytes of the body sent.
    pub bytes: usize,
    /// From the decision to the end, in milliseconds.
    pub ms: f64,
    /// From the decision to the storage's header, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<f64>,
}

/// A time as log lines have it: `2026-11-21T13:24:27.042Z` (RFC 3339).
#[derive(Debug, Clone, Copy)]
pub struct Timestamp(pub SystemTime);

impl Default for Timestamp {
    fn default() -> Timestamp {
        Timestamp(SystemTime::UNIX_EPOCH)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (date, seconds) = (crate::gate::calendar_date(since.as_secs() / 86_400), since.as_secs() % 86_400);
        let (year, month, day) = date;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let milli = u64::from(since.subsec_millis());
        // By hand: the formatting machinery takes longer than the rest of a log line.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (number, at, digits) in
            [(year, 0, 4), (month, 5, 2), (day, 8, 2), (hour, 11, 2), (minute, 14, 2), (second, 17, 2), (milli, 20, 3)]
        {
            let mut rest = number;
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

fn hexadecimal<S: Serializer>(number: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => serializer.collect_str(&format_args!("{number:016x}")),
        None => serializer.serialize_none(),
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
            if serde_json::to_writer(&mut *line, entry).is_err() {
                return false;
            }
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
            let time = Timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(serde_json::to_value(time).unwrap(), expected);
        }
    }
}

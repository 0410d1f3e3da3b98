//! The access log: one JSON line a request on standard error, written by a thread of its own.
//!
//! A request never waits for the log: lines that nobody takes in time are dropped and counted. No token, query,
//! referrer or user agent is ever in it.

use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that may wait to be written.
const QUEUE: usize = 8192;

/// How long lines gather before they are written together: waking the writer and writing each one costs a request
/// more than deciding about it.
const GATHER: Duration = Duration::from_millis(5);

/// More than a usual line has, so that it does not grow.
const LINE_BYTES: usize = 512;

/// What a log line says.
#[derive(Debug, Default, serde::Serialize)]
pub struct Entry<'a> {
    /// When the request was decided: RFC 3339 in UTC, milliseconds.
    pub time: String,
    /// The client's address, as the connection has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Bytes of the body sent.
    pub bytes: usize,
    /// From the decision to the end, in milliseconds.
    pub ms: f64,
    /// From the decision to the storage's header, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<f64>,
}

/// Takes lines and has them written. Dropping it writes what waits.
#[derive(Debug)]
pub struct AccessLog {
    sender: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
}

impl AccessLog {
    /// Starts the writer on standard error.
    pub fn stderr() -> AccessLog {
        AccessLog::to(io::stderr())
    }

    /// Starts the writer on `sink`.
    pub fn to(sink: impl Write + Send + 'static) -> AccessLog {
        let (sender, receiver) = sync_channel(QUEUE);
        let writer = std::thread::spawn(move || write(&receiver, sink));
        AccessLog { sender: Some(sender), writer: Some(writer) }
    }

    /// Returns whether the line was taken.
    pub fn log(&self, entry: &Entry<'_>) -> bool {
        let Some(sender) = &self.sender else { return false };
        let mut line = Vec::with_capacity(LINE_BYTES);
        if serde_json::to_writer(&mut line, entry).is_err() {
            return false;
        }
        line.push(b'\n');
        !matches!(sender.try_send(line), Err(TrySendError::Full(_)))
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write(lines: &Receiver<Vec<u8>>, sink: impl Write) {
    let mut sink = BufWriter::with_capacity(64 * 1024, sink);
    loop {
        let Ok(first) = lines.recv() else { return };
        std::thread::sleep(GATHER);
        // Whole lines, few system calls. A closed standard error must not end the gate.
        let _ = sink.write_all(&first);
        while let Ok(line) = lines.try_recv() {
            let _ = sink.write_all(&line);
        }
        let _ = sink.flush();
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
}

//! Messages for the operator: JSON lines on standard error, beside the access log.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Writes what this crate says. What its dependencies log stays out: they quote requests, and so tokens.
struct JsonLines;

impl Log for JsonLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info && metadata.target().starts_with("mediagate")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            let line = serde_json::json!({ "level": level, "message": record.args().to_string() });
            // Nobody reads standard error any more: nothing to be done about it.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }

    fn flush(&self) {}
}

/// Sends the messages of this process to standard error. A second call changes nothing.
pub fn install() {
    if log::set_boxed_logger(Box::new(JsonLines)).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

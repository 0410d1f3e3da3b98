//! Text → checked [`Config`].
//!
//! Holding a [`Config`] means that every rule held. Every mistake is reported at once, with its key, its line and what
//! is allowed. Secrets are files, never values, and no message shows a value: it could be a secret in the wrong place.

mod apps;
mod control;
mod error;
pub(crate) mod files;
mod listeners;
mod spelling;
mod storage;
mod tree;

#[cfg(test)]
mod tests;

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

pub use apps::{AppSummary, KeySummary, MAX_TOKEN_TTL};
pub use control::Control;
pub use error::{ConfigError, ConfigErrors};
pub use listeners::{Media, TlsFiles};

use crate::gate::{Freshness, Gate, GateOptions, WhenStale};
use files::Files;
use tree::{LATER, Report, Section, Value};

/// Largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The parser nests as deep as dotted keys in inline tables say: thousands of levels in a small file.
const STACK_BYTES: usize = 32 << 20;

/// What the gateway runs with.
#[derive(Debug)]
pub struct Config {
    /// The listener that clients fetch from.
    pub media: Media,
    /// The control API, which the local feed takes its restrictions from.
    pub control: Control,
    /// The address of the metrics; none: no such listener.
    pub metrics: Option<SocketAddr>,
    /// The decision, with the keys and storages of every app.
    pub gate: Gate,
    /// What commands need to know of each app, in the order of the file.
    pub apps: Vec<AppSummary>,
    /// Files whose secret is published with the gateway: to be tried with, never to be served with.
    pub example_secrets: Vec<PathBuf>,
}

impl Config {
    /// Returns the configuration in the file at `path`, with every file that it names.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; a syntax error alone, because nothing behind it can be trusted.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let whole_file = |line, message| ConfigErrors::whole_file(path, line, message);
        let mut content = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
            .map_err(|error| whole_file(None, format!("cannot be read: {error}")))?;
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(whole_file(None, format!("is larger than {MAX_FILE_BYTES} bytes")));
        }
        let text = String::from_utf8(content).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            whole_file(Some(line), "is not UTF-8 text".to_owned())
        })?;
        Config::parse(&text, path)
    }

    /// Returns the configuration in `text`, as if it stood in `file`.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigErrors> {
        std::thread::scope(|scope| {
            let parser = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || parse(text, file));
            match parser {
                Ok(parser) => parser.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(error) => Err(ConfigErrors::whole_file(file, None, format!("no thread to read it with: {error}"))),
            }
        })
    }
}

fn parse(text: &str, file: &Path) -> Result<Config, ConfigErrors> {
    let report = Report::new(text);
    let tree = match DeTable::parse(text) {
        Ok(tree) => tree,
        Err(error) => return Err(syntax_error(&error, text, &report, file)),
    };
    let files = Files::new(file.parent().unwrap_or(Path::new("")));
    let mut root = Section::root(&report, tree.get_ref());
    let config = read(&mut root, &files, &report);
    root.finish();
    drop(root);
    match (config, report.into_errors()) {
        (Some(config), errors) if errors.is_empty() => Ok(Config { example_secrets: files.into_examples(), ..config }),
        (_, errors) => Err(ConfigErrors::new(file, errors)),
    }
}

/// Returns what is in `root`, or `None` once something that nothing can stand in for was reported.
fn read(root: &mut Section<'_>, files: &Files<'_>, report: &Report) -> Option<Config> {
    let mut addresses = listeners::Addresses::default();
    let media = root.require("media", "a section `[media]` with `listen`").and_then(Value::section);
    let media = media.and_then(|section| listeners::media(section, files, &mut addresses));
    let required = "a section `[control]`: the feed \"local:\" takes its restrictions from there";
    let control = root.require("control", required).and_then(Value::section);
    let control = control.and_then(|section| control::control(section, files, &mut addresses));
    let metrics = root.get("metrics").and_then(Value::section);
    let metrics = metrics.map(|section| listeners::metrics(section, &mut addresses));
    let freshness = root.get("feed").and_then(Value::section).map(feed).unwrap_or_default();
    if let Some(section) = root.get("prepend").and_then(Value::section) {
        prepend(section);
    }
    root.refuse_later(&["presigned", "roles"]);

    let storages = root.require("storage", "a section `[storage.NAME]`").and_then(Value::section);
    let storages = storages.map(|section| storage::storages(&section, files)).unwrap_or_default();
    let (apps, summaries) = apps::apps(root, &storages, files);
    if let Some(control) = &control {
        control::refuse_shared_secrets(&control.keys, &summaries);
    }

    let listeners::MediaSection { media, hosts, cors } = media?;
    if !report.is_empty() {
        return None;
    }
    // Every rule of the gate was checked above, where its line is known; one that is new there is reported at least.
    let gate = Gate::new(GateOptions { apps: apps?, hosts, freshness, cors });
    let gate = gate.map_err(|error| root.place_of("apps").wrong(error.to_string())).ok()?;
    let control = control?.control;
    let metrics = match metrics {
        Some(address) => Some(address?),
        None => None,
    };
    Some(Config { media, control, metrics, gate, apps: summaries, example_secrets: Vec::new() })
}

fn feed(mut section: Section<'_>) -> Freshness {
    if let Some(url) = section.text("url") {
        let later = ["redis:", "rediss:", "nats:", "tls:"];
        if later.iter().any(|scheme| url.value.starts_with(scheme)) {
            url.wrong(format!("this feed {LATER}: must be \"local:\""));
        } else if url.value != "local:" {
            url.wrong(format!("must be \"local:\"; any other feed {LATER}"));
        }
    }
    let default = Freshness::default();
    let max_staleness = section.get("max_staleness_secs").and_then(|value| value.number(1..=86_400, "seconds"));
    let when_stale = section.get("when_stale");
    let when_stale =
        when_stale.and_then(|value| value.one_of(&[("deny", WhenStale::Deny), ("serve", WhenStale::Serve)]));
    section.finish();
    Freshness {
        max_staleness: max_staleness.map_or(default.max_staleness, Duration::from_secs),
        when_stale: when_stale.unwrap_or(default.when_stale),
    }
}

/// Checks the types of a section that has no effect yet.
fn prepend(mut section: Section<'_>) {
    let enabled = section.get("enabled");
    if enabled.as_ref().and_then(Value::flag) == Some(true) {
        section.place_of("enabled").wrong(format!("the prepend mode {LATER}: must be false"));
    }
    section.texts("media_hosts");
    for key in ["login_url", "session_cookie", "forward_auth_url"] {
        section.text(key);
    }
    section.sections("keys", apps::MAX_KEYS, None);
    section.finish();
}

/// Says where the parser gave up, without the line itself: it could show a secret.
fn syntax_error(error: &toml::de::Error, text: &str, report: &Report, file: &Path) -> ConfigErrors {
    let Some(span) = error.span() else {
        return ConfigErrors::whole_file(file, None, format!("syntax error: {}", error.message()));
    };
    let before = text.get(report.line_start(span.start)..span.start).unwrap_or_default();
    let message = format!("syntax error at column {}: {}", before.chars().count() + 1, error.message());
    ConfigErrors::whole_file(file, Some(report.line(span.start)), message)
}

//! Text → checked [`Config`].
//!
//! Holding a [`Config`] means that every rule held. Every mistake is reported at once, with its key, its line and what
//! is allowed. Secrets are files, never values, and no message shows a value: it could be a secret in the wrong place.

mod apps;
mod cache;
mod control;
mod error;
mod feed;
pub(crate) mod files;
mod keys;
mod listeners;
mod oidc;
mod prepend;
mod presigned;
mod signing;
mod spelling;
mod storage;
mod tree;

#[cfg(test)]
pub(crate) mod tests;

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use apps::{AppSummary, MAX_TOKEN_TTL};
pub use control::Control;
pub use error::{ConfigError, ConfigErrors};
pub use feed::FeedSource;
pub use keys::KeySummary;
pub use listeners::{Media, TlsFiles};
pub(crate) use signing::{encoding_key, registered};

use crate::control::{ApiKey, ApiScope};
use crate::gate::{Gate, GateOptions};
use crate::jwks::KeyPlan;
use crate::platform::PlatformOptions;
use crate::proxy::CacheOptions;
use files::Files;
use tree::{Report, Section, Value};

/// Largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The parser nests as deep as dotted keys in inline tables say: thousands of levels in a small file.
const STACK_BYTES: usize = 32 << 20;

/// What the gateway runs with.
#[derive(Debug)]
pub struct Config {
    /// What this process calls itself among the nodes.
    pub name: String,
    /// The listener that clients fetch from; `None` without the role `edge`.
    pub media: Option<Media>,
    /// The control API; `None` without the role `control`.
    pub control: Option<Control>,
    /// Where restrictions come from.
    pub feed: FeedSource,
    /// Copies of objects; `None`: nothing is kept.
    pub cache: Option<CacheOptions>,
    /// The address of the metrics; none: no such listener.
    pub metrics: Option<SocketAddr>,
    /// The address that other proxies ask; none: no such listener.
    pub auth: Option<SocketAddr>,
    /// The decision, with the keys and storages of every app; those of a JWK Set as far as it is a file.
    pub gate: Gate,
    /// What the decision is made from again when JWK Sets change.
    pub keys: KeyPlan,
    /// Who knows the visitors of prepend mode; `None`: nobody, or the gate by their cookies.
    pub platform: Option<PlatformOptions>,
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
    let name = name(root);
    let roles = roles(root)?;
    let required = "a section `[media]` with `listen`";
    let media = roles.section(root, Role::Edge, "media", required);
    let media = media.map(|section| section.and_then(|section| listeners::media(section, files, &mut addresses)));
    let feed = root.get("feed").and_then(Value::section);
    let feed = feed.map_or_else(|| Some(feed::Feed::default()), |section| feed::feed(section, files));
    let is_local = feed.as_ref().is_some_and(|feed| matches!(feed.source, FeedSource::Local));
    if is_local && roles.0.len() == 1 {
        let why = "a process with one role needs a broker between itself and the others: redis://… or nats://…";
        root.place_of("roles").wrong(why);
    }
    let required = "a section `[control]`: the feed \"local:\" takes its restrictions from there; a process that only \
                    serves files says so with roles = [\"edge\"]";
    let control = roles.section(root, Role::Control, "control", required);
    let control = control.map(|section| section.and_then(|section| control::control(section, files, &mut addresses)));
    let metrics = root.get("metrics").and_then(Value::section);
    let metrics = metrics.map(|section| listeners::listener(section, "127.0.0.1:9100", &mut addresses));
    let cache = root.get("cache").and_then(Value::section);
    let auth = root.get("auth").and_then(Value::section);
    if media.is_none() {
        for section in [&cache, &auth].into_iter().flatten() {
            section.place.wrong("goes with a role that `roles` does not have: take it out, or add the role \"edge\"");
        }
    }
    let auth = auth.map(|section| listeners::listener(section, "127.0.0.1:8082", &mut addresses));
    let cache = cache.and_then(cache::cache);
    let edge = media.as_ref().and_then(Option::as_ref);
    let prepend = root.get("prepend").and_then(Value::section);
    let prepend = prepend.map_or(Some(None), |section| prepend::prepend(section, files, edge));
    let storages = root.require("storage", "a section `[storage.NAME]`").and_then(Value::section);
    let storages = storages.map(|section| storage::storages(&section, files)).unwrap_or_default();
    let (apps, summaries) = apps::apps(root, &storages, files);
    if let Some(Some(control)) = &control {
        control::refuse_shared_secrets(&control.keys, &summaries);
    }
    let presigned = root.get("presigned").and_then(Value::section);
    let presigned = presigned.map(|section| presigned::presigned(section, files, edge));
    if let Some(Some(presigned)) = &presigned {
        let api_keys = control.as_ref().and_then(Option::as_ref).map_or(&[][..], |control| &control.keys);
        presigned.refuse_shared_secrets(api_keys, &summaries);
    }
    if let Some(Some(prepend)) = &prepend {
        let api_keys = control.iter().flatten().map(|control| control.keys.as_slice());
        let presigned = presigned.iter().flatten().map(|presigned| presigned.keys.as_slice());
        prepend.refuse_shared_keys(apps.as_deref(), &summaries, &api_keys.chain(presigned).collect::<Vec<_>>());
    }

    let (media, hosts, cors, player_cookies) = match media {
        Some(section) => {
            let listeners::MediaSection { media, hosts, cors, player_cookies, .. } = section?;
            (Some(media), hosts, cors, player_cookies)
        }
        None => Default::default(),
    };
    if !report.is_empty() {
        return None;
    }
    let feed::Feed { source: feed, freshness } = feed?;
    let first_host = hosts.first().cloned();
    let callers = control.iter().flatten().flat_map(|section| &section.control.api_keys);
    let api_keys = callers.filter(|key| key.scope == ApiScope::FullAccess).map(ApiKey::digest).collect();
    // Every rule of the gate was checked above, where its line is known; one that is new there is reported at least.
    let presigned = match presigned {
        Some(section) => Some(section?.options),
        None => None,
    };
    let mut sets: Vec<_> = summaries.iter().flat_map(|app| &app.key_sets).cloned().collect();
    let (prepend, platform) = prepend?
        .map(|section| {
            sets.extend(section.sets.into_iter().map(|(_, set)| set));
            let apps = summaries.iter().map(|app| app.id.clone());
            (section.options, section.platform.map(|platform| platform.for_apps(apps.collect())))
        })
        .unzip();
    let options = GateOptions { apps: apps?, hosts, freshness, cors, api_keys, presigned, player_cookies, prepend };
    let keys = KeyPlan { options, sets, files: files.documents() };
    let gate = keys.gate().map_err(|error| root.place_of("apps").wrong(error.to_string())).ok()?;
    let mut control = match control {
        Some(section) => Some(section?.control),
        None => None,
    };
    if let Some(control) = &mut control {
        control.hosts.media = control.hosts.media.take().or(first_host);
    }
    let metrics = match metrics {
        Some(address) => Some(address?),
        None => None,
    };
    let auth = match auth {
        Some(address) => Some(address?),
        None => None,
    };
    Some(Config {
        name: name?,
        media,
        control,
        feed,
        cache,
        metrics,
        auth,
        gate,
        keys,
        platform: platform.flatten(),
        apps: summaries,
        example_secrets: Vec::new(),
    })
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It serves files.
    Edge,
    /// It has the control API and the store, and relays what changes.
    Control,
}

struct Roles(Vec<Role>);

impl Roles {
    /// The section of `role`: `None` where the process does not have that role, and `Some(None)` where it is wrong.
    fn section<'a>(
        &self,
        root: &mut Section<'a>,
        role: Role,
        key: &'static str,
        required: &str,
    ) -> Option<Option<Section<'a>>> {
        if self.0.contains(&role) {
            return Some(root.require(key, required).and_then(Value::section));
        }
        if let Some(section) = root.get(key) {
            section.wrong("goes with a role that `roles` does not have: take it out, or add the role");
        }
        None
    }
}

fn roles(root: &mut Section<'_>) -> Option<Roles> {
    let both = vec![Role::Edge, Role::Control];
    let Some(list) = root.get("roles") else { return Some(Roles(both)) };
    let place = root.place_of("roles");
    let items = list.list()?;
    let words = [("edge", Role::Edge), ("control", Role::Control)];
    let roles: Vec<Role> = items.into_iter().map(|item| item.one_of(&words)).collect::<Option<_>>()?;
    if roles.is_empty() || roles.len() > 2 || (roles.len() == 2 && roles[0] == roles[1]) {
        place.wrong("must be [\"edge\"], [\"control\"] or [\"edge\", \"control\"]");
        return None;
    }
    Some(Roles(roles))
}

/// The name in the file, or the machine's with something that tells processes on it apart.
fn name(root: &mut Section<'_>) -> Option<String> {
    if let Some(name) = root.text("name") {
        if !crate::feed::wire::is_label(name.value) {
            name.wrong("must be 1 to 64 visible ASCII characters");
            return None;
        }
        return Some(name.value.to_owned());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let host: String = host.trim().chars().filter(plain).take(48).collect();
    let host = if host.is_empty() { "node".to_owned() } else { host };
    Some(format!("{host}-{}", crate::store::random_id().get(..8).unwrap_or_default()))
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

//! `[feed]`: where restrictions come from, and how old they may be.

use std::path::PathBuf;
use std::time::Duration;

use super::files::Files;
use super::tree::{Section, Text};
use crate::feed::nats::NatsOptions;
use crate::feed::redis::{RedisOptions, RedisTls};
use crate::gate::{Freshness, WhenStale};
use crate::secret::Secret;

/// Where restrictions come from.
#[derive(Debug, Clone, Default)]
pub enum FeedSource {
    /// The store of this process.
    #[default]
    Local,
    /// A Redis or Valkey server.
    Redis(RedisOptions),
    /// A NATS server or cluster with JetStream.
    Nats(NatsOptions),
}

/// `[feed]`.
#[derive(Debug, Default)]
pub(super) struct Feed {
    pub(super) source: FeedSource,
    pub(super) freshness: Freshness,
}

/// What goes with the URL of a broker.
struct Extras<'a> {
    prefix: Option<Text<'a>>,
    password: Option<Secret>,
    token: Option<Secret>,
    credentials: Option<Secret>,
    ca_file: Option<PathBuf>,
    ca_pem: Option<Vec<u8>>,
    replicas: Option<u64>,
}

/// What goes with every broker.
const BROKER_KEYS: [&str; 3] = ["prefix", "password_file", "ca_file"];

/// What goes with NATS only.
const NATS_KEYS: [&str; 3] = ["token_file", "credentials_file", "replicas"];

fn refuse(section: &mut Section<'_>, key: &'static str, why: &str) {
    if let Some(value) = section.get(key) {
        value.wrong(why);
    }
}

/// Returns the section, or `None` once something that nothing can stand in for was reported.
pub(super) fn feed(mut section: Section<'_>, files: &Files<'_>) -> Option<Feed> {
    let url = section.text("url");
    let source = match &url {
        Some(url) if url.value != "local:" => broker(url, &mut section, files),
        _ => {
            for key in BROKER_KEYS.into_iter().chain(NATS_KEYS) {
                refuse(&mut section, key, "goes with a broker as feed.url: redis://… or nats://…");
            }
            Some(FeedSource::Local)
        }
    };
    let default = Freshness::default();
    let max_staleness = section.get("max_staleness_secs").and_then(|value| value.number(1..=86_400, "seconds"));
    let when_stale = section.get("when_stale");
    let when_stale =
        when_stale.and_then(|value| value.one_of(&[("deny", WhenStale::Deny), ("serve", WhenStale::Serve)]));
    section.finish();
    let freshness = Freshness {
        max_staleness: max_staleness.map_or(default.max_staleness, Duration::from_secs),
        when_stale: when_stale.unwrap_or(default.when_stale),
    };
    Some(Feed { source: source?, freshness })
}

fn broker(url: &Text<'_>, section: &mut Section<'_>, files: &Files<'_>) -> Option<FeedSource> {
    let ca = section.text("ca_file");
    let secret = |file: Option<Text<'_>>| file.and_then(|file| files.secret(&file));
    let extras = Extras {
        prefix: section.text("prefix"),
        password: secret(section.text("password_file")),
        token: None,
        credentials: None,
        ca_file: ca.as_ref().and_then(|file| files.certificates(file)),
        ca_pem: ca.as_ref().and_then(|file| files.public_key(file)),
        replicas: None,
    };
    let scheme = url.value.split("://").next().unwrap_or_default();
    match scheme {
        "redis" | "rediss" => {
            for key in NATS_KEYS {
                refuse(section, key, "goes with nats:// and tls:// only");
            }
            redis(url, section, extras)
        }
        "nats" | "tls" => {
            let token = secret(section.text("token_file"));
            let credentials = secret(section.text("credentials_file"));
            let replicas = section.get("replicas").and_then(|value| value.number(1..=5, "servers"));
            nats(url, section, Extras { token, credentials, replicas, ..extras })
        }
        _ => {
            url.wrong("must be \"local:\", or a URL that begins with redis://, rediss://, nats:// or tls://");
            None
        }
    }
}

fn redis(url: &Text<'_>, section: &Section<'_>, extras: Extras<'_>) -> Option<FeedSource> {
    let mut options = RedisOptions::parse(url.value).map_err(|why| url.wrong(why)).ok()?;
    match (&mut options.tls, extras.ca_pem) {
        (RedisTls::On { ca_pem }, pem) => *ca_pem = pem,
        (RedisTls::Off, Some(_)) => section.place_of("ca_file").wrong("goes with rediss:// only"),
        (RedisTls::Off, None) => {}
    }
    options.password = extras.password;
    if let Some(prefix) = extras.prefix {
        options.prefix = prefix.value.to_owned();
    }
    options.check().map_err(|why| section.place_of("url").wrong(why)).ok()?;
    Some(FeedSource::Redis(options))
}

fn nats(url: &Text<'_>, section: &Section<'_>, extras: Extras<'_>) -> Option<FeedSource> {
    let mut options = NatsOptions::parse(url.value).map_err(|why| url.wrong(why)).ok()?;
    options.password = extras.password;
    options.token = extras.token;
    options.credentials = extras.credentials;
    options.ca_file = extras.ca_file;
    if let Some(prefix) = extras.prefix {
        options.prefix = prefix.value.to_owned();
    }
    if let Some(replicas) = extras.replicas {
        options.replicas = replicas as usize;
    }
    options.check().map_err(|why| section.place_of("url").wrong(why)).ok()?;
    Some(FeedSource::Nats(options))
}

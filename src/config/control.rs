//! `[control]`: the API, its database, and who may call it.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::apps::AppSummary;
use super::files::Files;
use super::listeners::{self, Addresses, TlsFiles};
use super::tree::{Place, Section, Text, Unique};
use crate::control::{ApiKey, ApiScope, ClientHosts};
use crate::secret::Secret;
use crate::store::Location;

/// Most API keys.
const MAX_API_KEYS: usize = 1000;

/// Shortest and longest API key, in bytes.
const API_KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// How many calls a minute one key may make, unless the configuration says otherwise.
const CALLS_PER_MINUTE: u32 = 20_000;

/// The most that it can say.
const MAX_CALLS: u64 = 1_000_000_000;

/// The control API.
#[derive(Debug, Clone)]
pub struct Control {
    /// Its address.
    pub listen: SocketAddr,
    /// Certificate and key; `None`: no TLS.
    pub tls: Option<TlsFiles>,
    /// Its database.
    pub store: Location,
    /// Who may call it, at least one.
    pub api_keys: Vec<ApiKey>,
    /// Where clients find this server.
    pub hosts: ClientHosts,
    /// How many calls a minute one key, or one session, may make; `None`: any number.
    pub calls_per_minute: Option<NonZeroU32>,
}

/// `[control]`, with where each key stands.
pub(super) struct ControlSection<'a> {
    pub(super) control: Control,
    pub(super) keys: Vec<(Place<'a>, Secret)>,
}

pub(super) fn control<'a>(
    mut section: Section<'a>,
    files: &Files<'_>,
    addresses: &mut Addresses,
) -> Option<ControlSection<'a>> {
    let listen = section.text("listen");
    let listen = addresses.read_or(listen, "127.0.0.1:8081", &section.place_of("listen"));
    let store = match section.text("store") {
        Some(url) => store(&url, &mut section, files),
        None => Some(Location::Sqlite(files.path("mediagate.db"))),
    };
    let tls = listeners::tls(&mut section, files);
    let hosts = ClientHosts {
        control: section.text("client_host").and_then(|host| authority(&host)),
        media: section.text("media_host").and_then(|host| authority(&host)),
    };
    let calls = section.get("calls_per_minute").and_then(|value| value.number(0..=MAX_CALLS, "calls"));
    let calls_per_minute = NonZeroU32::new(calls.map_or(CALLS_PER_MINUTE, |calls| calls as u32));
    let required = "at least one `[[control.api_keys]]`, or nobody could call the API";
    let found = section.sections("api_keys", MAX_API_KEYS, Some(required));
    let mut names = Unique::default();
    let mut keys: Vec<(Place<'a>, Secret)> = Vec::new();
    let found: Vec<_> = found.into_iter().map(|section| api_key(section, files, &mut names, &mut keys)).collect();
    section.finish();
    let api_keys = found.into_iter().collect::<Option<_>>()?;
    let control = Control { listen: listen?, tls, store: store?, api_keys, hosts, calls_per_minute };
    Some(ControlSection { control, keys })
}

/// A host, with a port or without.
fn authority(host: &Text<'_>) -> Option<String> {
    let authority = host.value.parse::<http::uri::Authority>().ok();
    if authority.is_none_or(|authority| authority.as_str().contains('@')) {
        host.wrong("must be a host, with a port or without, like \"api.acme.example:8443\"");
        return None;
    }
    Some(host.value.to_owned())
}

fn store(url: &Text<'_>, section: &mut Section<'_>, files: &Files<'_>) -> Option<Location> {
    let password = section.text("store_password_file").and_then(|file| files.secret(&file));
    if ["postgres://", "postgresql://"].iter().any(|scheme| url.value.starts_with(scheme)) {
        let (server, parameters) = url.value.split_once('?').unwrap_or((url.value, ""));
        let (_, server) = server.split_once("://").unwrap_or_default();
        let (user, place) = server.split_once('@').unwrap_or_default();
        if user.contains(':') || parameters.to_ascii_lowercase().contains("password") {
            url.wrong("must not hold a password: it belongs into a file of its own, named by store_password_file");
            return None;
        }
        let parts = place.split_once('/');
        if user.is_empty() || place.contains('@') || parts.is_none_or(|(host, db)| host.is_empty() || db.is_empty()) {
            url.wrong("must be \"postgres://USER@HOST/DATABASE\", with parameters like ?sslmode=verify-full behind it");
            return None;
        }
        return Some(Location::Postgres { url: url.value.to_owned(), password });
    }
    if password.is_some() {
        section.place_of("store_password_file").wrong("goes with a store in PostgreSQL only");
    }
    let file = url.value.strip_prefix("sqlite:").map(|file| file.strip_prefix("//").unwrap_or(file));
    let file = file.filter(|file| !file.is_empty() && !file.starts_with(':') && !file.contains(['?', '\0']));
    if file.is_none() {
        url.wrong(
            "must be \"sqlite:FILE\", without parameters, or \"postgres://USER@HOST/DATABASE\": a deactivation has to \
             outlive the process",
        );
    }
    Some(Location::Sqlite(files.path(file?)))
}

fn api_key<'a>(
    mut section: Section<'a>,
    files: &Files<'_>,
    names: &mut Unique,
    keys: &mut Vec<(Place<'a>, Secret)>,
) -> Option<ApiKey> {
    let name = section.require_text("name", "what logs call the key");
    if let Some(name) = &name {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=64).contains(&name.value.len()) || !name.value.bytes().all(plain) {
            name.wrong("must be 1 to 64 letters, digits, `-`, `_` or `.`");
        }
        names.check("name", name);
    }
    let scope = section.require("scope", "\"fullAccess\" or \"authOnly\"");
    let scopes = [("fullAccess", ApiScope::FullAccess), ("authOnly", ApiScope::AuthOnly)];
    let scope = scope.and_then(|value| value.one_of(&scopes));
    let file = section.require_text("key_file", "the path of a file with the key");
    let key = file.as_ref().and_then(|file| files.visible_secret(file));
    section.finish();
    let (file, key) = (file?, key?);
    if !API_KEY_BYTES.contains(&key.expose().len()) {
        let (least, most) = (API_KEY_BYTES.start(), API_KEY_BYTES.end());
        file.wrong(format!("the key must have {least} to {most} characters (`openssl rand -hex 32` makes one)"));
    } else if key.is_trivial() {
        file.wrong("the key is trivial: too few different characters (`openssl rand -hex 32` makes a good one)");
    } else if let Some((place, _)) = keys.iter().find(|(_, other)| other.expose() == key.expose()) {
        let line = place.line().map(|line| format!(" in line {line}")).unwrap_or_default();
        file.wrong(format!("the same key as that{line}: a call could not be told apart"));
    }
    keys.push((file.place, key.clone()));
    Some(ApiKey { name: name?.value.to_owned(), scope: scope?, key })
}

/// A key that is sent with every call must not be one that tokens are made with.
pub(super) fn refuse_shared_secrets(keys: &[(Place<'_>, Secret)], apps: &[AppSummary]) {
    for (place, key) in keys {
        if signs_tokens(key, apps) {
            place.wrong("the same secret signs tokens of an app: whoever may call the API could make them");
        }
    }
}

/// Whether tokens of one of `apps` are made with `secret`.
pub(super) fn signs_tokens(secret: &Secret, apps: &[AppSummary]) -> bool {
    let mut signing = apps.iter().flat_map(|app| &app.keys).filter_map(|key| key.secret.as_ref());
    signing.any(|signing| signing.expose() == secret.expose())
}

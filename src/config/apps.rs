//! `[[apps]]` and `[[apps.keys]]`.

use std::time::Duration;

use super::files::Files;
use super::keys::{AppKey, KeySummary, key};
use super::storage::Storages;
use super::tree::{Section, Text, Unique};
use crate::gate::{self, Access, AppOptions, PublicPrefixes, TimeRules, UidCase};
use crate::jwks::KeySetOptions;

/// Most apps.
const MAX_APPS: usize = 1000;

/// Most keys of one app.
pub(super) const MAX_KEYS: usize = 100;

/// The longest lifetime that an app may allow its tokens: a year.
pub const MAX_TOKEN_TTL: Duration = Duration::from_secs(31_536_000);

/// What commands need to know of an app.
#[derive(Debug, Clone)]
pub struct AppSummary {
    /// Its id.
    pub id: String,
    /// Its configured keys, in the order of the file.
    pub keys: Vec<KeySummary>,
    /// Its JWK Sets, likewise.
    pub key_sets: Vec<KeySetOptions>,
    /// The longest lifetime of its tokens.
    pub max_ttl: Duration,
}

/// Returns the apps that are sound in full (all of them, or `None`), and a summary of each that can have one.
pub(super) fn apps(
    root: &mut Section<'_>,
    storages: &Storages,
    files: &Files<'_>,
) -> (Option<Vec<AppOptions>>, Vec<AppSummary>) {
    let sections = root.sections("apps", MAX_APPS, Some("at least one section `[[apps]]`"));
    let mut ids = Unique::default();
    let mut summaries = Vec::new();
    let options = sections.into_iter().map(|section| {
        let (options, summary) = app(section, storages, files, &mut ids)?;
        summaries.push(summary);
        options
    });
    let options: Vec<_> = options.collect();
    (options.into_iter().collect(), summaries)
}

fn app(
    mut section: Section<'_>,
    storages: &Storages,
    files: &Files<'_>,
    ids: &mut Unique,
) -> Option<(Option<AppOptions>, AppSummary)> {
    let id = section.require_text("id", "the first segment of the app's URLs");
    if let Some(id) = &id {
        if !gate::is_app_id(id.value) {
            id.wrong("must be 1 to 255 letters, digits, `-`, `_` or `.`: it is one segment of a URL path");
        }
        ids.check("id", id);
    }
    let accesses = [("enforce", Access::Enforce), ("observe", Access::Observe), ("off", Access::Off)];
    let access = section.get("access").and_then(|value| value.one_of(&accesses)).unwrap_or_default();
    let cases = [("folded", UidCase::Folded), ("exact", UidCase::Exact)];
    let uid_case = section.get("uid_case").and_then(|value| value.one_of(&cases)).unwrap_or_default();
    let name = section.require_text("storage", "the NAME of a section `[storage.NAME]`");
    let storage = name.and_then(|name| storage(&name, storages));
    let public_prefixes = public_prefixes(&mut section);
    let tokenized_since = section.get("tokenized_since").and_then(|value| value.time());
    let max_ttl = section.get("max_token_ttl_secs");
    let max_ttl = max_ttl.and_then(|value| value.number(60..=MAX_TOKEN_TTL.as_secs(), "seconds"));
    let max_ttl = Duration::from_secs(max_ttl.unwrap_or(86_400));
    let leeway = section.get("leeway_secs").and_then(|value| value.number(0..=300, "seconds"));
    let time = TimeRules { leeway: Duration::from_secs(leeway.unwrap_or(5)), max_ttl };

    let required = "at least one `[[apps.keys]]`, unless `access` is \"off\"";
    let found = section.sections("keys", MAX_KEYS, Some(required).filter(|_| access != Access::Off));
    let mut kids = Unique::default();
    let app = id.as_ref().map_or("?", |id| id.value);
    let found: Vec<_> = found.into_iter().map(|section| key(section, app, files, &mut kids)).collect();
    section.finish();
    let whole = found.iter().all(Option::is_some);
    let (mut keys, mut summaries, mut key_sets) = (Vec::new(), Vec::new(), Vec::new());
    for found in found.into_iter().flatten() {
        match found {
            AppKey::Key(key, summary) => {
                keys.push(*key);
                summaries.push(summary);
            }
            AppKey::Set(options) => key_sets.push(options),
        }
    }
    let id = id?.value.to_owned();
    let options = storage.filter(|_| whole);
    let options = options.map(|storage| AppOptions {
        id: id.clone(),
        access,
        keys,
        time,
        uid_case,
        public_prefixes,
        tokenized_since,
        storage,
    });
    Some((options, AppSummary { id, keys: summaries, key_sets, max_ttl }))
}

fn storage(name: &Text<'_>, storages: &Storages) -> Option<std::sync::Arc<gate::S3Storage>> {
    let storage = storages.get(name.value);
    if storage.is_none() {
        name.wrong("no such storage: must be the NAME of a section `[storage.NAME]`");
    }
    storage?.clone()
}

fn public_prefixes(section: &mut Section<'_>) -> PublicPrefixes {
    let prefixes = section.texts("public_prefixes").unwrap_or_default();
    let sound = prefixes.into_iter().filter(|prefix| {
        let sound = PublicPrefixes::new([prefix.value.to_owned()]).is_ok();
        if !sound {
            prefix.wrong("must be a folder below the app, like \"legacy/\", without `.`, `..` or empty segments");
        }
        sound
    });
    PublicPrefixes::new(sound.map(|prefix| prefix.value.to_owned())).unwrap_or_default()
}

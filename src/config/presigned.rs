//! `[presigned]`: URLs that clients may ask for in place of a token.

use std::time::Duration;

use http::uri::Scheme;

use super::apps::AppSummary;
use super::control::signs_tokens;
use super::files::Files;
use super::listeners::MediaSection;
use super::tree::{Place, Section, Text};
use crate::gate::{Endpoint, MAX_PRESIGNED_TTL, PresignedBase, PresignedKey, PresignedOptions, PresignedTarget};
use crate::secret::Secret;

/// Most keys that only verify.
const MAX_PREVIOUS_KEYS: usize = 10;

/// The longest window by default, and as a part of the time to live: a URL lives for two thirds of that at least.
const DEFAULT_WINDOW_SECS: u64 = 300;
const DEFAULT_WINDOWS_IN_TTL: u64 = 3;

/// Where URLs point, before there is a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Gate,
    Storage,
}

/// `[presigned]`, with where each key stands.
pub(super) struct PresignedSection<'a> {
    pub(super) options: PresignedOptions,
    pub(super) keys: Vec<(Place<'a>, Secret)>,
}

pub(super) fn presigned<'a>(
    mut section: Section<'a>,
    files: &Files<'_>,
    media: Option<&MediaSection>,
) -> Option<PresignedSection<'a>> {
    let targets = [("gate", Target::Gate), ("storage", Target::Storage)];
    let target = section.get("target").map_or(Some(Target::Gate), |value| value.one_of(&targets));
    let times = times(&mut section, target.unwrap_or(Target::Gate));
    let base = base(&mut section, media);

    let key_file = section.text("key_file");
    if key_file.is_none() && target == Some(Target::Gate) {
        section.place_of("key_file").wrong("is required: the path of a file with the secret that URLs are signed with");
    }
    let is_missing = key_file.is_none();
    let mut keys = Vec::new();
    let current = key_file.and_then(|file| key(file, files, &mut keys));
    let previous = section.texts("previous_key_files").unwrap_or_default();
    if previous.len() > MAX_PREVIOUS_KEYS {
        section.place_of("previous_key_files").wrong(format!("must be at most {MAX_PREVIOUS_KEYS}"));
    }
    let previous = previous.into_iter().take(MAX_PREVIOUS_KEYS);
    let previous: Vec<_> = previous.map(|file| key(file, files, &mut keys)).collect();
    section.finish();
    let mut previous = previous.into_iter().collect::<Option<Vec<_>>>()?;
    let target = match target? {
        Target::Gate => PresignedTarget::Gate(current?),
        Target::Storage if is_missing => PresignedTarget::Storage,
        Target::Storage => {
            // URLs from before the target was changed go on.
            previous.push(current?);
            PresignedTarget::Storage
        }
    };
    let (ttl, window) = times?;
    Some(PresignedSection { options: PresignedOptions { target, previous, base: base?, ttl, window }, keys })
}

/// The time to live and the window.
fn times(section: &mut Section<'_>, target: Target) -> Option<(Duration, Duration)> {
    let ttl = section.get("ttl_secs");
    let ttl = match target {
        Target::Gate => ttl.map_or(Some(900), |ttl| ttl.number(1..=MAX_PRESIGNED_TTL.as_secs(), "seconds")),
        Target::Storage => {
            let hour = "seconds with target = \"storage\": such a URL cannot be called back";
            ttl.map_or(Some(60), |ttl| ttl.number(1..=3600, hour))
        }
    }?;
    let window = section.get("window_secs");
    let default = DEFAULT_WINDOW_SECS.min(ttl / DEFAULT_WINDOWS_IN_TTL);
    let window = window.map_or(Some(default), |window| window.number(0..=ttl, "seconds (ttl_secs at most)"))?;
    Some((Duration::from_secs(ttl), Duration::from_secs(window)))
}

fn base(section: &mut Section<'_>, media: Option<&MediaSection>) -> Option<PresignedBase> {
    let Some(url) = section.text("base_url") else {
        return Some(PresignedBase::Asked(media.map_or(Scheme::HTTP, |section| section.scheme.clone())));
    };
    let endpoint = Endpoint::parse(url.value).map_err(|error| url.wrong(error.to_string())).ok()?;
    let hosts = media.map_or(&[][..], |section| &section.hosts);
    if !hosts.is_empty() && !hosts.iter().any(|host| host.eq_ignore_ascii_case(&endpoint.host)) {
        url.wrong("must have one of media.hosts as its host: no other is served");
        return None;
    }
    Some(PresignedBase::Fixed(endpoint))
}

fn key<'a>(file: Text<'a>, files: &Files<'_>, keys: &mut Vec<(Place<'a>, Secret)>) -> Option<PresignedKey> {
    let secret = files.secret(&file)?;
    let key = PresignedKey::new(&secret).map_err(|error| file.wrong(error.to_string())).ok()?;
    if keys.iter().any(|(_, other)| other.expose() == secret.expose()) {
        file.wrong("the same key as one before it: each must be another");
    }
    keys.push((file.place, secret));
    Some(key)
}

impl PresignedSection<'_> {
    /// A key that URLs are signed with must not be one that anything else is done with.
    pub(super) fn refuse_shared_secrets(&self, api_keys: &[(Place<'_>, Secret)], apps: &[AppSummary]) {
        for (place, key) in &self.keys {
            if signs_tokens(key, apps) {
                place.wrong("the same secret signs tokens of an app: who may make those could make URLs of all apps");
            }
            if api_keys.iter().any(|(_, other)| other.expose() == key.expose()) {
                place.wrong("the same secret is an API key: whoever may call the API could make URLs");
            }
        }
    }
}

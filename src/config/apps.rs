//! `[[apps]]` and `[[apps.keys]]`.

use std::time::Duration;

use super::files::Files;
use super::storage::Storages;
use super::tree::{LATER, Section, Text, Unique};
use crate::gate::{
    self, Access, Algorithm, AppOptions, KeyError, PublicPrefixes, TimeRules, UidCase, UnknownAlgorithm, VerifyingKey,
};
use crate::secret::Secret;

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
    /// Its keys, in the order of the file.
    pub keys: Vec<KeySummary>,
    /// The longest lifetime of its tokens.
    pub max_ttl: Duration,
}

/// What commands need to know of a key.
#[derive(Debug, Clone)]
pub struct KeySummary {
    /// Its name.
    pub kid: String,
    /// The algorithm that it is bound to.
    pub alg: Algorithm,
    /// What tokens are signed with; `None` where only the public key is here.
    pub secret: Option<Secret>,
    /// The `iss` that its tokens must have.
    pub issuer: Option<String>,
    /// The `aud` that its tokens must have.
    pub audience: Option<String>,
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
    let found: Vec<_> = found.into_iter().map(|section| key(section, files, &mut kids)).collect();
    section.finish();
    let whole = found.iter().all(Option::is_some);
    let (keys, summaries) = found.into_iter().flatten().unzip();
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
    Some((options, AppSummary { id, keys: summaries, max_ttl }))
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

fn key(mut section: Section<'_>, files: &Files<'_>, kids: &mut Unique) -> Option<(VerifyingKey, KeySummary)> {
    if section.refuse_later(&["jwks_url", "jwks_file"]) {
        // It stands in place of `kid` and `alg`, which are not to be asked for then.
        return None;
    }
    let kid = section.require_text("kid", "the name that tokens give the key");
    if let Some(kid) = &kid {
        short_text(kid);
        kids.check("kid", kid);
    }
    let alg = section.require_text("alg", "the algorithm that the key is bound to, like \"HS256\"");
    let alg: Option<Algorithm> =
        alg.and_then(|name| name.value.parse().map_err(|error: UnknownAlgorithm| name.wrong(error.to_string())).ok());
    let secret_file = section.text("secret_file");
    let secret = secret_file.as_ref().and_then(|file| files.secret(file));
    let public_key_file = section.text("public_key_file");
    let public_key = public_key_file.as_ref().and_then(|file| files.public_key(file));
    if let Some(profile) = section.text("profile") {
        match profile.value {
            "fat" => {}
            "twilio" => profile.wrong(format!("this profile {LATER}: must be \"fat\"")),
            _ => profile.wrong("must be \"fat\""),
        }
    }
    let issuer = section.text("issuer").inspect(short_text);
    let audience = section.text("audience").inspect(short_text);
    section.finish();

    let (wanted, found, other) = match alg?.is_hmac() {
        true => ("secret_file", secret_file, public_key_file),
        false => ("public_key_file", public_key_file, secret_file),
    };
    if let Some(other) = other {
        other.wrong(format!("{} takes `{wanted}` and not this", alg?));
    }
    let Some(found) = found else {
        section.place_of(wanted).wrong(format!("is required for {}", alg?));
        return None;
    };
    let name = kid.as_ref().map_or("?", |kid| kid.value);
    let key = match alg?.is_hmac() {
        true => VerifyingKey::hmac(name, alg?, secret.as_ref()?),
        false => VerifyingKey::public_pem(name, alg?, &public_key?),
    };
    let mut key = match key {
        Ok(key) => key,
        // Reported where the kid stands.
        Err(KeyError::BadKid) => return None,
        Err(error) => {
            found.wrong(error.to_string());
            return None;
        }
    };
    let summary = KeySummary {
        kid: kid?.value.to_owned(),
        alg: alg?,
        secret: secret.filter(|_| alg.is_some_and(Algorithm::is_hmac)),
        issuer: issuer.map(|issuer| issuer.value.to_owned()),
        audience: audience.map(|audience| audience.value.to_owned()),
    };
    if let Some(issuer) = &summary.issuer {
        key = key.with_issuer(issuer);
    }
    if let Some(audience) = &summary.audience {
        key = key.with_audience(audience);
    }
    Some((key, summary))
}

/// Tokens and headers are bounded, so what is compared with them is.
fn short_text(text: &Text<'_>) {
    if !(1..=255).contains(&text.value.len()) {
        text.wrong("must have 1 to 255 bytes");
    }
}

//! `[[apps.keys]]`: a secret, a public key, a Twilio API key, or a JWK Set.

use std::time::Duration;

use jsonwebtoken::EncodingKey;

use super::files::Files;
use super::signing::private_key;
use super::tree::{Section, Text, Unique};
use crate::gate::{Algorithm, JwkSet, KeyError, MAX_JWKS_BYTES, Profile, UnknownAlgorithm, VerifyingKey};
use crate::jwks::{KeySetOptions, KeySetSource};
use crate::secret::Secret;

/// How often a JWK Set is had anew, by default.
const JWKS_REFRESH: Duration = Duration::from_secs(300);

/// What commands need to know of a key.
#[derive(Debug, Clone)]
pub struct KeySummary {
    /// Its name.
    pub kid: String,
    /// The algorithm that it is bound to.
    pub alg: Algorithm,
    /// The kind of its tokens.
    pub profile: Profile,
    /// What tokens are signed and verified with; `None` for an algorithm with two keys.
    pub secret: Option<Secret>,
    /// What tokens are signed with, beside the public key; `None` where only that is here.
    pub private_key: Option<EncodingKey>,
    /// The `iss` that its tokens must have.
    pub issuer: Option<String>,
    /// The `aud` that its tokens must have.
    pub audience: Option<String>,
}

/// One `[[apps.keys]]`.
pub(super) enum AppKey {
    Key(Box<VerifyingKey>, KeySummary),
    Set(KeySetOptions),
}

pub(super) fn key(mut section: Section<'_>, app: &str, files: &Files<'_>, kids: &mut Unique) -> Option<AppKey> {
    let (url, file) = (section.text("jwks_url"), section.text("jwks_file"));
    match (url, file) {
        (Some(_), Some(file)) => {
            file.wrong("stands beside `jwks_url`: take one of them out");
            None
        }
        (Some(url), None) => key_set(section, app, url_source(&url), None),
        (None, Some(file)) => {
            let source = KeySetSource::File(files.path(file.value));
            key_set(section, app, Some(source), Some((file, files)))
        }
        (None, None) => single_key(section, files, kids),
    }
}

/// A key that the file itself names.
fn single_key(mut section: Section<'_>, files: &Files<'_>, kids: &mut Unique) -> Option<AppKey> {
    let kid = section.require_text("kid", "the name that tokens give the key");
    if let Some(kid) = &kid {
        short_text(kid);
        kids.check("kid", kid);
    }
    let alg = section.require_text("alg", "the algorithm that the key is bound to, like \"HS256\"");
    let alg = alg.and_then(|name| algorithm(&name));
    let secret_file = section.text("secret_file");
    let secret = secret_file.as_ref().and_then(|file| files.secret(file));
    let public_key_file = section.text("public_key_file");
    let public_key = public_key_file.as_ref().and_then(|file| files.public_key(file));
    let mut private_key_file = section.text("private_key_file");
    let profile =
        section.get("profile").map(|value| value.one_of(&[("fat", Profile::Fat), ("twilio", Profile::Twilio)]));
    let profile = profile.unwrap_or(Some(Profile::Fat));
    let issuer = section.text("issuer").inspect(short_text);
    let audience = section.text("audience").inspect(short_text);
    refuse(&mut section, &["jwks_refresh_secs"], "goes with `jwks_url` or `jwks_file`");
    section.finish();
    let (alg, profile) = (alg?, profile?);
    if profile == Profile::Twilio && !is_twilio(&mut section, kid.as_ref(), alg) {
        return None;
    }

    let (wanted, found, others) = match alg.is_hmac() {
        true => ("secret_file", secret_file, [public_key_file, private_key_file.take()]),
        false => ("public_key_file", public_key_file, [secret_file, None]),
    };
    for other in others.into_iter().flatten() {
        other.wrong(format!("{alg} takes `{wanted}` and not this"));
    }
    let Some(found) = found else {
        section.place_of(wanted).wrong(format!("is required for {alg}"));
        return None;
    };
    let name = kid.as_ref().map_or("?", |kid| kid.value);
    let key = match (profile, alg.is_hmac()) {
        (Profile::Twilio, _) => VerifyingKey::twilio(name, alg, secret.as_ref()?),
        (Profile::Fat, true) => VerifyingKey::hmac(name, alg, secret.as_ref()?),
        (Profile::Fat, false) => VerifyingKey::public_pem(name, alg, &public_key?),
    };
    let key = match key {
        Ok(key) => key,
        // Reported where the kid stands.
        Err(KeyError::BadKid) => return None,
        Err(error) => {
            found.wrong(error.to_string());
            return None;
        }
    };
    let private_key = match private_key_file {
        Some(file) => Some(private_key(&file, files, alg, &key)?),
        None => None,
    };
    let text = |text: Option<Text<'_>>| text.map(|text| text.value.to_owned());
    let (issuer, audience) = (text(issuer), text(audience));
    let key = key.requiring(issuer.as_deref(), audience.as_deref());
    let secret = secret.filter(|_| alg.is_hmac());
    let summary = KeySummary { kid: kid?.value.to_owned(), alg, profile, secret, private_key, issuer, audience };
    Some(AppKey::Key(Box::new(key), summary))
}

/// Whether `section` is what a key for Twilio tokens can be.
fn is_twilio(section: &mut Section<'_>, kid: Option<&Text<'_>>, alg: Algorithm) -> bool {
    let mut sound =
        refuse(section, &["issuer"], "a Twilio token's issuer is the API key's SID, which is the `kid` here");
    sound &= refuse(section, &["audience"], "Twilio tokens have no audience");
    if !alg.is_hmac() {
        section.place_of("alg").wrong("Twilio tokens are signed with HS256, HS384 or HS512");
        sound = false;
    }
    if let Some(kid) = kid.filter(|kid| !kid.value.starts_with("SK")) {
        kid.wrong("must be the SID of a Twilio API key, which begins with \"SK\"");
        sound = false;
    }
    sound
}

/// Keys that come from elsewhere, and may change.
fn key_set(
    mut section: Section<'_>,
    app: &str,
    source: Option<KeySetSource>,
    file: Option<(Text<'_>, &Files<'_>)>,
) -> Option<AppKey> {
    let why = "goes without `jwks_url` and `jwks_file`: the set has its own keys and their names";
    let mut sound = refuse(&mut section, &["kid", "secret_file", "public_key_file", "private_key_file"], why);
    if let Some(profile) = section.text("profile")
        && profile.value != "fat"
    {
        profile.wrong("must be \"fat\" with `jwks_url` and `jwks_file`: Twilio tokens are signed with a secret");
        sound = false;
    }
    let alg = section.text("alg").map(|name| {
        let alg = algorithm(&name)?;
        if alg.is_hmac() {
            name.wrong("must be one of RS256, PS256, ES256, ES384, EdDSA: a JWK Set has public keys");
        }
        Some(alg).filter(|alg| !alg.is_hmac())
    });
    let refresh = section.get("jwks_refresh_secs").map(|value| value.number(1..=86_400, "seconds"));
    let issuer = section.text("issuer").inspect(short_text);
    let audience = section.text("audience").inspect(short_text);
    section.finish();
    if let Some((file, files)) = file {
        sound &= has_keys(&file, &files.document(&file, MAX_JWKS_BYTES as u64)?, alg.flatten());
    }
    let refresh = match refresh {
        Some(secs) => Duration::from_secs(secs?),
        None => JWKS_REFRESH,
    };
    let alg = match alg {
        Some(alg) => Some(alg?),
        None => None,
    };
    let text = |text: Option<Text<'_>>| text.map(|text| text.value.to_owned());
    let (app, issuer, audience) = (app.to_owned(), text(issuer), text(audience));
    source.filter(|_| sound).map(|source| AppKey::Set(KeySetOptions { app, source, alg, issuer, audience, refresh }))
}

/// Whether the document in `file` has any key that can be used.
fn has_keys(file: &Text<'_>, json: &[u8], alg: Option<Algorithm>) -> bool {
    let why = match JwkSet::parse(json, alg) {
        Ok(set) if !set.keys.is_empty() => return true,
        Ok(set) => match set.skipped.first() {
            Some(first) => format!("has no key that can be used: the first is {}", first.problem),
            None => "has no key".to_owned(),
        },
        Err(error) => format!("cannot be used: {error}"),
    };
    file.wrong(format!("the file {why}"));
    false
}

fn url_source(url: &Text<'_>) -> Option<KeySetSource> {
    let source = KeySetSource::url(url.value);
    if source.is_none() {
        url.wrong("must be https://HOST/PATH without user or fragment; http:// is for this machine only (127.0.0.1)");
    }
    source
}

fn algorithm(name: &Text<'_>) -> Option<Algorithm> {
    name.value.parse().map_err(|error: UnknownAlgorithm| name.wrong(error.to_string())).ok()
}

/// Reports each of `keys` that is there; returns whether none is.
fn refuse(section: &mut Section<'_>, keys: &[&'static str], why: &str) -> bool {
    let mut sound = true;
    for key in keys {
        if section.has(key) {
            section.place_of(key).wrong(why);
            sound = false;
        }
    }
    sound
}

/// Tokens and headers are bounded, so what is compared with them is.
fn short_text(text: &Text<'_>) {
    if !(1..=255).contains(&text.value.len()) {
        text.wrong("must have 1 to 255 bytes");
    }
}

//! `[storage.NAME]`: buckets, and how to reach them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::files::Files;
use super::tree::{LATER, Section, Text, Value};
use crate::gate::{Addressing, AppFolder, Credentials, Endpoint, S3Options, S3Storage, Timeouts};

/// The storages by name; `None` where a mistake was reported, so that the apps of one are not blamed.
pub(super) type Storages = HashMap<String, Option<Arc<S3Storage>>>;

/// Most storages.
const MAX_STORAGES: usize = 1000;

pub(super) fn storages(section: &Section<'_>, files: &Files<'_>) -> Storages {
    let names = section.entries();
    if names.is_empty() || names.len() > MAX_STORAGES {
        section.place.wrong(format!("must have 1 to {MAX_STORAGES} sections `[storage.NAME]`"));
        return Storages::new();
    }
    let mut storages = Storages::new();
    for name in names {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !(1..=64).contains(&name.value.len()) || !name.value.bytes().all(plain) {
            name.wrong("a storage's name must be 1 to 64 letters, digits, `-` or `_`");
        }
        let storage = section.entry(&name).and_then(|section| storage(section, files));
        storages.insert(name.value.to_owned(), storage.map(Arc::new));
    }
    storages
}

fn storage(mut section: Section<'_>, files: &Files<'_>) -> Option<S3Storage> {
    if let Some(kind) = section.text("kind") {
        match kind.value {
            "s3" => {}
            "gcs" | "azure" => {
                // Its other keys are that kind's own.
                kind.wrong(format!("this kind {LATER}: must be \"s3\""));
                return None;
            }
            _ => kind.wrong("must be \"s3\""),
        }
    }
    let endpoint = section.require_text("endpoint", "the server's URL, like \"https://s3.eu-central-1.amazonaws.com\"");
    let endpoint =
        endpoint.and_then(|url| Endpoint::parse(url.value).map_err(|error| url.wrong(error.to_string())).ok());
    let timeouts = timeouts(&mut section);
    let region = section.text("region").map_or("us-east-1", |region| {
        if !is_region(region.value) {
            region.wrong("must be 1 to 64 letters, digits, `-` or `_`, like \"us-east-1\"");
        }
        region.value
    });
    let bucket = section.require_text("bucket", "the bucket's name");
    if let Some(bucket) = bucket.as_ref().filter(|bucket| !is_bucket(bucket.value)) {
        bucket.wrong("must be 3 to 63 lower-case letters, digits, `.` or `-`, with a letter or digit at both ends");
    }
    let addressing = addressing(&mut section, endpoint.as_ref());
    let prefix = section.text("prefix");
    if let Some(prefix) = prefix.as_ref().filter(|prefix| !is_prefix(prefix.value)) {
        prefix.wrong("must be empty or like \"media/\": no `/` at its start, no empty, `.` or `..` segment");
    }
    let strip_app = section.get("strip_app").and_then(|value| value.flag());
    let app_folder = if strip_app == Some(true) { AppFolder::Stripped } else { AppFolder::Kept };
    let credentials = credentials(&mut section, files);
    let hour = "seconds: a presigned URL that leaks cannot be called back, so it must not live longer than an hour";
    let presign_ttl = section.get("presign_ttl_secs").and_then(|value| value.number(1..=3600, hour));
    section.finish();
    Some(S3Storage::new(S3Options {
        endpoint: Endpoint { timeouts, ..endpoint? },
        region: region.to_owned(),
        bucket: bucket?.value.to_owned(),
        addressing,
        prefix: prefix.map_or("", |prefix| prefix.value).to_owned(),
        app_folder,
        credentials: credentials?,
        presign_ttl: Duration::from_secs(presign_ttl.unwrap_or(60)),
    }))
}

fn timeouts(section: &mut Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    let connect = section.get("connect_timeout_secs").and_then(|value| value.number(1..=60, "seconds"));
    let response = section.get("response_timeout_secs").and_then(|value| value.number(1..=600, "seconds"));
    Timeouts {
        connect: connect.map_or(default.connect, Duration::from_secs),
        response: response.map_or(default.response, Duration::from_secs),
    }
}

fn addressing(section: &mut Section<'_>, endpoint: Option<&Endpoint>) -> Addressing {
    if section.get("path_style").and_then(|value| value.flag()).unwrap_or(true) {
        return Addressing::Path;
    }
    let host = endpoint.map(|endpoint| endpoint.host.trim_start_matches('[').trim_end_matches(']'));
    if host.is_some_and(|host| host.parse::<IpAddr>().is_ok()) {
        section
            .place_of("path_style")
            .wrong("must be true for an endpoint that is an IP address: a bucket's name cannot stand before it");
    }
    Addressing::VirtualHost
}

fn credentials(section: &mut Section<'_>, files: &Files<'_>) -> Option<Credentials> {
    let mut secret = |key, what: &str| {
        let file: Option<Text<'_>> = section.require(key, what).and_then(Value::text);
        file.and_then(|file| files.visible_secret(&file))
    };
    let id = secret("access_key_id_file", "the path of a file with the access key id");
    let secret_access_key = secret("secret_access_key_file", "the path of a file with the secret access key");
    let access_key_id = String::from_utf8(id?.expose().to_owned()).ok()?;
    Some(Credentials { access_key_id, secret_access_key: secret_access_key? })
}

fn is_region(region: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=64).contains(&region.len()) && region.bytes().all(plain)
}

fn is_bucket(bucket: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| plain(byte) || b".-".contains(&byte))
        && [bucket.bytes().next(), bucket.bytes().last()].into_iter().flatten().all(plain)
        && !bucket.contains("..")
}

fn is_prefix(prefix: &str) -> bool {
    let folders = prefix.strip_suffix('/').unwrap_or(prefix);
    let sound = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(char::is_control);
    prefix.is_empty() || (prefix.len() <= 512 && !prefix.contains('\\') && folders.split('/').all(sound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_a_name_that_urls_can_hold() {
        for bucket in ["abc", "my-media.eu", "0a0", &"a".repeat(63)] {
            assert!(is_bucket(bucket), "{bucket}");
        }
        for bucket in ["", "ab", "Media", "a/b", "...", "a..b", "-ab", "ab.", "a_b", "méd", &"a".repeat(64)] {
            assert!(!is_bucket(bucket), "{bucket}");
        }
    }

    #[test]
    fn a_prefix_stays_in_its_bucket() {
        for prefix in ["", "media/", "a/b/", "a/b", "a b/", "..a/"] {
            assert!(is_prefix(prefix), "{prefix}");
        }
        for prefix in ["/", "/a", "a//b", "a//", "./", "../", "a/../b", "a/..", "a\\b", "a\nb"] {
            assert!(!is_prefix(prefix), "{prefix}");
        }
    }
}

//! AWS Signature Version 4 in its query form: one function for each step of the recipe
//! ("Authenticating Requests: Using Query Parameters", Amazon S3 API Reference).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// What S3 leaves unencoded in a key: unreserved characters and the separator.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The same for a query value, where the separator is encoded.
const VALUE: &AsciiSet = &KEY.add(b'/');

/// The longest validity of a presigned URL: seven days.
pub const MAX_PRESIGN_TTL: Duration = Duration::from_secs(604_800);

/// What a URL is signed with.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The access key id, which is no secret.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: Secret,
}

/// Signs URLs of one region with one pair of credentials.
pub(super) struct Signer {
    region: String,
    credentials: Credentials,
    /// What follows the time in every URL: `&X-Amz-Expires=60&X-Amz-SignedHeaders=host`.
    rest: String,
    /// The signing key changes with the day, so it is derived once a day.
    day: ArcSwapOption<Day>,
}

/// One day's derived key, and the texts that stay the same all day.
struct Day {
    number: u64,
    /// `20261121`.
    date: String,
    /// `?X-Amz-Algorithm=…&X-Amz-Credential=…&X-Amz-Date=`.
    query: String,
    /// The third line of the string to sign: `20261121/us-east-1/s3/aws4_request`, between line breaks.
    scope: String,
    key: Hmac<Sha256>,
}

impl Signer {
    /// Returns a signer of URLs that are good for `ttl`, in whole seconds.
    pub(super) fn new(region: &str, credentials: Credentials, ttl: Duration) -> Signer {
        Signer { region: region.to_owned(), credentials, rest: rest(ttl), day: ArcSwapOption::empty() }
    }

    /// Returns path and query of a URL that lets anybody `method` the object `key` below `base` on `host` until the
    /// signer's time to live after `now`, in whole seconds since the UNIX epoch.
    ///
    /// `base` starts with `/` and is [`encoded`]; `key` is neither.
    pub(super) fn presign(&self, method: &str, host: &str, base: &str, key: &str, now: Duration) -> String {
        self.sign(&self.rest, method, host, base, key, now)
    }

    /// The same for another time to live.
    pub(super) fn presign_for(
        &self,
        ttl: Duration,
        method: &str,
        host: &str,
        base: &str,
        key: &str,
        now: Duration,
    ) -> String {
        self.sign(&rest(ttl), method, host, base, key, now)
    }

    fn sign(&self, rest: &str, method: &str, host: &str, base: &str, key: &str, now: Duration) -> String {
        let seconds = now.as_secs();
        let cached = self.day.load();
        let derived;
        let day = match &*cached {
            Some(day) if day.number == seconds / 86_400 => day,
            _ => {
                derived = self.begin_day(seconds / 86_400);
                &derived
            }
        };

        // With room for a key that is encoded whole: what is too much is given back by the request's end.
        let mut url = String::with_capacity(base.len() + 3 * key.len() + day.query.len() + rest.len() + 100);
        url.push_str(base);
        url.extend(utf8_percent_encode(key, KEY));
        let path_len = url.len();
        url.push_str(&day.query);
        let time_at = url.len();
        push_timestamp(&mut url, &day.date, seconds % 86_400);
        let time = time_at..url.len();
        url.push_str(rest);
        let request = canonical_request_hash(method, &url[..path_len], &url[path_len + 1..], host);
        let signature = day.signature(&url[time], &request);
        url.push_str("&X-Amz-Signature=");
        url.push_str(std::str::from_utf8(&hex(&signature)).expect("digits are text"));
        url
    }

    /// Derives the key of a new day.
    fn begin_day(&self, number: u64) -> Arc<Day> {
        let date = date(number);
        let credential = format!("{}/{date}/{}/s3/aws4_request", self.credentials.access_key_id, self.region);
        let query = format!(
            "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date=",
            utf8_percent_encode(&credential, VALUE)
        );
        let scope = format!("\n{date}/{}/s3/aws4_request\n", self.region);
        let day = Arc::new(Day { number, query, scope, key: self.signing_key(&date), date });
        self.day.store(Some(Arc::clone(&day)));
        day
    }

    /// Step 3: the secret, the date, the region, the service and the constant, each hashed with the last.
    fn signing_key(&self, date: &str) -> Hmac<Sha256> {
        let mut key = b"AWS4".to_vec();
        key.extend_from_slice(self.credentials.secret_access_key.expose());
        let mut mac = hmac(&key);
        zeroize::Zeroize::zeroize(&mut key);
        for part in [date, &self.region, "s3", "aws4_request"] {
            mac = hmac(&mac.chain_update(part).finalize().into_bytes());
        }
        mac
    }
}

impl Day {
    /// Step 1's hash enters step 2 (algorithm, time, scope, hash), and that is signed.
    fn signature(&self, timestamp: &str, request_hash: &[u8; 32]) -> [u8; 32] {
        let mut mac = self.key.clone();
        for part in ["AWS4-HMAC-SHA256\n", timestamp, &self.scope] {
            mac.update(part.as_bytes());
        }
        mac.chain_update(hex(request_hash)).finalize().into_bytes().into()
    }
}

/// What follows the time, in the order of the names, as the canonical query wants them.
fn rest(ttl: Duration) -> String {
    format!("&X-Amz-Expires={}&X-Amz-SignedHeaders=host", ttl.as_secs())
}

/// Step 1: the request in its canonical form, hashed. Only `host` is signed, the payload is not.
fn canonical_request_hash(method: &str, path: &str, query: &str, host: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [method, "\n", path, "\n", query, "\nhost:", host, "\n\nhost\nUNSIGNED-PAYLOAD"] {
        hash.update(part);
    }
    hash.finalize().into()
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// Adds `20130524T000000Z`.
fn push_timestamp(text: &mut String, date: &str, second_of_day: u64) {
    text.push_str(date);
    text.push('T');
    // By hand: the formatting machinery takes longer than the rest of the signature's text.
    for number in [second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60] {
        text.push(char::from(b'0' + (number / 10) as u8));
        text.push(char::from(b'0' + (number % 10) as u8));
    }
    text.push('Z');
}

/// Returns `text` as it stands in a canonical path.
pub(in crate::gate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, KEY).to_string()
}

/// `20130524`.
fn date(day: u64) -> String {
    let (year, month, day) = calendar_date(day);
    format!("{year:04}{month:02}{day:02}")
}

/// Returns the Gregorian year, month and day of a day counted from 1970-01-01 (Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms").
pub fn calendar_date(day: u64) -> (u64, u64, u64) {
    let z = day + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the S3 documentation for query parameters: GET /test.txt from examplebucket, 24 May 2013.
    #[test]
    fn the_aws_documentation_example_is_signed_as_documented() {
        let signer = Signer::new(
            "us-east-1",
            Credentials {
                access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
                secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            },
            Duration::from_secs(86_400),
        );
        let now = Duration::from_secs(1_369_353_600);
        let url = signer.presign("GET", "examplebucket.s3.amazonaws.com", "/", "test.txt", now);
        assert_eq!(
            url,
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn each_method_and_each_day_has_its_own_signature() {
        let credentials =
            Credentials { access_key_id: "id".into(), secret_access_key: Secret::new("not much of a secret") };
        let signer = Signer::new("eu-central-1", credentials, Duration::from_secs(60));
        let sign = |method, now| signer.presign(method, "h", "/b/", "k", Duration::from_secs(now));
        assert_ne!(sign("GET", 1_000_000), sign("HEAD", 1_000_000));
        assert_ne!(sign("GET", 86_399), sign("GET", 86_400));
        assert_eq!(sign("GET", 86_399), sign("GET", 86_399));
    }

    #[test]
    fn dates_are_gregorian() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_078_012_800, "20040229T000000Z"),
            (1_795_267_467, "20261121T132427Z"),
            (4_107_542_400, "21000301T000000Z"),
            (253_402_300_799, "99991231T235959Z"),
        ] {
            let mut text = String::new();
            push_timestamp(&mut text, &date(seconds / 86_400), seconds % 86_400);
            assert_eq!(text, expected);
        }
    }
}

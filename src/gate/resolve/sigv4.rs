//! AWS Signature Version 4 in its query form: one function for each step of the recipe
//! ("Authenticating Requests: Using Query Parameters", Amazon S3 API Reference).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode_byte, utf8_percent_encode};

use crate::gate::sha256::{MacKey, sha256};
use crate::secret::Secret;

/// What S3 leaves unencoded in a key: unreserved characters (RFC 3986 §2.3) and the separator.
const KEPT: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/');
        byte += 1;
    }
    table
};

/// What is encoded in a query value, the separator included.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What comes before the signature.
const SIGNATURE: &str = "&X-Amz-Signature=";

/// Digits of a hash.
const HEX: usize = 64;

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

/// Signs URLs of one host and region with one pair of credentials.
pub(super) struct Signer {
    region: String,
    credentials: Credentials,
    ttl: Duration,
    /// How a canonical request ends: `host`, which alone is signed, and no payload.
    tail: String,
    /// The signing key changes with the day, so it is derived once a day.
    day: ArcSwapOption<Day>,
    /// What the URLs of one second have in common.
    second: ArcSwapOption<Second>,
}

/// One day's derived key, and the texts that stay the same all day.
struct Day {
    number: u64,
    /// `20261121`.
    date: String,
    /// `X-Amz-Algorithm=…&X-Amz-Credential=…&X-Amz-Date=`.
    query: String,
    /// The third line of the string to sign: `20261121/us-east-1/s3/aws4_request`, between line breaks.
    scope: String,
    key: MacKey,
}

/// All that is signed in one second but the object and the method.
struct Second {
    number: u64,
    /// The query but for the signature.
    query: String,
    /// What the string to sign begins with, taken in as far as it fills blocks, and what does not.
    key: MacKey,
    begun: Vec<u8>,
}

impl Signer {
    /// Returns a signer of URLs on `host` that are good for `ttl`, in whole seconds.
    pub(super) fn new(host: &str, region: &str, credentials: Credentials, ttl: Duration) -> Signer {
        let tail = format!("\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let (day, second) = Default::default();
        Signer { region: region.to_owned(), credentials, ttl, tail, day, second }
    }

    /// Returns path and query of a URL that lets anybody `method` the object `key` below `base` until the signer's time
    /// to live after `now`, in whole seconds since the UNIX epoch.
    ///
    /// `base` starts with `/` and is [`encoded`]; `key` is neither.
    pub(super) fn presign(&self, method: &str, base: &str, key: &str, now: Duration) -> Signed {
        let cached = self.second.load();
        if let Some(second) = cached.as_ref().filter(|second| second.number == now.as_secs()) {
            return self.sign(second, method, base, key);
        }
        let second = Arc::new(self.begin_second(self.ttl, now));
        self.second.store(Some(Arc::clone(&second)));
        self.sign(&second, method, base, key)
    }

    /// The same for another time to live.
    pub(super) fn presign_for(&self, ttl: Duration, method: &str, base: &str, key: &str, now: Duration) -> Signed {
        self.sign(&self.begin_second(ttl, now), method, base, key)
    }

    fn sign(&self, second: &Second, method: &str, base: &str, key: &str) -> Signed {
        // With room for a key that is encoded whole: what is too much is given back by the request's end.
        let rest = second.query.len() + self.tail.len().max(SIGNATURE.len() + HEX);
        let mut text = String::with_capacity(method.len() + base.len() + 3 * key.len() + rest + 2);
        // Step 1: the request in its canonical form, which holds the URL but for one character.
        text.push_str(method);
        text.push('\n');
        let url_at = text.len();
        text.push_str(base);
        push_encoded(&mut text, key);
        let query_at = text.len();
        text.push('\n');
        text.push_str(&second.query);
        let tail_at = text.len();
        text.push_str(&self.tail);
        let signature = second.signature(&sha256(text.as_bytes()));
        text.truncate(tail_at);
        text.replace_range(query_at..=query_at, "?");
        text.push_str(SIGNATURE);
        text.push_str(std::str::from_utf8(&hex(&signature)).expect("digits are text"));
        Signed { text, url_at }
    }

    /// Step 2, as far as it goes without a request: algorithm, time, scope.
    fn begin_second(&self, ttl: Duration, now: Duration) -> Second {
        let number = now.as_secs();
        let cached = self.day.load();
        let derived;
        let day = match &*cached {
            Some(day) if day.number == number / 86_400 => day,
            _ => {
                derived = self.begin_day(number / 86_400);
                &derived
            }
        };
        let timestamp = timestamp(&day.date, number % 86_400);
        // In the order of the names, as the canonical query wants them.
        let query = format!("{}{timestamp}&X-Amz-Expires={}&X-Amz-SignedHeaders=host", day.query, ttl.as_secs());
        let begun = format!("AWS4-HMAC-SHA256\n{timestamp}{}", day.scope);
        let (key, begun) = day.key.after(begun.as_bytes());
        Second { number, query, key, begun: begun.to_vec() }
    }

    /// Derives the key of a new day.
    fn begin_day(&self, number: u64) -> Arc<Day> {
        let date = date(number);
        let credential = format!("{}/{date}/{}/s3/aws4_request", self.credentials.access_key_id, self.region);
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date=",
            utf8_percent_encode(&credential, VALUE)
        );
        let scope = format!("\n{date}/{}/s3/aws4_request\n", self.region);
        let day = Arc::new(Day { number, query, scope, key: self.signing_key(&date), date });
        self.day.store(Some(Arc::clone(&day)));
        day
    }

    /// Step 3: the secret, the date, the region, the service and the constant, each hashed with the last.
    fn signing_key(&self, date: &str) -> MacKey {
        let mut key = b"AWS4".to_vec();
        key.extend_from_slice(self.credentials.secret_access_key.expose());
        let mut mac = MacKey::new(&key);
        zeroize::Zeroize::zeroize(&mut key);
        for part in [date, &self.region, "s3", "aws4_request"] {
            mac = MacKey::new(&mac.tag(part.as_bytes()));
        }
        mac
    }
}

impl Second {
    /// Step 2's last line is step 1's hash, and then the whole is signed.
    fn signature(&self, request: &[u8; 32]) -> [u8; 32] {
        let mut end = [0; 2 * HEX];
        let len = self.begun.len() + HEX;
        end[..self.begun.len()].copy_from_slice(&self.begun);
        end[self.begun.len()..len].copy_from_slice(&hex(request));
        self.key.tag(&end[..len])
    }
}

/// A URL's path and query, behind what came before it while it was signed.
pub(super) struct Signed {
    text: String,
    url_at: usize,
}

impl Signed {
    pub(super) fn path_and_query(&self) -> &str {
        &self.text[self.url_at..]
    }
}

fn hex(bytes: &[u8; 32]) -> [u8; HEX] {
    const PAIRS: [[u8; 2]; 256] = {
        let digits = b"0123456789abcdef";
        let mut pairs = [[0; 2]; 256];
        let mut byte = 0;
        while byte < 256 {
            pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
            byte += 1;
        }
        pairs
    };
    let mut text = [0; HEX];
    for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(*byte)];
    }
    text
}

/// `20130524T000000Z`.
fn timestamp(date: &str, second_of_day: u64) -> String {
    let (hours, minutes, seconds) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{date}T{hours:02}{minutes:02}{seconds:02}Z")
}

/// Returns `text` as it stands in a canonical path.
pub(in crate::gate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    push_encoded(&mut encoded, text);
    encoded
}

/// Adds `text` as it stands in a canonical path, most of it as it is.
fn push_encoded(to: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !KEPT[usize::from(byte)]) {
        let (kept, special) = rest.split_at(at);
        to.push_str(kept);
        let len = special.chars().next().map_or(1, char::len_utf8);
        for byte in special.bytes().take(len) {
            to.push_str(percent_encode_byte(byte));
        }
        rest = &special[len..];
    }
    to.push_str(rest);
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
    use std::fmt::Write;

    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    /// The recipe from end to end by the letter of its documentation, sharing nothing with the signer but the calendar.
    fn by_the_book(host: &str, region: &str, secret: &str, ttl: u64, method: &str, path: &str, now: u64) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mac = |key: &[u8], text: &str| -> Vec<u8> {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
        };
        let encode = |text: &str, also: &[u8]| {
            let mut encoded = String::new();
            for byte in text.bytes() {
                match byte {
                    _ if byte.is_ascii_alphanumeric() || also.contains(&byte) => encoded.push(char::from(byte)),
                    _ => write!(encoded, "%{byte:02X}").unwrap(),
                }
            }
            encoded
        };
        let (year, month, day) = calendar_date(now / 86_400);
        let date = format!("{year:04}{month:02}{day:02}");
        let time = format!("{date}T{:02}{:02}{:02}Z", now / 3600 % 24, now / 60 % 60, now % 60);
        let scope = format!("{date}/{region}/s3/aws4_request");
        let path = encode(path, b"-._~/");
        let credential = encode(&format!("AKID/{scope}"), b"-._~");
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={time}&X-Amz-Expires={ttl}\
             &X-Amz-SignedHeaders=host"
        );
        let canonical = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let key = [&*date, region, "s3", "aws4_request"]
            .iter()
            .fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part));
        format!("{path}?{query}&X-Amz-Signature={}", hex(&mac(&key, &to_sign)))
    }

    proptest! {
        #[test]
        fn urls_are_those_of_the_recipe(
            host in "[a-z0-9.-]{1,60}(:[0-9]{1,5})?",
            region in "[a-z0-9-]{1,40}",
            secret in "[!-~]{1,90}",
            folder in "/[ -~]{0,30}",
            ttl in 1_u64..604_800,
            requests in prop::collection::vec(
                (prop::sample::select(vec!["GET", "HEAD"]), "\\PC{0,40}[ -~]{0,200}", 0..3_u64, any::<bool>()),
                1..6,
            ),
            begin in 0..4_000_000_000_u64,
        ) {
            let credentials = Credentials { access_key_id: "AKID".into(), secret_access_key: Secret::new(&*secret) };
            let signer = Signer::new(&host, &region, credentials, Duration::from_secs(ttl));
            let base = encoded(&folder);
            // One signer for all of them, so that what it remembers is used again, and is not where it must not be.
            for (method, key, later, is_usual) in requests {
                let now = begin + later * 43_200;
                let ttl = if is_usual { ttl } else { ttl / 2 + 1 };
                let (time, lived) = (Duration::from_secs(now), Duration::from_secs(ttl));
                let signed = match is_usual {
                    true => signer.presign(method, &base, &key, time),
                    false => signer.presign_for(lived, method, &base, &key, time),
                };
                let path = format!("{folder}{key}");
                let expected = by_the_book(&host, &region, &secret, ttl, method, &path, now);
                prop_assert_eq!(signed.path_and_query(), expected);
            }
        }
    }

    /// The example of the S3 documentation for query parameters: GET /test.txt from examplebucket, 24 May 2013.
    #[test]
    fn the_aws_documentation_example_is_signed_as_documented() {
        let signer = Signer::new(
            "examplebucket.s3.amazonaws.com",
            "us-east-1",
            Credentials {
                access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
                secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            },
            Duration::from_secs(86_400),
        );
        let now = Duration::from_secs(1_369_353_600);
        let url = signer.presign("GET", "/", "test.txt", now);
        assert_eq!(
            url.path_and_query(),
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
        let signer = Signer::new("h", "eu-central-1", credentials, Duration::from_secs(60));
        let sign = |method, now| signer.presign(method, "/b/", "k", Duration::from_secs(now)).text;
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
            assert_eq!(timestamp(&date(seconds / 86_400), seconds % 86_400), expected);
        }
    }
}

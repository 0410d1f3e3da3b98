//! The path of a request with a good token: what is fetched for it is signed by the letter of the recipe ("Authenticating
//! Requests: Using Query Parameters", Amazon S3 API Reference), followed here without anything that the gate remembers.
#![no_main]

mod demo;

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Uri};
use libfuzzer_sys::fuzz_target;
use mediagate::gate::{Decision, Now};
use mediagate::restrictions::{Event, RestrictionSet};
use sha2::{Digest, Sha256};

static RESTRICTIONS: LazyLock<RestrictionSet> = LazyLock::new(|| {
    let set = RestrictionSet::new([1, 2], *demo::START);
    set.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, *demo::START);
    set
});

static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = format!(r#"{{"sub":"alice","exp":{}}}"#, demo::NOW + 80_000);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims));
    let tag = mac(demo::SECRET, &signed);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
});

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `demo::GATE` signs for `object` in the second `after` its time, which ends on the next day.
fn by_the_book(object: &str, after: u64) -> String {
    let mut path = String::from("/bucket/");
    for byte in object.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("a String takes all");
        }
    }
    // 1,700,000,000 is 2023-11-14T22:13:20Z.
    let second = 80_000 + after;
    let date = format!("202311{}", 14 + second / 86_400);
    let time = format!("{date}T{:02}{:02}{:02}Z", second / 3600 % 24, second / 60 % 60, second % 60);
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=id%2F{date}%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date={time}\
         &X-Amz-Expires=60&X-Amz-SignedHeaders=host"
    );
    let canonical = format!("GET\n{path}\n{query}\nhost:127.0.0.1:9000\n\nhost\nUNSIGNED-PAYLOAD");
    let scope = format!("{date}/us-east-1/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let parts = [&*date, "us-east-1", "s3", "aws4_request"];
    let key = parts.iter().fold(b"AWS4secret".to_vec(), |key, part| mac(&key, part));
    format!("{path}?{query}&X-Amz-Signature={}", hex(&mac(&key, &to_sign)))
}

fuzz_target!(|input: (u16, &str)| {
    let (after, path) = input;
    let Ok(uri) = Uri::try_from(format!("/demo/{path}")) else { return };
    let request = Request::get(uri).header("host", "files.example").header("fat", TOKEN.as_str()).body(());
    let Ok(request) = request else { return };
    let request = request.into_parts().0;
    let now = demo::now();
    let now = Now { wall: now.wall + std::time::Duration::from_secs(after.into()), ..now };
    if let Ok(Decision::Forward(admission)) = demo::GATE.admit(&request, &RESTRICTIONS, now) {
        let object = admission.trace.object.expect("it was read");
        assert_eq!(admission.target.path_and_query(), by_the_book(object.as_str(), after.into()));
    }
});

//! Keys that presigned URLs are signed with.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::parameters::{Field, Parameters, SIGNATURE_LEN};
use crate::gate::verify::{Algorithm, KeyError, VerifyingKey};
use crate::secret::Secret;

/// Begins everything that is signed: a later form of these URLs gets another one.
const VERSION: &str = "mediagate presigned URL v1";

/// What a URL opens: one class of methods, because a player asks with `HEAD` before it asks with `GET`.
const METHODS: &str = "GET, HEAD";

/// What a key's id is made from. No signed text begins with it: that begins with a length.
const ID: &str = "mediagate presigned key id v1";

/// Bytes of a key's id.
const ID_BYTES: usize = 9;

/// A secret that URLs of the gate are signed with (HMAC-SHA256), and its public name.
#[derive(Clone)]
pub struct PresignedKey {
    mac: Box<Hmac<Sha256>>,
    id: Box<str>,
}

impl fmt::Debug for PresignedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresignedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PresignedKey {
    /// Returns the key with the bytes of `secret`.
    ///
    /// # Errors
    ///
    /// A secret that would not do for tokens with HS256 either: short, trivial or public.
    pub fn new(secret: &Secret) -> Result<PresignedKey, KeyError> {
        VerifyingKey::hmac("presigned", Algorithm::HS256, secret)?;
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose()).expect("HMAC takes a key of any length");
        let id = mac.clone().chain_update(ID).finalize().into_bytes();
        Ok(PresignedKey { mac: Box::new(mac), id: URL_SAFE_NO_PAD.encode(&id[..ID_BYTES]).into() })
    }

    /// The `Key-Pair-Id` of its URLs: the same for the same secret everywhere, and it tells nothing about it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the signature of `path`, as it stands in the URL, and `parameters`.
    pub(super) fn sign(&self, path: &str, parameters: &Parameters<'_>) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(path, parameters).finalize().into_bytes())
    }

    /// Returns whether `parameters` hold the signature of `path` and themselves, compared in constant time.
    pub(super) fn verifies(&self, path: &str, parameters: &Parameters<'_>) -> bool {
        // With room for what the decoder thinks that it may need.
        let mut signature = [0; SIGNATURE_LEN];
        let text = parameters.signature;
        let decoded = (text.len() == SIGNATURE_LEN).then(|| URL_SAFE_NO_PAD.decode_slice(text, &mut signature));
        let Some(Ok(len)) = decoded else { return false };
        self.mac(path, parameters).verify_slice(&signature[..len]).is_ok()
    }

    /// Each part with its length, and an optional one with whether it is there: no two URLs are signed as one text.
    fn mac(&self, path: &str, parameters: &Parameters<'_>) -> Hmac<Sha256> {
        let mut mac = Hmac::clone(&self.mac);
        let mut add = |part: &str| {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        };
        for part in [VERSION, METHODS, path] {
            add(part);
        }
        for field in parameters.signed() {
            match field {
                Field::Required(value) => add(value),
                Field::Optional(Some(value)) => {
                    add("present");
                    add(value);
                }
                Field::Optional(None) => add(""),
            }
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn key(secret: &str) -> Result<PresignedKey, KeyError> {
        PresignedKey::new(&Secret::new(secret))
    }

    #[test]
    fn a_key_is_as_strong_as_one_for_tokens() {
        assert!(key("0123456789abcdef0123456789abcdef").is_ok());
        assert!(matches!(key("0123456789abcdef0123456789abcde"), Err(KeyError::ShortSecret { .. })));
        assert_eq!(key(&"a".repeat(64)).err(), Some(KeyError::TrivialSecret));
        assert_eq!(key(&"-----BEGIN PUBLIC KEY-----".repeat(2)).err(), Some(KeyError::PublicSecret));
    }

    #[test]
    fn a_keys_id_is_its_own_and_shows_nothing_of_it() {
        let keys = ["0123456789abcdef0123456789abcdef", "1123456789abcdef0123456789abcdef"];
        let [first, second] = keys.map(|secret| key(secret).expect("a key"));
        assert_eq!(first.id(), key(keys[0]).expect("a key").id());
        assert_ne!(first.id(), second.id());
        assert_eq!(first.id().len(), 12);
        assert!(!format!("{first:?}").contains("0123456789"));
    }

    /// Every way to share a few characters among the fields is another text.
    #[test]
    fn no_two_urls_are_signed_as_one_text() {
        let key = key("0123456789abcdef0123456789abcdef").expect("a key");
        let values = &["", "a", "ab", "b", "present", "presenta"];
        let optional = [None, Some(""), Some("a"), Some("present")];
        let mut seen = HashMap::new();
        for path in ["/d/a", "/d/ab", "/d/a\u{1}"] {
            for (expires, issued, uid) in
                values.iter().flat_map(|a| values.iter().flat_map(move |b| values.iter().map(move |c| (*a, *b, *c))))
            {
                for (jti, sid) in optional.iter().flat_map(|jti| optional.iter().map(move |sid| (jti, sid))) {
                    let of = |value: &Option<&'static str>| value.map(std::borrow::Cow::Borrowed);
                    let parameters = Parameters {
                        expires,
                        issued,
                        jti: of(jti),
                        key_pair_id: "k",
                        sid: of(sid),
                        signature: "",
                        uid: uid.into(),
                    };
                    let text = format!("{path} {expires:?} {issued:?} {jti:?} {sid:?} {uid:?}");
                    if let Some(other) = seen.insert(key.sign(path, &parameters), text.clone()) {
                        panic!("{text} is signed as {other}");
                    }
                }
            }
        }
        assert_eq!(seen.len(), 3 * 216 * 16);
    }
}

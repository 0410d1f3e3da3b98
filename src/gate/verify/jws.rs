//! The shape of a token: compact serialization (RFC 7515 §7.1), strict base64url, a strict header.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memchr_iter;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::VerifyError;
use super::json::{self, Names, Text, Unread};
use super::keys::{Profile, VerifyingKey};
use super::scratch::Scratch;

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8192;

/// Longest signature, in bytes: RSA with 8192 bits.
const MAX_SIGNATURE_BYTES: usize = 1024;

/// The `cty` of Twilio access tokens, and of nothing else.
const TWILIO: &str = "twilio-fpa;v=1";

/// A token in its three parts; nothing of it is believed yet.
pub(super) struct Jws<'a> {
    /// As it is encoded.
    pub(super) header: &'a str,
    signing_input: &'a str,
    /// As it is encoded, and whatever it says: to be decoded for claims once the signature held, to find the key of a
    /// token that names it there, and for people who look at one.
    pub(super) payload: &'a str,
    signature: &'a str,
}

impl<'a> Jws<'a> {
    /// Splits `compact`.
    pub(super) fn split(compact: &'a str) -> Result<Jws<'a>, VerifyError> {
        if compact.len() > MAX_TOKEN_BYTES {
            return Err(VerifyError::Malformed);
        }
        let mut dots = memchr_iter(b'.', compact.as_bytes());
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(VerifyError::Malformed);
        };
        let (header, payload) = (&compact[..first], &compact[first + 1..second]);
        let (signing_input, signature) = (&compact[..second], &compact[second + 1..]);
        if header.is_empty() || payload.is_empty() {
            return Err(VerifyError::Malformed);
        }
        if signature.is_empty() {
            return Err(VerifyError::Unsigned);
        }
        Ok(Jws { header, signing_input, payload, signature })
    }

    /// Reads the header, decoded into `scratch`.
    pub(super) fn header<'b>(&self, scratch: &'b mut Scratch) -> Result<Header<'b>, VerifyError> {
        let header: Header<'b> = json::read(scratch.decode(self.header)?).ok_or(VerifyError::Malformed)?;
        header.check()?;
        Ok(header)
    }

    /// Checks the signature with `key`, which is the header's.
    pub(super) fn verified_by(&self, key: &VerifyingKey) -> Result<(), VerifyError> {
        let mut signature = [0; MAX_SIGNATURE_BYTES];
        let len = URL_SAFE_NO_PAD.decode_slice(self.signature, &mut signature).map_err(|_| VerifyError::Malformed)?;
        if key.verifies(self.signing_input.as_bytes(), &signature[..len]) {
            Ok(())
        } else {
            Err(VerifyError::BadSignature)
        }
    }
}

/// The JOSE header (RFC 7515 §4).
pub(super) struct Header<'a> {
    pub(super) alg: Cow<'a, str>,
    pub(super) kid: Option<Cow<'a, str>>,
    /// What kind of token it says that it is.
    pub(super) profile: Profile,
    typ: Option<Cow<'a, str>>,
    /// A member that changes what the token means, and that is not understood here.
    refused: bool,
}

impl Header<'_> {
    fn check(&self) -> Result<(), VerifyError> {
        // `crit` lists extensions that must be understood; none is (RFC 7515 §4.1.11, RFC 7797 §6).
        // A Twilio token names its key by `iss`; one that names it twice is no such token.
        if self.refused || (self.profile == Profile::Twilio && self.kid.is_some()) {
            return Err(VerifyError::UnsupportedHeader);
        }
        match &self.typ {
            Some(typ) if !typ.eq_ignore_ascii_case("JWT") => Err(VerifyError::ForeignType),
            _ => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header<'de>, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JOSE header")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
                let mut names = Names::default();
                let (mut alg, mut kid, mut typ, mut refused) = (None, None, None, false);
                let mut profile = Profile::Fat;
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    names.take(&name)?;
                    match &*name.0 {
                        "alg" => alg = Some(map.next_value::<Text<'de>>()?.0),
                        "kid" => kid = Some(map.next_value::<Text<'de>>()?.0),
                        "typ" => typ = Some(map.next_value::<Text<'de>>()?.0),
                        // Extensions, unencoded payloads, compression, encryption, nesting. Keys that a token
                        // carries or points to (`jwk`, `jku`, `x5c`, `x5u`) mean nothing and are never fetched.
                        "crit" | "b64" | "zip" | "enc" => {
                            map.next_value::<Unread>()?;
                            refused = true;
                        }
                        "cty" => match &*map.next_value::<Text<'de>>()?.0 {
                            TWILIO => profile = Profile::Twilio,
                            _ => refused = true,
                        },
                        _ => {
                            map.next_value::<Unread>()?;
                        }
                    }
                }
                let alg = alg.ok_or_else(|| de::Error::missing_field("alg"))?;
                Ok(Header { alg, kid, profile, typ, refused })
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}

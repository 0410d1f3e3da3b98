//! Twilio access tokens, as Twilio's own libraries mint them.
//!
//! Unlike in a FAT, `iss` names the key, `grants.identity` is the user, and nothing says for certain when the token was
//! issued: Python writes only `nbf`, Node `iat`, both of them the second of minting at the end of `jti`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::VerifyError;
use super::claims::{Claims, MAX_TIME, NumericDate, id};
use super::json::{self, Names, Text, Unread};

/// The longest lifetime of a Twilio access token, which Twilio's libraries do not check.
pub const MAX_TWILIO_TTL: Duration = Duration::from_secs(86_400);

/// Returns the `iss` of a payload of which nothing is believed yet: to look up the one key that can verify it, and for
/// nothing else.
pub(super) fn unverified_issuer(payload: &[u8]) -> Result<Cow<'_, str>, VerifyError> {
    let members: Members<'_> = json::read(payload).ok_or(VerifyError::Malformed)?;
    Ok(members.iss)
}

/// Returns the claims of a payload whose signature holds.
pub(super) fn claims(payload: &[u8]) -> Result<Claims<'_>, VerifyError> {
    let Members { iss, jti, identity, exp, nbf, iat } = json::read(payload).ok_or(VerifyError::Malformed)?;
    let sub = identity.ok_or(VerifyError::Malformed)?;
    let minted = jti.as_deref().and_then(|jti| minted_at(jti, &iss));
    if iat.or(nbf).or(minted).is_none() {
        // A flush could not tell whether it is one of those.
        return Err(VerifyError::Malformed);
    }
    let iss = Some(iss);
    Ok(Claims { sub, uid: None, sid: None, jti, app: None, iss, aud: None, exp, nbf, iat, minted, paths: None })
}

/// The time at the end of a `jti`: `<key sid>-<UNIX seconds>`, in decimal digits without a zero before them.
fn minted_at(jti: &str, sid: &str) -> Option<Duration> {
    let secs = jti.strip_prefix(sid)?.strip_prefix('-')?;
    let plain = !secs.is_empty() && secs.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (secs.len() > 1 && secs.starts_with('0')) {
        return None;
    }
    secs.parse().ok().map(Duration::from_secs).filter(|time| *time <= MAX_TIME)
}

/// The members of the payload that mean something here.
struct Members<'a> {
    iss: Cow<'a, str>,
    jti: Option<Cow<'a, str>>,
    identity: Option<Cow<'a, str>>,
    exp: Duration,
    nbf: Option<Duration>,
    iat: Option<Duration>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the claims of a Twilio access token")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut names = Names::default();
                let (mut iss, mut jti, mut identity) = (None, None, None);
                let (mut exp, mut nbf, mut iat) = (None, None, None);
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    names.take(&name)?;
                    match &*name.0 {
                        "iss" => iss = Some(map.next_value::<Text<'de>>()?.0),
                        "jti" => jti = Some(id(map.next_value()?)?),
                        "grants" => identity = map.next_value::<Grants<'de>>()?.0,
                        "exp" => exp = Some(map.next_value::<NumericDate>()?.0),
                        "nbf" => nbf = Some(map.next_value::<NumericDate>()?.0),
                        "iat" => iat = Some(map.next_value::<NumericDate>()?.0),
                        // The account, which is nobody's user.
                        "sub" => drop(map.next_value::<Text<'de>>()?),
                        // They would narrow a FAT, or name its user: passed over, the token would say more than its
                        // issuer meant.
                        "app" | "aud" | "path" | "sid" | "uid" => {
                            return Err(de::Error::custom("no claim of a Twilio access token"));
                        }
                        _ => {
                            map.next_value::<Unread>()?;
                        }
                    }
                }
                let iss = iss.ok_or_else(|| de::Error::missing_field("iss"))?;
                let exp = exp.ok_or_else(|| de::Error::missing_field("exp"))?;
                Ok(Members { iss, jti, identity, exp, nbf, iat })
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The identity among the grants; the others are for Twilio's own services.
struct Grants<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Grants<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Grants<'de>, D::Error> {
        struct GrantsVisitor;

        impl<'de> Visitor<'de> for GrantsVisitor {
            type Value = Grants<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("grants")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Grants<'de>, A::Error> {
                let mut names = Names::default();
                let mut identity = None;
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    names.take(&name)?;
                    match &*name.0 {
                        "identity" => identity = Some(map.next_value::<Text<'de>>()?.0),
                        _ => {
                            map.next_value::<Unread>()?;
                        }
                    }
                }
                Ok(Grants(identity))
            }
        }

        deserializer.deserialize_map(GrantsVisitor)
    }
}

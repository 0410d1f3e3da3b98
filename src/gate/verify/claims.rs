//! What a token says, and the rules that it must meet (RFC 7519 §4.1).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::VerifyError;
use super::json::{self, Names, Text, Texts, Unread};
use super::plain;
use crate::gate::object_key::PathScope;
use crate::gate::target::any;

/// Times after the year 9999 are mistakes (milliseconds taken for seconds) or attacks.
pub(super) const MAX_TIME: Duration = Duration::from_secs(253_402_300_799);

/// Longest `sid`, `jti` and `app`, in bytes.
pub(super) const MAX_ID_BYTES: usize = 255;

/// Longest user id, in characters.
const MAX_UID_BYTES: usize = 255;

/// How the uids of an app compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UidCase {
    /// ASCII letters are folded to lower case everywhere: tokens, events, API.
    #[default]
    Folded,
    /// Kept as they are.
    Exact,
}

impl UidCase {
    /// Returns `uid` as it is compared, or `None` unless it has 1 to 255 visible ASCII characters.
    pub fn normalize<'a>(self, uid: &'a str) -> Option<Cow<'a, str>> {
        let visible = !any(uid.as_bytes(), |byte| !byte.is_ascii_graphic());
        if uid.is_empty() || uid.len() > MAX_UID_BYTES || !visible {
            return None;
        }
        if self == UidCase::Folded && any(uid.as_bytes(), |byte| byte.is_ascii_uppercase()) {
            return Some(Cow::Owned(uid.to_ascii_lowercase()));
        }
        Some(Cow::Borrowed(uid))
    }
}

/// The time rules of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRules {
    /// How far the issuer's clock may be off, either way.
    pub leeway: Duration,
    /// The longest lifetime that a token may have.
    pub max_ttl: Duration,
}

/// What a verified token says. Times are since the UNIX epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims<'a> {
    pub(crate) sub: Cow<'a, str>,
    pub(super) uid: Option<Cow<'a, str>>,
    pub(crate) sid: Option<Cow<'a, str>>,
    pub(crate) jti: Option<Cow<'a, str>>,
    pub(crate) app: Option<Cow<'a, str>>,
    pub(super) iss: Option<Cow<'a, str>>,
    pub(super) aud: Option<Vec<Cow<'a, str>>>,
    pub(super) exp: Duration,
    pub(super) nbf: Option<Duration>,
    pub(super) iat: Option<Duration>,
    /// When a Twilio token says that it was minted, beside the claims for that.
    pub(super) minted: Option<Duration>,
    pub(crate) paths: Option<Vec<PathScope>>,
}

impl<'a> Claims<'a> {
    /// Reads a payload whose signature holds; `None` unless it is strict JSON and every claim has its type.
    #[inline]
    pub(super) fn read(payload: &'a [u8]) -> Option<Claims<'a>> {
        plain::read(payload).or_else(|| json::read(payload))
    }

    /// Folds the user id as the app compares it.
    pub(super) fn fold_uid(&mut self, case: UidCase) -> Result<(), VerifyError> {
        let folded = |uid: &str| case.normalize(uid).map(Cow::into_owned).ok_or(VerifyError::BadUid);
        // Text that is already in its form is left borrowed.
        if !matches!(case.normalize(&self.sub), Some(Cow::Borrowed(_))) {
            self.sub = Cow::Owned(folded(&self.sub)?);
        }
        match &self.uid {
            Some(uid) if folded(uid)? != self.sub => Err(VerifyError::ConflictingUid),
            _ => Ok(()),
        }
    }

    /// `iss` is the configured one, when one is.
    pub(super) fn check_issuer(&self, issuer: Option<&str>) -> Result<(), VerifyError> {
        match issuer {
            Some(issuer) if self.iss.as_deref() != Some(issuer) => Err(VerifyError::WrongIssuer),
            _ => Ok(()),
        }
    }

    /// The configured audience is among `aud`, when one is configured (RFC 7519 §4.1.3).
    pub(super) fn check_audience(&self, audience: Option<&str>) -> Result<(), VerifyError> {
        let Some(audience) = audience else { return Ok(()) };
        match &self.aud {
            Some(aud) if aud.iter().any(|aud| aud == audience) => Ok(()),
            _ => Err(VerifyError::WrongAudience),
        }
    }

    /// The token is in its time, and its time is not longer than allowed. `now` is since the UNIX epoch.
    pub(super) fn check_time(&self, now: Duration, rules: TimeRules) -> Result<(), VerifyError> {
        let ahead = now.saturating_add(rules.leeway);
        if [self.iat, self.minted].into_iter().flatten().any(|issued| issued > ahead) {
            return Err(VerifyError::IssuedInFuture);
        }
        if self.nbf.is_some_and(|nbf| nbf > ahead) {
            return Err(VerifyError::NotYetValid);
        }
        // A token that does not say when it begins has begun now.
        let begin = self.iat.or(self.nbf).or(self.minted).unwrap_or(now);
        if self.exp.saturating_sub(begin) > rules.max_ttl {
            return Err(VerifyError::LivesTooLong);
        }
        // RFC 7519 §4.1.4: refused on and after that second.
        if now >= self.exp.saturating_add(rules.leeway) {
            return Err(VerifyError::Expired);
        }
        Ok(())
    }

    /// The user, as the app compares it.
    pub fn uid(&self) -> &str {
        &self.sub
    }

    /// When it expires, since the UNIX epoch.
    pub fn expires_at(&self) -> Duration {
        self.exp
    }

    /// When it was issued, in whole UNIX seconds, as far as it says; where it says several times, the earliest.
    pub fn issued_at(&self) -> Option<u64> {
        let times = [self.iat.or(self.nbf), self.minted];
        times.into_iter().flatten().min().map(|at| at.as_secs())
    }
}

/// A NumericDate (RFC 7519 §2): a JSON number, whole or not, from 1970 to 9999.
pub(super) struct NumericDate(pub(super) Duration);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NumericDate, D::Error> {
        struct DateVisitor;

        impl Visitor<'_> for DateVisitor {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970")
            }

            fn visit_u64<E: de::Error>(self, secs: u64) -> Result<NumericDate, E> {
                checked(Duration::from_secs(secs))
            }

            fn visit_f64<E: de::Error>(self, secs: f64) -> Result<NumericDate, E> {
                checked(Duration::try_from_secs_f64(secs).map_err(E::custom)?)
            }
        }

        fn checked<E: de::Error>(date: Duration) -> Result<NumericDate, E> {
            if date > MAX_TIME { Err(E::custom("absurd time")) } else { Ok(NumericDate(date)) }
        }

        // Not `any`: with the `arbitrary_precision` of serde_json, which any other crate can switch on, that is a map.
        deserializer.deserialize_f64(DateVisitor)
    }
}

/// A string of 1 to [`MAX_ID_BYTES`] bytes.
pub(super) fn id<E: de::Error>(text: Text<'_>) -> Result<Cow<'_, str>, E> {
    if text.0.is_empty() || text.0.len() > MAX_ID_BYTES {
        return Err(E::custom("an id has 1 to 255 bytes"));
    }
    Ok(text.0)
}

impl<'de> Deserialize<'de> for Claims<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Claims<'de>, D::Error> {
        struct ClaimsVisitor;

        impl<'de> Visitor<'de> for ClaimsVisitor {
            type Value = Claims<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a claims set")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims<'de>, A::Error> {
                let mut names = Names::default();
                let (mut sub, mut uid, mut sid, mut jti, mut app) = (None, None, None, None, None);
                let (mut iss, mut aud, mut exp, mut nbf, mut iat, mut paths) = (None, None, None, None, None, None);
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    names.take(&name)?;
                    match &*name.0 {
                        "sub" => sub = Some(map.next_value::<Text<'de>>()?.0),
                        "uid" => uid = Some(map.next_value::<Text<'de>>()?.0),
                        "sid" => sid = Some(id(map.next_value()?)?),
                        "jti" => jti = Some(id(map.next_value()?)?),
                        "app" => app = Some(id(map.next_value()?)?),
                        "iss" => iss = Some(map.next_value::<Text<'de>>()?.0),
                        "aud" => aud = Some(map.next_value::<Texts<'de>>()?.0),
                        "exp" => exp = Some(map.next_value::<NumericDate>()?.0),
                        "nbf" => nbf = Some(map.next_value::<NumericDate>()?.0),
                        "iat" => iat = Some(map.next_value::<NumericDate>()?.0),
                        "path" => {
                            let claimed = map.next_value::<Texts<'de>>()?.0;
                            let scopes: Result<Vec<_>, _> = claimed.iter().map(|path| PathScope::parse(path)).collect();
                            paths = Some(scopes.map_err(de::Error::custom)?);
                        }
                        _ => {
                            map.next_value::<Unread>()?;
                        }
                    }
                }
                let sub = sub.ok_or_else(|| de::Error::missing_field("sub"))?;
                let exp = exp.ok_or_else(|| de::Error::missing_field("exp"))?;
                Ok(Claims { sub, uid, sid, jti, app, iss, aud, exp, nbf, iat, minted: None, paths })
            }
        }

        deserializer.deserialize_map(ClaimsVisitor)
    }
}

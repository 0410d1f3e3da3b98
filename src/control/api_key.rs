//! Who may call: one exact key in the `apikey` header, compared in constant time.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use crate::restrictions::hex;
use crate::secret::Secret;
use crate::store::api_keys::StoredKey;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiScope {
    /// Everything.
    FullAccess,
    /// Users and their auth tokens may be made, nothing else.
    AuthOnly,
}

impl ApiScope {
    /// Every scope.
    pub const ALL: [ApiScope; 2] = [ApiScope::FullAccess, ApiScope::AuthOnly];

    /// What the API and the configuration call it.
    pub const fn label(self) -> &'static str {
        match self {
            ApiScope::FullAccess => "fullAccess",
            ApiScope::AuthOnly => "authOnly",
        }
    }
}

/// A key that calls are made with.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// What logs call it.
    pub name: String,
    /// What it may do.
    pub scope: ApiScope,
    /// The value of the `apikey` header.
    pub key: Secret,
}

impl ApiKey {
    /// SHA-256 of the key: what it is compared by.
    pub fn digest(&self) -> [u8; 32] {
        digest(self.key.expose())
    }
}

/// Who makes a call.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) name: Arc<str>,
    scope: ApiScope,
    /// The only app that it may speak of; `None`: any.
    pub(super) app: Option<Arc<str>>,
    /// What tells its key from others, and says nothing about it.
    pub(super) digest: [u8; 32],
}

impl Caller {
    /// Passes a caller that may do everything.
    pub(super) fn full_access(&self) -> Result<(), ApiError> {
        match self.scope {
            ApiScope::FullAccess => Ok(()),
            ApiScope::AuthOnly => Err(ApiError::NoAccess),
        }
    }
}

/// The configured keys, as digests: of equal length, so that comparing tells nothing about theirs.
#[derive(Debug)]
pub(super) struct ApiKeys(Vec<Caller>);

impl ApiKeys {
    pub(super) fn new(keys: Vec<ApiKey>) -> ApiKeys {
        let caller = |key: ApiKey| {
            let digest = key.digest();
            Caller { name: key.name.into(), scope: key.scope, app: None, digest }
        };
        ApiKeys(keys.into_iter().map(caller).collect())
    }

    /// Returns who makes a call with a key of this digest, if it is a configured one.
    pub(super) fn caller(&self, shown: &[u8; 32]) -> Option<&Caller> {
        let mut caller = None;
        // All of them, always: the time says nothing about which was right.
        for candidate in &self.0 {
            if verify_slices_are_equal(&candidate.digest, shown).is_ok() {
                caller = Some(candidate);
            }
        }
        caller
    }
}

impl Caller {
    /// Who makes a call with a key that was made through the API.
    pub(super) fn stored(key: StoredKey, digest: [u8; 32]) -> Caller {
        Caller { name: key.name.into(), scope: key.scope, app: Some(key.app.into()), digest }
    }
}

/// Returns the digest of the key that a call shows.
pub(super) fn shown(headers: &HeaderMap) -> Result<[u8; 32], ApiError> {
    single(headers, "apikey")?.map(digest).ok_or(ApiError::KeyMissing)
}

/// What a key is compared by.
pub(super) fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The digest of a credential as the store has it.
pub(super) fn hash(credential: &str) -> String {
    hex(&digest(credential.as_bytes()))
}

/// Returns the one value of a header, or `None` where it is missing or empty.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a [u8]>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(ApiError::invalid(name, format!("The {name} header must be there once.")));
    }
    Ok(value.map(|value| value.as_bytes()).filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(values: &[&str], expected: Result<&str, ApiError>) {
        let key = |name: &str, scope, key: &str| ApiKey { name: name.into(), scope, key: Secret::new(key) };
        let keys = ApiKeys::new(vec![
            key("backend", ApiScope::FullAccess, "first-key"),
            key("sign-up", ApiScope::AuthOnly, "second-key"),
            key("nobody", ApiScope::FullAccess, ""),
        ]);
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("apikey", HeaderValue::from_str(value).unwrap());
        }
        let caller = shown(&headers).and_then(|shown| keys.caller(&shown).cloned().ok_or(ApiError::KeyUnknown));
        assert_eq!(caller.as_ref().map(|caller| &*caller.name), expected.as_ref().map(|name| *name), "{values:?}");
    }

    #[test]
    fn only_one_exact_key_is_a_key() {
        check(&["first-key"], Ok("backend"));
        check(&["second-key"], Ok("sign-up"));
        check(&[], Err(ApiError::KeyMissing));
        check(&[""], Err(ApiError::KeyMissing));
        for wrong in ["first-ke", "first-keyy", "First-key", "first-key,second-key", "nobody", "backend", "ÿ"] {
            check(&[wrong], Err(ApiError::KeyUnknown));
        }
        let twice = ApiError::invalid("apikey", "The apikey header must be there once.");
        check(&["first-key", "first-key"], Err(twice.clone()));
        check(&["first-key", ""], Err(twice));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = ApiKey { name: "backend".into(), scope: ApiScope::FullAccess, key: Secret::new("first-key") };
        assert!(!format!("{key:?}").contains("first-key"));
    }
}

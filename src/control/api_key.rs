//! Who may call: one exact key in the `apikey` header, compared in constant time.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use crate::secret::Secret;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiScope {
    /// Everything.
    FullAccess,
    /// Users and their auth tokens may be made, nothing else.
    AuthOnly,
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

/// Who makes a call.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) name: Arc<str>,
    scope: ApiScope,
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
pub(super) struct ApiKeys(Vec<([u8; 32], Caller)>);

impl ApiKeys {
    pub(super) fn new(keys: Vec<ApiKey>) -> ApiKeys {
        let digested = |key: ApiKey| (digest(key.key.expose()), Caller { name: key.name.into(), scope: key.scope });
        ApiKeys(keys.into_iter().map(digested).collect())
    }

    /// Returns who makes a call with these headers.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let shown = single(headers, "apikey")?.ok_or(ApiError::KeyMissing)?;
        let shown = digest(shown);
        let mut caller = None;
        // All of them, always: the time says nothing about which was right.
        for (known, candidate) in &self.0 {
            if verify_slices_are_equal(known, &shown).is_ok() {
                caller = Some(candidate);
            }
        }
        caller.cloned().ok_or(ApiError::KeyUnknown)
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
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
        let caller = keys.caller(&headers);
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

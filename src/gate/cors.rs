//! Which sites may read an answer.

use http::header::{self, HeaderMap, HeaderValue};

/// The origins that may read answers across sites (Fetch standard, "HTTP extensions").
#[derive(Debug, Clone, Default)]
pub struct CorsOrigins(Vec<String>);

/// The `Access-Control-Allow-Origin` of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowOrigin {
    /// `*`: everybody, without the browser's own credentials.
    Any,
    /// Exactly this one; the answer varies with `Origin`.
    One(HeaderValue),
    /// None; the answer varies with `Origin`.
    Nobody,
}

impl CorsOrigins {
    /// Takes origins (`https://app.example`) or `*`.
    pub fn new(origins: impl IntoIterator<Item = String>) -> CorsOrigins {
        CorsOrigins(origins.into_iter().collect())
    }

    /// Returns what an answer to a request with these fields allows.
    pub fn allow(&self, request: &HeaderMap) -> AllowOrigin {
        if self.0.is_empty() {
            return AllowOrigin::Nobody;
        }
        if self.0.iter().any(|origin| origin == "*") {
            return AllowOrigin::Any;
        }
        match request.get(header::ORIGIN) {
            Some(origin) if self.0.iter().any(|allowed| origin == allowed.as_str()) => AllowOrigin::One(origin.clone()),
            _ => AllowOrigin::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: Option<&'static str>) -> HeaderMap {
        origin.into_iter().map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))).collect()
    }

    #[test]
    fn origins_are_compared_exactly() {
        let some = CorsOrigins::new(["https://app.example".to_owned()]);
        let one = HeaderValue::from_static("https://app.example");
        assert_eq!(some.allow(&from(Some("https://app.example"))), AllowOrigin::One(one));
        for origin in ["https://app.example.evil", "http://app.example", "null", "https://APP.example"] {
            assert_eq!(some.allow(&from(Some(origin))), AllowOrigin::Nobody, "{origin}");
        }
        assert_eq!(some.allow(&from(None)), AllowOrigin::Nobody);
        assert_eq!(CorsOrigins::new(["*".to_owned()]).allow(&from(None)), AllowOrigin::Any);
    }
}

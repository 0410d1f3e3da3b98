//! [`GateModule`]: the decision alone, as a Pingora HTTP module in front of anybody's proxy.

use std::any::Any;
use std::time::Instant;

use async_trait::async_trait;
use http::header;
use pingora::http::RequestHeader;
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora::{Error, ErrorType, Result};

use super::Shared;
use super::decide::admit;
use crate::gate::{Admission, Denial, Now, without_token_parameter};

/// Adds a [`GateModule`] to each request: `modules.add_module(Box::new(GateModuleBuilder::new(shared)))`.
#[derive(Debug, Clone)]
pub struct GateModuleBuilder(Shared);

impl GateModuleBuilder {
    /// Returns a builder over `shared`.
    pub fn new(shared: Shared) -> GateModuleBuilder {
        GateModuleBuilder(shared)
    }
}

impl HttpModuleBuilder for GateModuleBuilder {
    /// Before everything else: nothing works for a request that is refused.
    fn order(&self) -> i16 {
        i16::MAX
    }

    fn init(&self) -> Module {
        Box::new(GateModule { shared: self.0.clone(), admission: None, denial: None })
    }
}

/// Lets only admitted requests pass, and takes their token off. Your proxy fetches as it always does.
///
/// Prepend mode is not known here: [`MediaFilter`](super::MediaFilter) has it.
///
/// A refused request ends with [`ErrorType::HTTPStatus`] and [`GateModule::denial`] says why. `OPTIONS` passes.
pub struct GateModule {
    shared: Shared,
    admission: Option<Admission>,
    denial: Option<Denial>,
}

impl GateModule {
    /// What was granted; its target is there for those who fetch it themselves.
    pub fn admission(&self) -> Option<&Admission> {
        self.admission.as_ref()
    }

    /// Why the request was refused, for your own `fail_to_proxy`.
    pub fn denial(&self) -> Option<Denial> {
        self.denial
    }

    #[expect(clippy::disallowed_methods, reason = "the shell is where time comes in")]
    fn decide(&mut self, request: &mut RequestHeader) -> Result<()> {
        let now = Now { wall: std::time::SystemTime::now(), monotonic: Instant::now() };
        let denial = match admit(&self.shared, request, now) {
            Ok(admission) => {
                self.admission = admission;
                return take_off_tokens(request);
            }
            Err(refusal) => refusal.denial,
        };
        self.denial = Some(denial);
        Error::e_explain(ErrorType::HTTPStatus(denial.status()), denial.reason())
    }
}

/// Removes every place that a token can stand in.
fn take_off_tokens(request: &mut RequestHeader) -> Result<()> {
    request.remove_header("fat");
    request.remove_header("apikey");
    request.remove_header(&header::AUTHORIZATION);
    request.remove_header(&header::COOKIE);
    request.remove_header(&header::REFERER);
    if let Some(stripped) = without_token_parameter(&request.uri) {
        request.set_raw_path(stripped.as_bytes())?;
    }
    Ok(())
}

#[async_trait]
impl HttpModule for GateModule {
    async fn request_header_filter(&mut self, request: &mut RequestHeader) -> Result<()> {
        self.decide(request)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::gate::{
        Access, Addressing, Algorithm, AppFolder, AppOptions, Credentials, Endpoint, Gate, GateOptions, PublicPrefixes,
        S3Options, S3Storage, TimeRules, UidCase, VerifyingKey,
    };
    use crate::restrictions::{Event, RestrictionSet};
    use crate::secret::Secret;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn shared() -> Shared {
        let storage = S3Storage::new(S3Options {
            endpoint: Endpoint::parse("http://127.0.0.1:9000").unwrap(),
            region: "r".into(),
            bucket: "media".into(),
            addressing: Addressing::Path,
            prefix: String::new(),
            app_folder: AppFolder::Kept,
            credentials: Credentials { access_key_id: "id".into(), secret_access_key: Secret::new("s") },
            presign_ttl: Duration::from_secs(60),
        });
        let app = AppOptions {
            id: "demo".into(),
            access: Access::Enforce,
            keys: vec![VerifyingKey::hmac("k1", Algorithm::HS256, &Secret::new(SECRET)).unwrap()],
            time: TimeRules { leeway: Duration::ZERO, max_ttl: Duration::from_secs(3600) },
            uid_case: UidCase::Folded,
            public_prefixes: PublicPrefixes::default(),
            tokenized_since: None,
            storage: Arc::new(storage),
        };
        let gate = Gate::new(GateOptions { apps: vec![app], ..GateOptions::default() }).unwrap();
        let now = Instant::now();
        let restrictions = RestrictionSet::new([1, 2], now);
        restrictions.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, now);
        Shared::new(gate, Arc::new(restrictions))
    }

    #[expect(clippy::disallowed_methods, reason = "the module reads the clock too")]
    fn token() -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = serde_json::json!({ "sub": "alice", "iat": now, "exp": now + 60 });
        let header = jsonwebtoken::Header { kid: Some("k1".into()), ..Default::default() };
        jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    }

    fn run(target: &str, field: Option<(&'static str, &str)>) -> (Result<()>, RequestHeader, GateModule) {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        request.insert_header("host", "h").unwrap();
        if let Some((name, value)) = field {
            request.insert_header(name, value).unwrap();
        }
        let mut module = GateModule { shared: shared(), admission: None, denial: None };
        let result = module.decide(&mut request);
        (result, request, module)
    }

    #[test]
    fn an_admitted_request_goes_on_without_its_token() {
        let token = token();
        for (target, field) in [
            (format!("/demo/a.jpg?x=1&fat={token}"), None),
            ("/demo/a.jpg?x=1".to_owned(), Some(("fat", token.clone()))),
            ("/demo/a.jpg?x=1".to_owned(), Some(("authorization", format!("Bearer {token}")))),
            ("/demo/a.jpg?x=1".to_owned(), Some(("cookie", format!("fat={token}")))),
        ] {
            let field = field.as_ref().map(|(name, value)| (*name, value.as_str()));
            let (result, request, module) = run(&target, field);
            assert!(result.is_ok(), "{target}");
            assert!(module.admission().is_some() && module.denial().is_none());
            assert_eq!(request.uri.to_string(), "/demo/a.jpg?x=1");
            assert_eq!(request.raw_path(), b"/demo/a.jpg?x=1");
            assert!(!format!("{:?}", request.headers).contains(&token[..16]), "{field:?}");
        }
    }

    #[test]
    fn a_refused_request_ends_with_its_status() {
        let (result, _, module) = run("/demo/a.jpg", None);
        assert_eq!(result.unwrap_err().etype(), &ErrorType::HTTPStatus(401));
        assert_eq!(module.denial(), Some(Denial::TokenMissing));
        assert!(module.admission().is_none());
    }
}

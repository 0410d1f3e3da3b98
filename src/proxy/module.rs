//! [`GateModule`]: the decision alone, as a Pingora HTTP module in front of anybody's proxy.

use std::any::Any;
use std::time::Instant;

use async_trait::async_trait;
use http::header;
use pingora::http::RequestHeader;
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora::{Error, ErrorType, Result};

use super::Shared;
use crate::gate::{Admission, Decision, Denial, Now, without_token_parameter};

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
/// A refused request ends with [`ErrorType::HTTPStatus`] and [`GateModule::denial`] says why. `OPTIONS` passes.
pub struct GateModule {
    shared: Shared,
    admission: Option<Box<Admission>>,
    denial: Option<Denial>,
}

impl GateModule {
    /// What was granted; its target is there for those who fetch it themselves.
    pub fn admission(&self) -> Option<&Admission> {
        self.admission.as_deref()
    }

    /// Why the request was refused, for your own `fail_to_proxy`.
    pub fn denial(&self) -> Option<Denial> {
        self.denial
    }

    #[expect(clippy::disallowed_methods, reason = "the shell is where time comes in")]
    fn decide(&mut self, request: &mut RequestHeader) -> Result<()> {
        let now = Now { wall: std::time::SystemTime::now(), monotonic: Instant::now() };
        match self.shared.gate.load().admit(request, &self.shared.restrictions, now) {
            Ok(Decision::Forward(admission)) => self.admission = Some(admission),
            Ok(Decision::Options) => {}
            Err(refusal) => {
                self.denial = Some(refusal.denial);
                return Error::e_explain(ErrorType::HTTPStatus(refusal.denial.status()), refusal.denial.reason());
            }
        }
        take_off_tokens(request)
    }
}

/// Removes every place that a token can stand in.
fn take_off_tokens(request: &mut RequestHeader) -> Result<()> {
    request.remove_header("fat");
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

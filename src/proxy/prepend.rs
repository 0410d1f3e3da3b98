//! Prepend mode in the shell: who the visitor is, by a cookie or by the platform's word, and the way to the login.

use std::fmt;

use async_trait::async_trait;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use pingora::proxy::Session;
use pingora::{ErrorType, OrErr, Result};

use super::exchange::{End, Exchange};
use super::filter::{self, MediaFilter};
use super::respond::{common_fields, response};
use crate::gate::forward::AllowOrigin;
use crate::gate::{Decision, Denial, Now, Prepended, Refusal, Visitor};
use crate::metrics::Outcome;

/// Who knows the visitors of prepend mode where the gate itself cannot tell them by a cookie.
///
/// A request waits for the answer, so it has to come soon, or to be [`NoVisitor::Unknown`].
#[async_trait]
pub trait Platform: Send + Sync + fmt::Debug {
    /// Returns whose session the request shows that is asked about.
    ///
    /// # Errors
    ///
    /// No session, or no answer.
    async fn visitor(&self, question: Question) -> std::result::Result<Visitor, NoVisitor>;
}

/// What a platform is told of a request. No token is in it.
#[derive(Debug)]
pub struct Question {
    /// The method.
    pub method: http::Method,
    /// The path, with the media URL in it and without a query.
    pub path: String,
    /// `Host`, as the client sent it.
    pub host: Option<HeaderValue>,
    /// The cookies of the request.
    pub cookies: Vec<HeaderValue>,
}

/// Why nobody is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoVisitor {
    /// The platform says that there is no session, and may say where to get one.
    NoSession {
        /// The URL that it would send the visitor to.
        location: Option<String>,
    },
    /// The platform does not say: nobody gets in.
    Unknown,
}

impl MediaFilter {
    /// Decides about a request that may be one for prepend mode; `None`: it was answered here.
    ///
    /// # Errors
    ///
    /// When the client cannot be written to.
    pub(super) async fn visit(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        now: Now,
    ) -> Result<Option<std::result::Result<Decision, Refusal>>> {
        let gate = self.shared.gate.load_full();
        let restrictions = &self.shared.restrictions;
        let request: &Parts = session.req_header();
        let refused = |denial| Ok(Some(Err(Refusal { denial, trace: Box::default() })));
        let prepended = match gate.prepended(request, now) {
            Ok(Some(prepended)) => prepended,
            Ok(None) => return Ok(Some(gate.admit(request, restrictions, now))),
            Err(denial) => return refused(denial),
        };
        // A preflight never shows a cookie, and gets nothing.
        let is_preflight = request.method == http::Method::OPTIONS;
        let visitor = if is_preflight { Ok(Some(Visitor::default())) } else { gate.visitor(request, now) };
        let (denial, offered) = match visitor {
            Ok(Some(visitor)) => {
                return Ok(Some(gate.admit_visitor(request, &prepended, &visitor, restrictions, now)));
            }
            Ok(None) => match self.ask_platform(request, &prepended).await {
                Ok(visitor) => {
                    // It took its time.
                    return Ok(Some(gate.admit_visitor(request, &prepended, &visitor, restrictions, filter::now())));
                }
                Err(NoVisitor::NoSession { location }) => (Denial::SessionMissing, location),
                Err(NoVisitor::Unknown) => (Denial::PlatformUnavailable, None),
            },
            Err(denial) => (denial, None),
        };
        self.shared.unknown_kids.note_session(denial);
        match gate.login_for(request, &prepended, denial, offered.as_deref(), now) {
            Some(location) => {
                let status = send_to(session, &location, &exchange.origin).await?;
                exchange.end = Some(End { outcome: Outcome::Answered, reason: "login", status, bytes: 0 });
                Ok(None)
            }
            None => refused(denial),
        }
    }

    async fn ask_platform(&self, request: &Parts, prepended: &Prepended) -> std::result::Result<Visitor, NoVisitor> {
        let platform = Option::clone(&**self.shared.platform.load()).ok_or(NoVisitor::Unknown)?;
        let host = match request.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => request.headers.get(header::HOST).cloned(),
        };
        let cookies = request.headers.get_all(header::COOKIE).iter().cloned().collect();
        let question = Question { method: request.method.clone(), path: prepended.shown_path(), host, cookies };
        platform.visitor(question).await
    }
}

/// Sends a browser to another page; returns the status. Nothing of it is kept, and no page is told where it came from.
async fn send_to(session: &mut Session, location: &str, origin: &AllowOrigin) -> Result<u16> {
    let status = StatusCode::SEE_OTHER;
    let mut fields = HeaderMap::new();
    let location = HeaderValue::from_str(location).explain_err(ErrorType::InvalidHTTPHeader, |_| "no location")?;
    fields.insert(header::LOCATION, location);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::CONTENT_LENGTH, 0.into());
    common_fields(&mut fields, origin);
    session.write_response_header(Box::new(response(status, fields)), true).await?;
    Ok(status.as_u16())
}

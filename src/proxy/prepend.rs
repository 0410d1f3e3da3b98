//! Prepend mode in the shell: who the visitor is, by a cookie or by the platform's word, and the way to the login.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use pingora::proxy::Session;
use pingora::{ErrorType, OrErr, Result};

use super::exchange::{End, Exchange};
use super::filter::{self, MediaFilter};
use super::respond::{common_fields, response};
use crate::gate::{
    BadRequest, Decision, Denial, Gate, MAX_OWN_BODY_BYTES, Now, Prepended, Refusal, Visitor, other_cookies,
};
use crate::metrics::Outcome;

/// How long a short body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

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

    /// Answers what is asked of the gate itself below `/.mediagate/`: a login, a logout. `None`: there is no such thing.
    async fn answer(&self, _request: OwnRequest) -> Option<std::result::Result<OwnAnswer, Denial>> {
        None
    }
}

/// A request for the gate itself.
#[derive(Debug)]
pub struct OwnRequest {
    /// The method.
    pub method: http::Method,
    /// The path.
    pub path: String,
    /// The query, empty without one.
    pub query: String,
    /// The cookies.
    pub cookies: Vec<HeaderValue>,
    /// Whose session it shows, where the gate verifies sessions and it shows a good one.
    pub visitor: Option<Visitor>,
    /// The body, of at most [`MAX_OWN_BODY_BYTES`].
    pub body: Vec<u8>,
}

/// The answer to it, without a body.
#[derive(Debug)]
pub struct OwnAnswer {
    status: StatusCode,
    location: Option<String>,
    cookies: Vec<String>,
}

impl OwnAnswer {
    /// Sends the browser to `location`.
    pub fn redirect(location: String) -> OwnAnswer {
        OwnAnswer { status: StatusCode::SEE_OTHER, location: Some(location), cookies: Vec::new() }
    }

    /// It is done.
    pub fn done() -> OwnAnswer {
        OwnAnswer { status: StatusCode::NO_CONTENT, location: None, cookies: Vec::new() }
    }

    /// Sets a cookie, too: `name=value; attributes`.
    #[must_use]
    pub fn with_cookie(mut self, cookie: String) -> OwnAnswer {
        self.cookies.push(cookie);
        self
    }
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
        if let Some(answered) = self.answer_for_login(session, exchange, &gate, now).await? {
            return Ok(answered);
        }
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
        let visitor = match visitor {
            Ok(Some(visitor)) => Ok((visitor, now)),
            // It takes its time.
            Ok(None) => self.ask_platform(request, &prepended).await.map(|visitor| (visitor, filter::now())),
            Err(denial) => Err((denial, None)),
        };
        let (denial, offered) = match visitor {
            Ok((visitor, now)) => match gate.admit_visitor(request, &prepended, &visitor, restrictions, now) {
                Err(Refusal { denial: Denial::SessionEnded, .. }) => (Denial::SessionEnded, None),
                decision => return Ok(Some(decision)),
            },
            Err(refusal) => refusal,
        };
        self.shared.unknown_kids.note_session(denial);
        match gate.login_for(request, &prepended, denial, offered.as_deref(), now) {
            Some(location) => {
                let answer = OwnAnswer::redirect(location);
                answer_with(session, exchange, &answer).await?;
                Ok(None)
            }
            None => refused(denial),
        }
    }

    /// Answers what is asked of the gate itself; `None` where it is something else. What comes back is as of
    /// [`MediaFilter::visit`].
    async fn answer_for_login(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        gate: &Gate,
        now: Now,
    ) -> Result<Option<Option<std::result::Result<Decision, Refusal>>>> {
        let refused = |denial| Ok(Some(Some(Err(Refusal { denial, trace: Box::default() }))));
        match gate.is_for_login(session.req_header()) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(denial) => return refused(denial),
        }
        let Some(platform) = Option::clone(&**self.shared.platform.load()) else { return Ok(None) };
        let body = match session.req_header().method {
            http::Method::POST => match tokio::time::timeout(BODY_TIMEOUT, body_of(session)).await {
                Ok(Some(body)) => body,
                _ => return refused(Denial::BadRequest(BadRequest::Body)),
            },
            _ => Vec::new(),
        };
        let request: &Parts = session.req_header();
        let own = OwnRequest {
            method: request.method.clone(),
            path: request.uri.path().to_owned(),
            query: request.uri.query().unwrap_or_default().to_owned(),
            cookies: request.headers.get_all(header::COOKIE).iter().cloned().collect(),
            visitor: gate.visitor(request, now).ok().flatten(),
            body,
        };
        match platform.answer(own).await {
            None => Ok(None),
            Some(Err(denial)) => refused(denial),
            Some(Ok(answer)) => {
                answer_with(session, exchange, &answer).await?;
                Ok(Some(None))
            }
        }
    }

    /// Returns whom the platform knows, or the refusal that its word means, and where it would send them.
    async fn ask_platform(
        &self,
        request: &Parts,
        prepended: &Prepended,
    ) -> std::result::Result<Visitor, (Denial, Option<String>)> {
        let unknown = (Denial::PlatformUnavailable, None);
        let Some(platform) = Option::clone(&**self.shared.platform.load()) else { return Err(unknown) };
        let host = match request.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => request.headers.get(header::HOST).cloned(),
        };
        let cookies = request.headers.get_all(header::COOKIE).iter().filter_map(other_cookies).collect();
        let question = Question { method: request.method.clone(), path: prepended.shown_path(), host, cookies };
        platform.visitor(question).await.map_err(|none| match none {
            NoVisitor::NoSession { location } => (Denial::SessionMissing, location),
            NoVisitor::Unknown => unknown,
        })
    }
}

/// What is posted; `None` where it is too long or breaks off.
async fn body_of(session: &mut Session) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = session.read_request_body().await.ok()? {
        if body.len() + piece.len() > MAX_OWN_BODY_BYTES {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    Some(body)
}

/// Sends `answer`, and notes that it was. Nothing of it is kept, and no page is told where it came from.
async fn answer_with(session: &mut Session, exchange: &mut Exchange, answer: &OwnAnswer) -> Result<()> {
    let OwnAnswer { status, location, cookies } = answer;
    let value = |text: &str| HeaderValue::from_str(text).explain_err(ErrorType::InvalidHTTPHeader, |_| "no field");
    let mut fields = HeaderMap::new();
    if let Some(location) = location {
        fields.insert(header::LOCATION, value(location)?);
        fields.insert(header::CONTENT_LENGTH, 0.into());
    }
    for cookie in cookies {
        fields.append(header::SET_COOKIE, value(cookie)?);
    }
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    common_fields(&mut fields, &exchange.origin);
    let end = End { outcome: Outcome::Answered, reason: "login", status: status.as_u16(), bytes: 0 };
    exchange.end = Some(end);
    session.write_response_header(Box::new(response(*status, fields)), true).await
}

//! Forward-auth: a URL of the platform says by its status whether a visitor has a session, and may say whose.
//!
//! Its word is kept for seconds, for the cookies that it was given on: what it is asked is who a visitor is, not what they
//! may see. Many requests with the same cookies wait for one answer. Where there is none, nobody gets in.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::Full;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};

use crate::gate::Visitor;
use crate::outbound::{Outbound, OutboundError};
use crate::proxy::{NoVisitor, Platform, Question};
use crate::relay::now_secs;

/// Answers that are remembered.
const REMEMBERED: usize = 65_536;

/// Questions that are on their way at once; more are not asked, so that visitors without a session cannot flood the
/// platform.
const MAX_QUESTIONS: usize = 128;

/// Bytes of an answer's body that are read, to keep its connection; nothing in it matters.
const MAX_BODY_BYTES: usize = 1 << 20;

/// How the platform is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardAuthOptions {
    /// Where.
    pub url: Uri,
    /// The field of its answer that names the user.
    pub user_header: HeaderName,
    /// For how long its word is good.
    pub remembered: Duration,
    /// How long it may take.
    pub timeout: Duration,
}

/// What asks.
#[derive(Debug)]
pub struct ForwardAuth {
    options: ForwardAuthOptions,
    client: OnceCell<Outbound>,
    /// By a hash of host and cookies.
    answers: Cache<[u8; 32], Answer>,
    questions: Semaphore,
}

/// What the platform has said: no URL is in it, which may be another visitor's.
#[derive(Debug, Clone)]
struct Answer {
    visitor: Option<Visitor>,
    until: Instant,
}

impl ForwardAuth {
    /// Returns what asks as `options` say.
    pub fn new(options: ForwardAuthOptions) -> ForwardAuth {
        ForwardAuth {
            options,
            client: OnceCell::new(),
            answers: Cache::new(REMEMBERED),
            questions: Semaphore::new(MAX_QUESTIONS),
        }
    }

    /// Asks, and remembers the answer. Of those who wait for it, only who asked learns where the platform sends them.
    async fn learn(&self, question: Question, key: [u8; 32]) -> Result<Visitor, NoVisitor> {
        let mut offered = None;
        let asking = async {
            let (visitor, location) = self.ask(question).await?;
            offered = location;
            Ok(Answer { visitor, until: Instant::now() + self.options.remembered })
        };
        let answer = self.answers.get_or_insert_async(&key, asking).await?;
        answer.visitor.ok_or(NoVisitor::NoSession { location: offered })
    }

    async fn ask(&self, question: Question) -> Result<(Option<Visitor>, Option<String>), NoVisitor> {
        let Ok(_permit) = self.questions.try_acquire() else {
            log::warn!("the platform at {} is not asked: {MAX_QUESTIONS} questions wait for it", self.place());
            return Err(NoVisitor::Unknown);
        };
        let request = self.request(question).ok_or(NoVisitor::Unknown)?;
        let asking = async {
            let scheme = self.options.url.scheme();
            let client = self.client.get_or_try_init(|| Outbound::new(scheme, MAX_QUESTIONS)).await?;
            client.ask(request, MAX_BODY_BYTES).await
        };
        let answer = asking.await.map_err(|error: OutboundError| error.to_string());
        answer.and_then(|answer| self.read(&answer)).map_err(|error| {
            log::warn!("the platform at {}: {error}", self.place());
            NoVisitor::Unknown
        })
    }

    /// The question as a request: method, path and host of what is asked for, and the cookies.
    fn request(&self, question: Question) -> Option<Request<Full<Bytes>>> {
        let Question { method, path, host, cookies } = question;
        let mut request = Request::get(self.options.url.clone()).body(Full::default()).ok()?;
        let fields = request.headers_mut();
        let mut insert = |name, value| fields.insert(HeaderName::from_static(name), value);
        insert("x-forwarded-method", HeaderValue::from_str(method.as_str()).ok()?);
        insert("x-forwarded-uri", HeaderValue::from_str(&path).ok()?);
        if let Some(host) = host {
            insert("x-forwarded-host", host);
        }
        // One field, as RFC 6265 has it: in several, a platform may look at the first only.
        let all: Vec<&[u8]> = cookies.iter().map(HeaderValue::as_bytes).collect();
        if !all.is_empty() {
            insert("cookie", HeaderValue::from_bytes(&all.join(&b"; "[..])).ok()?);
        }
        Some(request)
    }

    /// What the answer means: 2xx lets in; 3xx, 401 and 403 say that there is no session; everything else says nothing.
    fn read(&self, answer: &Response<Bytes>) -> Result<(Option<Visitor>, Option<String>), String> {
        match answer.status().as_u16() {
            200..=299 => Ok((Some(self.visitor(answer.headers())?), None)),
            300..=399 => {
                let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
                Ok((None, location.map(str::to_owned)))
            }
            401 | 403 => Ok((None, None)),
            status => Err(format!("the answer is {status}")),
        }
    }

    fn visitor(&self, fields: &HeaderMap) -> Result<Visitor, String> {
        let mut names = fields.get_all(&self.options.user_header).iter();
        let uid = names.next().map(|name| name.to_str().map(str::to_owned));
        match (uid, names.next()) {
            (None, None) => Ok(Visitor::default()),
            // Good as of now: what a flush has ended before, the platform has ended or begun anew.
            (Some(Ok(uid)), None) => Ok(Visitor { uid: Some(uid), issued_at: Some(now_secs()), ..Visitor::default() }),
            _ => Err(format!("{} does not name one user", self.options.user_header)),
        }
    }

    /// The server, for the log: a query may hold a secret.
    fn place(&self) -> &str {
        self.options.url.authority().map_or("", http::uri::Authority::as_str)
    }
}

#[async_trait]
impl Platform for ForwardAuth {
    async fn visitor(&self, question: Question) -> Result<Visitor, NoVisitor> {
        let key = key_of(&question);
        if let Some(Answer { visitor, until }) = self.answers.get(&key) {
            if Instant::now() < until {
                return visitor.ok_or(NoVisitor::NoSession { location: None });
            }
            // Whoever comes first asks again; what was learnt meanwhile is as good.
            self.answers.remove_if(&key, |answer| answer.until <= Instant::now());
        }
        // The time is for waiting as well: after a question without an answer, the next who waits asks it again.
        tokio::time::timeout(self.options.timeout, self.learn(question, key)).await.unwrap_or_else(|_| {
            log::warn!("the platform at {}: it took too long", self.place());
            Err(NoVisitor::Unknown)
        })
    }
}

/// A hash of what the answer depends on, each part with its length.
fn key_of(question: &Question) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in question.host.iter().chain(&question.cookies) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

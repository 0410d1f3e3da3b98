//! [`ForwardAuth`]: the decision for other proxies, which ask about each request and fetch by themselves.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

use super::Shared;
use super::decide::admit;
use super::exchange::{End, Exchange};
use super::filter::now;
use super::pass::method_label;
use super::respond::{Answer, common_fields};
use crate::gate::{Asked, AskedBy, Denial, Now, Target};
use crate::metrics::Outcome;

/// Who was let in; absent where nobody had to say.
static USER: HeaderName = HeaderName::from_static("x-mediagate-user");

/// Where the object is: a presigned URL.
static TARGET: HeaderName = HeaderName::from_static("x-mediagate-target");

/// Answers nginx's `auth_request`, the `forward_auth` of Traefik and Caddy, and Envoy's `ext_authz` over HTTP.
///
/// 204 with the user and the presigned URL in `X-Mediagate-User` and `X-Mediagate-Target`, and a player's `Set-Cookie`; or
/// the refusal. Only for proxies: whoever can ask gets the storage's own URLs.
#[derive(Debug, Clone)]
pub struct ForwardAuth(Arc<Shared>);

impl ForwardAuth {
    /// Returns one that decides by `shared`.
    pub fn new(shared: Shared) -> ForwardAuth {
        ForwardAuth(Arc::new(shared))
    }

    /// Decides, counts and logs.
    pub fn answer(&self, question: &Parts) -> Response<Bytes> {
        let now = now();
        let mut exchange = Exchange::new(Arc::clone(&self.0));
        exchange.origin = self.0.gate.load().cors_of(&question.headers);
        let asked = Asked::of(question);
        let request = asked.as_ref().map_or(question, |asked| &asked.request);
        exchange.begin(now, method_label(&request.method), None);
        let by = asked.as_ref().map_or(AskedBy::Original, |asked| asked.by);
        let decided = asked.and_then(|asked| self.decide(&asked.request, now, &mut exchange));
        self.0.metrics.decided(now.monotonic.elapsed());
        let (outcome, reason, response) = match decided {
            Ok(fields) => (Outcome::Answered, "forward_auth", granted(fields)),
            Err(denial) => (Outcome::Denied, denial.reason(), refused(denial, by, question, &exchange)),
        };
        let (status, bytes) = (response.status().as_u16(), response.body().len());
        exchange.end = Some(End { outcome, reason, status, bytes });
        response
    }

    /// Returns what the proxy is told of a request that is let in.
    fn decide(&self, request: &Parts, now: Now, exchange: &mut Exchange) -> Result<HeaderMap, Denial> {
        let admission = match admit(&self.0, request, now) {
            Ok(Some(admission)) => admission,
            // A file server would answer it with the file; and what is let in here, it lets in.
            Ok(None) => return Err(Denial::MethodNotAllowed),
            Err(refusal) => {
                exchange.trace = *refusal.trace;
                return Err(refusal.denial);
            }
        };
        let mut fields = admission.fields.map(|fields| *fields).unwrap_or_default();
        // Not where what was shown would have been refused: then nobody has said who it is.
        let user = admission.trace.uid.as_deref().filter(|_| admission.observed.is_none());
        fields.extend(user.and_then(|uid| HeaderValue::from_str(uid).ok()).map(|user| (USER.clone(), user)));
        if let Ok(mut target) = HeaderValue::try_from(url(&admission.target)) {
            target.set_sensitive(true);
            fields.insert(&TARGET, target);
        }
        exchange.trace = admission.trace;
        exchange.observed = admission.observed;
        Ok(fields)
    }
}

fn url(target: &Target) -> String {
    let scheme = if target.endpoint().tls { "https" } else { "http" };
    format!("{scheme}://{}{}", target.host(), target.path_and_query())
}

fn granted(mut fields: HeaderMap) -> Response<Bytes> {
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = fields;
    response
}

/// Returns the refusal as a client gets it, since most proxies pass it on.
fn refused(denial: Denial, by: AskedBy, question: &Parts, exchange: &Exchange) -> Response<Bytes> {
    let mut answer = Answer::from(denial);
    answer.status = by.refusal(denial.status());
    let (content_type, body) = answer.body(&question.headers);
    let mut fields = answer.fields(content_type, body.len());
    common_fields(&mut fields, &exchange.origin);
    let mut response = Response::new(body);
    *response.status_mut() = answer.status();
    *response.headers_mut() = fields;
    response
}

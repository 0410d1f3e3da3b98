//! Prepend mode: `https://own/https://files/app/media/x.jpg`, the self-hoster's login in front of media.
//!
//! Nothing is fetched, resolved or redirected to but the configured origins, compared exactly; and nobody gets anything
//! without a session of the platform, whatever their token is worth.

mod inner_url;
mod login;
mod media_origin;
mod seal;
mod session;

use std::sync::Arc;

use http::Method;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;

#[cfg(feature = "server")]
pub(crate) use login::is_way_back;
pub use login::{LoginOptions, NotALogin};
pub use media_origin::{MediaOrigin, Serving};
#[cfg(feature = "server")]
pub(crate) use seal::Seal;
pub use session::{SESSION_KEYS, SessionOptions, Visitor};

use super::cookie::OuterPath;
use super::decision::{Admission, Decision, Now, Refusal, Trace};
use super::denial::{BadRequest, Denial};
use super::extract::{self, MediaMethod};
use super::{Gate, Target};
use crate::restrictions::RestrictionSet;
use inner_url::InnerUrl;
use login::{Login, is_navigation};
use session::Sessions;

/// Below it is what the gate itself answers on the hosts of prepend mode. No app has this name.
pub const OWN_FOLDER: &str = ".mediagate";

/// The longest body of what is posted to the gate itself, in bytes.
pub const MAX_OWN_BODY_BYTES: usize = 16 * 1024;

/// What prepend mode is decided from.
#[derive(Debug, Clone)]
pub struct PrependOptions {
    /// `Host` values that it is served on, without ports; empty means any.
    pub hosts: Vec<String>,
    /// What may stand behind the own host.
    pub origins: Vec<MediaOrigin>,
    /// Sessions that the gate verifies by itself; `None`: the platform is asked who a visitor is.
    pub sessions: Option<SessionOptions>,
    /// Where pages are sent without a session; `None`: they get 401 like everything else.
    pub login: Option<LoginOptions>,
}

/// Prepend mode of a gate.
pub(super) struct Prepend {
    hosts: Vec<String>,
    origins: Vec<MediaOrigin>,
    sessions: Option<Sessions>,
    login: Option<Login>,
}

/// A media URL that stands behind the own host of a request.
#[derive(Debug)]
pub struct Prepended(InnerUrl);

impl Prepended {
    /// The path of the request without anything that could be a token: `/https://files.example/app/a.jpg`.
    pub fn shown_path(&self) -> String {
        format!("/{}", self.0.without_query())
    }
}

impl Prepend {
    /// `has_sets` says whether keys of sessions come and go.
    pub(super) fn new(options: PrependOptions, has_sets: bool) -> Prepend {
        let PrependOptions { hosts, origins, sessions, login } = options;
        Prepend {
            hosts,
            origins,
            sessions: sessions.map(|options| Sessions::new(options, has_sets)),
            login: login.map(Login::new),
        }
    }

    /// The servers of others that media is fetched from.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &Arc<super::Endpoint>> {
        self.origins.iter().filter(|origin| origin.serving == Serving::Foreign).map(MediaOrigin::endpoint)
    }

    fn is_served_on(&self, request: &Parts) -> bool {
        // A request without a good host is refused where all are.
        let Ok(Some(host)) = extract::host(request) else { return false };
        self.hosts.is_empty() || self.hosts.iter().any(|served| served.eq_ignore_ascii_case(host))
    }
}

impl Gate {
    /// Whether `request` may be one for prepend mode: a quick look, for [`Gate::prepended`] to make sure.
    pub fn may_be_prepended(&self, request: &Parts) -> bool {
        self.prepend.is_some() && inner_url::is_likely(request.uri.path())
    }

    /// Whether `request` is for what the gate itself answers on the hosts of prepend mode: a login, its callback, a logout.
    ///
    /// # Errors
    ///
    /// A shape that no such request has: only what is posted has a body, and a short one.
    pub fn is_for_login(&self, request: &Parts) -> Result<bool, Denial> {
        let Some(prepend) = &self.prepend else { return Ok(false) };
        let path = request.uri.path();
        let is_below = path.strip_prefix('/').and_then(|path| path.strip_prefix(OWN_FOLDER));
        if !is_below.is_some_and(|rest| rest.starts_with('/')) || login::way_back(path).is_some() {
            return Ok(false);
        }
        if !prepend.is_served_on(request) {
            return Ok(false);
        }
        if request.method != Method::POST {
            return extract::method(request).map(|method| method != MediaMethod::Options);
        }
        let length = request.headers.get(CONTENT_LENGTH).map(|length| length.to_str().ok()?.parse::<usize>().ok());
        let is_short = length.is_none_or(|length| length.is_some_and(|length| length <= MAX_OWN_BODY_BYTES));
        if !is_short || request.headers.contains_key(TRANSFER_ENCODING) || request.headers.contains_key(UPGRADE) {
            return Err(Denial::BadRequest(BadRequest::Body));
        }
        Ok(true)
    }

    /// Returns the media URL that stands behind the own host of `request`; `None` where it is no request for prepend mode.
    ///
    /// # Errors
    ///
    /// Where it is one: a shape that no request for media has, a URL that is not in its one form, or of an origin that is not configured; a way back from the
    /// login that was not made here, or too long ago.
    pub fn prepended(&self, request: &Parts, now: Now) -> Result<Option<Prepended>, Denial> {
        let Some(prepend) = self.prepend.as_ref().filter(|prepend| prepend.is_served_on(request)) else {
            return Ok(None);
        };
        let target = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let Some(url) = (match login::way_back(target) {
            Some(sealed) => Some(prepend.login.as_ref().ok_or(Denial::UrlInvalid)?.open(sealed, now)?),
            None => inner_url::written(target)?,
        }) else {
            return Ok(None);
        };
        extract::method(request)?;
        InnerUrl::read(url, &prepend.origins).map(|url| Some(Prepended(url)))
    }

    /// Returns whose session `request` shows; `None` where only the platform can say.
    ///
    /// # Errors
    ///
    /// No session, several, or one that does not hold.
    pub fn visitor(&self, request: &Parts, now: Now) -> Result<Option<Visitor>, Denial> {
        match self.prepend.as_ref().and_then(|prepend| prepend.sessions.as_ref()) {
            Some(sessions) => sessions.visitor(request, now).map(Some),
            None => Ok(None),
        }
    }

    /// Returns where a visitor who was refused with `denial` is sent, if that is for want of a session, this is a page
    /// navigation and there is a login. `offered` is where the platform would send them.
    pub fn login_for(
        &self,
        request: &Parts,
        prepended: &Prepended,
        denial: Denial,
        offered: Option<&str>,
        now: Now,
    ) -> Option<String> {
        let login = self.prepend.as_ref()?.login.as_ref()?;
        let is_for_want = matches!(denial, Denial::SessionMissing | Denial::SessionInvalid(_) | Denial::SessionEnded);
        let is_wanted = is_for_want && is_navigation(request);
        let offered = offered.filter(|offered| login.is_at(offered)).map(str::to_owned);
        is_wanted.then(|| offered.unwrap_or_else(|| login.location(&prepended.0, now)))
    }

    /// As [`Gate::admit`], for what stands behind the own host and a visitor whose session holds.
    ///
    /// # Errors
    ///
    /// As [`Gate::admit`]; also when the visitor is restricted or the token is another user's.
    pub fn admit_visitor(
        &self,
        request: &Parts,
        prepended: &Prepended,
        visitor: &Visitor,
        restrictions: &RestrictionSet,
        now: Now,
    ) -> Result<Decision, Refusal> {
        let url = &prepended.0;
        let refused = |denial| Refusal { denial, trace: Box::default() };
        match url.serving() {
            Serving::Own => {
                let inner = within(request, url).map_err(refused)?;
                self.admit_for(&inner, Some(visitor), restrictions, now)
            }
            Serving::Foreign => {
                if extract::method(request).map_err(refused)? == MediaMethod::Options {
                    return Ok(Decision::Options);
                }
                let trace = Trace { uid: visitor.shown(), ..Trace::default() };
                // It is of no app, so whoever one of them refuses is refused: above all a session that has ended.
                for app in self.apps.values() {
                    visitor
                        .welcome(&app.id, app.verifier.uid_case(), restrictions, self.freshness, now)
                        .map_err(refused)?;
                }
                // Nothing is asked of the token, which is for another server: only who the visitor is.
                let target = Target::foreign(url.endpoint(), url.path_and_query());
                let (subject, observed, modified_before, fields) = (None, None, None, None);
                Ok(Decision::Forward(Admission { target, subject, trace, observed, modified_before, fields }))
            }
        }
    }
}

/// The request as it goes on inside: for the inner host, path and query.
fn within(request: &Parts, url: &InnerUrl) -> Result<Parts, Denial> {
    const BAD: Denial = Denial::BadRequest(BadRequest::PrependedUrl);
    let mut inner = request.clone();
    inner.uri = url.path_and_query().parse().map_err(|_| BAD)?;
    inner.headers.insert(HOST, HeaderValue::from_str(&url.endpoint().host_header()).map_err(|_| BAD)?);
    inner.extensions.insert(OuterPath(request.uri.path().to_owned()));
    Ok(inner)
}

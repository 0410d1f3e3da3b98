//! Logging in and out, and the one place where tokens are renewed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;

use super::error::ClientError;
use super::presigned::PresignedUrls;
use super::session::{Reply, Session, secret_value};
use super::transport::{self, refusal};
use super::{Client, MAX_ANSWER_BYTES, now};

impl Client {
    /// Logs a user in, in place of whoever was.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] for a token that is nobody's or a deactivated user's. Whoever was logged in still is.
    pub async fn login(&self, auth_token: &str) -> Result<Arc<Session>, ClientError> {
        let why = "must be visible ASCII";
        let auth_token = secret_value(auth_token).ok_or(ClientError::Option { option: "auth_token", why })?;
        let urls = Arc::new(PresignedUrls::new(self.0.cached_urls));
        let session = Arc::new(self.ask(Method::PUT, auth_token, urls).await?);
        self.0.session.store(Some(Arc::clone(&session)));
        Ok(session)
    }

    /// Logs out: here at once, whatever comes of it, and on the server, where the session's tokens are dead then.
    ///
    /// # Errors
    ///
    /// When the server could not be told. A session that it does not know is none.
    pub async fn logout(&self) -> Result<(), ClientError> {
        let Some(session) = self.0.session.swap(None) else { return Ok(()) };
        match self.call(Method::DELETE, session.auth_token.clone()).await {
            Ok(_) | Err(ClientError::Refused { status: 401, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the session to try again with, where `outcome` of `used` may have come of its token.
    ///
    /// # Errors
    ///
    /// When the renewal fails; a refusal is told by `outcome`, which says more of the file.
    pub(super) async fn retry<T>(
        &self,
        used: &Arc<Session>,
        outcome: &Result<T, ClientError>,
    ) -> Result<Option<Arc<Session>>, ClientError> {
        if !outcome.as_ref().is_err_and(ClientError::is_denial) {
            return Ok(None);
        }
        match self.renewed(used).await {
            Ok(renewed) => Ok(Some(renewed)),
            Err(ClientError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the session with a token that is good for a while.
    pub(super) async fn fresh(&self) -> Result<Arc<Session>, ClientError> {
        let session = self.session().ok_or(ClientError::NotLoggedIn)?;
        if session.is_fresh(now()) { Ok(session) } else { self.renewed(&session).await }
    }

    /// Returns the session of the same login with another token than `used`. Calls at a time ask for one together, and
    /// share what comes of it.
    async fn renewed(&self, used: &Arc<Session>) -> Result<Arc<Session>, ClientError> {
        let inner = &*self.0;
        let failures = inner.failures.load(Ordering::Acquire);
        let mut failure = inner.renewing.lock().await;
        let current = self.session().filter(|current| current.is_same_login(used)).ok_or(ClientError::NotLoggedIn)?;
        if !Arc::ptr_eq(&current, used) {
            return Ok(current);
        }
        if let Some(failure) = failure.as_ref().filter(|_| inner.failures.load(Ordering::Acquire) != failures) {
            return Err(failure.clone());
        }
        let outcome = match self.ask(Method::GET, used.auth_token.clone(), Arc::clone(&used.urls)).await {
            Ok(session) if session.uid() != used.uid() => {
                Err(ClientError::Answer { host: self.control_host(), why: "is about another user" })
            }
            outcome => outcome.map(Arc::new),
        };
        match outcome {
            Ok(renewed) => {
                // Not where somebody has logged in or out meanwhile.
                let previous = inner.session.compare_and_swap(used, Some(Arc::clone(&renewed)));
                let is_in_place = previous.as_ref().is_some_and(|previous| Arc::ptr_eq(previous, used));
                if is_in_place { Ok(renewed) } else { Err(ClientError::NotLoggedIn) }
            }
            Err(error) => {
                *failure = Some(error.clone());
                inner.failures.fetch_add(1, Ordering::AcqRel);
                Err(error)
            }
        }
    }

    /// Asks the control listener for a session.
    async fn ask(
        &self,
        method: Method,
        auth_token: HeaderValue,
        urls: Arc<PresignedUrls>,
    ) -> Result<Session, ClientError> {
        let body = self.call(method, auth_token.clone()).await?;
        let wrong = |why| ClientError::Answer { host: self.control_host(), why };
        let reply: Reply = serde_json::from_slice(&body).map_err(|_| wrong("is not that to a login"))?;
        Session::new(reply, auth_token, urls, now()).map_err(wrong)
    }

    /// Makes one call of `/me`; returns the body of an answer that says yes.
    async fn call(&self, method: Method, auth_token: HeaderValue) -> Result<Bytes, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(&self.0.me)
            .header(ACCEPT, "application/json")
            .header("appId", &self.0.app)
            .header("authToken", auth_token)
            .body(Full::default());
        let request = request.map_err(|_| ClientError::Url)?;
        let (status, body) = self.0.http.exchange(request, MAX_ANSWER_BYTES).await?;
        if status.is_success() { Ok(body) } else { Err(refusal(self.control_host(), status, &body)) }
    }

    fn control_host(&self) -> String {
        self.0.me.parse().map(|uri| transport::host(&uri)).unwrap_or_default()
    }
}

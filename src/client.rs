//! A client of mediagate: logs a user in, keeps the user's token fresh, and opens media URLs with it.
//!
//! Three things it refuses to do: to show a token to any host but the one that the login has named, compared by a URL
//! parser and never as a substring; to follow a redirect; to try anything more than twice.
//!
//! ```no_run
//! # async fn example() -> Result<(), mediagate::client::ClientError> {
//! use mediagate::client::{Client, ClientOptions, SecureMediaMode};
//!
//! let client = Client::new(ClientOptions::new("https://api.acme.example", "acme", SecureMediaMode::HeaderBased))?;
//! client.login("<auth token>").await?;
//! let media = client.get("https://files.acme.example/acme/media/a.jpg").await?;
//! println!("{}", media.status());
//! let bytes = media.bytes(10 * 1024 * 1024).await?;
//! # drop(bytes);
//! # Ok(()) }
//! ```
//!
//! A clone is the same client. Calls run on Tokio.

mod account;
mod error;
mod media;
mod options;
mod presigned;
mod session;
pub(crate) mod transport;
mod urls;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

pub use error::ClientError;
pub use media::Media;
pub use options::{ClientOptions, SecureMediaMode};
pub use session::{Session, Settings};

use crate::secret::Secret;
use presigned::Presigned;
use session::FAT;
use transport::{Http, Times, refusal};

/// The longest answer that is read, files apart.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// A client for one user at a time.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: Http,
    /// Where `/me` is.
    me: String,
    app: HeaderValue,
    mode: SecureMediaMode,
    cached_urls: usize,
    session: ArcSwapOption<Session>,
    /// How many renewals have failed; the last one's error is behind the lock, for those who waited for it.
    failures: AtomicU64,
    renewing: Mutex<Option<ClientError>>,
}

/// Where a presigned URL may come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Cache,
    Gate,
}

impl Client {
    /// Makes a client that nobody is logged in to. Makes no connection.
    ///
    /// # Errors
    ///
    /// [`ClientError::Option`], for an option that cannot be used.
    pub fn new(options: ClientOptions) -> Result<Client, ClientError> {
        let ClientOptions { control, app, mode, connect_timeout, answer_timeout, root_certificates, cached_urls } =
            options;
        let base = urls::parse(&control).filter(|url| url.query().is_none() && url.fragment().is_none());
        let why = "must be an address like https://api.acme.example";
        let base = base.ok_or(ClientError::Option { option: "control", why })?;
        let why = "must be visible ASCII";
        let app = HeaderValue::from_str(&app).ok().filter(|app| !app.is_empty());
        let app = app.ok_or(ClientError::Option { option: "app", why })?;
        let times = Times { connect: connect_timeout, answer: answer_timeout };
        Ok(Client(Arc::new(Inner {
            http: Http::new(root_certificates.as_deref(), times)?,
            me: format!("{}/v3.0/me", base.as_str().trim_end_matches('/')),
            app,
            mode,
            cached_urls,
            session: ArcSwapOption::empty(),
            failures: AtomicU64::new(0),
            renewing: Mutex::new(None),
        })))
    }

    /// Who is logged in.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.0.session.load_full()
    }

    /// Returns the user's File Access Token, renewed where it has ended or soon will.
    ///
    /// # Errors
    ///
    /// When nobody is logged in, or a renewal that was due has failed.
    pub async fn fat(&self) -> Result<Secret, ClientError> {
        Ok(Secret::new(self.fresh().await?.fat()))
    }

    /// Whether `url` opens for a token only: it is a plain http(s) URL of the host that the login has named, and of its
    /// port where that has one. Never, while nobody is logged in or the app asks for no tokens.
    pub fn requires_secure_access(&self, url: &str) -> bool {
        self.secured(url).is_some()
    }

    /// Whether tokens go into header fields: the mode is [`SecureMediaMode::HeaderBased`], and the login has named a host
    /// that they are for.
    pub fn is_header_mode_enabled(&self) -> bool {
        let is_on = self.session().is_some_and(|session| session.secured().is_some());
        self.0.mode == SecureMediaMode::HeaderBased && is_on
    }

    /// Returns `url` with `?fat=`, in the embedded mode. As it is in the others, where it needs no token, and where it
    /// has one or a signature already.
    ///
    /// # Errors
    ///
    /// As for [`fat`](Client::fat).
    pub async fn media_url(&self, url: &str) -> Result<String, ClientError> {
        match self.bare(url, SecureMediaMode::Embedded) {
            Some(bare) => Ok(urls::with_parameter(&bare, "fat", self.fresh().await?.fat()).into()),
            None => Ok(url.to_owned()),
        }
    }

    /// Returns the header fields to send with `url`: the token, in the header mode and where [`media_url`] would append
    /// one in the embedded mode; else none. Send them to that URL only, and follow no redirect with them.
    ///
    /// [`media_url`]: Client::media_url
    ///
    /// # Errors
    ///
    /// As for [`fat`](Client::fat).
    pub async fn media_headers(&self, url: &str) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        if self.bare(url, SecureMediaMode::HeaderBased).is_some() {
            headers.insert(FAT, self.fresh().await?.fat.clone());
        }
        Ok(headers)
    }

    /// Returns a presigned URL for `url`, which opens without a token, in any mode; a kept one, unless it soon ends.
    /// `url` as it is where it needs no token: then nothing is sent.
    ///
    /// # Errors
    ///
    /// As for [`fat`](Client::fat), and when the gate refuses, after one retry with a fresh token.
    pub async fn fetch_presigned_url(&self, url: &str) -> Result<String, ClientError> {
        let Some(media) = self.secured(url) else { return Ok(url.to_owned()) };
        let session = self.fresh().await?;
        let first = self.presigned(&session, &media, Source::Cache).await;
        match self.retry(&session, &first).await? {
            Some(renewed) => self.presigned(&renewed, &media, Source::Gate).await,
            None => first,
        }
    }

    /// Fetches `url` in the way of the client's mode. A token or signature that `url` has is replaced by a fresh one.
    /// Without any token where it needs none.
    ///
    /// The body comes behind: see [`Media`]. Statuses are not errors, except for 401 and 403 where a token was due.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] after one retry with a fresh token and URL, or when there is none to be had.
    pub async fn get(&self, url: &str) -> Result<Media, ClientError> {
        let Some(media) = self.secured(url) else {
            return self.fetch(&urls::parse(url).ok_or(ClientError::Url)?, None).await;
        };
        let session = self.fresh().await?;
        let first = self.open(&session, &media, Source::Cache).await;
        match self.retry(&session, &first).await? {
            Some(renewed) => self.open(&renewed, &media, Source::Gate).await,
            None => first,
        }
    }

    /// `url`, where it needs a token.
    fn secured(&self, url: &str) -> Option<Url> {
        let url = urls::parse(url)?;
        self.session()?.secured()?.owns(&url).then_some(url)
    }

    /// `url`, where it needs a token in the way of `mode` and shows nothing itself.
    fn bare(&self, url: &str, mode: SecureMediaMode) -> Option<Url> {
        let url = self.secured(url).filter(|_| self.0.mode == mode)?;
        (!urls::has_credential(&url)).then_some(url)
    }

    /// Opens `media`, which needs a token, with that of `session`.
    async fn open(&self, session: &Session, media: &Url, source: Source) -> Result<Media, ClientError> {
        let clean = urls::clean(media);
        let opened = match self.0.mode {
            SecureMediaMode::Embedded => self.fetch(&urls::with_parameter(&clean, "fat", session.fat()), None).await,
            SecureMediaMode::HeaderBased => self.fetch(&clean, Some(session.fat.clone())).await,
            SecureMediaMode::Presigned => {
                let url = self.presigned(session, media, source).await?;
                self.fetch(&urls::parse(&url).ok_or(ClientError::Url)?, None).await
            }
        }?;
        match opened.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let body = timeout(self.0.http.answer_timeout(), opened.bytes(MAX_ANSWER_BYTES)).await;
                Err(refusal(transport::host_of(media), status, &body.ok().and_then(Result::ok).unwrap_or_default()))
            }
            _ => Ok(opened),
        }
    }

    /// Returns the presigned URL that `session` opens `media` with.
    async fn presigned(&self, session: &Session, media: &Url, source: Source) -> Result<String, ClientError> {
        let clean = urls::clean(media);
        if let Some(url) = session.urls.get(clean.as_str(), now()).filter(|_| source == Source::Cache) {
            return Ok(url);
        }
        let ask = transport::get(&urls::with_parameter(&clean, "redirect", "0"), Some(session.fat.clone()))?;
        let (status, body) = self.0.http.exchange(ask, MAX_ANSWER_BYTES).await?;
        if !status.is_success() {
            return Err(refusal(transport::host_of(media), status, &body));
        }
        #[derive(Deserialize)]
        struct Reply {
            data: Presigned,
        }
        let wrong = || ClientError::Answer { host: transport::host_of(media), why: "has no presigned URL" };
        let Reply { data: presigned } = serde_json::from_slice(&body).map_err(|_| wrong())?;
        urls::parse(&presigned.url).ok_or_else(wrong)?;
        let url = presigned.url.clone();
        session.urls.insert(clean.as_str(), presigned, now());
        Ok(url)
    }

    /// Sends one `GET`; with `fat` only to the host that it is for.
    async fn fetch(&self, url: &Url, fat: Option<HeaderValue>) -> Result<Media, ClientError> {
        let response = self.0.http.send(transport::get(url, fat)?).await?;
        Ok(Media::new(response, transport::host_of(url), self.0.http.answer_timeout()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { me, mode, session, .. } = &*self.0;
        f.debug_struct("Client").field("me", me).field("mode", mode).field("session", &*session.load()).finish()
    }
}

/// UNIX seconds.
#[expect(clippy::disallowed_methods, reason = "tokens and URLs end by the clock of the day")]
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

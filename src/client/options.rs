//! What a client is made of.

use std::time::Duration;

/// How a client shows its token to the media listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecureMediaMode {
    /// In the URL, `?fat=`: for images, players and links.
    Embedded,
    /// In a header field, `fat`: the URL stays clean.
    HeaderBased,
    /// Not at all: the file is opened with a presigned URL, which the token was exchanged for.
    Presigned,
}

/// What a [`Client`](super::Client) is made of.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The control listener, like `https://api.acme.example`.
    pub control: String,
    /// The app.
    pub app: String,
    /// How tokens are shown.
    pub mode: SecureMediaMode,
    /// How long a connection may take to be made; 5 seconds.
    pub connect_timeout: Duration,
    /// How long an answer of the control listener, the head of a file, and each piece of it may take; 30 seconds.
    pub answer_timeout: Duration,
    /// The certificates of a private authority, in PEM; they are trusted in place of the system's.
    pub root_certificates: Option<Vec<u8>>,
    /// How many presigned URLs are kept at most; 1000.
    pub cached_urls: usize,
}

impl ClientOptions {
    /// Options with the defaults.
    pub fn new(control: impl Into<String>, app: impl Into<String>, mode: SecureMediaMode) -> ClientOptions {
        ClientOptions {
            control: control.into(),
            app: app.into(),
            mode,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(30),
            root_certificates: None,
            cached_urls: 1000,
        }
    }
}

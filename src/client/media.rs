//! A file on its way: status and headers are there, the bytes come piece by piece.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::error::ClientError;

/// The answer to [`Client::get`](super::Client::get).
pub struct Media {
    response: Response<Incoming>,
    host: String,
    idle_timeout: Duration,
}

impl Media {
    pub(super) fn new(response: Response<Incoming>, host: String, idle_timeout: Duration) -> Media {
        Media { response, host, idle_timeout }
    }

    /// The HTTP status: 200, 404 and so on. A redirect is not followed.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the next piece of the body, as it comes; `None` at its end.
    ///
    /// # Errors
    ///
    /// When no more comes in time, or the connection ends before the body does: what came is not all of it.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        let frames = async {
            // Trailers are no part of the file.
            while let Some(frame) = self.response.body_mut().frame().await {
                match frame.map(|frame| frame.into_data()) {
                    Ok(Ok(data)) => return Ok(Some(data)),
                    Ok(Err(_)) => {}
                    Err(_) => return Err(ClientError::Broken { host: self.host.clone() }),
                }
            }
            Ok(None)
        };
        match timeout(self.idle_timeout, frames).await {
            Ok(next) => next,
            Err(_) => Err(ClientError::Timeout { host: self.host.clone(), after: self.idle_timeout }),
        }
    }

    /// Returns the whole body, of `limit` bytes at most. Takes as long as pieces come in time; who waits for less long
    /// drops the call.
    ///
    /// # Errors
    ///
    /// As for [`chunk`](Media::chunk), and when there is more.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, ClientError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > limit - body.len() {
                return Err(ClientError::TooLarge { host: self.host, limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// Without the fields: a server may put a URL into them.
impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media").field("host", &self.host).field("status", &self.status()).finish_non_exhaustive()
    }
}

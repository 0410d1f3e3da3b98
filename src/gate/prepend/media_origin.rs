//! Where media may be: a scheme, a host and a port, compared exactly.

use std::sync::Arc;

use url::Url;

use crate::gate::extract::host_name;
use crate::gate::resolve::{Endpoint, NotAnEndpoint};

/// Who has the media of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// This gate: the request goes on inside it, with its token.
    Own,
    /// Somebody else: the request goes on to that server, with its own token untouched.
    Foreign,
}

/// A scheme, a host and a port that may stand behind the own host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaOrigin {
    /// As browsers write it, without the scheme's own port.
    pub(super) text: String,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) serving: Serving,
}

impl MediaOrigin {
    /// Reads `files.example`, which is `https://files.example`, or a whole origin like `http://files.lan:9000`.
    ///
    /// # Errors
    ///
    /// Whatever else, also what a parser would write otherwise: capitals, another alphabet, `:443` behind `https://`.
    pub fn parse(text: &str, serving: Serving) -> Result<MediaOrigin, NotAnEndpoint> {
        let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let endpoint = Endpoint::parse(&text)?;
        let url = Url::parse(&text).map_err(|_| NotAnEndpoint)?;
        let is_name = host_name(&endpoint.host).is_some();
        if url.origin().ascii_serialization() != text || endpoint.to_string() != text || !is_name {
            return Err(NotAnEndpoint);
        }
        Ok(MediaOrigin { text, endpoint: Arc::new(endpoint), serving })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for text in ["files.example", "https://files.example", "http://files.lan:9000", "https://files.example:8443"] {
            assert!(MediaOrigin::parse(text, Serving::Own).is_ok(), "{text}");
        }
        for text in [
            "",
            "Files.example",
            "https://files.example/",
            "https://files.example/a",
            "https://files.example:443",
            "http://u@files.example",
            "bücher.example",
            "0x7f.1",
            "*.example",
            "ftp://files.example",
            "files.example/a",
            "files.example?",
        ] {
            assert!(MediaOrigin::parse(text, Serving::Own).is_err(), "{text}");
        }
    }
}

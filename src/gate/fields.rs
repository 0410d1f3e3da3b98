//! What an answer with an object has of the gate's own, beside what the storage says of it.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;

use super::denial::Denial;
use super::extract::Shown;
use super::object_key::ObjectPath;
use super::{Gate, content};

impl Gate {
    /// Returns a player's `Set-Cookie` and the `Content-Disposition` of a download, as far as the request gets them; `until`:
    /// when its token expires.
    ///
    /// # Errors
    ///
    /// A file name that is none.
    pub(super) fn more_fields(
        &self,
        request: &Parts,
        shown: &Shown<'_>,
        path: &ObjectPath,
        until: Option<Duration>,
        now: Duration,
    ) -> Result<Option<Box<HeaderMap>>, Denial> {
        let cookies = self.player_cookies.as_ref();
        let cookie =
            until.zip(cookies).and_then(|(until, cookies)| cookies.set(request, shown, path.key(), until, now));
        let disposition = shown.wishes.download.map(|name| content::attachment(name, path.key())).transpose()?;
        if cookie.is_none() && disposition.is_none() {
            return Ok(None);
        }
        let mut fields = Box::<HeaderMap>::default();
        if let Some(cookie) = cookie {
            fields.insert(header::SET_COOKIE, cookie);
            // Whoever is given the answer by a cache would be given the token, too.
            fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        fields.extend(disposition.map(|value| (header::CONTENT_DISPOSITION, value)));
        Ok(Some(fields))
    }
}

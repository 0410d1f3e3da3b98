//! What a query asks for beside its object: a presigned URL, a cookie, a file to be saved.

use super::credential::reads_as;
use crate::gate::denial::{BadRequest, Denial};

/// The query parameter that asks for a presigned URL.
const REDIRECT: &str = "redirect";

/// The query parameter that asks for a player's cookie where the object's name does not.
const COOKIE: &str = "cookie";

/// The query parameter that asks for a file to be saved, under a name.
const DOWNLOAD: &str = "download";

/// How a client wants its presigned URL: the value of `redirect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoutForm {
    /// `0`: in a JSON body.
    Body,
    /// `1`: as a redirect.
    Redirect,
}

/// What one request asks for beside the object.
#[derive(Default)]
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(in crate::gate) struct Wishes<'a> {
    pub(in crate::gate) handout: Option<HandoutForm>,
    pub(in crate::gate) wants_cookie: bool,
    /// The value of `download`, as it was sent.
    pub(in crate::gate) download: Option<&'a str>,
}

impl<'a> Wishes<'a> {
    /// Takes a parameter of the query, if it is a wish.
    ///
    /// # Errors
    ///
    /// One that is not clear, or stands twice.
    pub(super) fn take(&mut self, name: &str, value: &'a str) -> Result<(), Denial> {
        let clear = |is_clear, otherwise| if is_clear { Ok(()) } else { Err(Denial::BadRequest(otherwise)) };
        match name {
            COOKIE => {
                let is_first = !std::mem::replace(&mut self.wants_cookie, true);
                clear(is_first && value == "1", BadRequest::Cookie)
            }
            DOWNLOAD => clear(self.download.replace(value).is_none(), BadRequest::Download),
            _ if reads_as(name, REDIRECT) => {
                let form = match (name, value) {
                    (REDIRECT, "0") => Some(HandoutForm::Body),
                    (REDIRECT, "1") => Some(HandoutForm::Redirect),
                    _ => None,
                };
                let is_first = self.handout.is_none();
                self.handout = form;
                clear(is_first && form.is_some(), BadRequest::Redirect)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parameters of `query` ask for.
    fn wishes(query: &str) -> Result<Wishes<'_>, Denial> {
        let mut wishes = Wishes::default();
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            wishes.take(name, value)?;
        }
        Ok(wishes)
    }

    #[test]
    fn a_presigned_url_is_asked_for_once_and_clearly() {
        let check = |query: &str, expected: Result<Option<HandoutForm>, BadRequest>| {
            let found = wishes(query).map(|wishes| wishes.handout);
            assert_eq!(found, expected.map_err(Denial::BadRequest), "{query}");
        };
        check("", Ok(None));
        check("redirects=0&x=redirect", Ok(None));
        check("redirect=0", Ok(Some(HandoutForm::Body)));
        check("x=1&redirect=1", Ok(Some(HandoutForm::Redirect)));
        for query in ["redirect", "redirect=", "redirect=2", "redirect=00", "redirect=true", "redirect=%30"] {
            check(query, Err(BadRequest::Redirect));
        }
        for query in ["Redirect=0", "%72edirect=0", "redirect=0&redirect=0", "redirect=0&redirect=1"] {
            check(query, Err(BadRequest::Redirect));
        }
    }

    #[test]
    fn a_cookie_is_asked_for_once_and_clearly() {
        let check = |query: &str, expected: Result<bool, BadRequest>| {
            let found = wishes(query).map(|wishes| wishes.wants_cookie);
            assert_eq!(found, expected.map_err(Denial::BadRequest), "{query}");
        };
        check("cookies=1&x=cookie&Cookie=1", Ok(false));
        check("cookie=1", Ok(true));
        for query in ["cookie", "cookie=", "cookie=0", "cookie=true", "cookie=1&cookie=1"] {
            check(query, Err(BadRequest::Cookie));
        }
    }

    #[test]
    fn a_file_is_asked_for_once() {
        let check = |query: &str, expected: Result<Option<&str>, BadRequest>| {
            let found = wishes(query).map(|wishes| wishes.download);
            assert_eq!(found, expected.map_err(Denial::BadRequest), "{query}");
        };
        check("downloads=1&Download=1", Ok(None));
        check("download", Ok(Some("")));
        check("download=a%20b.txt", Ok(Some("a%20b.txt")));
        check("download=1&download=1", Err(BadRequest::Download));
        check("download&download=a", Err(BadRequest::Download));
    }
}

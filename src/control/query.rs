//! Query parameters: each known, each once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::Uri;
use serde::Serialize;

use super::error::{ApiError, Details};
use crate::store::users::Page;

/// The most rows of one page.
const MAX_PER_PAGE: u32 = 1000;

/// The last page that can be asked for.
const MAX_PAGE: u32 = 1_000_000;

/// The longest value.
const MAX_VALUE_BYTES: usize = 8192;

/// The parameters of one call.
#[derive(Debug, Default)]
pub(super) struct Query<'a>(BTreeMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Query<'a> {
    /// Reads the parameters of `uri`, which may have those of `known` and no others.
    pub(super) fn read(uri: &'a Uri, known: &[&str]) -> Result<Query<'a>, ApiError> {
        Query::parse(uri.query().unwrap_or_default().as_bytes(), known)
    }

    /// The same of a query, or of the fields of a form.
    pub(super) fn parse(text: &'a [u8], known: &[&str]) -> Result<Query<'a>, ApiError> {
        let mut found = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            let Some(known) = known.iter().find(|known| **known == name) else {
                let list = known.join(", ");
                let why = if known.is_empty() {
                    "This call has no query parameters.".to_owned()
                } else {
                    format!("The query parameters here are {list}.")
                };
                return Err(ApiError::invalid("query", why));
            };
            if value.len() > MAX_VALUE_BYTES || value.contains(char::is_control) {
                return Err(ApiError::invalid(*known, format!("The {known} is too long or has control characters.")));
            }
            if found.insert(name, value).is_some() {
                return Err(ApiError::invalid(*known, format!("The {known} parameter is there twice.")));
            }
        }
        Ok(Query(found))
    }

    /// What stands there, which may be nothing.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// A text that says something.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// A list with commas between its items.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let items = self.text(name).into_iter().flat_map(|list| list.split(','));
        items.map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// `true`, `false`, `1` or `0`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.value(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(ApiError::invalid(name, format!("The {name} must be true or false."))),
        }
    }

    /// `perPage` and `page`.
    pub(super) fn page(&self) -> Result<Page, ApiError> {
        let mut details = Details::new();
        let mut number = |name: &str, default: u32, most: u32| {
            let number = self.value(name).map_or(Some(default), |text| text.parse().ok());
            number.filter(|number| (1..=most).contains(number)).unwrap_or_else(|| {
                details.insert(name.to_owned(), vec![format!("The {name} must be between 1 and {most}.")]);
                default
            })
        };
        let page = Page { size: number("perPage", 100, MAX_PER_PAGE), number: number("page", 1, MAX_PAGE) };
        if details.is_empty() { Ok(page) } else { Err(ApiError::Invalid(details)) }
    }
}

/// A list as the API answers it.
#[derive(Debug, Serialize)]
pub(super) struct Listed<T> {
    data: Vec<T>,
    meta: Meta,
}

#[derive(Debug, Serialize)]
struct Meta {
    pagination: Pagination,
}

#[derive(Debug, Serialize)]
struct Pagination {
    total: u64,
    count: usize,
    per_page: u32,
    current_page: u32,
    total_pages: u64,
}

impl<T> Listed<T> {
    pub(super) fn new(data: Vec<T>, total: u64, page: Page) -> Listed<T> {
        let pagination = Pagination {
            total,
            count: data.len(),
            per_page: page.size,
            current_page: page.number,
            total_pages: total.div_ceil(u64::from(page.size)),
        };
        Listed { data, meta: Meta { pagination } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_and_there_once() {
        let read = |query: &str| {
            let uri: Uri = format!("/v3/users?{query}").parse().unwrap();
            Query::read(&uri, &["a", "b", "perPage", "page"])
                .map(|query| (query.list("a"), query.flag("b"), query.page().map(|page| (page.size, page.number))))
        };
        let (list, flag, page) = read("a=x%20y,+z,&b=1&perPage=7&page=2").unwrap();
        assert_eq!((list, flag, page), (vec!["x y".to_owned(), "z".to_owned()], Ok(true), Ok((7, 2))));
        for bad in ["c=1", "a=1&a=1", "a=%00", &format!("a={}", "x".repeat(MAX_VALUE_BYTES + 1))] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bad in
            ["page=0", "page=-1", "page=1.5", "page=99999999999999999999", "perPage=1001", "perPage=x", "perPage="]
        {
            assert!(read(bad).unwrap().2.is_err(), "{bad}");
        }
        assert!(read("b=yes").unwrap().1.is_err());
        assert!(read("b=").unwrap().1.is_err());
        assert_eq!(read("").unwrap().2, Ok((100, 1)));
    }
}

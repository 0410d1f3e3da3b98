//! Forms: bounded, each field known and there once, and sent by a page that was made for this session.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Bytes;
use axum::extract::Request;
use http::{HeaderMap, header};
use maud::{Markup, html};

use super::Visitor;
use crate::control::api_key::single;
use crate::control::call::{BODY_TIMEOUT, collect};
use crate::control::error::ApiError;
use crate::control::query::Query;

/// The field that says which session a form was made for.
const TOKEN: &str = "form_token";

/// Reads the body of a form.
pub(super) async fn read(request: Request) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    if !is_form(&parts.headers) || parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::MediaType("The form must be sent as application/x-www-form-urlencoded."));
    }
    collect(body, BODY_TIMEOUT).await
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = single(headers, "content-type").ok().flatten();
    let essence = value.and_then(|value| value.split(|byte| *byte == b';').next()).unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

impl Visitor {
    /// Returns the fields of a form of this session, which may have those of `known` and no others.
    pub(super) fn form<'a>(&self, body: &'a Bytes, known: &[&str]) -> Result<Query<'a>, ApiError> {
        let fields = Query::parse(body, &[known, &[TOKEN]].concat())?;
        let shown = fields.value(TOKEN).unwrap_or_default();
        verify_slices_are_equal(shown.as_bytes(), self.session.form_token.as_bytes())
            .map_err(|_| ApiError::invalid(TOKEN, "The form is not of this session. Open its page again."))?;
        Ok(fields)
    }

    /// The uid in the fields of a form or a query, as the app compares it.
    pub(super) fn uid(&self, fields: &Query<'_>) -> Result<String, ApiError> {
        let uid = fields.text("uid").and_then(|uid| self.app.uid(uid));
        uid.ok_or_else(|| ApiError::invalid("uid", "The uid must be 1 to 255 visible ASCII characters."))
    }

    /// What every form of a page has in it.
    pub(super) fn form_token(&self) -> Markup {
        html! { input type="hidden" name=(TOKEN) value=(self.session.form_token); }
    }
}

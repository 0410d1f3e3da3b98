//! Why a link opens, or does not. The link goes in a form's body and is in no address: there is a token in it.

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use maud::{Markup, html};

use super::layout::{Place, time, user_path};
use super::{Dashboard, Failure, Visitor, form};
use crate::control::call::no_query;
use crate::control::error::ApiError;
use crate::control::explain::Explained;

/// `GET /dashboard/explain`.
pub(super) async fn page(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    no_query(request.uri())?;
    let content = html! {
        p { "What the gate would answer to a link, by what the database says now. Neither the link nor its token is kept." }
        form class="card" method="post" action=(Place::Explain.path()) {
            (visitor.form_token())
            label for="url" { "The whole URL" }
            input id="url" name="url" required maxlength="8192" autocomplete="off" autocapitalize="off" spellcheck="false"
                aria-describedby="url-hint";
            p class="hint" id="url-hint" { "Like https://files.example/" (visitor.app.id) "/media/7.jpg?fat=…" }
            button { "Explain" }
        }
    };
    Ok(dashboard.page(&visitor, Place::Explain, "Explain a URL", content))
}

/// `POST /dashboard/explain`.
pub(super) async fn explain(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    let body = form::read(request).await?;
    let fields = visitor.form(&body, &["url"])?;
    let url = fields.text("url").ok_or_else(|| ApiError::required("url"))?;
    let explained = dashboard.0.control.explain(url.trim(), &visitor.caller).await?;
    Ok(dashboard.tell(&visitor, Place::Explain.path(), answer(&explained)))
}

fn answer(explained: &Explained) -> Markup {
    let Explained { app, object, uid, credential, message, observed, .. } = explained;
    html! {
        p {
            @if explained.admitted { span class="mark good" { "let through" } } @else { span class="mark bad" { "refused" } }
            " with status " b { (explained.status) } ", reason " code { (explained.reason) }
            @if let Some(code) = explained.code { ", code " code { (code) } }
        }
        @if let Some(message) = message { p { (message) } }
        dl {
            @if let Some(app) = app { dt { "App" } dd { (app) ", access " (explained.access) } }
            @if let Some(object) = object { dt { "Object" } dd { code { (object) } } }
            @if let Some(uid) = uid { dt { "User" } dd { a href=(user_path(uid)) { (uid) } } }
            @if let Some(credential) = credential { dt { "Credential" } dd { (credential) } }
            @if let Some(reason) = observed { dt { "Under enforce" } dd { "refused: " code { (reason) } } }
            @if let Some(before) = explained.modified_before {
                dt { "Only if" } dd { "last modified before " (time(before)) ": later objects need a token" }
            }
        }
    }
}

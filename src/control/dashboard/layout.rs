//! What all pages have around them, and what they say in the same way.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::assets::{DATA, ICON, STYLE};
use super::{Dashboard, HOME, Visitor};
use crate::control::nodes::Receipt;
use crate::gate::calendar_date;

/// Most nodes of a receipt that are listed.
const MAX_NODES_LISTED: usize = 20;

/// What the navigation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Users,
    Access,
    Explain,
    Nodes,
}

impl Place {
    const ALL: [Place; 5] = [Place::Overview, Place::Users, Place::Access, Place::Explain, Place::Nodes];

    fn name(self) -> &'static str {
        match self {
            Place::Overview => "Overview",
            Place::Users => "Users",
            Place::Access => "Access",
            Place::Explain => "Explain a URL",
            Place::Nodes => "Nodes",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Place::Overview => HOME,
            Place::Users => "/dashboard/users",
            Place::Access => "/dashboard/access",
            Place::Explain => "/dashboard/explain",
            Place::Nodes => "/dashboard/nodes",
        }
    }
}

impl Dashboard {
    /// A page of somebody who is logged in. Tells what was left to be told.
    pub(super) fn page(&self, visitor: &Visitor, place: Place, title: &str, content: Markup) -> Response {
        let notice = self.0.sessions.told(&visitor.session.digest);
        let page = document(
            title,
            html! {
                a class="skip" href="#content" { "Skip to the content" }
                header class="bar" {
                    a class="brand" href=(HOME) { "mediagate" }
                    nav aria-label="Pages" {
                        ul {
                            @for other in Place::ALL {
                                li {
                                    a href=(other.path()) aria-current=[(other == place).then_some("page")] { (other.name()) }
                                }
                            }
                        }
                    }
                    form class="leave" method="post" action="/dashboard/logout" {
                        (visitor.form_token())
                        span { "App " b { (visitor.app.id) } ", key " b { (visitor.caller.name) } }
                        button class="quiet" { "Log out" }
                    }
                }
                main id="content" tabindex="-1" {
                    @if let Some(notice) = notice {
                        div class="notice" tabindex="-1" autofocus { (notice) }
                    }
                    h1 { (title) }
                    (content)
                }
            },
        );
        answer(StatusCode::OK, page)
    }
}

/// A page with one thing on it.
pub(super) fn bare(status: StatusCode, title: &str, content: Markup) -> Response {
    answer(status, document(title, html! { main class="alone" { h1 { (title) } (content) } }))
}

/// A page that says what went wrong.
pub(super) fn failure(status: StatusCode, title: &str, message: &str, details: &[&str]) -> Response {
    let content = html! {
        div class="problem" role="alert" {
            p { (message) }
            @if !details.is_empty() {
                ul { @for detail in details { li { (detail) } } }
            }
        }
        p { a href=(HOME) { "To the overview" } }
    };
    bare(status, title, content)
}

fn document(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · mediagate" }
                link rel="stylesheet" href=(STYLE.path());
                link rel="stylesheet" href=(DATA.path());
                link rel="icon" type="image/svg+xml" href=(ICON.path());
            }
            body { (body) }
        }
    }
}

fn answer(status: StatusCode, page: Markup) -> Response {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(header::CONTENT_TYPE, html)], page.into_string()).into_response()
}

/// The path of a user's page. The uid is a parameter: as a segment, `..` would be another page.
pub(super) fn user_path(uid: &str) -> String {
    format!("/dashboard/user?uid={}", utf8_percent_encode(uid, NON_ALPHANUMERIC))
}

/// A time in UNIX seconds, to the minute.
pub(super) fn time(seconds: u64) -> Markup {
    let (year, month, day) = calendar_date(seconds / 86_400);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    html! {
        time datetime=(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}Z")) {
            (format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC"))
        }
    }
}

/// Which nodes have a change.
pub(super) fn receipt(receipt: Option<&Receipt>) -> Markup {
    let Some(Receipt { nodes, missing, slowest_ms, .. }) = receipt else { return html! {} };
    let all = nodes.len() + missing.len();
    html! {
        @match slowest_ms {
            Some(slowest) => p { (nodes.len()) " of " (all) " nodes have it, the slowest after " b { (slowest) " ms" } "." },
            None if all == 0 => p { "No node that serves files has reported yet." },
            None => p { "None of " (all) " nodes has said so yet." },
        }
        @if !nodes.is_empty() {
            ul class="receipt" {
                @for node in nodes.iter().take(MAX_NODES_LISTED) { li { b { (node.node) } " " (node.ms) " ms" } }
                @if nodes.len() > MAX_NODES_LISTED { li { "and " (nodes.len() - MAX_NODES_LISTED) " more" } }
            }
        }
        @if !missing.is_empty() {
            p class="problem" {
                "Not yet on: " (missing.iter().take(MAX_NODES_LISTED).cloned().collect::<Vec<_>>().join(", "))
                @if missing.len() > MAX_NODES_LISTED { " and " (missing.len() - MAX_NODES_LISTED) " more" }
            }
        }
    }
}

//! The users of the app: searched for, page by page.

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::layout::{Place, time, user_path};
use super::{Dashboard, Failure, Visitor};
use crate::control::error::ApiError;
use crate::control::query::Query;
use crate::store::users::{Deactivated, Page, User, UserQuery};

const PER_PAGE: u32 = 50;

/// Which users are shown: what the form says, what it is called, and what the store is asked.
const SHOWN: [(&str, &str, Deactivated); 3] = [
    ("all", "All users", Deactivated::With),
    ("active", "Without the deactivated", Deactivated::Without),
    ("deactivated", "Deactivated only", Deactivated::Only),
];

/// `GET /dashboard/users?search=…&show=…&page=…`.
pub(super) async fn page(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    let query = Query::read(request.uri(), &["search", "show", "page"])?;
    let search = query.value("search").unwrap_or_default().trim();
    let wanted = query.text("show").unwrap_or("all");
    let (show, _, deactivated) = *SHOWN
        .iter()
        .find(|(name, ..)| *name == wanted)
        .ok_or_else(|| ApiError::invalid("show", "The show must be all, active or deactivated."))?;
    let page = Page { size: PER_PAGE, number: query.page()?.number };
    let wanted = UserQuery { search: search.to_owned(), deactivated, page, ..UserQuery::default() };
    let (users, total) = dashboard.0.control.0.store.users(&visitor.app.id, &wanted).await?;
    let content = html! {
        (search_form(search, show))
        @if users.is_empty() {
            p class="empty" { "No such user is registered." }
            @if let Some(uid) = visitor.app.uid(search) {
                p { "Whoever is not can be deactivated all the same: " a href=(user_path(&uid)) { "open " (uid) } "." }
            }
        } @else {
            (table(&visitor, &users, total))
            (pages(search, show, page, total))
        }
    };
    Ok(dashboard.page(&visitor, Place::Users, "Users", content))
}

fn search_form(search: &str, show: &str) -> Markup {
    html! {
        form class="line" role="search" method="get" action=(Place::Users.path()) {
            div {
                label for="search" { "Uid or name begins with" }
                input id="search" name="search" type="search" value=(search) maxlength="255" autocapitalize="off"
                    spellcheck="false";
            }
            div {
                label for="show" { "Show" }
                select id="show" name="show" {
                    @for (name, title, _) in SHOWN {
                        option value=(name) selected[name == show] { (title) }
                    }
                }
            }
            button { "Search" }
        }
    }
}

fn table(visitor: &Visitor, users: &[User], total: u64) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label="Users" {
            table {
                caption { (total) @if total == 1 { " user" } @else { " users" } }
                thead {
                    tr {
                        th scope="col" { "Uid" }
                        th scope="col" { "Name" }
                        th scope="col" { "Role" }
                        th scope="col" { "Registered" }
                        th scope="col" { "State" }
                        th scope="col" { "Change" }
                    }
                }
                tbody {
                    @for user in users {
                        tr {
                            th scope="row" { a href=(user_path(&user.uid)) { (user.uid) } }
                            td { (user.profile.name) }
                            td { (user.profile.role) }
                            td { (time(user.created_at)) }
                            td { (state(user.state.is_deactivated)) }
                            td { (switch(visitor, &user.uid, user.state.is_deactivated)) }
                        }
                    }
                }
            }
        }
    }
}

/// Whether a user is deactivated, in a word.
pub(super) fn state(is_deactivated: bool) -> Markup {
    html! {
        @if is_deactivated { span class="mark bad" { "deactivated" } } @else { span class="mark good" { "active" } }
    }
}

/// The button that deactivates or reactivates a user.
pub(super) fn switch(visitor: &Visitor, uid: &str, is_deactivated: bool) -> Markup {
    let (action, class, word) = match is_deactivated {
        true => ("/dashboard/user/reactivate", "", "Reactivate"),
        false => ("/dashboard/user/deactivate", "danger", "Deactivate"),
    };
    html! {
        form method="post" action=(action) {
            (visitor.form_token())
            input type="hidden" name="uid" value=(uid);
            button class=(class) aria-label=(format!("{word} {uid}")) { (word) }
        }
    }
}

fn pages(search: &str, show: &str, page: Page, total: u64) -> Markup {
    let last = total.div_ceil(u64::from(page.size)).max(1);
    let number = u64::from(page.number);
    let path = |number: u64| {
        let search = utf8_percent_encode(search, NON_ALPHANUMERIC);
        format!("{}?search={search}&show={show}&page={number}", Place::Users.path())
    };
    html! {
        @if last > 1 {
            nav class="pages" aria-label="Pages of the list" {
                @if number > 1 { a rel="prev" href=(path(number - 1)) { "Previous" } }
                span { "Page " (number) " of " (last) }
                @if number < last { a rel="next" href=(path(number + 1)) { "Next" } }
            }
        }
    }
}

//! One user: who it is, what sessions there are, what is restricted, and what can be done about it.

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use maud::{Markup, html};

use super::layout::{Place, receipt, time, user_path};
use super::users::{state, switch};
use super::{Dashboard, Failure, RECEIPT_WAIT, Visitor, form};
use crate::control::error::ApiError;
use crate::control::query::Query;
use crate::control::users::{Named, UsersCall, set};
use crate::restrictions::{Effect, Scope};
use crate::store::auth_tokens::{AuthToken, LIVE_TOKENS, TokenName};
use crate::store::users::{Page, Profile, User};

/// `GET /dashboard/user?uid=…`, of any well-formed uid: one that is not registered can be deactivated, too.
pub(super) async fn page(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    let uid = visitor.uid(&Query::read(request.uri(), &["uid"])?)?;
    let store = &dashboard.0.control.0.store;
    let user = store.user(&visitor.app.id, &uid).await?;
    let restrictions = store.restrictions_of(&visitor.app.id, [&uid, "", ""]).await?;
    let is_of_user = |scope: &Scope| matches!(scope, Scope::User { .. });
    let effects: Vec<Effect> =
        restrictions.into_iter().filter(|(scope, _)| is_of_user(scope)).map(|(_, effect)| effect).collect();
    let all = Page { size: LIVE_TOKENS as u32, number: 1 };
    let (sessions, _) = store.tokens(&visitor.app.id, &uid, all).await?;
    let is_deactivated = effects.contains(&Effect::Deactivated);
    let content = html! {
        div class="line" {
            p { (state(is_deactivated)) }
            (switch(&visitor, &uid, is_deactivated))
        }
        @match &user {
            Some(user) => (profile(user)),
            None => p class="empty" { "This user is not registered here. The app may issue tokens for it all the same." },
        }
        h2 { "Restrictions" }
        (restricted(&effects))
        h2 { "Sessions" }
        @if user.is_some() { (session_table(&visitor, &uid, &sessions)) } @else { p class="empty" { "None." } }
    };
    Ok(dashboard.page(&visitor, Place::Users, &format!("User {uid}"), content))
}

fn profile(user: &User) -> Markup {
    let Profile { name, avatar, link, role, status_message, metadata, tags } = &user.profile;
    let rows = [("Name", name), ("Role", role), ("Says", status_message), ("Avatar", avatar), ("Link", link)];
    html! {
        h2 { "Profile" }
        dl {
            dt { "Uid" } dd { code { (user.uid) } }
            @for (what, value) in rows.into_iter().chain([("Tags", tags), ("Metadata", metadata)]) {
                @if !value.is_empty() { dt { (what) } dd { (value) } }
            }
            dt { "Registered" } dd { (time(user.created_at)) }
            @if user.updated_at != 0 { dt { "Changed" } dd { (time(user.updated_at)) } }
        }
    }
}

fn restricted(effects: &[Effect]) -> Markup {
    html! {
        @if effects.is_empty() { p class="empty" { "None: what is issued for this user is good." } }
        ul {
            @for effect in effects {
                @match effect {
                    Effect::Deactivated => li { "Deactivated: every link and session of this user is dead." },
                    Effect::IssuedBefore { before } => li { "What was issued before " (time(*before)) " is dead." },
                    _ => {},
                }
            }
        }
    }
}

fn session_table(visitor: &Visitor, uid: &str, sessions: &[AuthToken]) -> Markup {
    html! {
        @if sessions.is_empty() {
            p class="empty" { "None: nobody is logged in as this user." }
        } @else {
            div class="scroll" tabindex="0" role="region" aria-label="Sessions" {
                table {
                    caption { "Auth tokens that a client can log in with, the newest first" }
                    thead {
                        tr {
                            th scope="col" { "Session" }
                            th scope="col" { "Since" }
                            th scope="col" { "Platform" }
                            th scope="col" { "Client" }
                            th scope="col" { "Change" }
                        }
                    }
                    tbody {
                        @for session in sessions {
                            tr {
                                th scope="row" { code { (session.sid) } }
                                td { (time(session.created_us / 1_000_000)) }
                                td { (session.details.platform) }
                                td { (session.details.user_agent) }
                                td { (end_button(visitor, uid, &session.sid)) }
                            }
                        }
                    }
                }
            }
        }
        form method="post" action="/dashboard/user/end-sessions" {
            (visitor.form_token())
            input type="hidden" name="uid" value=(uid);
            p class="hint" id="end-hint" { "Ends all sessions, and every link issued until now; what is issued afterwards is good." }
            button class="danger" aria-describedby="end-hint" { "End all sessions and links" }
        }
    }
}

fn end_button(visitor: &Visitor, uid: &str, sid: &str) -> Markup {
    html! {
        form method="post" action="/dashboard/user/end-session" {
            (visitor.form_token())
            input type="hidden" name="uid" value=(uid);
            input type="hidden" name="sid" value=(sid);
            button class="danger" aria-label=(format!("End session {sid}")) { "End" }
        }
    }
}

/// `POST /dashboard/user/deactivate`.
pub(super) async fn deactivate(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    switched(&dashboard, &visitor, request, true).await
}

/// `POST /dashboard/user/reactivate`.
pub(super) async fn reactivate(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    switched(&dashboard, &visitor, request, false).await
}

async fn switched(
    dashboard: &Dashboard,
    visitor: &Visitor,
    request: Request,
    in_force: bool,
) -> Result<Response, Failure> {
    let body = form::read(request).await?;
    let uid = visitor.uid(&visitor.form(&body, &["uid"])?)?;
    let named = Named { uid: uid.clone(), sent: uid.clone() };
    let call = UsersCall { app: visitor.app.clone(), uids: vec![named], wait: Some(RECEIPT_WAIT) };
    let done = set(&dashboard.0.control, &visitor.caller, call, in_force).await?;
    let word = if in_force { "deactivated" } else { "active" };
    let notice = html! {
        p {
            b { (uid) } @if done.changed.is_empty() { " was " (word) " already." } @else { " is " (word) " now." }
        }
        (receipt(done.receipt.as_ref()))
    };
    Ok(dashboard.tell(visitor, &user_path(&uid), notice))
}

/// `POST /dashboard/user/end-session`.
pub(super) async fn end_session(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    let body = form::read(request).await?;
    let fields = visitor.form(&body, &["uid", "sid"])?;
    let uid = visitor.uid(&fields)?;
    let sid = fields.text("sid").ok_or_else(|| ApiError::required("sid"))?;
    let (control, name) = (&dashboard.0.control, TokenName::Sid(sid.to_owned()));
    let ended = control.end_session(&visitor.app, &uid, name, Some(RECEIPT_WAIT)).await?;
    log::info!("control: `{}` deleted an auth token of a user of app `{}`", visitor.caller.name, visitor.app.id);
    let notice = html! { p { "The session " code { (sid) } " has ended, with its links." } (receipt(ended.as_ref())) };
    Ok(dashboard.tell(&visitor, &user_path(&uid), notice))
}

/// `POST /dashboard/user/end-sessions`.
pub(super) async fn end_sessions(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    let body = form::read(request).await?;
    let uid = visitor.uid(&visitor.form(&body, &["uid"])?)?;
    let ended = dashboard.0.control.end_sessions(&visitor.caller, &visitor.app, &uid, Some(RECEIPT_WAIT)).await?;
    let notice = html! {
        p { "All sessions of " b { (uid) } " have ended, with every link issued until now." }
        (receipt(ended.as_ref()))
    };
    Ok(dashboard.tell(&visitor, &user_path(&uid), notice))
}

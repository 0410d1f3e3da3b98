//! The access switch: where it stands, what would be refused, and the next step. There is no step back here.

use std::time::Instant;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use maud::{Markup, html};

use super::layout::{Place, receipt};
use super::{Dashboard, Failure, RECEIPT_WAIT, Visitor, form};
use crate::control::ControlState;
use crate::control::app::WantedSettings;
use crate::control::call::{App, no_query};
use crate::control::error::ApiError;
use crate::feed::wire::Observed;
use crate::gate::Access;

/// `GET /dashboard/access`.
pub(super) async fn page(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    no_query(request.uri())?;
    let control = &dashboard.0.control;
    let access = control.access(&visitor.app).await?;
    let observed = control.0.nodes.observed(&visitor.app.id, Instant::now());
    let content = html! {
        ol class="steps" {
            @for step in Access::ALL {
                li aria-current=[(step == access).then_some("step")] { b { (step.label()) } ": " (meaning(step)) }
            }
        }
        (step_form(&visitor, access))
        h2 { "What observe found" }
        (found(&observed))
    };
    Ok(dashboard.page(&visitor, Place::Access, "Token based access", content))
}

fn meaning(access: Access) -> &'static str {
    match access {
        Access::Off => "everybody gets everything.",
        Access::Observe => "everybody gets everything; what would be refused is counted.",
        Access::Enforce => "only a good token gets in.",
    }
}

fn step_form(visitor: &Visitor, access: Access) -> Markup {
    html! {
        @if access == Access::Enforce {
            p { "This is the last step, and for good: there is no way back." }
        } @else {
            form class="card" method="post" action=(Place::Access.path()) {
                (visitor.form_token())
                fieldset {
                    legend { "Go on to" }
                    @for step in Access::ALL.into_iter().filter(|step| *step > access) {
                        @let id = format!("to-{}", step.label());
                        div class="choice" {
                            input type="radio" id=(id) name="access" value=(step.label()) required;
                            label for=(id) { (step.label()) }
                        }
                    }
                }
                div class="choice" {
                    input type="checkbox" id="confirm" name="confirm" value="yes" required;
                    label for="confirm" { "I have read what would be refused, and know that from enforce there is no way back." }
                }
                button class="danger" { "Turn the switch" }
            }
        }
    }
}

fn found(observed: &[Observed]) -> Markup {
    if observed.is_empty() {
        return html! { p class="empty" { "Nothing that would be refused, since the nodes started." } };
    }
    html! {
        div class="scroll" tabindex="0" role="region" aria-label="What observe found" {
            table {
                caption { "Requests that enforce would refuse, since each node started" }
                thead {
                    tr {
                        th scope="col" { "Reason" }
                        th scope="col" class="number" { "Requests" }
                        th scope="col" { "The first of them" }
                    }
                }
                tbody {
                    @for row in observed {
                        tr {
                            th scope="row" { (row.reason) }
                            td class="number" { (row.count) }
                            td {
                                ul {
                                    @for offender in &row.first {
                                        li { code { (offender.object) } @if let Some(token) = &offender.token { ", token " code { (token) } } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `POST /dashboard/access`.
pub(super) async fn step_up(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    let body = form::read(request).await?;
    let fields = visitor.form(&body, &["access", "confirm"])?;
    if fields.text("confirm") != Some("yes") {
        return Err(ApiError::invalid("confirm", "Confirm that you know what will be refused.").into());
    }
    let control = &dashboard.0.control;
    let wanted = fields.text("access").and_then(|label| Access::ALL.into_iter().find(|step| step.label() == label));
    let current = control.access(&visitor.app).await?;
    let wanted = wanted
        .filter(|wanted| *wanted >= current)
        .ok_or_else(|| ApiError::invalid("access", "The switch goes on from where it is, and not back."))?;
    let wanted = WantedSettings { access: Some(wanted), ..WantedSettings::default() };
    let set = control.set_app(&visitor.caller, visitor.app.clone(), wanted, Some(RECEIPT_WAIT)).await?;
    let notice = html! { p { "Access is at " b { (set.access) } " now." } (receipt(set.receipt.as_ref())) };
    Ok(dashboard.tell(&visitor, Place::Access.path(), notice))
}

impl ControlState {
    /// How far the switch of an app is.
    pub(super) async fn access(&self, app: &App) -> Result<Access, ApiError> {
        let settings = self.0.store.settings(&app.id).await?;
        Ok(self.configured(app).with(settings.app))
    }
}

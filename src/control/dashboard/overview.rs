//! What goes on: the last hour's requests, who has what, and whether tokens are asked for.

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use maud::html;

use super::layout::Place;
use super::plot::plot;
use super::traffic::counted;
use super::{Dashboard, Failure, Visitor, nodes};
use crate::control::call::no_query;

/// `GET /dashboard`.
pub(super) async fn page(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    no_query(request.uri())?;
    let control = &dashboard.0.control;
    let nodes = control.nodes().await?;
    let access = control.access(&visitor.app).await?;
    let counted = counted(&control.0.metrics);
    let (outcomes, reasons) = {
        let traffic = dashboard.traffic();
        (traffic.by_outcome(&counted), traffic.by_reason(&counted))
    };
    let content = html! {
        p {
            "Token based access of " b { (visitor.app.id) } " is at " b { (access.label()) } ". "
            a href=(Place::Access.path()) { "The switch" }
        }
        p class="hint" { "The plots are of this process and all of its apps; other nodes count in metrics of their own." }
        div class="plots" {
            (plot("requests", "Requests in the last hour", &outcomes))
            (plot("refusals", "Refusals by reason in the last hour", &reasons))
        }
        h2 { "Nodes" }
        (nodes::table(&nodes))
    };
    Ok(dashboard.page(&visitor, Place::Overview, "Overview", content))
}

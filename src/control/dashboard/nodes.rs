//! The nodes that serve files, and how far each is behind.

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use maud::{Markup, html};

use super::layout::Place;
use super::{Dashboard, Failure, Visitor};
use crate::control::call::no_query;
use crate::control::nodes::Node;

/// `GET /dashboard/nodes`.
pub(super) async fn page(
    State(dashboard): State<Dashboard>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Result<Response, Failure> {
    no_query(request.uri())?;
    let nodes = dashboard.0.control.nodes().await?;
    let content = html! {
        p { "Each says once a second how far it has come. A node that says nothing is no longer listed once it cannot serve anybody." }
        (table(&nodes))
    };
    Ok(dashboard.page(&visitor, Place::Nodes, "Nodes", content))
}

/// The nodes as a table.
pub(super) fn table(nodes: &[Node]) -> Markup {
    if nodes.is_empty() {
        return html! { p class="empty" { "No node has reported yet." } };
    }
    html! {
        div class="scroll" tabindex="0" role="region" aria-label="Nodes" {
            table {
                caption { "Nodes and what is in force on each" }
                thead {
                    tr {
                        th scope="col" { "Node" }
                        th scope="col" { "State" }
                        th scope="col" class="number" { "Changes behind" }
                        th scope="col" class="number" { "Newest change" }
                        th scope="col" class="number" { "Restrictions" }
                        th scope="col" class="number" { "Said so" }
                    }
                }
                tbody {
                    @for node in nodes {
                        tr {
                            th scope="row" { (node.node) }
                            td {
                                @match (node.fresh, node.lag) {
                                    (false, _) => span class="mark bad" { "hears nothing" },
                                    (true, 0) => span class="mark good" { "up to date" },
                                    (true, _) => span class="mark" { "behind" },
                                }
                            }
                            td class="number" { (node.lag) }
                            td class="number" { (node.seq) }
                            td class="number" { (node.restrictions) }
                            td class="number" { (node.reported_ms_ago) " ms ago" }
                        }
                    }
                }
            }
        }
    }
}

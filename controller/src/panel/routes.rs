//! Managed routes: the part of the network's page, and what can be done to them.

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use tombolo_proto::{
    api::{Network, NewRoute, Role, Route, RoutePatch, RouteState},
    config::RouteMode,
};

use super::{
    layout, network,
    undo::{Done, Undo},
    visit::{Action, SignedIn},
};
use crate::api::Problem;

/// The part of the network's page.
pub(super) fn section(by: &SignedIn, network: &Network) -> Markup {
    let texts = by.visitor.texts();
    let may_decide = network::role(by, network.id) >= Role::Operator;
    let at = format!("{}/routes", network::path(&network.id.to_string()));
    html! {
        section.card aria-labelledby="routes" {
            h2 #routes { (texts.managed_routes) }
            p.soft { (texts.managed_routes_lead) }
            div.scroll {
                table.stacked.plain {
                    thead { tr {
                        th scope="col" { (texts.target) }
                        th scope="col" { (texts.via) }
                        th scope="col" { (texts.status) }
                        @if may_decide { th scope="col" { (texts.actions) } }
                    } }
                    tbody data-part="routes" {
                        @for prefix in &network.on_link {
                            tr id={ "on-link-" (prefix) } {
                                td data-label=(texts.target) { code { (prefix) } }
                                td.soft data-label=(texts.via) { (texts.members) }
                                td data-label=(texts.status) { span.state.on { (texts.route_active) } }
                                @if may_decide { td {} }
                            }
                        }
                        @for route in &network.routes { (row(by, &at, route, may_decide)) }
                    }
                }
            }
            @if may_decide {
                form.row method="post" action=(at) {
                    (layout::csrf(by))
                    div.field {
                        label for="target" { (texts.target) }
                        input #target name="target" placeholder="172.28.233.0/24" autocomplete="off" aria-describedby="target-becomes" required;
                        output #target-becomes for="target" data-normalized=(texts.map.normalized) {}
                    }
                    div.field {
                        label for="via" { (texts.via) }
                        input #via name="via" placeholder=(texts.via_hint) autocomplete="off" required;
                    }
                    button type="submit" { (texts.add_route) }
                    label.check { input type="checkbox" name="failover"; (texts.failover) }
                }
            }
        }
    }
}

fn row(by: &SignedIn, at: &str, route: &Route, may_decide: bool) -> Markup {
    let texts = by.visitor.texts();
    let target = route.target.to_string();
    let (class, state) = match route.state {
        RouteState::Active => ("state on", texts.route_active),
        RouteState::Pending => ("state wait", texts.route_pending),
        RouteState::Suspended => ("state", texts.route_suspended),
    };
    html! {
        tr id={ "route-" (route.id) } {
            td data-label=(texts.target) {
                code { (target) }
                @if route.default_route { " " small.soft { (texts.default_route) } }
            }
            td data-label=(texts.via) { (route.via_name) }
            td data-label=(texts.status) { span class=(class) { (state) } }
            @if may_decide {
                td {
                    @if route.state == RouteState::Pending {
                        form method="post" action={ (at) "/" (route.id) "/approve" } {
                            (layout::csrf(by))
                            button.small type="submit" aria-label=((texts.approve_route)(&target)) { (texts.approve) }
                        } " "
                    }
                    (layout::ask(by, &format!("{at}/{}/remove", route.id), texts.remove, &(texts.remove_route)(&target)))
                }
            }
        }
    }
}

/// Adds a route; says so if host bits were cut off.
pub(super) async fn add(
    Path(id): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let texts = by.visitor.texts();
    let new = NewRoute {
        target: fields.get("target").trim().to_owned(),
        via: fields.get("via").trim().to_owned(),
        mode: if fields.get("failover").is_empty() {
            RouteMode::Single
        } else {
            RouteMode::Failover
        },
        metric: match fields.filled("metric") {
            Some(_) => {
                network::number(&by, &fields, "metric", "metric").map_err(layout::told(&by))?
            }
            None => 0,
        },
    };
    let added: Result<Route, Problem> = by
        .api
        .post(&format!("{}/routes", network::path(&id)), &new)
        .await;
    let done = added.map(|route| {
        let target = route.target.to_string();
        match route.normalized_from {
            Some(_) => (texts.route_normalized)(&new.target, &target),
            None => (texts.route_added)(&target),
        }
    });
    network::after(&by, &id, done).await
}

/// Approves a route that a member asked for.
pub(super) async fn approve(
    Path((id, route)): Path<(String, String)>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let patch = RoutePatch {
        state: Some(RouteState::Active),
        ..RoutePatch::default()
    };
    let approved: Result<Route, Problem> = by.api.patch(&path(&id, &route), &patch).await;
    let done = approved.map(|route| (by.visitor.texts().route_approved)(&route.target.to_string()));
    network::after(&by, &id, done).await
}

/// Deletes a route.
pub(super) async fn remove(
    Path((id, route)): Path<(String, String)>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let at = path(&id, &route);
    let done = async {
        let before: Route = by.api.get(&at).await?;
        by.api.delete(&at).await?;
        // What waited for approval would not wait any more.
        let undo = id.parse().ok();
        let undo = undo.filter(|_| before.state == RouteState::Active);
        Ok::<_, Problem>(Done {
            text: by.visitor.texts().route_removed.to_owned(),
            undo: undo.map(|network| Undo::Route {
                network,
                target: before.target,
                via: before.via,
                mode: before.mode,
                metric: before.metric,
            }),
        })
    };
    network::after(&by, &id, done.await).await
}

fn path(id: &str, route: &str) -> String {
    format!("{}/routes/{}", network::path(id), layout::encoded(route))
}

//! `controller route`

use tombolo_proto::{
    api::{NewRoute, Route, RoutePatch, RouteState},
    config::RouteMode,
};

use super::{Client, Failure, Output, client::network_path, table::Table};
use crate::cli::RouteVerb;

pub(super) fn run(verb: &RouteVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    match verb {
        RouteVerb::Add {
            network,
            prefix,
            via,
            metric,
            failover,
        } => {
            let body = NewRoute {
                target: prefix.clone(),
                via: via.clone(),
                mode: if *failover {
                    RouteMode::Failover
                } else {
                    RouteMode::Single
                },
                metric: *metric,
            };
            let path = format!("{}/routes", network_path(client.network(network)?.id));
            out.object(&client.post(&path, &body)?, |route: &Route| {
                let note = route.normalized_from.map_or_else(String::new, |typed| {
                    format!(
                        "note: {typed} has host bits, the route is {}\n",
                        route.target
                    )
                });
                let default = if route.default_route {
                    "note: a default route; nodes use it after `tombolo set NETWORK allow-default=on`\n"
                } else {
                    ""
                };
                format!("{note}{default}{}", one(route))
            });
        }
        RouteVerb::Ls { network } => {
            let path = format!("{}/routes", network_path(client.network(network)?.id));
            out.list(&client.all(&path)?, table);
        }
        RouteVerb::Rm { route } => {
            client.delete(&client.route_path(route)?)?;
            out.done("route deleted");
        }
        RouteVerb::Approve { route } => {
            let patch = RoutePatch {
                state: Some(RouteState::Active),
                ..RoutePatch::default()
            };
            let path = client.route_path(route)?;
            out.object(&client.patch(&path, &patch)?, one);
        }
    }
    Ok(())
}

fn one(route: &Route) -> String {
    table(std::slice::from_ref(route)).to_string()
}

fn table(routes: &[Route]) -> Table {
    Table::new(
        ["ID", "TARGET", "VIA", "NAME", "MODE", "METRIC", "STATE"],
        routes.iter().map(|route| {
            let mode = match route.mode {
                RouteMode::Single => "single",
                RouteMode::Failover => "failover",
            };
            let state = match route.state {
                RouteState::Active => "active",
                RouteState::Pending => "pending",
                RouteState::Suspended => "suspended",
            };
            [
                route.id.clone(),
                route.target.to_string(),
                route.via.to_string(),
                route.via_name.clone(),
                mode.to_owned(),
                route.metric.to_string(),
                state.to_owned(),
            ]
        }),
    )
}

//! `node routes`

use crate::{
    cli::Global,
    local_api::{Request, client::ask},
    output::{self, Table},
    report::{RouteReport, RouteState},
};

pub(super) fn run(global: &Global) -> anyhow::Result<()> {
    let routes: Vec<RouteReport> = ask(&global.socket, &Request::Routes)?;
    if global.json {
        return output::json(&routes);
    }
    let mut table = Table::new(["PREFIX", "VIA", "NAME", "NETWORK", "INTERFACE", "STATE"]);
    for route in routes {
        let state = match (route.state, route.reason) {
            (RouteState::Installed, _) => "installed".to_owned(),
            (RouteState::Own, _) => "own".to_owned(),
            (RouteState::NotInstalled, Some(reason)) => format!("not installed: {reason}"),
            (RouteState::NotInstalled, None) => "not installed".to_owned(),
        };
        table.row([
            route.prefix.to_string(),
            route.via.map(|via| via.to_string()).unwrap_or_default(),
            route.via_name.unwrap_or_default(),
            route.network.to_string(),
            route.interface.unwrap_or_default(),
            state,
        ]);
    }
    table.print()
}

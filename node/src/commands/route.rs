//! `node route add`, `node route rm`

use crate::{
    cli::{Global, RouteVerb},
    local_api::{Request, client::ask},
    output,
    report::{RouteChange, RouteChangeReport},
};

pub(super) fn run(global: &Global, action: &RouteVerb) -> anyhow::Result<()> {
    let (arguments, publish) = match action {
        RouteVerb::Add(arguments) => (arguments, true),
        RouteVerb::Rm(arguments) => (arguments, false),
    };
    let request = Request::Route {
        network: arguments.network,
        prefix: arguments.prefix,
        publish,
    };
    let change: RouteChangeReport = ask(&global.socket, &request)?;
    if global.json {
        return output::json(&change);
    }
    let said = match change.state {
        RouteChange::Active => "is routed to this node",
        RouteChange::Pending => "waits to be approved at the controller",
        RouteChange::Withdrawn => "is no longer routed to this node",
    };
    output::text_block(&format!("{} {said}.\n", change.prefix))
}

//! `node join`

use crate::{
    cli::{Global, Join, JoinTarget},
    local_api::{JoinRequest, Request, client::ask},
    output,
    report::{JoinReport, NetworkStatus},
    state_dir::settings::Token,
};

pub(super) fn run(global: &Global, arguments: &Join) -> anyhow::Result<()> {
    let joined: JoinReport = ask(&global.socket, &Request::Join(request(arguments)))?;
    print(global, &joined)
}

/// Flags add to what a join link says; for the token the flag wins.
fn request(arguments: &Join) -> JoinRequest {
    let (network, digest, mut controllers, link_token) = match &arguments.target {
        JoinTarget::Id(network) => (*network, None, Vec::new(), None),
        JoinTarget::Link(link) => (
            link.network,
            Some(link.authority),
            link.controllers.clone(),
            link.token.clone(),
        ),
    };
    let further = arguments
        .controllers
        .iter()
        .filter(|endpoint| !controllers.contains(endpoint))
        .cloned();
    let further: Vec<_> = further.collect();
    controllers.extend(further);
    JoinRequest {
        network,
        digest,
        controllers,
        token: arguments.token.clone().or(link_token).map(Token),
        interface: arguments.interface.as_ref().map(ToString::to_string),
        wait: arguments.wait,
    }
}

fn print(global: &Global, joined: &JoinReport) -> anyhow::Result<()> {
    let network = &joined.network;
    if joined.trusted_on_first_use {
        output::note(&format!(
            "the key of network {} was believed on first use and is pinned from now on; a join link would have proved it",
            network.id
        ));
    }
    if global.json {
        return output::json(joined);
    }
    match network.status {
        NetworkStatus::Ok | NetworkStatus::OfflineOk => {
            let lines: String = network
                .addresses
                .iter()
                .map(|address| format!("{address}\n"))
                .collect();
            output::text_block(&lines)
        }
        NetworkStatus::Pending
        | NetworkStatus::Requesting
        | NetworkStatus::Denied
        | NetworkStatus::NotFound => output::text_block(&format!(
            "Network {}: the request is recorded and waits to be authorised at the controller.\n",
            network.id
        )),
    }
}

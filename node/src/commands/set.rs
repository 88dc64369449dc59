//! `node set`

use crate::{
    cli::{Global, Set},
    local_api::{Request, client::ask},
    output,
    report::NetworkReport,
};

pub(super) fn run(global: &Global, arguments: &Set) -> anyhow::Result<()> {
    let settings = arguments
        .settings
        .iter()
        .map(|setting| (setting.name, setting.on))
        .collect();
    let request = Request::Set {
        network: arguments.network,
        settings,
    };
    let network: NetworkReport = ask(&global.socket, &request)?;
    if global.json {
        return output::json(&network);
    }
    let word = |on| if on { "on" } else { "off" };
    output::text_block(&format!(
        "Network {}: allow-global={} allow-default={}\n",
        network.id,
        word(network.allow_global),
        word(network.allow_default)
    ))
}

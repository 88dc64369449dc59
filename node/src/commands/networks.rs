//! `node networks`

use super::list;
use crate::{
    cli::Global,
    local_api::{Request, client::ask},
    output::{self, Table},
    report::StatusReport,
};

pub(super) fn run(global: &Global) -> anyhow::Result<()> {
    let status: StatusReport = ask(&global.socket, &Request::Status)?;
    if global.json {
        return output::json(&status.networks);
    }
    let mut table = Table::new(["NETWORK", "NAME", "STATUS", "INTERFACE", "ADDRESSES"]);
    for network in status.networks {
        table.row([
            network.id.to_string(),
            network.name.unwrap_or_default(),
            network.status.as_str().to_owned(),
            network.interface,
            list(&network.addresses),
        ]);
    }
    table.print()
}

//! `node leave`

use tombolo_proto::id::NetworkId;

use crate::{
    cli::Global,
    local_api::{Request, client::ask},
    output,
    report::LeaveReport,
};

pub(super) fn run(global: &Global, network: NetworkId, force: bool) -> anyhow::Result<()> {
    let left: LeaveReport = ask(&global.socket, &Request::Leave { network, force })?;
    if !left.controller_told {
        output::note("no controller could be told: remove this member there too");
    }
    if global.json {
        return output::json(&left);
    }
    output::text_block(&format!("Left network {network}.\n"))
}

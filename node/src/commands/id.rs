//! `node id`

use crate::{
    cli::Global,
    local_api::{Request, client::ask},
    output,
    report::IdReport,
};

pub(super) fn run(global: &Global) -> anyhow::Result<()> {
    let id: IdReport = ask(&global.socket, &Request::Id)?;
    if global.json {
        return output::json(&id);
    }
    output::text_block(&format!("{}\n", id.node))
}

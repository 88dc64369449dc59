//! `node why`

use tombolo_engine::diagnosis::Health;

use super::member::Wanted;
use crate::{
    cli::{self, Global},
    failure::{Failure, FailureKind},
    local_api::{Request, client::ask},
    output,
    report::diagnosis::{PingReport, WhyReport},
};

/// How long the member may take to give a sign of life before the explanation.
const PATIENCE_MS: u32 = 3_000;

pub(super) fn run(global: &Global, arguments: &cli::Why) -> anyhow::Result<()> {
    let wanted = Wanted {
        text: &arguments.member,
        network: arguments.network,
        family: None,
    };
    // A sign of life first, so that what follows is of now and not of the last time anybody asked. Who is no member cannot
    // be asked, and the explanation says so.
    if let Ok((peer, _)) = wanted.find(&global.socket) {
        let name = if peer.name.is_empty() {
            peer.node.to_string()
        } else {
            peer.name.clone()
        };
        output::progress(&format!("asking {name}…"));
        let request = Request::Ping {
            network: peer.network,
            node: peer.node,
            patience_ms: PATIENCE_MS,
        };
        let asked = ask::<PingReport>(&global.socket, &request);
        output::progress("");
        asked?;
    }
    let request = Request::Why {
        member: arguments.member.clone(),
        network: arguments.network,
    };
    let report: WhyReport = ask(&global.socket, &request)?;
    if global.json {
        output::json(&report)?;
    } else {
        output::text_block(&format!("{}.\n", report.conclusion))?;
        output::findings(&report.steps)?;
    }
    // This node itself is not reached by anything, and nothing is wrong with that.
    let is_broken = report
        .steps
        .iter()
        .any(|step| step.health == Health::Broken);
    if report.reachable || !is_broken {
        return Ok(());
    }
    let message = format!(
        "{} is not reached: the lines above say what to do",
        report.asked
    );
    Err(Failure::new(FailureKind::Failed, message).into())
}

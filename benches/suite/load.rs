//! Controllers with thousands of members: `make bench-load`.
//!
//! Controllers and their store are real processes. Nodes are simulated in this one: each has the control connection of a
//! real node (the node's own code, its own key, QUIC) and says on it what a real node says, but they share one directory
//! and have neither TUN nor peers. A network grows step by step; at each step some members are removed and some get a
//! route, and it is measured how long the change takes to everybody who is connected.
//!
//! ```text
//! plan (how far it grows) -> servers (controllers, store) -> swarm (members, each with its connection; one cache)
//!                         -> steps (measure) -> record -> report (Markdown, SVG, PNG)
//! ```

mod api;
mod cache;
mod member;
pub mod plan;
mod postgres;
pub mod record;
mod report;
mod servers;
mod steps;
mod swarm;

use anyhow::{Result, bail, ensure};

use self::{
    plan::Plan,
    record::LoadRecord,
    servers::Servers,
    swarm::{Identities, Swarm},
};
use crate::{
    cli::{Cli, LoadArguments},
    machine::{self, Machine},
    process::Interrupt,
};

/// Runs it and writes the results.
///
/// # Errors
/// When anything at all goes wrong. What was measured before is written nevertheless.
pub fn run(cli: &Cli, arguments: &LoadArguments) -> Result<()> {
    let plan = plan(cli, arguments)?;
    let name = cli.name.clone().unwrap_or_else(|| plan.name.to_owned());
    if cli.render {
        return report::write(&report::read(&cli.results, &name)?, &cli.results);
    }
    let interrupt = Interrupt::on_signals()?;
    let mut record = LoadRecord {
        name,
        date: machine::now(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        revision: machine::revision(),
        machine: Machine::here(""),
        series: Vec::new(),
    };
    let binaries = std::path::absolute(&cli.binaries)?;
    println!("looking for {} identities", plan.identities());
    let identities = Identities::find(plan.identities());
    for &store in &plan.stores {
        println!("{}", store.label());
        let servers = Servers::start(store, &binaries, &interrupt)?;
        let link = servers.network()?;
        let controllers = servers
            .controllers
            .iter()
            .map(|controller| controller.control.clone())
            .collect();
        let swarm = Swarm::new(&identities, controllers, &link, &interrupt)?;
        let series = steps::measure_all(&plan, &servers, swarm, &interrupt);
        let ended = series.ended.clone();
        record.series.push(series);
        // What was found out until then is worth keeping.
        report::write(&record, &cli.results)?;
        if let Some(why) = ended {
            bail!("{}: {why}", store.label());
        }
    }
    Ok(())
}

fn plan(cli: &Cli, arguments: &LoadArguments) -> Result<Plan> {
    let mut plan = if cli.quick {
        Plan::quick()
    } else {
        Plan::full()
    };
    if !arguments.members.is_empty() {
        plan.steps.clone_from(&arguments.members);
        ensure!(
            plan.steps.is_sorted_by(|a, b| a < b) && plan.steps[0] > plan.changes,
            "--members wants ascending numbers above {}",
            plan.changes
        );
    }
    if !arguments.stores.is_empty() {
        plan.stores.clone_from(&arguments.stores);
    }
    Ok(plan)
}

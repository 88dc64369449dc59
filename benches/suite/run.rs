//! A run from its start to its report.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    cli::{Cli, Part},
    lab::{self, Settings},
    load,
    machine::{self, Machine},
    peer::{self, Peer},
    plain,
    plan::{Placement, Plan},
    process::Interrupt,
    profile,
    progress::Progress,
    record::{PeerRecord, Record},
    report,
    session::Session,
};

/// Runs the suite.
///
/// # Errors
/// When nothing could be measured at all; a peer that fails is in the report.
pub fn run(cli: &Cli) -> Result<()> {
    match &cli.part {
        Some(Part::Plain { device, other_end }) => return plain::run(device, *other_end),
        Some(Part::Load(arguments)) => return load::run(cli, arguments),
        None => {}
    }
    let plan = plan(cli)?;
    let name = cli.name.clone().unwrap_or_else(|| plan.name.to_owned());
    if cli.render {
        return report::write(&report::read(&cli.results, &name)?, &cli.results);
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "network namespaces need root: run it with sudo"
    );
    let settings = Settings {
        peers: std::path::absolute(&cli.peers_dir)?,
        binaries: std::path::absolute(&cli.binaries)?,
        interrupt: Interrupt::on_signals()?,
    };
    lab::remove_leftovers();
    if cli.profile {
        return profile::run(profiled(cli, &plan)?, &plan, &settings, &cli.results);
    }
    let mut record = Record {
        name,
        date: machine::now(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        complete: false,
        rounds: plan.rounds,
        tcp_seconds: plan.tcp_seconds,
        udp_seconds: plan.udp_seconds,
        revision: machine::revision(),
        pings: plan.pings,
        tasks: BTreeMap::new(),
        machine: Machine::here(&plan.congestion_control),
        peers: plan
            .peers
            .iter()
            .map(|peer| introduce(*peer, &settings))
            .collect(),
        samples: Vec::new(),
        failures: Vec::new(),
    };
    announce(&record);
    let outcome = measure_all(&plan, &settings, &mut record);
    record.complete = outcome.is_ok();
    if !record.complete {
        // The results of an earlier whole run are worth more.
        record.name += "-interrupted";
    }
    if !record.samples.is_empty() {
        report::write(&record, &cli.results)?;
        give_to_user(&cli.results);
    }
    outcome
}

fn plan(cli: &Cli) -> Result<Plan> {
    let mut plan = if cli.quick {
        Plan::quick()
    } else {
        Plan::full()
    };
    if !cli.peers.is_empty() {
        plan.peers = cli
            .peers
            .iter()
            .map(|name| {
                peer::ALL
                    .iter()
                    .copied()
                    .find(|peer| peer.name() == name)
                    .with_context(|| {
                        format!(
                            "no peer is called {name}: there are {}",
                            peer::ALL
                                .iter()
                                .map(|peer| peer.name())
                                .collect::<Vec<_>>()
                                .join(", ")
                        )
                    })
            })
            .collect::<Result<_>>()?;
    }
    plan.congestion_control = machine::congestion_control(&cli.congestion_control);
    plan.rounds = cli.rounds.unwrap_or(plan.rounds);
    plan.tcp_seconds = cli.tcp_seconds.unwrap_or(plan.tcp_seconds);
    plan.udp_seconds = cli.udp_seconds.unwrap_or(plan.udp_seconds);
    if cli.pinned_only {
        plan.variants
            .retain(|variant| variant.placement == Placement::Pinned);
    }
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        println!("There is one core only: nothing can be pinned to two.");
        plan.variants
            .retain(|variant| variant.placement == Placement::Free);
    }
    Ok(plan)
}

/// The first peer that was asked for, or Tombolo.
fn profiled(cli: &Cli, plan: &Plan) -> Result<&'static dyn Peer> {
    plan.peers
        .iter()
        .copied()
        .find(|peer| !cli.peers.is_empty() || peer.name() == Record::TOMBOLO)
        .context("no peer to profile")
}

fn introduce(peer: &dyn Peer, settings: &Settings) -> PeerRecord {
    let (version, missing) = match peer.version(&settings.peers, &settings.binaries) {
        Ok(version) => (Some(version), None),
        Err(why) => (None, Some(why)),
    };
    PeerRecord {
        name: peer.name().to_owned(),
        role: peer.role(),
        about: peer.about().to_owned(),
        version,
        missing,
        mtu: None,
        commands: Vec::new(),
    }
}

fn announce(record: &Record) {
    let machine = &record.machine;
    println!(
        "{}, {} cores, kernel {}, TCP {}",
        machine.cpu, machine.cores, machine.kernel, machine.congestion_control
    );
    if machine.load_before > 0.1 {
        println!(
            "CAUTION: {:.0} % of this machine is busy with other work; the figures will tell of that, too",
            machine.load_before * 100.0
        );
    }
    for peer in &record.peers {
        let what = peer
            .version
            .clone()
            .unwrap_or_else(|| format!("MISSING: {}", peer.missing.as_deref().unwrap_or_default()));
        println!("  {:16} {what}", peer.name);
    }
}

fn measure_all(plan: &Plan, settings: &Settings, record: &mut Record) -> Result<()> {
    let there: Vec<_> = plan
        .peers
        .iter()
        .copied()
        .filter(|peer| {
            record
                .peer(peer.name())
                .is_some_and(|known| known.missing.is_none())
        })
        .collect();
    let mut progress = Progress::new(plan, there.len());
    println!("{} sessions ({progress})", progress.sessions());
    for round in 1..=plan.rounds {
        for &variant in &plan.variants {
            println!(
                "round {round} of {}, {} ({progress})",
                plan.rounds,
                variant.label()
            );
            // Another one goes first in every round, so that no peer always follows the same other one's heat.
            let first = (round as usize - 1) % there.len().max(1);
            for peer in there[first..].iter().chain(&there[..first]) {
                let mut session = Session {
                    peer: *peer,
                    variant,
                    round,
                    plan,
                    settings,
                    record,
                };
                let outcome = session.measure();
                if settings.interrupt.is_set() {
                    bail!("interrupted; what was measured until then is in the results");
                }
                if let Err(error) = outcome {
                    session.failed(&format!("{error:#}"));
                }
                progress.done(plan.seconds(variant));
            }
        }
    }
    println!("measured ({progress})");
    Ok(())
}

/// Results belong to who called sudo.
fn give_to_user(results: &Path) {
    let id = |name| {
        std::env::var(name)
            .ok()
            .and_then(|id| id.parse::<u32>().ok())
    };
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else {
        return;
    };
    let files = fs::read_dir(results)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for path in files.chain([results.to_owned()]) {
        let _ = std::os::unix::fs::chown(path, Some(user), Some(group));
    }
}

//! A run from its start to its report.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    cli::Cli,
    figure::Figure,
    lab::{self, Lab, Settings},
    machine::{self, Machine},
    measure::{Bench, Found, ping::FirstPing},
    peer::{self, Peer, Role},
    plan::{Placement, Plan, Variant},
    process::Interrupt,
    record::{Failure, PeerRecord, Record, Sample},
    report,
};

/// Runs the suite.
///
/// # Errors
/// When nothing could be measured at all; a peer that fails is in the report.
pub fn run(cli: &Cli) -> Result<()> {
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
    let mut record = Record {
        name,
        date: machine::now(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        complete: false,
        rounds: plan.rounds,
        tcp_seconds: plan.tcp_seconds,
        udp_seconds: plan.udp_seconds,
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
    let start = Instant::now();
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
    for round in 1..=plan.rounds {
        for &variant in &plan.variants {
            println!(
                "round {round} of {}, {} ({} s so far)",
                plan.rounds,
                variant.label(),
                start.elapsed().as_secs()
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
            }
        }
    }
    println!("measured for {} s", start.elapsed().as_secs());
    Ok(())
}

/// One peer, once up and down.
struct Session<'a> {
    peer: &'a dyn Peer,
    variant: Variant,
    round: u32,
    plan: &'a Plan,
    settings: &'a Settings,
    record: &'a mut Record,
}

impl Session<'_> {
    fn measure(&mut self) -> Result<()> {
        let lab = Lab::new(self.settings, self.variant, self.peer.needs())?;
        for side in lab.sides() {
            side.apply_offloads(self.variant.offloads)?;
        }
        let outcome = self.measure_in(&lab);
        for side in lab.sides() {
            side.end_daemons();
            self.peer.down(side);
        }
        outcome
    }

    fn measure_in(&mut self, lab: &Lab) -> Result<()> {
        let interrupt = &self.settings.interrupt;
        self.peer.prepare(lab).context("Failed to prepare")?;
        self.peer.up(&lab.a).context("Failed to bring up side A")?;
        let overlay = self.peer.overlay(lab)?;
        let first = FirstPing::start(&lab.b, overlay.v4[0].into())?;
        self.peer.up(&lab.b).context("Failed to bring up side B")?;
        let seconds = first.wait(interrupt)?;
        self.describe(lab, &overlay.device)?;
        if self.peer.role() != Role::Reference {
            self.found(vec![(Figure::FirstPing, seconds)]);
        }
        let mut bench = Bench::new(lab, &overlay, self.peer.role(), interrupt)?;
        self.found(bench.memory(Figure::MemoryBefore)?);
        for task in self.plan.tasks(self.variant) {
            match bench.task(task, self.plan) {
                Ok(found) => self.found(found),
                Err(error) if interrupt.is_set() => return Err(error),
                Err(error) => self.failed(&format!("{task:?}: {error:#}")),
            }
        }
        self.found(bench.memory(Figure::MemoryAfter)?);
        self.show();
        Ok(())
    }

    fn describe(&mut self, lab: &Lab, device: &str) -> Result<()> {
        let mtu = lab.a.mtu(device)?;
        if let Some(known) = self
            .record
            .peers
            .iter_mut()
            .find(|known| known.name == self.peer.name())
        {
            known.mtu = Some(mtu);
            known.commands = lab.transcript();
        }
        Ok(())
    }

    fn found(&mut self, found: Found) {
        self.record
            .samples
            .extend(found.into_iter().map(|(figure, value)| Sample {
                peer: self.peer.name().to_owned(),
                variant: self.variant,
                round: self.round,
                figure,
                value,
                unit: figure.unit().to_owned(),
            }));
    }

    fn failed(&mut self, what: &str) {
        println!("  {:16} FAILED: {what}", self.peer.name());
        self.record.failures.push(Failure {
            peer: self.peer.name().to_owned(),
            variant: self.variant,
            round: self.round,
            what: what.to_owned(),
        });
    }

    /// One line of progress.
    fn show(&self) {
        let shown = |sample: &&Sample| {
            sample.peer == self.peer.name()
                && sample.variant == self.variant
                && sample.round == self.round
        };
        let figures: Vec<_> = self
            .record
            .samples
            .iter()
            .filter(shown)
            .filter(|sample| report::IN_PROGRESS.contains(&sample.figure))
            .map(|sample| {
                format!(
                    "{} {} {}",
                    sample.figure.label(),
                    report::number(sample.value),
                    sample.unit
                )
            })
            .collect();
        println!("  {:16} {}", self.peer.name(), figures.join(", "));
    }
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

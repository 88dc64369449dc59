//! One peer, brought up, measured and taken down again.

use anyhow::{Context as _, Result};

use crate::{
    figure::Figure,
    lab::{Lab, Settings, Side},
    measure::{Bench, Found, ping::FirstPing},
    peer::Peer,
    plan::{Plan, Task, Variant},
    record::{Failure, Record, Sample},
    report,
};

/// One peer, once up and down.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) peer: &'a dyn Peer,
    pub(crate) variant: Variant,
    pub(crate) round: u32,
    pub(crate) plan: &'a Plan,
    pub(crate) settings: &'a Settings,
    pub(crate) record: &'a mut Record,
}

impl Session<'_> {
    /// All of it. A task that fails is recorded; the others go on.
    ///
    /// # Errors
    /// When the peer does not come up, or ends by itself.
    pub(crate) fn measure(&mut self) -> Result<()> {
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
        if lab.has_daemons() {
            self.found(vec![(Figure::FirstPing, seconds)]);
        }
        let mut bench = Bench::new(lab, &overlay, interrupt)?;
        self.found(bench.memory(Figure::MemoryBefore)?);
        bench.warm_up(self.plan).context("Failed to warm up")?;
        for task in self.plan.tasks(self.variant) {
            for side in lab.sides() {
                side.take_started();
            }
            let outcome = bench.task(task, self.plan);
            self.tell_how(task, lab);
            match outcome {
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

    /// Notes by which commands a task is done, once per run.
    fn tell_how(&mut self, task: Task, lab: &Lab) {
        let commands = lab.sides().flat_map(Side::take_started).collect();
        self.record.tasks.entry(task.id()).or_insert(commands);
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

    /// Records what went wrong.
    pub(crate) fn failed(&mut self, what: &str) {
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

//! CPU time over a stretch of time: of the peer's daemons on both sides, and of the whole machine.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use crate::{lab::Lab, process::Process};

/// What had been used when the stretch began.
#[derive(Debug)]
pub struct CpuWatch {
    daemons: f64,
    machine: f64,
}

/// Seconds used in a stretch.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// By the daemons of both sides.
    pub daemons: f64,
    /// By everything on the machine.
    pub machine: f64,
}

impl CpuWatch {
    /// Begins a stretch.
    ///
    /// # Errors
    /// When a daemon is gone.
    pub fn start(lab: &Lab) -> Result<Self> {
        Ok(Self {
            daemons: daemons(lab)?,
            machine: machine()?,
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When a daemon is gone.
    pub fn stop(self, lab: &Lab) -> Result<Used> {
        Ok(Used {
            daemons: daemons(lab)? - self.daemons,
            machine: machine()? - self.machine,
        })
    }
}

fn daemons(lab: &Lab) -> Result<f64> {
    Ok(lab
        .daemons(Process::cpu)?
        .iter()
        .map(Duration::as_secs_f64)
        .sum())
}

/// All but idle and waiting for disks, of all cores.
pub(crate) fn machine() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks = parse_machine(&stat).context("/proc/stat is not as documented")?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn parse_machine(stat: &str) -> Option<u64> {
    // user nice system idle iowait irq softirq steal; guests are contained in user and nice.
    let fields: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = fields[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_stolen_and_guest_time_are_not_used_time() {
        let stat = "cpu  1 20 300 9999 9999 4000 50000 600000 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse_machine(stat), Some(54321));
    }
}

//! Where the cycles go: one TCP flow between two nodes under `perf`, pinned as in the tables, and the symbols that took
//! most, by side and thread.

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    lab::{Lab, Settings, Side},
    machine::Machine,
    measure::Bench,
    peer::Peer,
    plan::{Plan, Task, Variant},
    process::Process,
    report::number,
};

/// Samples per second and thread: one more than a round number, so as not to keep step with anything.
const FREQUENCY: u32 = 1999;
/// What a line of the table must have of its side's samples.
const LEAST_PERCENT: f64 = 1.0;
/// Reading the samples takes longer than taking them.
const PATIENCE: Duration = Duration::from_secs(120);

/// One line that perf reports.
#[derive(Debug, PartialEq)]
struct Line {
    percent: f64,
    thread: String,
    symbol: String,
    is_kernel: bool,
}

/// Profiles one TCP flow and writes `profile.md`.
///
/// # Errors
/// When the peer does not come up, or perf does not work here.
pub(crate) fn run(peer: &dyn Peer, plan: &Plan, settings: &Settings, results: &Path) -> Result<()> {
    let lab = Lab::new(settings, Variant::ALL[0], peer.needs())?;
    peer.prepare(&lab)?;
    for side in lab.sides() {
        peer.up(side)?;
    }
    let overlay = peer.overlay(&lab)?;
    let mut bench = Bench::new(&lab, &overlay, &settings.interrupt)?;
    settings.interrupt.wait_for("an answer", PATIENCE, || {
        Ok(lab
            .a
            .quietly(&format!("ping -n -q -c 1 -W 1 {}", overlay.v4[1]))
            .ok())
    })?;
    bench.warm_up(plan)?;
    let samples = lab.a.dir.join("perf.data");
    let perf = record(&lab, &samples, plan.tcp_seconds)?;
    let found = bench.task(Task::Tcp, plan)?;
    perf.finish(PATIENCE, &settings.interrupt)
        .context("perf did not work")?;

    let machine = Machine::here(&plan.congestion_control);
    let mut text = format!(
        "One TCP flow from A to B between two ends of {}, {}; {}, kernel {}.\n\n",
        peer.name(),
        Variant::ALL[0].label(),
        machine.cpu,
        machine.kernel
    );
    for (figure, value) in found {
        writeln!(
            text,
            "- {}: {} {}",
            figure.label(),
            number(value),
            figure.unit()
        )?;
    }
    for side in lab.sides() {
        table(&mut text, side, &samples)?;
    }
    fs::create_dir_all(results)?;
    let file = results.join("profile.md");
    fs::write(&file, &text).with_context(|| format!("Failed to write {}", file.display()))?;
    println!("{text}\nwritten to {}", file.display());
    Ok(())
}

fn record(lab: &Lab, samples: &Path, seconds: u32) -> Result<Process> {
    let daemons = lab.daemons(|daemon| Ok(daemon.id().to_string()))?;
    ensure!(!daemons.is_empty(), "there is no daemon to look at");
    let mut command = Command::new("perf");
    command
        .args(["record", "--quiet", "--freq", &FREQUENCY.to_string()])
        .arg("--output")
        .arg(samples)
        .args(["--pid", &daemons.join(",")])
        .args(["--", "sleep", &seconds.to_string()]);
    Process::spawn("perf", &mut command, &lab.a.dir)
}

fn table(text: &mut String, side: &Side, samples: &Path) -> Result<()> {
    let daemons: Vec<_> = side
        .daemons()
        .iter()
        .map(|daemon| daemon.id().to_string())
        .collect();
    let output = Command::new("perf")
        .args(["report", "--stdio", "--quiet", "--percentage", "relative"])
        .args(["--sort", "comm,sym", "--field-separator", "|"])
        .args(["--pid", &daemons.join(",")])
        .arg("--input")
        .arg(samples)
        .output()
        .context("Failed to start perf")?;
    ensure!(
        output.status.success(),
        "perf report: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = parse(&String::from_utf8_lossy(&output.stdout));
    let kernel: f64 = lines
        .iter()
        .filter(|line| line.is_kernel)
        .map(|line| line.percent)
        .sum();
    writeln!(
        text,
        "\nSide {}: {} % of its samples in the kernel.\n\n| thread | % | where | symbol |\n|---|---:|---|---|",
        side.letter.to_uppercase(),
        number(kernel)
    )?;
    for line in lines.iter().filter(|line| line.percent >= LEAST_PERCENT) {
        writeln!(
            text,
            "| {} | {} | {} | `{}` |",
            line.thread,
            number(line.percent),
            if line.is_kernel { "kernel" } else { "user" },
            line.symbol
        )?;
    }
    Ok(())
}

/// Busiest thread first, and within each the symbols that took most.
fn parse(report: &str) -> Vec<Line> {
    let mut lines: Vec<_> = report.lines().filter_map(parse_line).collect();
    let of_thread = |lines: &[Line], thread: &str| -> f64 {
        lines
            .iter()
            .filter(|line| line.thread == thread)
            .map(|line| line.percent)
            .sum()
    };
    let totals: Vec<f64> = lines
        .iter()
        .map(|line| of_thread(&lines, &line.thread))
        .collect();
    let mut ordered: Vec<_> = totals.into_iter().zip(lines.drain(..)).collect();
    ordered.sort_by(|(total_a, a), (total_b, b)| {
        total_b
            .total_cmp(total_a)
            .then_with(|| a.thread.cmp(&b.thread))
            .then_with(|| b.percent.total_cmp(&a.percent))
    });
    ordered.into_iter().map(|(_, line)| line).collect()
}

/// `12.34%|tmb-out   |[k] copy_from_iter`.
fn parse_line(line: &str) -> Option<Line> {
    let mut fields = line.splitn(3, '|').map(str::trim);
    let percent = fields.next()?.strip_suffix('%').unwrap_or_default();
    let (percent, thread) = (percent.parse().ok()?, fields.next()?.to_owned());
    let (place, symbol) = fields.next()?.split_once("] ")?;
    Some(Line {
        percent,
        thread,
        symbol: symbol.trim().replace('|', " "),
        is_kernel: place == "[k",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_come_by_what_they_took_in_all() {
        let report = "    30.00%|tmb-a  |[.] seal\n    25.00%|tmb-b  |[k] copy\n    20.00%|tmb-b  |[k] wake\n# a comment\n";

        let lines = parse(report);

        let order: Vec<_> = lines
            .iter()
            .map(|line| (line.symbol.as_str(), line.is_kernel))
            .collect();
        assert_eq!(order, [("copy", true), ("wake", true), ("seal", false)]);
    }
}

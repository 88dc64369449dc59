//! The table, in Markdown.

use std::fmt::Write as _;

use super::super::record::{LoadRecord, Point, Series};
use crate::report::number;

/// A row: what it is, its unit, and where it stands.
pub(super) type Row = (&'static str, &'static str, fn(&Point) -> f64);

/// In the order in which they are shown.
const ROWS: [Row; 22] = [
    ("joins", "per s", |point| point.joins_per_second),
    ("one join, median", "ms", |point| point.join.p50),
    ("one join, p99", "ms", |point| point.join.p99),
    ("controller CPU per join", "ms", |point| {
        point.cpu_per_join_ms
    }),
    ("told to all nodes during joins", "MiB/s", |point| {
        point.told_mib_per_second
    }),
    ("slowest node behind at the end", "revisions", |point| {
        point.lag as f64
    }),
    ("removal reaches a node, median", "ms", |point| {
        point.removal.reached.p50
    }),
    ("removal reaches a node, p99", "ms", |point| {
        point.removal.reached.p99
    }),
    ("removal reaches the last node", "ms", |point| {
        point.removal.reached.max
    }),
    ("removal, the API answers, median", "ms", |point| {
        point.removal.answered.p50
    }),
    ("removal, bytes per node", "B", |point| point.removal.bytes),
    ("removal, controller CPU", "ms", |point| {
        point.removal.cpu_ms
    }),
    ("route reaches a node, median", "ms", |point| {
        point.route.reached.p50
    }),
    ("route reaches a node, p99", "ms", |point| {
        point.route.reached.p99
    }),
    ("route reaches the last node", "ms", |point| {
        point.route.reached.max
    }),
    ("route, the API answers, median", "ms", |point| {
        point.route.answered.p50
    }),
    ("route, bytes per node", "B", |point| point.route.bytes),
    ("route, controller CPU", "ms", |point| point.route.cpu_ms),
    ("controller CPU while nothing changes", "cores", |point| {
        point.idle_cores
    }),
    ("controller memory", "MiB", |point| point.memory_mib),
    ("store", "MiB", |point| point.store_mib),
    ("directory in a node's cache", "KiB", |point| {
        point.cache_kib
    }),
];

/// Writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {
        writeln!($text, $($format)*).expect("a string takes everything")
    };
}

pub(super) fn markdown(record: &LoadRecord) -> String {
    let mut text = String::new();
    let machine = &record.machine;
    line!(text, "# Controllers under load: {}\n", record.name);
    line!(text, "- {}, `{}`", record.date, record.command);
    line!(
        text,
        "- {}, {} cores, {} MiB, {}, kernel {}: controllers, database and all simulated nodes share them",
        machine.cpu,
        machine.cores,
        machine.memory_mib,
        machine.system,
        machine.kernel
    );
    if let Some(revision) = &record.revision {
        line!(text, "- Tombolo at commit {revision}");
    }
    line!(
        text,
        "- {:.0} % of the cores were busy with other work just before the run",
        machine.load_before * 100.0
    );
    for series in &record.series {
        table(&mut text, series);
    }
    text
}

fn table(text: &mut String, series: &Series) {
    let label = series.store.label();
    line!(text, "\n## {}{}\n", label[..1].to_uppercase(), &label[1..]);
    let sizes: Vec<_> = series
        .points
        .iter()
        .map(|point| point.members.to_string())
        .collect();
    line!(
        text,
        "| members, all connected | unit | {} |\n|---|---{}|",
        sizes.join(" | "),
        "|---:".repeat(sizes.len())
    );
    for (label, unit, value) in ROWS {
        let cells: Vec<_> = series
            .points
            .iter()
            .map(|point| number(value(point)))
            .collect();
        line!(text, "| {label} | {unit} | {} |", cells.join(" | "));
    }
    let lost: usize = series.points.iter().map(|point| point.lost).sum();
    if let Some(why) = &series.ended {
        line!(text, "\n**It ended early**: {why}");
    }
    if lost > 0 {
        line!(text, "\n{lost} connections broke and came back.");
    }
}

//! The table, in Markdown.

use std::fmt::Write as _;

use super::number;
use crate::{
    figure::{Better, Figure},
    goals::{self, Bound, Standing, Verdict},
    peer::Role,
    plan::Variant,
    record::Record,
    summary::Summary,
};

pub(super) fn markdown(record: &Record, summary: &Summary) -> String {
    let mut text = String::new();
    head(&mut text, record);
    goals_reached(&mut text, record, summary);
    for variant in Variant::ALL
        .into_iter()
        .filter(|variant| summary.has(*variant))
    {
        figures(&mut text, record, summary, variant);
    }
    failures(&mut text, record);
    text
}

/// Writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {
        writeln!($text, $($format)*).expect("a string takes everything")
    };
}

fn head(text: &mut String, record: &Record) {
    let machine = &record.machine;
    line!(text, "# Tombolo beside other overlays: {}\n", record.name);
    if !record.complete {
        line!(text, "**This run was interrupted.**\n");
    }
    line!(text, "- {}, `{}`", record.date, record.command);
    line!(
        text,
        "- {}, {} cores, {} MiB, {}, kernel {}",
        machine.cpu,
        machine.cores,
        machine.memory_mib,
        machine.system,
        machine.kernel
    );
    line!(
        text,
        "- {}; TCP {} on both sides; {} s per TCP test, {} s per UDP test, {} pings",
        machine.iperf3,
        machine.congestion_control,
        record.tcp_seconds,
        record.udp_seconds,
        record.pings
    );
    if let Some(revision) = &record.revision {
        line!(text, "- Tombolo at commit {revision}");
    }
    line!(
        text,
        "- {:.0} % of the cores were busy with other work just before the run",
        machine.load_before * 100.0
    );
    line!(
        text,
        "- cells: median (smallest to largest) of {}, peers interleaved; **bold**: best overlay of the row\n",
        if record.rounds == 1 {
            "1 round".to_owned()
        } else {
            format!("{} rounds", record.rounds)
        }
    );
    line!(text, "| peer | version | MTU | set up |\n|---|---|---|---|");
    for peer in &record.peers {
        let version = peer.version.clone().unwrap_or_else(|| {
            format!(
                "**not measured**: {}",
                peer.missing.as_deref().unwrap_or("?")
            )
        });
        let mtu = peer
            .mtu
            .map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
        line!(
            text,
            "| {} | {} | {mtu} | {} |",
            peer.name,
            cell(&version),
            peer.about
        );
    }
}

fn goals_reached(text: &mut String, record: &Record, summary: &Summary) {
    let standings = goals::standings(record, summary);
    if standings.is_empty() {
        return;
    }
    line!(
        text,
        "\n## Goals\n\nA ratio is Tombolo's median to the median of the best other overlay in that row.\n"
    );
    line!(
        text,
        "| figure | circumstances | Tombolo | best other | ratio | must | go for | |\n|---|---|---|---|---|---|---|---|"
    );
    for standing in &standings {
        let goal = &standing.goal;
        let of = if goal.of == Record::TOMBOLO {
            String::new()
        } else {
            format!(" ({})", goal.of)
        };
        let value = |value: Option<f64>| {
            value.map_or_else(
                || "-".to_owned(),
                |value| format!("{} {}", number(value), goal.figure.unit()),
            )
        };
        let best = standing.best.as_ref().map_or_else(
            || "-".to_owned(),
            |(name, best)| format!("{} ({name})", value(Some(*best))),
        );
        let ratio = standing
            .ratio()
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        line!(
            text,
            "| {}{of} | {} | {} | {best} | {ratio} | {} | {} | {} |",
            goal.figure.label(),
            goal.variant.label(),
            value(standing.tombolo),
            bound(standing, goal.must),
            bound(standing, goal.go_for),
            match standing.verdict() {
                Verdict::GoneFor => "gone for",
                Verdict::Reached => "reached",
                Verdict::Missed => "**missed**",
                Verdict::Unknown => "?",
            }
        );
    }
    of_raw(text, summary);
}

/// What part of the bare link's throughput is left.
fn of_raw(text: &mut String, summary: &Summary) {
    for variant in Variant::ALL {
        let tcp = |peer| {
            summary
                .get(variant, Figure::Tcp, peer)
                .map(|spread| spread.median)
        };
        if let (Some(tombolo), Some(raw)) = (tcp(Record::TOMBOLO), tcp("raw")) {
            line!(
                text,
                "\nOne TCP flow, {}: Tombolo carries {:.0} % of what the bare veth does.",
                variant.label(),
                tombolo / raw * 100.0
            );
        }
    }
}

fn bound(standing: &Standing, bound: Bound) -> String {
    let sign = match standing.goal.figure.better() {
        Better::Higher => ">=",
        Better::Lower => "<=",
    };
    match bound {
        Bound::TimesBest(times) => format!("{sign} {times:.2}x"),
        Bound::Absolute(limit) => format!("{sign} {limit} {}", standing.goal.figure.unit()),
    }
}

fn figures(text: &mut String, record: &Record, summary: &Summary, variant: Variant) {
    let peers: Vec<_> = record
        .peers
        .iter()
        .filter(|peer| peer.missing.is_none())
        .collect();
    line!(text, "\n## {}\n", capitalised(variant.label()));
    let names: Vec<_> = peers.iter().map(|peer| peer.name.as_str()).collect();
    line!(
        text,
        "| figure | unit | {} |\n|---|---{}|",
        names.join(" | "),
        "|---:".repeat(names.len())
    );
    for figure in Figure::all() {
        let row: Vec<_> = peers
            .iter()
            .map(|peer| summary.get(variant, figure, &peer.name))
            .collect();
        if row.iter().all(Option::is_none) {
            continue;
        }
        let candidates = peers
            .iter()
            .zip(&row)
            .filter(|(peer, _)| peer.role != Role::Reference)
            .filter_map(|(_, spread)| Some(spread.as_ref()?.median));
        let best = match figure.better() {
            Better::Higher => candidates.reduce(f64::max),
            Better::Lower => candidates.reduce(f64::min),
        };
        let cells: Vec<_> = peers
            .iter()
            .zip(&row)
            .map(|(peer, spread)| {
                let Some(spread) = spread else {
                    return "-".to_owned();
                };
                let median = number(spread.median);
                let median = if peer.role != Role::Reference && Some(spread.median) == best {
                    format!("**{median}**")
                } else {
                    median
                };
                if spread.count == 1 {
                    median
                } else {
                    format!(
                        "{median} ({} to {})",
                        number(spread.min),
                        number(spread.max)
                    )
                }
            })
            .collect();
        line!(
            text,
            "| {} | {} | {} |",
            figure.label(),
            figure.unit(),
            cells.join(" | ")
        );
    }
}

fn failures(text: &mut String, record: &Record) {
    if record.failures.is_empty() {
        return;
    }
    line!(
        text,
        "\n## What failed\n\n| peer | circumstances | round | what |\n|---|---|---|---|"
    );
    for failure in &record.failures {
        line!(
            text,
            "| {} | {} | {} | {} |",
            failure.peer,
            failure.variant.label(),
            failure.round,
            cell(&failure.what)
        );
    }
}

/// A cell must not break its table.
fn cell(text: &str) -> String {
    text.replace(['|', '\n'], " ")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

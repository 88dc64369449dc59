//! One plot with a panel for each figure that tells most. Bars are medians, whiskers the smallest and largest sample.

use std::fmt::Write as _;

use super::number;
use crate::{
    figure::{Better, Figure, Statistic, UdpLoad},
    peer::Role,
    plan::{Offloads, Placement, Variant},
    record::{PeerRecord, Record},
    summary::{Spread, Summary},
};

const WIDTH: f64 = 1000.0;
const COLUMNS: usize = 2;
const PANEL_WIDTH: f64 = WIDTH / COLUMNS as f64;
const HEAD: f64 = 66.0;
const PANEL_HEAD: f64 = 46.0;
const ROW: f64 = 20.0;
const BAR: f64 = 13.0;
/// Where bars begin and how long the longest is; names stand before, numbers behind.
const BARS_X: f64 = 132.0;
const BARS_WIDTH: f64 = 282.0;
const FONT: &str = "DejaVu Sans, Verdana, Arial, sans-serif";
const TOMBOLO: &str = "#0b7285";
const OTHERS: &str = "#adb5bd";

/// A figure, with which offloads of the link, under which title.
pub(super) type Panel = (Figure, Offloads, &'static str);

/// What a reader of the front page wants to know.
pub(super) const HEADLINE: [Panel; 4] = [
    (Figure::Tcp, Offloads::AsCreated, "One TCP flow"),
    (
        Figure::DaemonCpuPerGbit,
        Offloads::AsCreated,
        "Daemon CPU per Gbit of TCP, both ends",
    ),
    (
        Figure::UdpRate(UdpLoad::SMALL_OVERLOAD),
        Offloads::AsCreated,
        "64-byte packets received at overload",
    ),
    (
        Figure::PingLoaded(Statistic::P99),
        Offloads::AsCreated,
        "Ping beside a TCP flow, p99",
    ),
];

/// What tells most.
pub(super) const ALL: [Panel; 6] = [
    HEADLINE[0],
    (
        Figure::Tcp,
        Offloads::Off,
        "One TCP flow, offloads of the link off",
    ),
    HEADLINE[1],
    (
        Figure::DaemonCpuPerPacket(UdpLoad::SMALL_30K),
        Offloads::AsCreated,
        "Daemon CPU per 64-byte packet, both ends",
    ),
    HEADLINE[2],
    HEADLINE[3],
];

/// Writing to a string cannot fail.
macro_rules! draw {
    ($svg:expr, $($format:tt)*) => {
        writeln!($svg, $($format)*).expect("a string takes everything")
    };
}

pub(super) fn svg(record: &Record, summary: &Summary, panels: &[Panel]) -> String {
    let placement = [Placement::Pinned, Placement::Free]
        .into_iter()
        .find(|placement| {
            summary.has(Variant {
                offloads: Offloads::AsCreated,
                placement: *placement,
            })
        })
        .unwrap_or(Placement::Free);
    let overlays: Vec<_> = record
        .peers
        .iter()
        .filter(|peer| peer.role != Role::Reference)
        .collect();
    let panel_height = PANEL_HEAD + ROW * overlays.len() as f64 + 14.0;
    let height = HEAD + panel_height * panels.len().div_ceil(COLUMNS) as f64;
    let mut svg = String::new();
    draw!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="{FONT}">"#
    );
    draw!(
        svg,
        r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##
    );
    draw!(
        svg,
        r##"<text x="20" y="30" font-size="18" font-weight="bold" fill="#212529">Userspace overlays on one machine</text>"##
    );
    let machine = &record.machine;
    let where_run = match placement {
        Placement::Pinned => "side A on core 0, side B on core 1",
        Placement::Free => "scheduler free",
    };
    let caption = format!(
        "{} · {} cores · Linux {} · {where_run} · TCP {} · {}",
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.congestion_control,
        &record.date[..record.date.len().min(10)]
    );
    draw!(
        svg,
        r##"<text x="20" y="51" font-size="12" fill="#868e96">{}</text>"##,
        escaped(&caption)
    );
    for (index, (figure, offloads, title)) in panels.iter().copied().enumerate() {
        let (x, y) = (
            (index % COLUMNS) as f64 * PANEL_WIDTH,
            HEAD + (index / COLUMNS) as f64 * panel_height,
        );
        draw!(svg, r#"<g transform="translate({x} {y})">"#);
        panel(
            &mut svg,
            record,
            summary,
            Variant {
                offloads,
                placement,
            },
            figure,
            title,
            &overlays,
        );
        draw!(svg, "</g>");
    }
    draw!(svg, "</svg>");
    svg
}

fn panel(
    svg: &mut String,
    record: &Record,
    summary: &Summary,
    variant: Variant,
    figure: Figure,
    title: &str,
    overlays: &[&PeerRecord],
) {
    let better = match figure.better() {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    draw!(
        svg,
        r##"<text x="20" y="18" font-size="13" font-weight="bold" fill="#212529">{title}</text>"##
    );
    draw!(
        svg,
        r##"<text x="20" y="34" font-size="11" fill="#868e96">{}, {better}{}</text>"##,
        figure.unit(),
        references(record, summary, variant, figure)
    );
    let mut rows: Vec<_> = overlays
        .iter()
        .map(|peer| (*peer, summary.get(variant, figure, &peer.name)))
        .collect();
    // The best on top; who has no figure at the bottom.
    rows.sort_by(|(_, a), (_, b)| match (a, b) {
        (Some(a), Some(b)) if figure.better() == Better::Higher => b.median.total_cmp(&a.median),
        (Some(a), Some(b)) => a.median.total_cmp(&b.median),
        _ => a.is_none().cmp(&b.is_none()),
    });
    let longest = rows
        .iter()
        .filter_map(|(_, spread)| Some(spread.as_ref()?.max))
        .fold(f64::MIN_POSITIVE, f64::max);
    for (index, (peer, spread)) in rows.into_iter().enumerate() {
        row(
            svg,
            PANEL_HEAD + ROW * index as f64,
            peer,
            spread,
            BARS_WIDTH / longest,
        );
    }
}

fn row(svg: &mut String, y: f64, peer: &PeerRecord, spread: Option<Spread>, scale: f64) {
    let (colour, weight) = if peer.role == Role::Tombolo {
        (TOMBOLO, "bold")
    } else {
        (OTHERS, "normal")
    };
    let baseline = y + BAR - 2.0;
    draw!(
        svg,
        r##"<text x="{}" y="{baseline}" font-size="11" font-weight="{weight}" fill="#212529" text-anchor="end">{}</text>"##,
        BARS_X - 8.0,
        peer.name
    );
    let Some(spread) = spread else {
        let why = if peer.missing.is_some() {
            "could not be installed"
        } else {
            "not measured"
        };
        draw!(
            svg,
            r##"<text x="{BARS_X}" y="{baseline}" font-size="11" fill="#868e96">{why}</text>"##
        );
        return;
    };
    let middle = y + BAR / 2.0;
    draw!(
        svg,
        r#"<rect x="{BARS_X}" y="{y}" width="{:.1}" height="{BAR}" fill="{colour}"/>"#,
        (spread.median * scale).max(1.0)
    );
    draw!(
        svg,
        r##"<path d="M{:.1} {middle}H{:.1}" stroke="#495057" stroke-width="1"/>"##,
        BARS_X + spread.min * scale,
        BARS_X + spread.max * scale
    );
    draw!(
        svg,
        r##"<text x="{:.1}" y="{baseline}" font-size="11" font-weight="{weight}" fill="#212529">{}</text>"##,
        BARS_X + spread.max * scale + 6.0,
        number(spread.median)
    );
}

/// References would make the bars of all others short, so they stand in the caption.
fn references(record: &Record, summary: &Summary, variant: Variant, figure: Figure) -> String {
    record
        .peers
        .iter()
        .filter(|peer| peer.role == Role::Reference)
        .filter_map(|peer| {
            Some(format!(
                " · {} {}",
                peer.name,
                number(summary.get(variant, figure, &peer.name)?.median)
            ))
        })
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

//! One plot: how each figure grows with the number of members. Both axes are logarithmic.

use std::fmt::Write as _;

use super::{
    super::{
        plan::StoreKind,
        record::{LoadRecord, Point},
    },
    table::Row,
};
use crate::report::number;

const WIDTH: f64 = 1000.0;
const COLUMNS: usize = 2;
const PANEL_WIDTH: f64 = WIDTH / COLUMNS as f64;
const PANEL_HEIGHT: f64 = 240.0;
const HEAD: f64 = 86.0;
/// Where the curves are within a panel.
const LEFT: f64 = 40.0;
const RIGHT: f64 = PANEL_WIDTH - 50.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = PANEL_HEIGHT - 40.0;
const FONT: &str = "DejaVu Sans, Verdana, Arial, sans-serif";

const PANELS: [Row; 6] = [
    ("Joins, by token, authorised at once", "per second", |it| {
        it.joins_per_second
    }),
    ("Controller CPU per join", "ms", |it| it.cpu_per_join_ms),
    (
        "A removal reaches 99 of 100 nodes",
        "ms after the API's answer",
        |it| it.removal.reached.p99,
    ),
    (
        "A route reaches 99 of 100 nodes",
        "ms after the API's answer",
        |it| it.route.reached.p99,
    ),
    ("Memory of the controllers", "MiB", |it| it.memory_mib),
    ("Directory on a node's disk", "KiB", |it| it.cache_kib),
];

const fn colour(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Sqlite => "#0b7285",
        StoreKind::Postgres => "#e8590c",
    }
}

/// Writing to a string cannot fail.
macro_rules! draw {
    ($svg:expr, $($format:tt)*) => {
        writeln!($svg, $($format)*).expect("a string takes everything")
    };
}

pub(super) fn svg(record: &LoadRecord) -> String {
    let height = HEAD + PANEL_HEIGHT * PANELS.len().div_ceil(COLUMNS) as f64;
    let mut svg = String::new();
    draw!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="{FONT}">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="20" y="30" font-size="18" font-weight="bold" fill="#212529">One network, up to {} members, all connected</text>
<text x="20" y="51" font-size="12" fill="#868e96">{} · {} cores for controllers, database and all nodes · Linux {} · {}</text>"##,
        record.largest(),
        record
            .machine
            .cpu
            .replace('&', "&amp;")
            .replace('<', "&lt;"),
        record.machine.cores,
        record.machine.kernel,
        &record.date[..record.date.len().min(10)]
    );
    for (index, series) in record.series.iter().enumerate() {
        let x = 20.0 + 260.0 * index as f64;
        draw!(
            svg,
            r##"<rect x="{x}" y="64" width="14" height="4" fill="{}"/><text x="{}" y="71" font-size="12" fill="#212529">{}</text>"##,
            colour(series.store),
            x + 20.0,
            series.store.label()
        );
    }
    for (index, panel) in PANELS.iter().enumerate() {
        let (x, y) = (
            (index % COLUMNS) as f64 * PANEL_WIDTH,
            HEAD + (index / COLUMNS) as f64 * PANEL_HEIGHT,
        );
        draw!(svg, r#"<g transform="translate({x} {y})">"#);
        draw_panel(&mut svg, record, panel);
        draw!(svg, "</g>");
    }
    draw!(svg, "</svg>");
    svg
}

fn draw_panel(svg: &mut String, record: &LoadRecord, (title, unit, value): &Row) {
    draw!(
        svg,
        r##"<text x="20" y="22" font-size="13" font-weight="bold" fill="#212529">{title}</text>
<text x="20" y="38" font-size="11" fill="#868e96">{unit}</text>
<path d="M{LEFT} {BOTTOM}H{RIGHT}" stroke="#adb5bd" stroke-width="1"/>"##
    );
    let points = || record.series.iter().flat_map(|series| &series.points);
    let across = Scale::of(points().map(|point| point.members as f64), LEFT, RIGHT);
    let up = Scale::of(points().map(value), BOTTOM - 10.0, TOP);
    for size in record.sizes() {
        draw!(
            svg,
            r##"<text x="{:.1}" y="{}" font-size="11" fill="#868e96" text-anchor="middle">{size}</text>"##,
            across.at(size as f64),
            BOTTOM + 16.0
        );
    }
    for series in &record.series {
        let colour = colour(series.store);
        let place = |point: &Point| (across.at(point.members as f64), up.at(value(point)));
        let path: Vec<_> = series
            .points
            .iter()
            .map(|point| {
                let (x, y) = place(point);
                format!("{x:.1} {y:.1}")
            })
            .collect();
        draw!(
            svg,
            r#"<path d="M{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            path.join("L")
        );
        for point in &series.points {
            let (x, y) = place(point);
            draw!(
                svg,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/><text x="{x:.1}" y="{:.1}" font-size="10" fill="{colour}" text-anchor="middle">{}</text>"#,
                y - 7.0,
                number(value(point))
            );
        }
    }
}

/// A logarithmic axis between two places.
struct Scale {
    smallest: f64,
    largest: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        // What is below the clock's worth is drawn at its edge.
        let logs = values.map(|value| value.max(1e-3).ln());
        let (smallest, largest) = logs
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        Self {
            smallest,
            largest,
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let span = self.largest - self.smallest;
        if span <= f64::EPSILON {
            return f64::midpoint(self.from, self.to);
        }
        let share = (value.max(1e-3).ln() - self.smallest) / span;
        self.from + share * (self.to - self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decade_takes_the_same_room() {
        let scale = Scale::of([100.0, 10_000.0].into_iter(), 0.0, 200.0);

        assert_eq!(
            [100.0, 1_000.0, 10_000.0].map(|value| scale.at(value).round()),
            [0.0, 100.0, 200.0]
        );
    }
}

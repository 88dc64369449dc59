//! Members in a circle, lines between those that talk. A picture for those who see it: everything in it stands in the table
//! as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    f64::consts::TAU,
    fmt::Write as _,
};

use maud::{Markup, html};
use tombolo_proto::{
    api::{Member, MemberLinks},
    id::NodeId,
};

use super::Pair;
use crate::panel::{figures, texts::Map};

/// More would touch each other.
const MAX_MEMBERS: usize = 240;
/// More would be one dark disc, and a long page.
const MAX_PAIRS: usize = 600;
/// Up to this many lines tell their latency to a pointer that rests on them.
const MAX_TOLD: usize = 300;
/// Up to this many members have names that lie flat, and latencies written at the lines.
const MAX_FLAT: usize = 12;
/// Letters of a name.
const LETTERS: usize = 20;

/// Half the side of the picture.
const CENTRE: f64 = 500.0;
const RADIUS: f64 = 330.0;

/// What was drawn, and how much of what there is.
pub(super) struct Drawing {
    pub(super) svg: Markup,
    pub(super) members: usize,
    pub(super) pairs: usize,
}

pub(super) fn draw(
    texts: &Map,
    members: &[Member],
    told: &BTreeMap<NodeId, MemberLinks>,
    pairs: &[Pair],
) -> Drawing {
    let shown = choose(members, pairs);
    let places: BTreeMap<NodeId, (f64, f64, f64)> = shown
        .iter()
        .enumerate()
        .map(|(index, member)| (member.node, place(index, shown.len())))
        .collect();
    let mut lines: Vec<&Pair> = pairs
        .iter()
        .filter(|pair| places.contains_key(&pair.ends.0) && places.contains_key(&pair.ends.1))
        .collect();
    // What needs looking at comes first.
    lines.sort_by_key(|pair| std::cmp::Reverse((pair.relayed, pair.latency)));
    lines.truncate(MAX_PAIRS);
    let line = |pair: &Pair| {
        let (from, to) = (places.get(&pair.ends.0)?, places.get(&pair.ends.1)?);
        Some(format!(
            "M{:.0} {:.0}L{:.0} {:.0}",
            from.0, from.1, to.0, to.1
        ))
    };
    let is_flat = shown.len() <= MAX_FLAT;
    let is_dense = lines.len() > MAX_TOLD;
    // Names that lie flat need no room above and below.
    let view = if is_flat {
        "0 110 1000 780"
    } else {
        "0 0 1000 1000"
    };
    let svg = html! {
        svg.dense[is_dense] viewBox=(view) role="img" aria-label=(texts.picture) {
            @for (relayed, class) in [(false, "edge direct"), (true, "edge relayed")] {
                @let of_kind: Vec<&&Pair> = lines.iter().filter(|pair| pair.relayed == relayed).collect();
                @if !is_dense {
                    @for pair in of_kind {
                        @if let Some(path) = line(pair) {
                            path class=(class) d=(path) { @if let Some(latency) = pair.latency { title { (figures::latency(latency)) } } }
                        }
                    }
                } @else if !of_kind.is_empty() {
                    path class=(class) d=(of_kind.iter().filter_map(|pair| line(pair)).collect::<String>()) {}
                }
            }
            @if is_flat {
                @for pair in &lines { (latency(&places, pair)) }
            }
            @for member in &shown {
                @if let Some(at) = places.get(&member.node) {
                    (point(member, told.contains_key(&member.node), *at, shown.len(), is_flat))
                }
            }
        }
    };
    Drawing {
        svg,
        members: shown.len(),
        pairs: lines.len(),
    }
}

/// All members, in the order of their names; of too many, those that are relayed, then those that talk at all.
fn choose<'a>(members: &'a [Member], pairs: &[Pair]) -> Vec<&'a Member> {
    let ends = |relayed: bool| -> BTreeSet<NodeId> {
        let pairs = pairs.iter().filter(|pair| pair.relayed || !relayed);
        pairs.flat_map(|pair| [pair.ends.0, pair.ends.1]).collect()
    };
    let (relayed, talking) = (ends(true), ends(false));
    let mut chosen: Vec<&Member> = members.iter().collect();
    chosen.sort_by_key(|member| {
        let (relayed, talking) = (
            relayed.contains(&member.node),
            talking.contains(&member.node),
        );
        (!relayed, !talking)
    });
    chosen.truncate(MAX_MEMBERS);
    chosen.sort_by(|one, other| one.name.cmp(&other.name));
    chosen
}

/// Where the member with this number is, and in which direction from the centre.
fn place(index: usize, count: usize) -> (f64, f64, f64) {
    let angle = TAU * index as f64 / count.max(1) as f64 - TAU / 4.0;
    (
        CENTRE + RADIUS * angle.cos(),
        CENTRE + RADIUS * angle.sin(),
        angle,
    )
}

fn point(
    member: &Member,
    has_told: bool,
    (x, y, angle): (f64, f64, f64),
    count: usize,
    is_flat: bool,
) -> Markup {
    let room = TAU * RADIUS / count as f64;
    let (size, letters) = (
        (room * 0.9).clamp(7.0, 26.0),
        (room * 0.35).clamp(3.0, 14.0),
    );
    let name: String = member.name.chars().take(LETTERS).collect();
    let (cos, sin) = (angle.cos(), angle.sin());
    let mut turn = String::new();
    let (anchor, distance) = if is_flat {
        let anchor = match cos {
            cos if cos > 0.3 => "start",
            cos if cos < -0.3 => "end",
            _ => "middle",
        };
        (anchor, letters + 8.0 + 14.0 * sin.abs())
    } else {
        // On the left, names stand on their heads unless they are turned once more.
        let (anchor, degrees) = if cos < 0.0 {
            ("end", angle.to_degrees() + 180.0)
        } else {
            ("start", angle.to_degrees())
        };
        let (x, y) = (x + cos * (letters + 5.0), y + sin * (letters + 5.0));
        write!(turn, "rotate({degrees:.1} {x:.1} {y:.1})")
            .expect("writing to a String never fails");
        (anchor, letters + 5.0)
    };
    let (at_x, at_y) = (x + cos * distance, y + sin * distance);
    html! {
        circle class={ "point" @if !has_told { " silent" } } cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r=(format!("{letters:.1}")) {
            title { (member.name) }
        }
        text x=(format!("{at_x:.1}")) y=(format!("{at_y:.1}")) dy=".35em" text-anchor=(anchor) font-size=(format!("{size:.0}"))
            transform=[(!turn.is_empty()).then_some(&turn)] { (name) }
    }
}

fn latency(places: &BTreeMap<NodeId, (f64, f64, f64)>, pair: &Pair) -> Markup {
    let (from, to) = (places.get(&pair.ends.0), places.get(&pair.ends.1));
    html! {
        @if let (Some(from), Some(to), Some(latency)) = (from, to, pair.latency) {
            // Not in the middle, where lines cross.
            @let (x, y) = (from.0 * 0.7 + to.0 * 0.3, from.1 * 0.7 + to.1 * 0.3);
            text.latency x=(format!("{x:.0}")) y=(format!("{y:.0}")) text-anchor="middle" font-size="20" { (figures::latency(latency)) }
        }
    }
}

//! What Tombolo wants to be, as ratios to the best of the other overlays in the same run, and how far it is.

use crate::{
    figure::{Better, Figure, Statistic, UdpLoad},
    peer::Role,
    plan::Variant,
    record::Record,
    summary::Summary,
};

/// One goal.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// What is measured.
    pub figure: Figure,
    /// Under which circumstances.
    pub variant: Variant,
    /// Which Tombolo.
    pub of: &'static str,
    /// What must be reached.
    pub must: Bound,
    /// What is wanted.
    pub go_for: Bound,
}

/// A bound, at least or at most as the figure goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Times the best of the others.
    TimesBest(f64),
    /// In the unit of the figure.
    Absolute(f64),
}

/// How far Tombolo is from one goal.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The goal.
    pub goal: Goal,
    /// Tombolo's median.
    pub tombolo: Option<f64>,
    /// The best of the others and its median.
    pub best: Option<(String, f64)>,
}

/// Whether a goal is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What is wanted.
    GoneFor,
    /// What must be.
    Reached,
    /// Not even that.
    Missed,
    /// It was not measured.
    Unknown,
}

/// All goals.
#[must_use]
pub fn all() -> Vec<Goal> {
    use Bound::{Absolute, TimesBest};
    let mut goals = Vec::new();
    let mut add = |figure, variants: &[Variant], of, must, go_for| {
        goals.extend(variants.iter().map(|&variant| Goal {
            figure,
            variant,
            of,
            must,
            go_for,
        }));
    };
    let (aes, chacha) = (Record::TOMBOLO, "tombolo-chacha");
    let (veth, plain) = Variant::ALL.split_at(2);
    for figure in [
        Figure::Tcp,
        Figure::TcpReverse,
        Figure::TcpFour,
        Figure::TcpIpv6,
        Figure::TcpBothWays,
    ] {
        add(figure, veth, aes, TimesBest(2.0), TimesBest(3.0));
    }
    add(Figure::Tcp, plain, aes, TimesBest(2.5), TimesBest(3.5));
    add(Figure::Tcp, veth, chacha, TimesBest(1.4), TimesBest(2.0));
    add(Figure::Tcp, plain, chacha, TimesBest(1.4), TimesBest(2.0));
    add(
        Figure::UdpRate(UdpLoad::SMALL_OVERLOAD),
        veth,
        aes,
        TimesBest(1.4),
        TimesBest(2.0),
    );
    add(
        Figure::DaemonCpuPerPacket(UdpLoad::SMALL_30K),
        veth,
        aes,
        TimesBest(1.0),
        Absolute(5.0),
    );
    add(
        Figure::DaemonCpuPerGbit,
        veth,
        aes,
        TimesBest(0.45),
        TimesBest(0.35),
    );
    add(
        Figure::PingIdle(Statistic::Average),
        veth,
        aes,
        TimesBest(1.3),
        TimesBest(1.0),
    );
    add(
        Figure::PingIdle(Statistic::P99),
        veth,
        aes,
        TimesBest(1.3),
        TimesBest(1.0),
    );
    add(
        Figure::PingLoaded(Statistic::P99),
        veth,
        aes,
        TimesBest(1.0),
        TimesBest(1.0 / 3.0),
    );
    add(
        Figure::MemoryAfter,
        veth,
        aes,
        Absolute(32.0),
        Absolute(24.0),
    );
    add(Figure::FirstPing, veth, aes, Absolute(0.1), Absolute(0.03));
    goals
}

/// How far Tombolo is from every goal whose circumstances were measured.
#[must_use]
pub fn standings(record: &Record, summary: &Summary) -> Vec<Standing> {
    all()
        .into_iter()
        .map(|goal| {
            let median = |peer: &str| {
                summary
                    .get(goal.variant, goal.figure, peer)
                    .map(|spread| spread.median)
            };
            let better = |a: f64, b: f64| match goal.figure.better() {
                Better::Higher => a > b,
                Better::Lower => a < b,
            };
            let best = record
                .peers
                .iter()
                .filter(|peer| peer.role == Role::Overlay)
                .filter_map(|peer| Some((peer.name.clone(), median(&peer.name)?)))
                .reduce(|best, next| if better(next.1, best.1) { next } else { best });
            Standing {
                goal,
                tombolo: median(goal.of),
                best,
            }
        })
        .filter(|standing| standing.tombolo.is_some() || standing.best.is_some())
        .collect()
}

impl Standing {
    /// Tombolo's figure as a multiple of the best of the others.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        Some(self.tombolo? / self.best.as_ref()?.1)
    }

    /// Whether the goal is reached.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.holds(self.goal.must), self.holds(self.goal.go_for)) {
            (_, Some(true)) => Verdict::GoneFor,
            (Some(true), _) => Verdict::Reached,
            (Some(false), _) => Verdict::Missed,
            (None, _) => Verdict::Unknown,
        }
    }

    fn holds(&self, bound: Bound) -> Option<bool> {
        let (value, limit) = match bound {
            Bound::TimesBest(limit) => (self.ratio()?, limit),
            Bound::Absolute(limit) => (self.tombolo?, limit),
        };
        Some(match self.goal.figure.better() {
            Better::Higher => value >= limit,
            Better::Lower => value <= limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(figure: Figure, must: Bound, go_for: Bound, tombolo: f64, best: f64) -> Standing {
        Standing {
            goal: Goal {
                figure,
                variant: Variant::ALL[0],
                of: Record::TOMBOLO,
                must,
                go_for,
            },
            tombolo: Some(tombolo),
            best: Some(("other".to_owned(), best)),
        }
    }

    #[test]
    fn more_throughput_is_at_least_and_less_memory_at_most() {
        let tcp = |value| {
            standing(
                Figure::Tcp,
                Bound::TimesBest(2.0),
                Bound::TimesBest(3.0),
                value,
                1000.0,
            )
            .verdict()
        };
        assert_eq!(
            [tcp(1999.0), tcp(2000.0), tcp(3000.0)],
            [Verdict::Missed, Verdict::Reached, Verdict::GoneFor]
        );
        let memory = |value| {
            standing(
                Figure::MemoryAfter,
                Bound::Absolute(32.0),
                Bound::Absolute(24.0),
                value,
                4.0,
            )
            .verdict()
        };
        assert_eq!(
            [memory(33.0), memory(32.0), memory(24.0)],
            [Verdict::Missed, Verdict::Reached, Verdict::GoneFor]
        );
    }

    #[test]
    fn without_others_a_ratio_is_unknown() {
        let mut alone = standing(
            Figure::Tcp,
            Bound::TimesBest(2.0),
            Bound::TimesBest(3.0),
            1.0,
            1.0,
        );
        alone.best = None;
        assert_eq!(alone.verdict(), Verdict::Unknown);
    }
}

//! What a run found out, as it stands in the JSON.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::plan::StoreKind;
use crate::machine::Machine;

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadRecord {
    /// Name of the files.
    pub name: String,
    /// When it began, in UTC.
    pub date: String,
    /// The command line.
    pub command: String,
    /// Which commit was measured, if known.
    pub revision: Option<String>,
    /// What it ran on; controllers, database and simulated nodes alike.
    pub machine: Machine,
    /// One growing network for each store.
    pub series: Vec<Series>,
}

/// One network from its first member to its last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Series {
    /// On what.
    pub store: StoreKind,
    /// In order of size.
    pub points: Vec<Point>,
    /// Why it did not grow further, if it was to.
    pub ended: Option<String>,
}

/// Half, and all but one in a hundred, took at most so long: milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// What a kind of change cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChangeCost {
    /// From the API's answer until a connected node has it; every node, every change.
    pub reached: Times,
    /// How long the API took to answer.
    pub answered: Times,
    /// CPU time of all controllers per change, in milliseconds.
    pub cpu_ms: f64,
    /// What a node received per change, in bytes.
    pub bytes: f64,
}

/// A network of one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Members, all of them connected.
    pub members: usize,
    /// How many of them joined in this step.
    pub joined: usize,
    /// Joins per second, over the step.
    pub joins_per_second: f64,
    /// From connecting to being a member that holds the directory.
    pub join: Times,
    /// CPU time of all controllers per join, in milliseconds; what others are told of it included.
    pub cpu_per_join_ms: f64,
    /// What all nodes together received meanwhile, in MiB per second.
    pub told_mib_per_second: f64,
    /// How many revisions the node that lags most was behind the newest at the end.
    pub lag: u64,
    /// A member is removed.
    pub removal: ChangeCost,
    /// A member gets a route.
    pub route: ChangeCost,
    /// Cores that the controllers use while nothing changes, keep-alives and what is still to be told included.
    pub idle_cores: f64,
    /// Resident memory of all controllers, in MiB.
    pub memory_mib: f64,
    /// The store on disk, in MiB.
    pub store_mib: f64,
    /// The directory in a node's cache, in KiB.
    pub cache_kib: f64,
    /// Connections that broke.
    pub lost: usize,
}

impl LoadRecord {
    /// Every number of members that there are figures for, ascending.
    pub(super) fn sizes(&self) -> BTreeSet<usize> {
        let points = self.series.iter().flat_map(|series| &series.points);
        points.map(|point| point.members).collect()
    }

    /// The largest of them.
    pub(super) fn largest(&self) -> usize {
        self.sizes().last().copied().unwrap_or_default()
    }
}

impl Times {
    /// Of seconds, in any order.
    #[must_use]
    pub fn of(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * seconds.len() as f64).ceil() as usize;
            Some(seconds.get(rank.checked_sub(1)?)? * 1e3)
        };
        Some(Self {
            p50: at(0.5)?,
            p99: at(0.99)?,
            max: at(1.0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let times = Times::of((1..=200).rev().map(f64::from).collect()).expect("samples");
        assert_eq!(
            times,
            Times {
                p50: 100e3,
                p99: 198e3,
                max: 200e3
            }
        );
        assert_eq!(Times::of(Vec::new()), None);
    }
}

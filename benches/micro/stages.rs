//! Runs stages and makes one table of what Criterion found out about them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use criterion::{Bencher, Criterion};
use serde_json::{Value, json};

/// What a stage is, beside the time it takes.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// In words; unique.
    pub(crate) name: String,
    /// Packets that one run of it handles.
    pub(crate) packets: usize,
    /// Bytes of packets that one run copies from one place to another; what is changed where it lies is none.
    pub(crate) copied: usize,
}

/// All stages so far.
pub(crate) struct Stages {
    criterion: Criterion,
    measured: PathBuf,
    stages: Vec<Stage>,
}

impl Stages {
    /// `measured` is where Criterion keeps its own files.
    pub(crate) fn new(measured: &Path) -> Self {
        // What an earlier run found would stand in the table beside what this one does.
        let _ = fs::remove_dir_all(measured);
        let criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .sample_size(50)
            .output_directory(measured)
            .configure_from_args();
        Self {
            criterion,
            measured: measured.to_owned(),
            stages: Vec::new(),
        }
    }

    /// Measures a stage that handles one packet and copies nothing.
    pub(crate) fn one(&mut self, name: impl Into<String>, run: impl FnMut(&mut Bencher<'_>)) {
        self.many(name, 1, 0, run);
    }

    /// Measures a stage.
    pub(crate) fn many(
        &mut self,
        name: impl Into<String>,
        packets: usize,
        copied: usize,
        run: impl FnMut(&mut Bencher<'_>),
    ) {
        let name = name.into();
        self.criterion.bench_function(&name, run);
        self.stages.push(Stage {
            name,
            packets,
            copied,
        });
    }

    /// Writes `micro.md` and `micro.json`; nothing if nothing was measured, as when Criterion only tests or filters.
    pub(crate) fn write(self, results: &Path) -> io::Result<()> {
        let mut text =
            String::from("| stage | ns per packet | bytes copied per packet |\n|---|---:|---:|\n");
        let mut rows = Vec::new();
        for stage in &self.stages {
            let Some(median) = self.median(stage) else {
                continue;
            };
            let nanoseconds = median / stage.packets as f64;
            let copied = stage.copied / stage.packets;
            text += &format!(
                "| {} | {} | {copied} |\n",
                stage.name,
                tombolo_benches::report::number(nanoseconds)
            );
            rows.push(json!({
                "stage": stage.name,
                "ns_per_packet": nanoseconds,
                "bytes_copied_per_packet": copied,
                "packets_per_run": stage.packets,
            }));
        }
        if rows.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(results)?;
        fs::write(results.join("micro.md"), text)?;
        let json = serde_json::to_string_pretty(&Value::from(rows))?;
        fs::write(results.join("micro.json"), json + "\n")
    }

    fn median(&self, stage: &Stage) -> Option<f64> {
        // Criterion names folders as it does files: without these.
        let folder = stage
            .name
            .replace(['/', ':', '"', '?', '*', '<', '>', '|'], "_");
        let path = self.measured.join(folder).join("new/estimates.json");
        let estimates: Value = serde_json::from_reader(File::open(path).ok()?).ok()?;
        estimates["median"]["point_estimate"].as_f64()
    }
}

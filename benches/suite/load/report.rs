//! What a reader sees: JSON with everything, a table in Markdown, a plot as SVG and PNG.

mod plot;
mod table;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::record::LoadRecord;
use crate::report::write_png;

/// Writes all files of a run.
pub(super) fn write(record: &LoadRecord, results: &Path) -> Result<()> {
    fs::create_dir_all(results).with_context(|| format!("Failed to make {}", results.display()))?;
    let file = |extension: &str| results.join(format!("{}.{extension}", record.name));
    fs::write(file("json"), serde_json::to_string_pretty(record)? + "\n")?;
    fs::write(file("md"), table::markdown(record))?;
    let svg = plot::svg(record);
    fs::write(file("svg"), &svg)?;
    write_png(&svg, &file("png"))?;
    println!("results: {}", file("{json,md,svg,png}").display());
    Ok(())
}

/// Reads what an earlier run wrote.
pub(super) fn read(results: &Path, name: &str) -> Result<LoadRecord> {
    let path = results.join(format!("{name}.json"));
    let json =
        fs::read_to_string(&path).with_context(|| format!("Failed to read {}", path.display()))?;
    serde_json::from_str(&json).with_context(|| format!("{} is of another version", path.display()))
}

//! What a reader sees: JSON with everything, a table in Markdown, plots as SVG and PNG.

mod plot;
mod table;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree},
};

use crate::{
    figure::{Figure, Statistic, UdpLoad},
    record::Record,
    summary::Summary,
};

/// What is worth a place in the line that tells of progress.
pub const IN_PROGRESS: [Figure; 5] = [
    Figure::Tcp,
    Figure::DaemonCpuPerGbit,
    Figure::UdpRate(UdpLoad::SMALL_OVERLOAD),
    Figure::PingIdle(Statistic::Median),
    Figure::PingLoaded(Statistic::P99),
];
/// Pixels of the PNG per unit of the SVG: sharp on dense screens.
const SCALE: f32 = 2.0;

/// Writes all files of a run.
///
/// # Errors
/// When the disk refuses.
pub fn write(record: &Record, results: &Path) -> Result<()> {
    fs::create_dir_all(results).with_context(|| format!("Failed to make {}", results.display()))?;
    let file = |extension: &str| results.join(format!("{}.{extension}", record.name));
    let summary = Summary::of(record);
    fs::write(file("json"), serde_json::to_string_pretty(record)? + "\n")?;
    fs::write(file("md"), table::markdown(record, &summary))?;
    for (panels, middle) in [(&plot::ALL[..], ""), (&plot::HEADLINE[..], "headline.")] {
        let svg = plot::svg(record, &summary, panels);
        fs::write(file(&format!("{middle}svg")), &svg)?;
        write_png(&svg, &file(&format!("{middle}png")))?;
    }
    println!(
        "results: {}",
        file("{json,md,svg,png,headline.svg,headline.png}").display()
    );
    Ok(())
}

/// Reads what an earlier run wrote.
///
/// # Errors
/// When there is none of that name.
pub fn read(results: &Path, name: &str) -> Result<Record> {
    let path = results.join(format!("{name}.json"));
    let json =
        fs::read_to_string(&path).with_context(|| format!("Failed to read {}", path.display()))?;
    serde_json::from_str(&json).with_context(|| format!("{} is of another version", path.display()))
}

/// Three significant digits, and no more zeros than those.
#[must_use]
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

pub(crate) fn write_png(svg: &str, path: &Path) -> Result<()> {
    let mut options = Options::default();
    // Fonts of the machine are not asked for: servers have none.
    options
        .fontdb_mut()
        .load_font_data(dejavu::sans::regular().to_vec());
    options
        .fontdb_mut()
        .load_font_data(dejavu::sans::bold().to_vec());
    options.fontdb_mut().set_sans_serif_family("DejaVu Sans");
    let tree = Tree::from_str(svg, &options).context("Failed to read our own SVG")?;
    let size = tree.size();
    let mut pixmap = Pixmap::new(
        (size.width() * SCALE) as u32,
        (size.height() * SCALE) as u32,
    )
    .context("the plot is empty")?;
    resvg::render(
        &tree,
        Transform::from_scale(SCALE, SCALE),
        &mut pixmap.as_mut(),
    );
    pixmap
        .save_png(path)
        .with_context(|| format!("Failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        assert_eq!(
            [18963.2, 12.34, 1.234, 0.1234, 0.0].map(number),
            ["18963", "12.3", "1.23", "0.123", "0"]
        );
    }
}

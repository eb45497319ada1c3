//! The part about trees of growing size.

use std::fmt::Write as _;

use super::{
    figures::{float, grouped, mebibytes, megabytes, short},
    machine,
};
use crate::{
    measure::Cost,
    results::{Growth, Point},
};

/// Writes the section.
pub(super) fn section(growth: &Growth) -> String {
    let mut text = format!(
        "\n## Growth\n\n{}. The cache alone, each size once, cold save and restore, on the machine's own disk: what \
         goes beyond the page cache's limits waits for it, so CPU says more than time.\n",
        machine(&growth.machine)
    );
    text += "\n### More files, of 4 KiB on average\n\n";
    text += &table(&growth.files, "µs per file", |cost, point| 1e6 * cost / float(point.size.files));
    text += "\n### More bytes, in files of 4 MiB\n\n";
    text += &table(&growth.bytes, "ms per MB", |cost, point| 1e9 * cost / float(point.size.bytes));
    for skipped in &growth.skipped {
        let _ = write!(text, "\nLeft out: {skipped}.\n");
    }
    text
}

fn table(points: &[Point], unit: &str, per: fn(f64, &Point) -> f64) -> String {
    let mut text = format!(
        "| files | MB | save, s | {unit} | CPU, {unit} | peak MiB | restore, s | {unit} | CPU, {unit} | peak MiB |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for point in points {
        let cells = |cost: &Cost| {
            let (wall, cpu) = (short(per(cost.wall, point)), short(per(cost.cpu(), point)));
            format!(" {} | {wall} | {cpu} | {} |", short(cost.wall), mebibytes(float(cost.peak)))
        };
        let (files, bytes) = (grouped(point.size.files), megabytes(float(point.size.bytes)));
        let _ = writeln!(text, "| {files} | {bytes} |{}{}", cells(&point.save), cells(&point.restore));
    }
    text
}

//! The report: a job beside `docker run`, and where its time goes.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Measured, Run};
use crate::{
    machine::Machine,
    report::{
        figures::{median, range},
        machine as machine_line,
    },
};

/// What a job may take above `docker run`, in seconds.
const DEMANDS: [(&str, Figure, f64); 2] =
    [("until the first line of the script", |run| run.first, 0.6), ("a whole empty job", |run| run.whole, 1.5)];

type Figure = fn(&Run) -> f64;

pub(super) fn write(machine: &Machine, rounds: usize, all: &BTreeMap<&str, Measured>) -> String {
    let mut text = String::from(
        "# Benchmarks of jobs\n\nWritten by `make bench-jobs`, which runs jobs and `docker run` in turn on one machine and \
         overwrites this file.\n\n## What must hold\n\n\
         | image | seconds | docker run | job | ratio | above | at most | |\n|---|---|---:|---:|---:|---:|---:|---|\n",
    );
    for (image, measured) in all {
        for (what, figure, most) in DEMANDS {
            let _ = writeln!(text, "| {image} | {what} |{}", row(measured, figure, most));
        }
    }
    let _ = write!(
        text,
        "\n## How it was measured\n\n- {}.\n\
         - {rounds} rounds, in each `docker run --rm IMAGE sh -c 'echo …'` and a job with that script: median, and in brackets the \
           smallest and the largest value.\n\
         - The image is there. The job fetches a small repository with git over HTTP from a fake GitLab on the same machine; its \
           time begins when GitLab hands it out and ends when GitLab has its result. The agent runs already.\n",
        machine_line(machine),
    );
    for (image, measured) in all {
        let _ = write!(text, "\n## Where the time goes: {image}\n\n| part of the job | seconds |\n|---|---:|\n");
        for (part, seconds) in parts(&measured.job) {
            let _ = writeln!(text, "| {part} | {} |", middle(&seconds));
        }
    }
    text
}

fn row(measured: &Measured, figure: Figure, most: f64) -> String {
    let of = |runs: &[Run]| runs.iter().map(figure).collect::<Vec<_>>();
    let (docker, job) = (of(&measured.docker), of(&measured.job));
    let at = |values: &[f64]| median(values.iter().copied()).unwrap_or(0.0);
    let (above, ratio) = (at(&job) - at(&docker), at(&job) / at(&docker));
    let verdict = if above <= most { "holds" } else { "**fails**" };
    format!(" {} | {} | {ratio:.1} | {above:.2} | {most} | {verdict} |", middle(&docker), middle(&job))
}

fn middle(values: &[f64]) -> String {
    format!("{:.2} ({})", median(values.iter().copied()).unwrap_or(0.0), range(values.iter().copied()))
}

/// The seconds of each part in all runs; the gaps between sections together.
fn parts(runs: &[Run]) -> Vec<(String, Vec<f64>)> {
    let mut all: Vec<(String, Vec<f64>)> = Vec::new();
    for run in runs {
        let mut sums: Vec<(&str, f64)> = Vec::new();
        for (name, seconds) in &run.parts {
            match sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += seconds,
                None => sums.push((name, *seconds)),
            }
        }
        for (name, sum) in sums {
            match all.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(sum),
                None => all.push((name.to_owned(), vec![sum])),
            }
        }
    }
    all
}

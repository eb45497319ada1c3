//! Where the cache's CPU time goes: each step once under `perf record`, samples counted by what the code is for.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    Places,
    corpus::{self, Corpus},
    filesystem::run as run_command,
    jobs::Stage,
    machine::Machine,
    measure::give,
    report,
    results::{self, Step},
    say,
};

/// Samples per second and core.
const FREQUENCY: &str = "1999";

/// How to profile.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    places: Places,
}

/// What the steps of each corpus spend their time on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Profiles {
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

/// One step of one corpus.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    pub(crate) corpus: String,
    pub(crate) step: Step,
    /// Percent of the samples by kind.
    pub(crate) parts: BTreeMap<Kind, f64>,
}

/// What code is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Kind {
    Zstd,
    Digest,
    Chunking,
    Copying,
    Rest,
    Kernel,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Zstd, Self::Digest, Self::Chunking, Self::Copying, Self::Rest, Self::Kernel];

    /// Tells by the file and the name of a symbol.
    fn of(file: &str, symbol: &str) -> Self {
        let has = |names: &[&str]| names.iter().any(|name| symbol.contains(name));
        match () {
            () if file.starts_with('[') => Self::Kernel,
            () if has(&["ZSTD", "HUF_", "FSE_", "HIST_", "XXH"]) => Self::Zstd,
            () if has(&["sha256", "blake3"]) => Self::Digest,
            () if has(&["fastcdc"]) => Self::Chunking,
            () if has(&["memmove", "memcpy", "memset"]) => Self::Copying,
            () => Self::Rest,
        }
    }
}

/// Profiles all corpora, and adds that to the report.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Places { cache, report, .. } = &arguments.places;
    let stage = Stage::new(&arguments.places)?;
    let mut profiles = Profiles { machine: Machine::here(), rows: Vec::new() };
    for name in corpus::ALL {
        let corpus = Corpus::read(&cache.join("corpora"), name)?;
        let mut keep = |step, command: &Command| {
            let parts = record(command, cache).with_context(|| format!("profile {name}"))?;
            profiles.rows.push(Row { corpus: name.to_owned(), step, parts });
            Ok(())
        };
        stage.warmstart(&corpus, &mut keep)?;
        say(&format!("{name} is profiled"));
    }
    results::keep(cache, "profile.json", &profiles)?;
    report::update(cache, report)
}

/// Runs the command under perf; gives percent by kind.
fn record(command: &Command, directory: &Path) -> Result<BTreeMap<Kind, f64>> {
    let data = directory.join("perf.data");
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "-e", "cpu-clock", "-F", FREQUENCY, "-o"]).arg(&data).arg("--").env_clear();
    give(&mut perf, command);
    run_command(&mut perf)?;
    let mut report = Command::new("perf");
    report.args(["report", "--stdio", "--sort", "comm,dso,symbol", "--field-separator", ";", "-i"]).arg(&data);
    let output = report.output().context("start perf")?;
    std::fs::remove_file(&data).with_context(|| format!("remove {}", data.display()))?;
    ensure!(output.status.success(), "perf report: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(count(&String::from_utf8_lossy(&output.stdout)))
}

/// Adds up lines of `percent;program;file;symbol`. What starts the program is left out.
fn count(report: &str) -> BTreeMap<Kind, f64> {
    let mut parts = BTreeMap::new();
    for line in report.lines() {
        let fields: Vec<_> = line.splitn(4, ';').map(str::trim).collect();
        let [percent, program, file, symbol] = fields[..] else { continue };
        let Ok(percent) = percent.trim_end_matches('%').parse::<f64>() else { continue };
        if !matches!(program, "bash" | "perf" | "perf-exec" | "env") {
            *parts.entry(Kind::of(file, symbol)).or_default() += percent;
        }
    }
    let total: f64 = parts.values().sum();
    for part in parts.values_mut() {
        *part *= 100.0 / total.max(f64::MIN_POSITIVE);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_by_kind_and_without_what_starts_the_program() {
        let report = "# Overhead;Command;Shared Object;Symbol\n\n 30.00%;tokio-rt-worker;cache;[.] ZSTD_x\n \
                      10.00%;tokio-rt-worker;[kernel.kallsyms];[k] ext4_create;x\n60.00%;bash;bash;[.] sha256\n";
        assert_eq!(count(report), BTreeMap::from([(Kind::Zstd, 75.0), (Kind::Kernel, 25.0)]));
    }
}

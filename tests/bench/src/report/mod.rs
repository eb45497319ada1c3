//! The report: everything measured, in Markdown.

mod demands;
pub(crate) mod figures;
mod growth;
mod profile;

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use figures::{float, grouped, mebibytes, median, megabytes, range, short};

use crate::{
    corpus::Size,
    filesystem::Fresh,
    machine::Machine,
    measure::Cost,
    peer,
    profile::Profiles,
    results::{self, Comparison, Growth, Measured, Step},
};

/// Writes the report from the results that are kept in `cache`.
pub(crate) fn update(cache: &Path, report: &Path) -> Result<()> {
    let comparison: Option<Comparison> = results::kept(cache, "comparison.json");
    let profiles: Option<Profiles> = results::kept(cache, "profile.json");
    let growth: Option<Growth> = results::kept(cache, "growth.json");
    let mut text = String::from(
        "# Benchmarks of the cache\n\nWritten by `make bench-cache`, which measures all programs in one run on one \
         machine and overwrites this file.\nRatios count: absolute times are those of a small virtual machine.\n",
    );
    text.extend(comparison.as_ref().map(compare));
    text.extend(profiles.as_ref().map(profile::section));
    text.extend(growth.as_ref().map(growth::section));
    fs::write(report, text).with_context(|| format!("write {}", report.display()))
}

fn compare(comparison: &Comparison) -> String {
    let mut text = format!("\n## What must hold\n\n{}", demands::table(&comparison.corpora));
    text += "\nRatios of medians of wall time, of bytes, or of sizes, all of the same run.\n";
    text += &conditions(comparison);
    text += &corpora(&comparison.corpora);
    for corpus in &comparison.corpora {
        let _ = write!(text, "\n## Corpus {}\n", corpus.name);
        for step in Step::ALL {
            let _ = write!(text, "\n### {}: {}\n\n{}", corpus.name, step.title(), steps(corpus, step));
        }
    }
    text
}

/// Writes a machine in one line.
pub(crate) fn machine(machine: &Machine) -> String {
    let Machine { processor, cores, memory, kernel, system, date, commit } = machine;
    format!("{date}, commit {commit}: {processor}, {cores} cores, {memory} GiB of memory, {system}, Linux {kernel}")
}

fn conditions(comparison: &Comparison) -> String {
    let mut text = format!("\n## How it was measured\n\n- {}.\n", machine(&comparison.machine));
    for peer in peer::ALL {
        if let Some(version) = comparison.versions.get(peer.name) {
            let _ = writeln!(text, "- {}: {version}.", title(peer.name));
        }
    }
    for peer in &comparison.missing {
        let _ = writeln!(text, "- {} was not to be had on this machine.", title(peer));
    }
    let rounds = comparison.rounds;
    let _ = write!(
        text,
        "- GitLab Runner's zip is not among them: its program is in none of the package registries that the benchmark uses.\n\
         - {rounds} rounds (restic and rustic {}), in each every program in turn: median, and in brackets the smallest \
           and the largest value.\n\
         - Each job begins on {}, with an empty home directory. The first job saves; the second restores, saves again, \
           upgrades the tree and saves the second version; the third restores that. After each restore the tree is \
           compared with the original, byte for byte.\n\
         - What is read is in the page cache, what is written to is empty; everything is written back (`sync`) before \
           a program starts, and not afterwards: no program waits for the disk. Memory is touched before, since a \
           virtual machine pays for memory that it has given back to its host.\n\
         - Every program has its own defaults. tar streams to the store (`curl -T -`), which S3 itself would not take \
           without a length: a real pipeline needs a temporary file, and more time. zstd compresses with one thread.\n\
         - The S3 server is part of the benchmark: it keeps objects in memory, answers over loopback without TLS, and \
           checks no signatures. Its CPU is listed beside that of the program; both share the cores.\n\
         - CPU is that of the program and all its children, in user space and kernel. Memory is that of the largest \
           process of a pipeline.\n",
        rounds.min(3),
        Fresh::kind(),
    );
    text
}

fn corpora(corpora: &[Measured]) -> String {
    let mut text = String::from(
        "\n## Corpora\n\n| corpus | content | first version | second version | new in it |\n|---|---|---:|---:|---:|\n",
    );
    let size = |size: Size| format!("{} files, {} MB", grouped(size.files), megabytes(float(size.bytes)));
    for Measured { name, first, second, changes, .. } in corpora {
        let content = match name.as_str() {
            "pip" => "site-packages of a data science project",
            _ => "sources of crates, as `cargo vendor` lays them out",
        };
        let _ = writeln!(text, "| {name} | {content} | {} | {} | {} |", size(*first), size(*second), size(*changes));
    }
    text
}

/// Writes the table of one step.
fn steps(corpus: &Measured, step: Step) -> String {
    let save = !matches!(step, Step::RestoreFirst | Step::RestoreSecond);
    let mut text = String::from("| program | seconds | CPU seconds | server's | peak MiB | requests |");
    text += if save { " MB sent | MB in store |\n" } else { "\n" };
    text += if save { "|---|---:|---:|---:|---:|---:|---:|---:|\n" } else { "|---|---:|---:|---:|---:|---:|\n" };
    for peer in peer::ALL {
        let Some(costs) = corpus.peers.get(peer.name).and_then(|costs| costs.get(&step)) else { continue };
        let _ = writeln!(text, "| {} |{}", title(peer.name), row(costs, save));
    }
    text
}

fn row(costs: &[Cost], save: bool) -> String {
    let middle = |figure: fn(&Cost) -> f64| median(costs.iter().map(figure)).unwrap_or(0.0);
    let (walls, peak) = (costs.iter().map(|cost| cost.wall), costs.iter().map(|cost| cost.peak).max().unwrap_or(0));
    let mut text = format!(
        " {} ({}) | {} | {} | {} | {:.0} |",
        short(middle(|cost| cost.wall)),
        range(walls),
        short(middle(Cost::cpu)),
        short(middle(|cost| cost.server)),
        mebibytes(float(peak)),
        middle(|cost| float(cost.requests)),
    );
    if save {
        let (sent, stored) = (middle(|cost| float(cost.sent)), middle(|cost| float(cost.stored)));
        let _ = write!(text, " {} | {} |", megabytes(sent), megabytes(stored));
    }
    text
}

/// What a peer is called.
fn title(peer: &str) -> &str {
    match peer {
        peer::WARMSTART => "warmstart-cache",
        peer::TAR_ZST => "tar.zst over HTTP",
        peer::TAR => "tar, in memory",
        other => other,
    }
}

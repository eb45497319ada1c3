//! The cache measured against its peers, and the S3 server for it: `warmstart-bench cache`, `… growth`, `… profile`, `… serve`;
//! the masker of logs: `… masker`; jobs against `docker run`: `… jobs`.
//!
//! All peers run in one run against the same server, one after the other in every round, each job on a fresh file
//! system. The report says how; see `docs/benchmarks.md`.

mod corpus;
mod filesystem;
mod growth;
mod jobs;
mod machine;
mod masker;
mod measure;
mod overhead;
mod peer;
mod profile;
mod report;
mod results;
mod server;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

/// Measures the cache and the masker against their peers, and jobs against `docker run`.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Measures all peers on both corpora and writes the report.
    Cache(jobs::Arguments),
    /// Measures the cache alone on trees of growing size and adds that to the report.
    Growth(growth::Arguments),
    /// Measures the masker of job logs beside sed and a plain copy, and prints the figures.
    Masker,
    /// Profiles the cache with perf on both corpora and adds that to the report.
    Profile(profile::Arguments),
    /// Measures what a job costs above `docker run` and writes that report.
    Jobs(overhead::Arguments),
    /// Serves S3 from memory on a free port of the loopback address, which it prints.
    Serve,
}

/// Where everything is that a measurement needs.
#[derive(Clone, Debug, clap::Args)]
struct Places {
    /// The warmstart-cache to measure.
    #[arg(long)]
    warmstart: PathBuf,
    /// Corpora, results of earlier runs and work files; kept between runs.
    #[arg(long)]
    cache: PathBuf,
    /// The folder of this benchmark in the checkout.
    #[arg(long, default_value = "tests/bench")]
    source: PathBuf,
    /// The report to write.
    #[arg(long, default_value = "docs/benchmarks.md")]
    report: PathBuf,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Action::Cache(arguments) => jobs::run(&arguments),
        Action::Growth(arguments) => growth::run(&arguments),
        Action::Masker => masker::run(),
        Action::Profile(arguments) => profile::run(&arguments),
        Action::Jobs(arguments) => overhead::run(&arguments),
        Action::Serve => serve(),
    }
}

#[expect(clippy::print_stdout, reason = "whoever starts the server reads its address")]
fn serve() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        println!("http://{}", listener.local_addr().context("find the address")?);
        server::run(listener).await
    })
}

/// Tells a person how far it is.
#[expect(clippy::print_stderr, reason = "a run takes half an hour")]
fn say(text: &str) {
    eprintln!("bench: {text}");
}

//! The command line.

use crate::config::{self, Config};
use crate::registration::{self, Register, Unregister};
use crate::stop::Stop;
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Takes GitLab jobs and hands each to an executor that it keeps.
#[derive(Debug, Parser)]
#[command(name = "warmstart-runner", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take jobs until stopped. SIGTERM leaves running jobs to the next runner, SIGQUIT waits for them.
    Run(File),
    /// Read a configuration and say what is wrong with it.
    Check(File),
    /// End the instances of this deployment that no runner knows; to be run on a schedule, also while no runner runs.
    Reap(Reap),
    /// Check a token with GitLab and add it to the configuration.
    Register(Box<Register>),
    /// Take an entry off GitLab's list and out of the configuration.
    Unregister(Unregister),
}

#[derive(Args, Debug)]
struct File {
    /// The configuration, TOML with GitLab Runner's keys.
    #[arg(long, short, env = "WARMSTART_RUNNER_CONFIG")]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct Reap {
    #[command(flatten)]
    file: File,
    /// Only name them.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command to its end.
pub async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Run(file) => {
            let (config, warnings) = load(&file.config)?;
            crate::logging::start(&config.log_level, config.json);
            for warning in warnings {
                tracing::warn!("{}: {warning}", file.config.display());
            }
            Box::pin(crate::run::run(config, Stop::on_signals()?)).await
        }
        Command::Check(file) => {
            let (config, warnings) = load(&file.config)?;
            let mut out = std::io::stdout();
            for warning in warnings {
                writeln!(out, "{}: warning: {warning}", file.config.display()).context("write")?;
            }
            writeln!(out, "{}: good, {} runner(s)", file.config.display(), config.entries.len()).context("write")
        }
        Command::Reap(reap) => {
            let (config, _) = load(&reap.file.config)?;
            say(Box::pin(crate::reap::run(&config, reap.dry_run)).await?)
        }
        Command::Register(wanted) => say([Box::pin(registration::register(&wanted)).await?]),
        Command::Unregister(wanted) => say(Box::pin(registration::unregister(&wanted)).await?),
    }
}

fn say(lines: impl IntoIterator<Item = String>) -> Result<()> {
    let mut out = std::io::stdout();
    lines.into_iter().try_for_each(|line| writeln!(out, "{line}")).context("write")
}

fn load(path: &Path) -> Result<(Config, Vec<String>)> {
    config::read(&registration::read(path)?, path)
}

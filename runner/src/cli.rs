//! The command line.

use crate::config::{self, Config};
use crate::stop::Stop;
use anyhow::{Context, Result, anyhow};
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
}

#[derive(Args, Debug)]
struct File {
    /// The configuration, TOML with GitLab Runner's keys.
    #[arg(long, short, env = "WARMSTART_RUNNER_CONFIG")]
    config: PathBuf,
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
    }
}

fn load(path: &Path) -> Result<(Config, Vec<String>)> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read configuration {}", path.display()))?;
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    config::parse(&text, &environment).map_err(|error| match error {
        config::Error::Text { line, message } => anyhow!("{}:{line}: {message}", path.display()),
        config::Error::Whole(message) => anyhow!("{}: {message}", path.display()),
    })
}

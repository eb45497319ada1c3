//! The command line.

use crate::{instance, link, purge, standalone};
use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use std::io::IsTerminal;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;
use warmstart_api::environment;
use warmstart_gitlab::secret::Secret;

/// Runs GitLab jobs through the local Docker daemon.
#[derive(Debug, Parser)]
#[command(name = "warmstart-agent", version, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Executor(Executor),
    Instance(Instance),
    Run(Box<Run>),
    Purge(Purge),
}

/// Serve a Warmstart runner: take its jobs until it says that there are no more.
///
/// A runner starts this command on each of its executors and passes everything in the environment.
#[derive(Args, Debug)]
pub struct Executor {
    /// The runner's address, `https://host:port`.
    #[arg(long, env = environment::URL)]
    pub url: String,
    /// SHA-256 of the runner's certificate.
    #[arg(long, env = environment::FINGERPRINT)]
    pub fingerprint: String,
    /// This executor's id.
    #[arg(long, env = environment::EXECUTOR)]
    pub executor: String,
    /// What proves that this is that executor.
    #[arg(long, env = environment::TOKEN, hide_env_values = true)]
    pub token: Secret,
    /// Where builds, logs and temporary files are kept.
    #[arg(long, env = environment::DIRECTORY)]
    pub directory: PathBuf,
}

/// Serve a Warmstart runner from the EC2 instance it launched.
///
/// Everything comes from the instance metadata service (version 2): the runner's address from the user-data, the proof of
/// what this is from the instance's role. `AWS_EC2_METADATA_SERVICE_ENDPOINT` sets another address of that service.
#[derive(Args, Debug)]
pub struct Instance {
    /// Where builds, logs and temporary files are kept.
    #[arg(long, env = environment::DIRECTORY, default_value = "/var/lib/warmstart")]
    pub directory: PathBuf,
}

/// Take jobs from GitLab directly and run them on this machine.
#[derive(Args, Debug)]
#[command(args_override_self = true)]
pub struct Run {
    /// GitLab's URL.
    #[arg(long, env = "CI_SERVER_URL")]
    pub url: String,
    /// The runner authentication token, `glrt-…`.
    #[arg(long, env = "CI_SERVER_TOKEN", hide_env_values = true)]
    pub token: Secret,
    /// PEM file with the certificate authority of GitLab's certificate.
    #[arg(long)]
    pub tls_ca_file: Option<PathBuf>,
    /// PEM file with a certificate for a server that asks who calls.
    #[arg(long, requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file with that certificate's key.
    #[arg(long, requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// The image of jobs that name none.
    #[arg(long, default_value = "")]
    pub image: String,
    /// Pull policies, tried in order: always, if-not-present, never.
    #[arg(long, default_value = "always", value_delimiter = ',')]
    pub pull_policy: Vec<String>,
    /// Volumes of every job, as `[runners.docker] volumes`.
    #[arg(long = "volume", default_value = "/cache")]
    pub volumes: Vec<String>,
    /// Give the containers of jobs full privileges: root on this machine.
    #[arg(long)]
    pub privileged: bool,
    /// The directory of the builds inside the containers.
    #[arg(long, default_value = "/builds")]
    pub builds_dir: String,
    /// Where caches are kept: `file:///directory` or `s3://bucket/prefix`.
    #[arg(long)]
    pub cache_store: Option<String>,
    /// The name in the log's header.
    #[arg(long)]
    pub name: Option<String>,
    /// How many jobs run at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub concurrent: u32,
    /// Seconds between two requests for a job.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub check_interval: u64,
    /// Run one job, then exit.
    #[arg(long)]
    pub once: bool,
    /// The label of everything made in Docker, for `purge`; one per machine and GitLab by default.
    #[arg(long, env = environment::EXECUTOR)]
    pub executor: Option<String>,
    /// Where builds, logs and temporary files are kept.
    #[arg(long, env = environment::DIRECTORY, default_value = "/var/lib/warmstart")]
    pub directory: PathBuf,
}

/// Remove every container, network and volume that an executor left in Docker.
#[derive(Args, Debug)]
pub struct Purge {
    /// The executor's id.
    #[arg(long, env = environment::EXECUTOR)]
    pub executor: String,
}

/// Sends the agent's own messages to stderr: text on a terminal, else JSON. `WARMSTART_LOG` sets the level.
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("WARMSTART_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().flatten_event(true).with_span_list(false).init();
    }
}

/// Runs the command to its end.
pub async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Executor(arguments) => Box::pin(link::run(arguments)).await,
        Command::Instance(arguments) => Box::pin(instance::run(arguments)).await,
        Command::Run(arguments) => Box::pin(standalone::run(*arguments)).await,
        Command::Purge(arguments) => purge::run(&arguments).await,
    }
}

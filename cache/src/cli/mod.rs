//! The command line. One file per subcommand; the comment on its arguments is its help.

#![expect(clippy::doc_markdown, reason = "comments on arguments are help texts")]

mod args;
mod completions;
mod env;
mod export;
mod gc;
mod import;
mod info;
mod list;
mod output;
mod records;
mod restore;
mod rm;
mod save;
mod serve;
mod stats;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::output::Output;

/// Keeps directories of dependencies in S3 or in a directory, and brings them back verified.
///
/// Only what changed is stored again. A cache that is missing, damaged or out of reach is never an error of
/// `restore`: it says so and ends with 0. Exit codes: 0 done, 2 usage, 3 a miss with --fail-on-miss, 4 error.
#[derive(Debug, Parser)]
#[command(name = "warmstart-cache", version, arg_required_else_help = true, subcommand_required = true)]
struct Arguments {
    /// Where the caches are: s3://bucket/prefix[?endpoint=URL&region=NAME], file:///directory, or where `serve` says.
    #[arg(long, global = true, display_order = 100, env = env::STORE, value_name = "URL")]
    store: Option<String>,
    /// Write one JSON object instead of a sentence.
    #[arg(long, global = true, display_order = 101)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Save(save::Arguments),
    Restore(restore::Arguments),
    List(list::Arguments),
    Info(info::Arguments),
    Rm(rm::Arguments),
    Stats(stats::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Gc(gc::Arguments),
    Verify(verify::Arguments),
    Serve(serve::Arguments),
    Completions(completions::Completions),
    Man(completions::Man),
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Miss,
}

/// Why a command did not get anywhere.
#[derive(Debug)]
enum Failure {
    /// The arguments make no sense.
    Usage(String),
    /// They do, and yet it failed.
    Error(String),
}

impl From<warmstart_cache::Error> for Failure {
    fn from(error: warmstart_cache::Error) -> Self {
        use warmstart_cache::Error;
        match error {
            Error::Address { .. } | Error::Name { .. } => Self::Usage(error.to_string()),
            _ => Self::Error(error.to_string()),
        }
    }
}

/// Runs the command that the arguments name, and gives the exit code.
pub(crate) fn main() -> ExitCode {
    let arguments = command().try_get_matches().and_then(|found| Arguments::from_arg_matches(&found));
    let arguments = match arguments {
        Ok(arguments) => arguments,
        // To standard output for help (0), to standard error for a mistake (2).
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    output::start_log();
    let output = Output { json: arguments.json, aside: false };
    match run(arguments, output) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Miss) => ExitCode::from(3),
        Err(failure) => output::failure(&failure),
    }
}

fn command() -> clap::Command {
    env::tame(Arguments::command())
}

fn run(arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let command = match arguments.command {
        Command::Completions(arguments) => return Ok(completions::completions(&arguments, command())),
        Command::Man(arguments) => return completions::man(&arguments, command()),
        command => command,
    };
    let url = arguments
        .store
        .ok_or_else(|| Failure::Usage("no store is given; use --store URL or set WARMSTART_CACHE_STORE".to_owned()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Error(format!("start threads: {error}")))?;
    let outcome = runtime.block_on(with_store(command, &url, output));
    // Every command has waited for its own work; a look-up of a dead host may hold a thread for a minute.
    runtime.shutdown_background();
    outcome
}

async fn with_store(command: Command, url: &str, output: Output) -> Result<Outcome, Failure> {
    match command {
        Command::Save(arguments) => save::run(url, arguments, output).await,
        Command::Restore(arguments) => restore::run(url, arguments, output).await,
        Command::List(arguments) => list::run(url, arguments, output).await,
        Command::Info(arguments) => info::run(url, arguments, output).await,
        Command::Rm(arguments) => rm::run(url, arguments, output).await,
        Command::Stats(arguments) => stats::run(url, arguments, output).await,
        Command::Export(arguments) => export::run(url, arguments, output).await,
        Command::Import(arguments) => import::run(url, arguments, output).await,
        Command::Serve(arguments) => serve::run(url, arguments, output).await,
        Command::Gc(arguments) => gc::run(url, arguments, output).await,
        Command::Verify(arguments) => verify::run(url, arguments, output).await,
        Command::Completions(_) | Command::Man(_) => unreachable!("these need no store"),
    }
}

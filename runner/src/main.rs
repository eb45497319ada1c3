//! The `warmstart-runner` program.

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use warmstart_runner::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when even stderr is gone.
            let _ = writeln!(std::io::stderr(), "warmstart-runner: {error:#}");
            ExitCode::FAILURE
        }
    }
}

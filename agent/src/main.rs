//! The `warmstart-agent` program.

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use warmstart_agent::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Cli::parse();
    cli::start_logging();
    match cli::run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when even stderr is gone.
            let _ = writeln!(std::io::stderr(), "warmstart-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

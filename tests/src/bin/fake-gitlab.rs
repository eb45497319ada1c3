//! `fake-gitlab`: a GitLab for runners, without GitLab.

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use warmstart_tests::gitlab::program::{Arguments, run};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run(&arguments, &mut std::io::stdout()).await.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "fake-gitlab: {error:#}");
        ExitCode::FAILURE
    })
}

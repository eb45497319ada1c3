//! `make demo`: a pipeline, cold and warm. Cleans up after itself, also on Ctrl-C.

use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the demo talks to a person")]
async fn main() -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return ExitCode::FAILURE;
    };
    let result = tokio::select! {
        result = warmstart_tests::demo::run() => result,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted; everything is cleaned up")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated; everything is cleaned up")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! What people and programs get to read: one sentence or one JSON object on standard output, warnings, progress
//! and errors on standard error.

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdout},
    process::ExitCode,
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;
use warmstart_cache::Progress;

use super::{Failure, env};

/// How to speak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) json: bool,
    /// Whether standard output is for something else.
    pub(super) aside: bool,
}

impl Output {
    /// Says the result on standard error.
    pub(super) fn aside(self) -> Self {
        Self { aside: true, ..self }
    }

    /// Says the result: `sentence` to people, `value` to programs.
    pub(super) fn result(self, sentence: &str, value: &impl Serialize) {
        let text = if self.json { serde_json::to_string(value).unwrap_or_default() } else { sentence.to_owned() };
        // Whoever closed the pipe does not want to know.
        let _ = if self.aside { writeln!(stderr(), "{text}") } else { writeln!(stdout(), "{text}") };
    }

    /// Warns, in JSON only within the result.
    pub(super) fn warnings(self, warnings: &[String]) {
        if !self.json {
            for warning in warnings {
                let _ = writeln!(stderr(), "warning: {warning}");
            }
        }
    }
}

/// Says why nothing came of it, and gives the exit code.
pub(super) fn failure(failure: &Failure) -> ExitCode {
    let (text, code) = match failure {
        Failure::Usage(text) => (text, 2),
        Failure::Error(text) => (text, 4),
    };
    let _ = writeln!(stderr(), "error: {text}");
    ExitCode::from(code)
}

/// Shows how far it has come while `work` runs, on a terminal only.
pub(super) async fn with_progress<T>(verb: &'static str, progress: Progress, work: impl Future<Output = T>) -> T {
    if !stderr().is_terminal() {
        return work.await;
    }
    let bar = bar(verb);
    let watch = async {
        loop {
            let (done, total) = progress.get();
            bar.set_length(total);
            bar.set_position(done);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = watch => unreachable!("watching never ends"),
    };
    bar.finish_and_clear();
    result
}

fn bar(verb: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {binary_bytes_per_sec}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(verb)
}

/// Says a number of things, singular or plural.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Says a number of bytes.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Says how long it took.
pub(super) fn since(start: Instant) -> String {
    format!("{:.1} s", start.elapsed().as_secs_f64())
}

/// Sends the log to standard error: warnings, or what the environment asks for.
pub(super) fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env(env::LOG);
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warmstart_cache=warn"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).without_time().try_init();
}

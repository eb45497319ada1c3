//! The runner's own log, on stderr.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The variable that overrides `log_level`, in `tracing`'s filter syntax.
pub const LOG_VARIABLE: &str = "WARMSTART_LOG";

/// Starts the log: JSON if asked for, by default wherever stderr is no terminal.
pub fn start(level: &str, json: Option<bool>) {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json.unwrap_or_else(|| !std::io::stderr().is_terminal()) {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

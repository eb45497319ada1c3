//! Where and when a figure was measured.

use std::process::Command;

use serde::{Deserialize, Serialize};

/// A machine at a time.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// Memory in GiB.
    pub(crate) memory: u64,
    pub(crate) kernel: String,
    pub(crate) system: String,
    /// The day, in UTC.
    pub(crate) date: String,
    /// The commit of the checkout, `-dirty` if it had changes.
    pub(crate) commit: String,
}

impl Machine {
    /// Looks at this machine; what cannot be found out is "unknown".
    pub(crate) fn here() -> Self {
        let kib: u64 = value("/proc/meminfo", "MemTotal:", ' ').parse().unwrap_or(0);
        Self {
            processor: value("/proc/cpuinfo", "model name", '\n').trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: (kib + (1 << 19)) >> 20,
            kernel: value("/proc/sys/kernel/osrelease", "", ' '),
            system: value("/etc/os-release", "PRETTY_NAME=", '\n').trim_matches('"').to_owned(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            commit: commit(),
        }
    }
}

/// Gives what follows `name` in a file, up to `end`.
fn value(file: &str, name: &str, end: char) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim().split(end).next().unwrap_or_default().to_owned())
}

fn commit() -> String {
    let arguments = ["describe", "--always", "--dirty", "--exclude=*"];
    let output = Command::new("git").args(arguments).output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

//! Finds the agents of a deployment among this machine's processes, by their environment.

use rustix::process::{Pid, Signal};
use std::fs;
use std::path::Path;

/// An agent that the runner started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Executor {
    /// The executor's id.
    pub id: String,
    /// The agent's process.
    pub pid: Pid,
}

impl Executor {
    /// Kills the agent's process, and nothing else of the executor, as the kernel's out-of-memory killer would.
    pub fn kill(&self) {
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
    }

    /// Asks the agent to end, as a shutdown of its machine would.
    pub fn stop(&self) {
        let _ = rustix::process::kill_process(self.pid, Signal::TERM);
    }

    /// Freezes the agent's process without ending it.
    pub fn pause(&self) {
        let _ = rustix::process::kill_process(self.pid, Signal::STOP);
    }

    /// Ends a [`Executor::pause`].
    pub fn resume(&self) {
        let _ = rustix::process::kill_process(self.pid, Signal::CONT);
    }
}

/// The agents whose working directory lies below `directory`.
#[must_use]
pub(super) fn executors_below(directory: &Path) -> Vec<Executor> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| executor(entry.file_name().to_str()?, directory)).collect()
}

fn executor(process: &str, below: &Path) -> Option<Executor> {
    let pid = Pid::from_raw(process.parse().ok()?)?;
    let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
    let value = |key: &str| {
        let prefix = format!("{key}=");
        let found = environment.split(|byte| *byte == 0).find(|entry| entry.starts_with(prefix.as_bytes()))?;
        Some(String::from_utf8_lossy(&found[prefix.len()..]).into_owned())
    };
    let ours = Path::new(&value("WARMSTART_DIRECTORY")?).starts_with(below);
    ours.then_some(Executor { id: value("WARMSTART_EXECUTOR")?, pid })
}

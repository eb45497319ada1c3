//! One of our programs as a child process, with its output kept in a file.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};

/// A running program. It is killed when the value goes.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it wrote to its standard output and error, in order.
    pub output: String,
}

impl Process {
    /// Starts a command; its output is appended to the file `output`.
    pub fn start(mut command: Command, output: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(output).context("open the output file")?;
        let name = command.as_std().get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", name.display()))?;
        Ok(Self { child, output: output.to_owned() })
    }

    /// Sends a signal; nothing happens when the process has ended already.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// The most memory that it has had so far, in bytes; 0 when it has ended.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = self.child.id().and_then(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok());
        let peak = status.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("VmHWM:")));
        let kibibytes = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.unwrap_or_default() * 1024
    }

    /// Kills the process as a power cut would, and waits until it is gone.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("kill")
    }

    /// Waits for the end.
    pub async fn wait(mut self) -> Result<Ended> {
        let status = self.child.wait().await.context("wait for the process")?;
        Ok(Ended { status, output: output_of(&self.output) })
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// What it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        output_of(&self.output)
    }
}

fn output_of(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

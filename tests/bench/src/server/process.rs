//! The server as a process of its own, so that its cost can be told from that of the measured program.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::Counters;
use crate::measure::{Whose, cpu};

/// A running server; it ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Where it listens, without a slash at the end.
    pub(crate) endpoint: String,
}

impl Process {
    /// Starts this program's `serve` on a free port.
    pub(crate) fn start() -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut child =
            Command::new(program).arg("serve").stdout(Stdio::piped()).spawn().context("start the server")?;
        let output = child.stdout.take().context("read what the server says")?;
        let mut endpoint = String::new();
        BufReader::new(output).read_line(&mut endpoint).context("read the server's address")?;
        Ok(Self { child, endpoint: endpoint.trim().to_owned() })
    }

    /// Forgets all objects.
    pub(crate) fn clear(&self) -> Result<()> {
        self.ask("clear").map(drop)
    }

    /// Gives the counters.
    pub(crate) fn counters(&self) -> Result<Counters> {
        serde_json::from_slice(&self.ask("counters")?).context("read the server's counters")
    }

    /// Gives the CPU seconds that the server has used.
    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu(&format!("/proc/{}/stat", self.child.id()), Whose::Own)
    }

    fn ask(&self, what: &str) -> Result<Vec<u8>> {
        let url = format!("{}/-/{what}", self.endpoint);
        let output = Command::new("curl").args(["-sS", "--fail", &url]).output().context("start curl")?;
        anyhow::ensure!(output.status.success(), "GET {url}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(output.stdout)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! What one run of a command costs.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::server::Process;

/// The cost of one operation; times in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    /// CPU of the command and all it started, in user space.
    pub(crate) user: f64,
    /// The same in the kernel.
    pub(crate) system: f64,
    /// Peak resident memory of the largest process, in KiB.
    pub(crate) peak: u64,
    /// CPU of the S3 server meanwhile.
    pub(crate) server: f64,
    /// Requests to it.
    pub(crate) requests: u64,
    /// Bytes sent to it.
    pub(crate) sent: u64,
    /// Bytes it holds afterwards.
    pub(crate) stored: u64,
}

impl Cost {
    /// User and system CPU together.
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// MiB of memory touched before each run: more than any of the trees.
const TOUCHED: u32 = 1024;

/// Where commands are measured.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    pub(crate) server: &'a Process,
    /// In memory; holds the figures of GNU time.
    pub(crate) directory: &'a Path,
}

impl Meter<'_> {
    /// Runs the command and measures it. Everything is written back before, so that no predecessor disturbs.
    pub(crate) fn measure(&self, command: &Command) -> Result<Cost> {
        rustix::fs::sync();
        self.touch_memory()?;
        let figures = self.directory.join("time");
        let (counters, cpu) = (self.server.counters()?, self.server.cpu()?);
        let start = Instant::now();
        let output = under_time(command, &figures).output().context("start GNU time")?;
        let wall = start.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?}: {}, {}", output.status, said.trim());
        let after = self.server.counters()?;
        let (user, system, peak) = read(&figures)?;
        Ok(Cost {
            wall,
            user,
            system,
            peak,
            server: self.server.cpu()? - cpu,
            requests: after.requests - counters.requests,
            sent: after.received - counters.received,
            stored: after.stored,
        })
    }

    /// Uses some memory and frees it. A virtual machine gives free memory back to its host and pays when it takes it
    /// again; whoever runs first would pay for all.
    fn touch_memory(&self) -> Result<()> {
        let path = self.directory.join("touched");
        let bytes = vec![1; 1 << 20];
        let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        for _ in 0..TOUCHED {
            file.write_all(&bytes).with_context(|| format!("write {}", path.display()))?;
        }
        std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
    }
}

/// Linux counts CPU time for programs in hundredths of a second, on every architecture of ours.
const TICKS: f64 = 100.0;

/// Whose CPU time: a `stat` in `/proc` has both.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    Own = 11,
    /// Of the children that have ended.
    Children = 13,
}

/// The CPU seconds in a `/proc/…/stat`.
pub(crate) fn cpu(path: &str, whose: Whose) -> Result<f64> {
    let stat = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(whose as usize).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

/// The same command, its CPU and memory written to `figures`.
fn under_time(command: &Command, figures: &PathBuf) -> Command {
    let mut time = Command::new("/usr/bin/time");
    time.args(["-f", "%U %S %M", "-o"]).arg(figures);
    give(&mut time, command);
    time
}

/// Gives a command to another one that runs it, with all that is set of its environment.
pub(crate) fn give(runner: &mut Command, command: &Command) {
    runner.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => runner.env(name, value),
            None => runner.env_remove(name),
        };
    }
}

fn read(figures: &Path) -> Result<(f64, f64, u64)> {
    let text = std::fs::read_to_string(figures).context("read the figures of GNU time")?;
    let mut fields = text.split_whitespace();
    let mut next = || fields.next().with_context(|| format!("read the figures of GNU time: {text}"));
    Ok((next()?.parse()?, next()?.parse()?, next()?.parse()?))
}

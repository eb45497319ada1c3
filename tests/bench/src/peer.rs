//! The programs that are measured: one script each in `peers/`, which knows `version`, `prepare`, `save`, `restore`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// One program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The name of its script.
    pub(crate) name: &'static str,
    /// Three rounds are enough for it.
    pub(crate) slow: bool,
}

/// The cache itself, as a peer.
pub(crate) const WARMSTART: &str = "warmstart";
/// tar, zstd and curl.
pub(crate) const TAR_ZST: &str = "tar-zst";
/// tar from memory.
pub(crate) const TAR: &str = "tar";
/// restic.
pub(crate) const RESTIC: &str = "restic";

/// All of them, in the order in which they run.
pub(crate) const ALL: [Peer; 5] = [
    Peer { name: WARMSTART, slow: false },
    Peer { name: TAR_ZST, slow: false },
    Peer { name: TAR, slow: false },
    Peer { name: RESTIC, slow: true },
    Peer { name: "rustic", slow: true },
];

/// Where the scripts find everything.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) scripts: PathBuf,
    pub(crate) warmstart: PathBuf,
    pub(crate) rustic: PathBuf,
    pub(crate) endpoint: String,
    /// For what lies in memory.
    pub(crate) memory: PathBuf,
}

impl Scene {
    /// Gives the command for one verb. The tree is `work/tree`; `work/state` is the home of whatever the program
    /// keeps between two steps of a job.
    pub(crate) fn command(&self, peer: &str, verb: &str, work: &Path) -> Command {
        let mut command = Command::new(self.scripts.join(peer));
        let state = work.join("state");
        command
            .arg(verb)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_ACCESS_KEY_ID", "benchmark")
            .env("AWS_SECRET_ACCESS_KEY", "benchmark")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", "us-east-1")
            .env("ENDPOINT", &self.endpoint)
            .env("HOME", &state)
            .env("MEMORY", &self.memory)
            .env("RUSTIC", &self.rustic)
            .env("STATE", &state)
            .env("WARMSTART", &self.warmstart)
            .env("WORK", work);
        command
    }

    /// Asks a peer for its version; an error if it is not installed.
    pub(crate) fn version(&self, peer: &str) -> Result<String> {
        let output = self.command(peer, "version", &self.memory).output().context("start the script")?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        anyhow::ensure!(output.status.success() && !version.is_empty(), "{peer} is not installed");
        Ok(version)
    }
}

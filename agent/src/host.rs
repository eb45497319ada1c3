//! This machine, made ready for jobs.

use crate::docker::helper::Tools;
use crate::docker::{self, labels, sandbox};
use crate::notices::Notices;
use crate::workspace::remove_tree;
use anyhow::{Context, Result, bail};
use bollard::Docker;
use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// This machine, checked and ready for jobs.
#[derive(Debug)]
pub struct Host {
    /// The daemon.
    pub docker: Docker,
    /// Tools of the helper container.
    pub tools: Tools,
    /// The label of everything made in Docker.
    pub executor: String,
    /// The machine's name, for logs.
    pub name: String,
    /// Directories of builds, one per job.
    pub builds: PathBuf,
    /// Logs and archives on their way.
    pub tmp: PathBuf,
    /// Whether it is about to be taken away.
    pub notices: Notices,
    /// Held as long as this agent uses the directory.
    _lock: File,
}

impl Host {
    /// Takes the directory, connects to Docker, removes what an earlier agent left in either, and tries the tools.
    ///
    /// Fails in one line: no Docker, no permission, a directory that cannot be written or that another agent uses,
    /// tools that are missing.
    pub async fn start(directory: &Path, executor: &str) -> Result<Self> {
        let executor = executor.to_owned();
        let (builds, tmp) = (directory.join("builds"), directory.join("tmp"));
        let lock = take(directory)?;
        let docker = docker::connect().await?;
        remove_leftovers(&docker, &executor).await?;
        // Only now: a container that was just about to start would make its directory of builds again.
        empty(&builds)?;
        empty(&tmp)?;
        let tools = Tools::load(&docker).await?;
        tools.check(&docker, &executor, &tmp).await?;
        if !rustix::process::geteuid().is_root() {
            tracing::warn!("not running as root: files that a job keeps to itself cannot be cached or uploaded");
        }
        let notices = Notices::default();
        Ok(Self { docker, tools, executor, name: name(), builds, tmp, notices, _lock: lock })
    }
}

/// Makes the directory and locks it: two agents would remove each other's builds.
fn take(directory: &Path) -> Result<File> {
    let shown = directory.display();
    private(directory).with_context(|| format!("cannot create the directory {shown}"))?;
    let path = directory.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write to the directory {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("cannot use the directory {shown}: another agent uses it"),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// For this user only: builds and logs hold secrets.
fn private(directory: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn empty(directory: &Path) -> Result<()> {
    remove_tree(directory).with_context(|| format!("cannot remove old files in {}", directory.display()))?;
    private(directory).with_context(|| format!("cannot create the directory {}", directory.display()))
}

/// Jobs of an earlier agent are over, whatever their containers believe. Volumes kept for later jobs stay.
async fn remove_leftovers(docker: &Docker, executor: &str) -> Result<()> {
    let filter = labels::Filter::label(labels::EXECUTOR, executor).and(labels::JOB);
    sandbox::remove_labelled(docker, &filter).await.context("cannot remove what an earlier agent left in Docker")
}

fn name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |n| n.trim().to_owned())
}

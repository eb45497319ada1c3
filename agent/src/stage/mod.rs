//! The stages of a job, one file each, and what they share (protocol §2.1).

pub mod artifacts;
pub mod cache;
pub mod cache_key;
pub mod cleanup;
pub mod download;
pub mod files;
pub mod prepare;
pub mod sidecar;
pub mod sources;
pub mod steps;
pub mod work;

use crate::docker::attach::Sinks;
use crate::docker::config::Spec;
use crate::docker::container::Container;
use crate::docker::helper;
use crate::docker::sandbox::Sandbox;
use crate::docker::view::View;
use crate::docker::volumes::Builds;
use crate::docker::workplace::Workplace;
use crate::fault::Fault;
use crate::host::Host;
use crate::job::order::Order;
use crate::job::stops::Stops;
use crate::log::Log;
use crate::script::{self, Context, StageScript};
use crate::variables::{Directories, JobSettings, Variables};
pub use files::Project;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use warmstart_gitlab::client::Client;

/// Most bytes of a list of untracked files.
const UNTRACKED: usize = 64 << 20;

/// A job while it runs: all that its stages share.
#[derive(Debug)]
pub struct Execution {
    /// The machine.
    pub host: Arc<Host>,
    /// The job.
    pub order: Arc<Order>,
    /// GitLab.
    pub gitlab: Client,
    /// Where the job lives.
    pub directories: Directories,
    /// Where that is on this machine.
    pub builds: Builds,
    /// What the job sets through its variables.
    pub settings: JobSettings,
    /// The job's variables as they are in the current stage.
    pub variables: Variables,
    /// The job's log.
    pub log: Log,
    /// The job's corner of Docker.
    pub sandbox: Sandbox,
    /// What can stop the job.
    pub stops: Stops,
    /// The store, for the job's own use.
    pub sidecar: Option<sidecar::Sidecar>,
    /// The job's caches.
    pub caches: cache::Caches,
    /// The job's threads.
    pub work: work::Work,
    /// Made by the first stage.
    pub prepared: Option<Prepared>,
}

/// What the first stage makes.
#[derive(Debug)]
pub struct Prepared {
    /// Where git runs.
    pub helper: Container,
    /// Its host name; the machine's where it has none of its own.
    pub hostname: String,
    /// Where the job's scripts run.
    pub workplace: Workplace,
    /// The helper's view of the files, where the host sees others.
    pub view: Option<View>,
}

/// What all containers of the job have in common.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// `KEY=value`.
    pub env: Vec<String>,
    /// Docker's `Binds`.
    pub binds: Vec<String>,
    /// `alias:address` of services, where the network has no names.
    pub hosts: Vec<String>,
    /// Docker's `NetworkMode`.
    pub network_mode: String,
    /// The build container's names in that network.
    pub aliases: Vec<String>,
    /// The build container's host name.
    pub hostname: String,
}

impl Common {
    /// A container like all others of the job.
    #[must_use]
    pub fn spec(&self) -> Spec {
        Spec {
            env: self.env.clone(),
            binds: self.binds.clone(),
            extra_hosts: self.hosts.clone(),
            network_mode: self.network_mode.clone(),
            hostname: self.hostname.clone(),
            ..Spec::default()
        }
    }
}

impl Execution {
    /// What scripts are written from.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context {
            inputs: self.order.inputs(),
            variables: &self.variables,
            settings: &self.settings,
            directories: &self.directories,
            correlation_id: &self.order.correlation_id,
        }
    }

    /// A path or name of an artifact or a cache, expanded as a shell would; as it is, with a warning, where it cannot be.
    pub fn expand_path(&self, text: &str) -> String {
        self.variables.expand_like_shell(text).unwrap_or_else(|why| {
            self.log.warn(&format!("cannot expand {text:?}: {why}; it is taken as it is"));
            text.to_owned()
        })
    }

    /// What the first stage made.
    pub fn prepared(&self) -> Result<&Prepared, Fault> {
        self.prepared.as_ref().ok_or_else(|| Fault::System("the job was not prepared".to_owned()))
    }

    /// Runs a script in the helper container; its output goes to the log.
    pub async fn in_helper(&self, script: &StageScript) -> Result<(), Fault> {
        let helper = &self.prepared()?.helper;
        let mut sinks = self.log.sinks().ok_or(Fault::Canceled)?;
        exited(helper::run(helper, script.text(), &mut sinks).await?)
    }

    /// The files that git does not track, relative to the project directory; a failure is only warned about.
    pub async fn untracked(&self) -> Option<Vec<PathBuf>> {
        let script = script::untracked(&self.context());
        let helper = &self.prepared().ok()?.helper;
        let mut sinks = Sinks { out: Capped::default(), err: Capped::default() };
        match helper::run(helper, script.text(), &mut sinks).await {
            Ok(0) if !sinks.out.full => Some(paths(&sinks.out.bytes)),
            Ok(0) => self.no_untracked("the list is too long"),
            Ok(code) => self.no_untracked(&format!("git ended with exit code {code}")),
            Err(fault) => self.no_untracked(&fault.to_string()),
        }
    }

    fn no_untracked(&self, why: &str) -> Option<Vec<PathBuf>> {
        self.log.warn(&format!("cannot list untracked files: {why}"));
        None
    }
}

/// Output kept in memory, up to a limit that no honest job meets.
#[derive(Debug, Default)]
struct Capped {
    bytes: Vec<u8>,
    full: bool,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.full |= self.bytes.len() + bytes.len() > UNTRACKED;
        if !self.full {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Paths that are each ended by a NUL.
fn paths(bytes: &[u8]) -> Vec<PathBuf> {
    let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(name))).collect()
}

/// A script's exit code as a result.
pub fn exited(code: i64) -> Result<(), Fault> {
    #[expect(clippy::cast_possible_truncation, reason = "GitLab reduces exit codes to 32 bits (protocol §2.3)")]
    match code {
        0 => Ok(()),
        code => Err(Fault::Exit(code as i32)),
    }
}

/// The further attempts that a stage has, with pauses of 5 s doubling to 5 min (protocol §2.1).
pub struct Attempts<'a> {
    log: &'a Log,
    limit: u32,
    made: u32,
    pause: Duration,
}

impl<'a> Attempts<'a> {
    /// Allows `limit` attempts in all.
    #[must_use]
    pub fn new(log: &'a Log, limit: u32) -> Self {
        Self { log, limit, made: 0, pause: Duration::from_secs(5) }
    }

    /// Waits before another attempt, or fails with the last one's fault when there is none left.
    pub async fn another(&mut self, fault: Fault) -> Result<(), Fault> {
        self.made += 1;
        if self.made >= self.limit {
            return Err(fault);
        }
        self.log.warn(&format!("{fault}; attempt {} of {} follows", self.made + 1, self.limit));
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_mins(5));
        Ok(())
    }
}

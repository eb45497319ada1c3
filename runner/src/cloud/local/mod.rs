//! Executors as processes on this machine.
//!
//! Each has a directory of its own, named by its id:
//!
//! | file | content |
//! |---|---|
//! | `executor.json` | what is needed to find the process again, and never another one |
//! | `agent.log` | what the agent wrote |
//! | `work/` | the agent's own |
//!
//! A process outlives the runner: it is the leader of its own process group and its output goes to a file. A runner
//! that starts finds it by its record. The record is written before the process is there and again with its pid; a
//! runner killed between the two leaves a record without a pid, and then the process is looked for by its
//! environment.

mod process;
mod record;

use super::{Cloud, Error, Failed, Instance, Launched, Order, Seed, Status};
use crate::clock::Clock;
use crate::journal::Lock;
use crate::ownership::Launch;
use process::Process;
use record::Record;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use warmstart_api::environment;
use warmstart_gitlab::secret::Secret;

/// How long the agent may take to remove an executor's containers.
const PURGE: Duration = Duration::from_mins(3);

/// How long a killed process group may take to be gone.
const DYING: Duration = Duration::from_secs(20);

/// How much of a log is quoted.
const TAIL: usize = 2000;

/// The executors of this machine.
#[derive(Debug)]
pub struct Local {
    /// The agent's program.
    command: PathBuf,
    directory: PathBuf,
    /// What the agents dial, and the certificate they trust.
    url: String,
    fingerprint: String,
    /// Variables of the runner that its executors must not have.
    hidden: Vec<OsString>,
    clock: Clock,
    _lock: Lock,
}

impl Local {
    /// Takes the directory and looks at the program: one that is missing would only be noticed by the first job.
    pub fn open(
        command: PathBuf,
        directory: PathBuf,
        url: String,
        fingerprint: String,
        clock: Clock,
    ) -> Result<Self, Error> {
        if !command.is_file() {
            let hint = "set fleet.local.command to the path of warmstart-agent";
            return Err(Error(format!("no agent program at {}: {hint}", command.display())));
        }
        let lock = Lock::take(&directory).map_err(|error| Error(error.to_string()))?;
        let hidden = vec![OsString::from(crate::config::TOKEN_VARIABLE)];
        Ok(Self { command, directory, url, fingerprint, hidden, clock, _lock: lock })
    }

    fn start(&self, seed: &Seed, token: &Secret, pool: &str) -> Result<(), Error> {
        let directory = self.directory.join(&seed.id);
        let failed =
            |what: &str, why: &dyn std::fmt::Display| Error(format!("cannot {what} {}: {why}", directory.display()));
        std::fs::create_dir_all(directory.join("work")).map_err(|why| failed("make", &why))?;
        let mut record = Record { launched: self.clock.now(), pool: pool.to_owned(), process: None };
        record.write(&directory).map_err(|why| failed("write the record in", &why))?;
        let log = File::create(directory.join("agent.log")).map_err(|why| failed("write a log in", &why))?;
        let again = log.try_clone().map_err(|why| failed("write a log in", &why))?;
        let mut command = self.agent("executor", &seed.id);
        command
            .env(environment::URL, &self.url)
            .env(environment::FINGERPRINT, &self.fingerprint)
            .env(environment::TOKEN, token.expose())
            .process_group(0)
            .stdout(log)
            .stderr(again);
        let started = command.spawn();
        let mut child = started.map_err(|why| Error(format!("cannot start {}: {why}", self.command.display())))?;
        record.process = child.id().and_then(Process::of);
        // Waited for, so that it does not stay as a zombie.
        tokio::spawn(async move { child.wait().await });
        record.write(&directory).map_err(|why| failed("write the record in", &why))
    }

    fn agent(&self, subcommand: &str, id: &str) -> Command {
        let mut command = Command::new(&self.command);
        for name in &self.hidden {
            command.env_remove(name);
        }
        command
            .arg(subcommand)
            .env(environment::EXECUTOR, id)
            .env(environment::DIRECTORY, self.directory.join(id).join("work"))
            .stdin(Stdio::null());
        command
    }

    fn look(&self) -> std::io::Result<Vec<Instance>> {
        let mut instances = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            if entry.file_type()?.is_dir() {
                let record = record_of(&entry.path(), &id);
                let running = record.process.is_some_and(Process::is_running);
                let status = if running { Status::Running } else { Status::Stopped };
                let (pool, launched) = (record.pool, record.launched);
                instances.push(Instance { id, pool, launch: None, launched, status });
            }
        }
        Ok(instances)
    }

    /// Removes containers, networks and volumes that carry the executor's label.
    async fn purge(&self, id: &str) -> Result<(), Error> {
        let mut command = self.agent("purge", id);
        command.args(["--executor", id]).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let failed =
            |why: &dyn std::fmt::Display| Error(format!("cannot remove the containers of executor {id}: {why}"));
        let output = tokio::time::timeout(PURGE, command.output()).await;
        let output = output.map_err(|_| failed(&"not done after 3 minutes"))?.map_err(|why| failed(&why))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(&said.trim_end().rsplit('\n').next().unwrap_or_default()))
    }
}

impl Cloud for Local {
    fn seed(&self, _: &Launch, _: usize) -> Seed {
        let id = format!("local-{}", &crate::journal::random_hex()[..12]);
        Seed { id, token: Some(Secret::new(crate::journal::random_hex())) }
    }

    /// The record is there before the process.
    fn settles(&self) -> Duration {
        Duration::ZERO
    }

    /// A look at a directory costs nothing.
    fn freshness(&self) -> Duration {
        Duration::ZERO
    }

    async fn launch(&self, order: &Order) -> Result<Launched, Failed> {
        let mut launched = Launched::default();
        for seed in &order.seeds {
            // An earlier runner's, which took the token with it: it was started, and is listed, or never will be.
            let Some(token) = &seed.token else { continue };
            match self.start(seed, token, &order.pool) {
                Ok(()) => launched.executors.push(seed.id.clone()),
                Err(why) => {
                    launched.obstacle = Some(why.to_string());
                    break;
                }
            }
        }
        Ok(launched)
    }

    async fn list(&self) -> Result<Vec<Instance>, Error> {
        self.look().map_err(|why| Error(format!("cannot list executors in {}: {why}", self.directory.display())))
    }

    async fn terminate(&self, id: &str) -> Result<(), Error> {
        let directory = self.directory.join(id);
        if !directory.is_dir() {
            return Ok(());
        }
        if let Some(process) = record_of(&directory, id).process {
            process.kill_group(id, DYING).await.map_err(|why| Error(format!("cannot kill executor {id}: {why}")))?;
        }
        self.purge(id).await?;
        let removed = tokio::fs::remove_dir_all(&directory).await;
        removed.map_err(|why| Error(format!("cannot remove {}: {why}", directory.display())))
    }

    async fn log_tail(&self, id: &str) -> String {
        let bytes = tokio::fs::read(self.directory.join(id).join("agent.log")).await.unwrap_or_default();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]).into_owned()
    }
}

/// The record in a directory; where there is none, or one without a pid, the process is looked for.
fn record_of(directory: &Path, id: &str) -> Record {
    let mut record = Record::read(directory).unwrap_or_default();
    if record.process.is_none() {
        record.process = Process::find(id);
    }
    record
}

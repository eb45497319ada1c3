//! What EC2 would do with instances and moto does not: let them run. Each is an agent with a metadata service of its own.

use super::{Imds, Moto, Sts, element};
use crate::harness::{Process, binary};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;

/// The machines of an account. Dropping it ends them, with everything that they have in Docker.
#[derive(Debug)]
pub struct Machines {
    running: Arc<Running>,
    _loop: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Running {
    directory: PathBuf,
    role: String,
    machines: Mutex<BTreeMap<String, Machine>>,
}

#[derive(Debug)]
struct Machine {
    imds: Arc<Imds>,
    _agent: Process,
}

impl Machines {
    /// From now on the instances of moto run, with this role, each in a directory below `directory`.
    #[must_use]
    pub fn start(moto: Arc<Moto>, sts: Arc<Sts>, role: &str, directory: &Path) -> Self {
        let (directory, role) = (directory.to_owned(), role.to_owned());
        let running = Arc::new(Running { directory, role, machines: Mutex::default() });
        let keep = running.clone();
        let keeping = tokio::spawn(async move {
            loop {
                if let Err(error) = keep.turn(&moto, &sts).await {
                    tracing::error!("machines: {error:#}");
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { running, _loop: AbortOnDropHandle::new(keeping) }
    }

    /// The metadata service of an instance that runs.
    #[must_use]
    pub fn imds(&self, id: &str) -> Option<Arc<Imds>> {
        self.running.locked().get(id).map(|machine| machine.imds.clone())
    }

    /// What the agents have written.
    #[must_use]
    pub fn logs(&self) -> String {
        let entries = std::fs::read_dir(&self.running.directory).into_iter().flatten().flatten();
        let log =
            |path: PathBuf| path.extension().is_some_and(|end| end == "log").then(|| std::fs::read_to_string(path));
        entries.filter_map(|entry| log(entry.path())?.ok()).collect()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        let ids: Vec<String> = self.running.locked().keys().cloned().collect();
        for id in ids {
            self.running.end(&id);
        }
    }
}

impl Running {
    /// Does to machines what was done to their instances.
    async fn turn(&self, moto: &Moto, sts: &Sts) -> Result<()> {
        let ids = moto.running().await?;
        let gone: Vec<String> = self.locked().keys().filter(|id| !ids.contains(id)).cloned().collect();
        for id in gone {
            self.end(&id);
        }
        for id in ids {
            if !self.locked().contains_key(&id) {
                let machine = self.boot(moto, sts, &id).await.with_context(|| format!("boot {id}"))?;
                self.locked().insert(id, machine);
            }
        }
        Ok(())
    }

    async fn boot(&self, moto: &Moto, sts: &Sts, id: &str) -> Result<Machine> {
        let imds = Imds::start(id).await?;
        let asked = [("InstanceId", id), ("Attribute", "userData")];
        let answer = moto.call("ec2", "DescribeInstanceAttribute", &asked).await?;
        imds.set("user-data", &decoded(&element(&answer, "value").context("it has user-data")?)?);
        imds.set_role(&self.role, &sts.assume_role(&self.role, id).await?);
        let mut command = Command::new(binary("warmstart-agent")?);
        command.arg("instance").arg("--directory").arg(self.directory.join(id));
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds.url).env_remove("AWS_EC2_METADATA_DISABLED");
        let agent = Process::start(command, &self.directory.join(format!("{id}.log")))?;
        Ok(Machine { imds: Arc::new(imds), _agent: agent })
    }

    /// As if somebody had pulled the plug: nothing of it runs any more.
    fn end(&self, id: &str) {
        drop(self.locked().remove(id));
        let agent = binary("warmstart-agent").map(std::process::Command::new);
        let _ = agent.and_then(|mut agent| Ok(agent.args(["purge", "--executor", id]).status()?));
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decoded(text: &str) -> Result<String> {
    use base64::Engine as _;
    Ok(String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text.trim())?)?)
}

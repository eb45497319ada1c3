//! GitLab, runner, proxy and executors, put together.

use super::daemon::Daemon;
use super::executors::{Executor, executors_below};
use super::machine::{BUSYBOX, binary};
use super::process::{Ended, Process};
use super::wait::eventually;
use crate::faults::Proxy;
use crate::gitlab::{FakeGitlab, Options};
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::process::Command;

/// What a deployment looks like.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Settings of the fake GitLab; it listens where containers reach it.
    pub gitlab: Options,
    /// Most jobs at once, and most executors.
    pub max: usize,
    /// The image of jobs that name none.
    pub image: String,
    /// Where the executors' Docker is.
    pub daemon: Daemon,
    /// Lines of the `[runners.docker]` section, besides `image`, `pull_policy` and `volumes`.
    pub docker: Vec<String>,
    /// Docker volumes of every job.
    pub volumes: Vec<String>,
    /// Environment of every job.
    pub environment: Vec<String>,
    /// Lines of the `[fleet]` section, besides `cloud`, `max` and those below.
    pub fleet: Vec<String>,
    /// How long an idle executor is kept.
    pub idle_time: String,
    /// Where caches are kept; none is a directory of the deployment.
    pub cache: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            gitlab: Options::default(),
            max: 2,
            image: BUSYBOX.to_owned(),
            daemon: Daemon::default(),
            docker: Vec::new(),
            volumes: Vec::new(),
            environment: Vec::new(),
            fleet: Vec::new(),
            idle_time: "1s".to_owned(),
            cache: None,
        }
    }
}

/// Everything that runs. Dropping it ends every process and removes every container it made.
pub struct Deployment {
    /// The server.
    pub gitlab: FakeGitlab,
    /// Between agents and runner.
    pub proxy: Proxy,
    /// A directory that is mounted as `/evidence` into every job: what a script leaves there counts, whatever the log says.
    pub evidence: PathBuf,
    daemon: Daemon,
    directory: TempDir,
    runner: Option<Process>,
}

impl Deployment {
    /// Starts everything and waits until the runner has asked for its first job.
    pub async fn start(setup: Setup) -> Result<Self> {
        let mut deployment = Self::prepare(setup).await?;
        deployment.start_runner()?;
        deployment.gitlab.wait_requests(crate::gitlab::Endpoint::JobRequest, 1).await;
        Ok(deployment)
    }

    /// Starts everything but the runner.
    pub async fn prepare(setup: Setup) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("warmstart-").tempdir().context("make a directory")?;
        let host = setup.daemon.host_for_containers()?;
        let options = Options { listen: vec![SocketAddr::new(host, 0)], ..setup.gitlab.clone() };
        let gitlab = FakeGitlab::start(options).await?;
        let listen = free_port().await?;
        let state = directory.path().join("state");
        let proxy = Proxy::start(listen, move || identity(&state)).await?;
        let evidence = directory.path().join("evidence");
        for part in ["evidence", "state", "cache", "executors"] {
            std::fs::create_dir(directory.path().join(part)).context("make a directory")?;
        }
        let deployment = Self { gitlab, proxy, evidence, daemon: setup.daemon, directory, runner: None };
        let config = deployment.config(&setup, listen)?;
        std::fs::write(deployment.config_path(), config).context("write the configuration")?;
        Ok(deployment)
    }

    /// The deployment's own directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The runner's configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("config.toml")
    }

    /// Starts the runner, or starts it again.
    pub fn start_runner(&mut self) -> Result<()> {
        let mut command = Command::new(binary("warmstart-runner")?);
        command.arg("run").arg("--config").arg(self.config_path());
        command.env("WARMSTART_RUNNER_TOKEN", self.gitlab.runner_token());
        command.env("NO_COLOR", "1").envs(self.daemon.environment());
        self.runner = Some(Process::start(command, &self.runner_log_path())?);
        Ok(())
    }

    /// Kills the runner as a power cut would.
    pub async fn kill_runner(&mut self) -> Result<()> {
        match self.runner.take() {
            Some(runner) => runner.kill().await,
            None => Ok(()),
        }
    }

    /// Sends the runner a signal and waits for its end.
    pub async fn stop_runner(&mut self, signal: Signal) -> Result<Ended> {
        let runner = self.runner.take().context("the runner runs")?;
        runner.signal(signal);
        runner.wait().await
    }

    /// Everything that all runners of this deployment have logged.
    #[must_use]
    pub fn runner_log(&self) -> String {
        std::fs::read_to_string(self.runner_log_path()).unwrap_or_default()
    }

    /// What the agents have logged, one after the other.
    #[must_use]
    pub fn agent_logs(&self) -> String {
        let mut logs = String::new();
        for directory in std::fs::read_dir(self.executors_path()).into_iter().flatten().flatten() {
            let text = std::fs::read(directory.path().join("agent.log")).unwrap_or_default();
            let _ = writeln!(logs, "--- {}\n{}", directory.file_name().display(), String::from_utf8_lossy(&text));
        }
        logs
    }

    /// The agents that run now.
    #[must_use]
    pub fn executors(&self) -> Vec<Executor> {
        executors_below(&self.executors_path())
    }

    /// Waits until that many agents run.
    pub async fn wait_executors(&self, count: usize) -> Vec<Executor> {
        let what = format!("{count} executors run");
        eventually(&what, async || Some(self.executors()).filter(|found| found.len() == count)).await
    }

    /// How often a line was appended to a file in the evidence directory.
    #[must_use]
    pub fn evidence_lines(&self, file: &str) -> usize {
        std::fs::read_to_string(self.evidence.join(file)).unwrap_or_default().lines().count()
    }

    /// Waits until no executor is left, and checks that nothing in Docker is left of those given.
    pub async fn wait_nothing_left(&self, executors: &[Executor]) {
        self.wait_executors(0).await;
        for executor in executors {
            eventually(&format!("nothing of executor {} is left in Docker", executor.id), async || {
                let left = self.daemon.containers_labelled(&format!("warmstart.executor={}", executor.id));
                left.ok().filter(Vec::is_empty)
            })
            .await;
        }
    }

    fn runner_log_path(&self) -> PathBuf {
        self.directory.path().join("runner.log")
    }

    fn executors_path(&self) -> PathBuf {
        self.directory.path().join("executors")
    }

    fn config(&self, setup: &Setup, listen: SocketAddr) -> Result<String> {
        let directory = self.directory.path().display();
        let max = setup.max;
        let cache = setup.cache.clone().unwrap_or_else(|| format!("file://{directory}/cache"));
        let mut volumes = setup.volumes.clone();
        volumes.push(format!("{directory}/evidence:/evidence"));
        Ok(format!(
            r#"
concurrent = {max}
check_interval = 1

[state]
store = "file://{directory}/state"

[agents]
listen = "{listen}"
address = "https://{proxy}"

[fleet]
cloud = "local"
max = {max}
idle_time = "{idle}"
{fleet}

[fleet.local]
command = "{agent}"
directory = "{directory}/executors"

[[runners]]
name = "test"
url = "{url}"
environment = {environment:?}

[runners.docker]
image = "{image}"
pull_policy = "if-not-present"
volumes = {volumes:?}{docker}

[runners.cache]
store = "{cache}"
"#,
            proxy = self.proxy.address(),
            idle = setup.idle_time,
            fleet = setup.fleet.join("\n"),
            docker = setup.docker.iter().fold(String::new(), |lines, line| lines + "\n" + line),
            agent = binary("warmstart-agent")?.display(),
            url = self.gitlab.url(),
            environment = setup.environment,
            image = setup.image,
        ))
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.runner.take();
        if std::thread::panicking() {
            report(&self.runner_log(), &self.agent_logs());
        }
        self.executors().iter().for_each(Executor::kill);
        for directory in std::fs::read_dir(self.executors_path()).into_iter().flatten().flatten() {
            purge(&directory.file_name().to_string_lossy(), self.daemon);
        }
    }
}

/// Removes what an executor has left in Docker.
fn purge(executor: &str, daemon: Daemon) {
    let agent = binary("warmstart-agent").map(std::process::Command::new);
    let _ = agent
        .and_then(|mut agent| Ok(agent.args(["purge", "--executor", executor]).envs(daemon.environment()).status()?));
}

/// Shows what the parts have logged, where a failed test's reader finds it.
#[expect(clippy::print_stderr, reason = "a failed test explains itself")]
fn report(runner: &str, agents: &str) {
    eprintln!("=== the runner's log\n{runner}\n=== the agents' logs\n{agents}");
}

/// Certificate and key (PEM) that the runner made at its first start and keeps in its state store.
fn identity(state: &Path) -> Result<(String, String)> {
    let text = std::fs::read(state.join("runner/identity")).context("read the runner's identity")?;
    let identity: serde_json::Value = serde_json::from_slice(&text).context("read the runner's identity")?;
    let part =
        |name: &str| identity["record"][name].as_str().map(str::to_owned).with_context(|| format!("{name} is missing"));
    Ok((part("certificate")?, part("key")?))
}

async fn free_port() -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("find a free port")?;
    Ok(listener.local_addr()?)
}

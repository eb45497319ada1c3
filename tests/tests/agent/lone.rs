//! An agent alone with GitLab.

use anyhow::Result;
use std::ffi::OsStr;
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;
use warmstart_tests::gitlab::{FakeGitlab, Finished, JobId, JobSpec, JobState, Options};
use warmstart_tests::harness::{BUSYBOX, Daemon, Process, binary, eventually};

/// A GitLab and a place for agents; nothing of them is left when it goes.
pub(crate) struct Lone {
    pub(crate) gitlab: FakeGitlab,
    pub(crate) directory: TempDir,
    pub(crate) executor: String,
    /// Where its agents' containers are.
    pub(crate) daemon: Daemon,
    /// Further arguments of every agent.
    pub(crate) arguments: Vec<String>,
    /// Further variables of every agent's environment.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Lone {
    pub(crate) async fn start() -> Self {
        Self::start_on(Daemon::default()).await
    }

    /// With the containers of another daemon, and the agent in its network.
    pub(crate) async fn start_on(daemon: Daemon) -> Self {
        let host = daemon.host_for_containers().expect("an address that containers reach");
        let options = Options { listen: vec![SocketAddr::new(host, 0)], ..Options::default() };
        let gitlab = FakeGitlab::start(options).await.expect("a GitLab");
        let directory = tempfile::Builder::new().prefix("warmstart-agent-").tempdir().expect("a directory");
        let executor = format!("test-{}", Uuid::new_v4().simple());
        Self { gitlab, directory, executor, daemon, arguments: Vec::new(), environment: Vec::new() }
    }

    /// Adds arguments for every agent.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Caches are kept in a directory of this test.
    pub(crate) fn with_cache(self) -> Self {
        let store = format!("file://{}/store", self.directory.path().display());
        self.with(&["--cache-store", &store])
    }

    /// The command of an agent that takes one job.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.serving();
        command.arg("--once");
        command
    }

    /// The command of an agent that takes jobs until it is told to stop.
    pub(crate) fn serving(&self) -> Command {
        let agent = binary("warmstart-agent").expect("the agent is built");
        let mut words = self.daemon.inside().iter().map(AsRef::<OsStr>::as_ref).chain([agent.as_os_str()]);
        let mut command = Command::new(words.next().expect("the agent at least"));
        command.args(words).envs(self.daemon.environment());
        command.args(["run", "--check-interval", "1", "--image", BUSYBOX]);
        command.args(["--pull-policy", "if-not-present", "--url", &self.gitlab.url()]);
        command.args(["--executor", &self.executor]).arg("--directory").arg(self.directory.path().join("agent"));
        command.args(&self.arguments);
        command.envs(self.environment.iter().cloned());
        command.env("CI_SERVER_TOKEN", self.gitlab.runner_token());
        // For stores of the test's own, which take any.
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        command
    }

    /// Starts an agent that takes one job.
    pub(crate) fn agent(&self) -> Process {
        self.try_agent().expect("an agent")
    }

    /// Starts an agent that takes one job after the other, until it is told to stop.
    pub(crate) fn steady_agent(&self) -> Process {
        self.start_command(self.serving()).expect("an agent")
    }

    fn try_agent(&self) -> Result<Process> {
        self.start_command(self.command())
    }

    fn start_command(&self, command: Command) -> Result<Process> {
        Process::start(command, &self.directory.path().join("agent.log"))
    }

    /// Runs one job to its end, and checks that the agent broke no rule and left nothing.
    pub(crate) async fn run(&self, spec: JobSpec) -> Finished {
        let job = self.gitlab.add_job(spec);
        let agent = self.agent();
        let finished = self.gitlab.wait_finished(job).await;
        self.ends_clean(agent, job).await;
        finished
    }

    /// Waits for the agent's own end and checks that nothing is left.
    pub(crate) async fn ends_clean(&self, agent: Process, job: JobId) {
        let ended = agent.wait().await.expect("the agent's end");
        assert!(ended.status.success(), "{}\n{}", ended.output, self.gitlab.explain(job));
        self.nothing_left();
        self.gitlab.assert_clean();
    }

    /// Checks that no container, no network and no temporary volume is left, no build and no temporary file.
    pub(crate) fn nothing_left(&self) {
        let left = self.left();
        assert!(left.is_empty(), "left: {left:?}");
    }

    /// Waits until nothing is left.
    pub(crate) async fn wait_nothing_left(&self) {
        eventually("nothing of the jobs is left", async || self.left().is_empty().then_some(())).await;
    }

    fn left(&self) -> Vec<String> {
        let label = format!("warmstart.executor={}", self.executor);
        let left = self.daemon.containers_labelled(&label).expect("docker answers");
        let mut left: Vec<_> = left.into_iter().filter(|name| !is_kept(name)).collect();
        for directory in ["agent/builds", "agent/tmp"] {
            let files = std::fs::read_dir(self.directory.path().join(directory)).expect("a directory of the agent");
            left.extend(files.flatten().map(|file| file.path().display().to_string()));
        }
        left
    }

    /// Waits until the job's containers run.
    pub(crate) async fn wait_containers(&self, count: usize) {
        let label = format!("warmstart.executor={}", self.executor);
        eventually(&format!("{count} containers run"), async || {
            let found = self.daemon.containers_labelled(&label).ok()?;
            (found.iter().filter(|name| name.starts_with("container ")).count() >= count).then_some(())
        })
        .await;
    }
}

/// Volumes for later jobs stay, as in GitLab Runner; `purge` removes them.
fn is_kept(name: &str) -> bool {
    name.starts_with("volume runner-") && name.contains("-cache-")
}

impl Drop for Lone {
    fn drop(&mut self) {
        let Ok(agent) = binary("warmstart-agent") else { return };
        let _ = std::process::Command::new(agent)
            .args(["purge", "--executor", &self.executor])
            .envs(self.daemon.environment())
            .status();
    }
}

/// The log without markers and colours.
pub(crate) fn plain(finished: &Finished) -> String {
    warmstart_tests::gitlab::display::plain(&finished.text())
}

/// Checks how a job ended, showing its log otherwise.
#[track_caller]
pub(crate) fn ended(finished: &Finished, state: JobState) {
    assert_eq!(finished.state, state, "{:?}\n{}", finished.failure_reason, finished.text());
}

/// Checks that the log has a line or a part of one.
#[track_caller]
pub(crate) fn says(finished: &Finished, text: &str) {
    assert!(plain(finished).contains(text), "no `{text}` in the log:\n{}", plain(finished));
}

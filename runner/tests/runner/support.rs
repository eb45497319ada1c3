//! A runner's surroundings: GitLab, a directory, and executors whose agent is played by the test.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use warmstart_api::assignment::Log;
use warmstart_api::client::{Error, Link};
use warmstart_api::{Assignment, Heartbeat, Holding, Register, Registered, Release, Released, environment};
use warmstart_gitlab::client::{Client, JobClient, Options as ClientOptions};
use warmstart_gitlab::mask::Masks;
use warmstart_gitlab::payload::Job;
use warmstart_gitlab::trace::{self, Trace};
use warmstart_gitlab::update::Final;
use warmstart_tests::gitlab::{FakeGitlab, Options};
use warmstart_tests::harness::{Ended, Process, eventually};

/// Longer than any call may take here.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// The program that the runner takes for an agent: it writes down its environment and waits to be killed. What an
/// agent would do, the test does.
const STAND_IN: &str = r#"#!/bin/sh
if [ "$1" = purge ]; then echo "$WARMSTART_EXECUTOR" >> "@/purged"; exit 0; fi
echo "the stand-in is up"
env > "$WARMSTART_DIRECTORY/env.new" && mv "$WARMSTART_DIRECTORY/env.new" "$WARMSTART_DIRECTORY/env"
exec sleep 100000
"#;

/// Everything around a runner. Dropping it kills what it started.
pub(crate) struct Bench {
    pub(crate) gitlab: FakeGitlab,
    pub(crate) directory: TempDir,
    runner: Option<Process>,
    /// What the runner finds in its environment beside its token.
    environment: Vec<(&'static str, String)>,
}

impl Bench {
    /// A GitLab, and a configuration with these lines in `[fleet]`.
    pub(crate) async fn prepare(fleet: &str) -> Result<Self> {
        Self::with(Options { hold: Duration::from_secs(2), ..Options::default() }, fleet).await
    }

    /// The same with such a GitLab.
    pub(crate) async fn with(gitlab: Options, fleet: &str) -> Result<Self> {
        let gitlab = FakeGitlab::start(gitlab).await?;
        let directory = tempfile::Builder::new().prefix("warmstart-runner-").tempdir()?;
        let bench = Self { gitlab, directory, runner: None, environment: Vec::new() };
        bench.write_stand_in()?;
        bench.configure(fleet)?;
        Ok(bench)
    }

    /// The same with this environment.
    pub(crate) fn in_environment(mut self, environment: Vec<(&'static str, String)>) -> Self {
        self.environment = environment;
        self
    }

    /// Changes the image of jobs that name none.
    pub(crate) fn image(&self, image: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.file("config.toml"))?;
        let text =
            text.replace("image = \"alpine\"", &format!("image = \"{image}\"\npull_policy = \"if-not-present\""));
        Ok(std::fs::write(self.file("config.toml"), text)?)
    }

    /// The same with a running runner.
    pub(crate) async fn start(fleet: &str) -> Result<Self> {
        let mut bench = Self::prepare(fleet).await?;
        bench.start_runner()?;
        Ok(bench)
    }

    fn write_stand_in(&self) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let text = STAND_IN.replace('@', &self.path().display().to_string());
        let options =
            std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o755).open(self.file("agent"));
        Ok(options?.write_all(text.as_bytes())?)
    }

    /// Writes `config.toml`.
    pub(crate) fn configure(&self, fleet: &str) -> Result<()> {
        let (directory, url) = (self.path().display(), self.gitlab.url());
        let text = format!(
            r#"
concurrent = 4
check_interval = 1
[state]
store = "file://{directory}/state"
[agents]
listen = "127.0.0.1:0"
[fleet]
idle_time = "1s"
{fleet}
[fleet.local]
command = "{directory}/agent"
directory = "{directory}/executors"
[[runners]]
name = "test"
url = "{url}"
[runners.docker]
image = "alpine"
"#
        );
        std::fs::write(self.file("config.toml"), text).context("write the configuration")
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warmstart-runner"));
        command.arg("run").arg("--config").arg(self.file("config.toml"));
        command
            .env("WARMSTART_RUNNER_TOKEN", self.gitlab.runner_token())
            .env("WARMSTART_LOG", "info,warmstart_runner=debug")
            .envs(self.environment.iter().cloned());
        command
    }

    pub(crate) fn start_runner(&mut self) -> Result<()> {
        self.runner = Some(Process::start(self.command(), &self.file("runner.log"))?);
        Ok(())
    }

    /// Runs a runner that is expected to end by itself.
    pub(crate) async fn fail(&self) -> Result<Ended> {
        Process::start(self.command(), &self.file("failed.log"))?.wait().await
    }

    /// Runs another command with the same configuration.
    pub(crate) async fn call(&self, arguments: &[&str]) -> Result<Ended> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warmstart-runner"));
        command.args(arguments).arg("--config").arg(self.file("config.toml"));
        command.env("WARMSTART_RUNNER_TOKEN", self.gitlab.runner_token()).envs(self.environment.iter().cloned());
        Process::start(command, &self.file("called.log"))?.wait().await
    }

    pub(crate) async fn kill_runner(&mut self) -> Result<()> {
        self.runner.take().context("the runner runs")?.kill().await
    }

    pub(crate) async fn stop_runner(&mut self, signal: Signal) -> Result<Ended> {
        let runner = self.runner.take().context("the runner runs")?;
        runner.signal(signal);
        runner.wait().await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.runner.as_ref().expect("the runner runs").signal(signal);
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.file("runner.log")).unwrap_or_default()
    }

    pub(crate) async fn wait_log(&self, text: &str) {
        eventually(&format!("the runner logs {text:?}"), async || self.log().contains(text).then_some(())).await;
    }

    /// The ids of the executors that have a directory.
    pub(crate) fn executors(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.file("executors")).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// The executors whose containers were removed.
    pub(crate) fn purged(&self) -> Vec<String> {
        std::fs::read_to_string(self.file("purged")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits for an executor that is none of `but` and not on its way out, and becomes its agent.
    pub(crate) async fn agent(&self, but: &[&str]) -> Result<Agent> {
        let mut but: Vec<String> = but.iter().map(ToString::to_string).collect();
        loop {
            let agent = eventually("an executor is up", async || {
                let mut new = self.executors().into_iter().filter(|id| !but.contains(id));
                new.find_map(|id| Agent::of(&id, &self.file("executors").join(&id)))
            })
            .await;
            match agent.register(None).await {
                Ok(_) => return Ok(agent),
                Err(Error::Gone | Error::Refused { .. }) => but.push(agent.id),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Kills the executor's process, as the kernel would.
    pub(crate) fn kill_executor(&self, id: &str) {
        if let Some(pid) = pid_of(&self.file("executors").join(id)) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }

    pub(crate) async fn wait_no_executor(&self) {
        eventually("no executor is left", async || self.executors().is_empty().then_some(())).await;
    }

    /// Waits until the journal knows no job.
    pub(crate) async fn wait_no_job(&self) {
        eventually("the journal has no job", async || self.is_empty("jobs").then_some(())).await;
    }

    /// Waits until the journal knows no job and no executor.
    pub(crate) async fn wait_journal_empty(&self) {
        eventually("the journal is empty", async || {
            (self.is_empty("jobs") && self.is_empty("executors")).then_some(())
        })
        .await;
    }

    fn is_empty(&self, part: &str) -> bool {
        std::fs::read_dir(self.file("state").join(part)).map_or(true, |mut entries| entries.next().is_none())
    }
}

impl Drop for Bench {
    #[expect(clippy::print_stderr, reason = "a failed test explains itself")]
    fn drop(&mut self) {
        self.runner.take();
        for id in self.executors() {
            self.kill_executor(&id);
        }
        if std::thread::panicking() {
            eprintln!("=== the runner's log\n{}", self.log());
        }
    }
}

fn pid_of(directory: &Path) -> Option<Pid> {
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(directory.join("executor.json")).ok()?).ok()?;
    Pid::from_raw(i32::try_from(record["process"]["pid"].as_i64()?).ok()?)
}

/// An agent played by the test.
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) run: String,
    pub(crate) link: Link,
    pub(crate) token: String,
    directory: PathBuf,
}

impl Agent {
    fn of(id: &str, directory: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(directory.join("work/env")).ok()?;
        let env: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
        assert!(!env.contains_key("WARMSTART_RUNNER_TOKEN"), "an executor has the runner's token");
        assert_eq!(env[environment::EXECUTOR], id);
        Some(Self {
            id: id.to_owned(),
            run: format!("run-of-{id}"),
            link: Link::new(env[environment::URL], env[environment::FINGERPRINT]).expect("a link"),
            token: env[environment::TOKEN].to_owned(),
            directory: directory.to_owned(),
        })
    }

    pub(crate) async fn register(&self, holding: Option<Holding>) -> Result<Registered, Error> {
        let register = Register {
            version: warmstart_api::VERSION,
            agent_version: "test".to_owned(),
            executor: self.id.clone(),
            run_id: self.run.clone(),
            proof: self.token.as_str().into(),
            holding,
        };
        self.link.register(&register, SOON).await
    }

    /// Asks until there is a job.
    pub(crate) async fn next(&self) -> Result<Work, Error> {
        loop {
            if let Some(assignment) = self.link.next(SOON).await? {
                return Ok(Work { assignment });
            }
        }
    }

    /// Asks for a job and takes it.
    pub(crate) async fn take(&self) -> Result<Work, Error> {
        let work = self.next().await?;
        self.link.ack(work.holding(), SOON).await?;
        Ok(work)
    }

    pub(crate) async fn beat(&self, holding: Holding, section: &str) -> Result<(), Error> {
        self.link.heartbeat(&Heartbeat { holding, section: Some(section.to_owned()) }, SOON).await
    }

    /// Writes to the log, tells GitLab that the job succeeded, and the runner that it is done.
    pub(crate) async fn succeed(&self, work: &Work, text: &str) -> Result<()> {
        work.report(&self.directory, text).await?;
        self.release(work).await?;
        Ok(())
    }

    pub(crate) async fn release(&self, work: &Work) -> Result<(), Error> {
        let outcome = Released::Finished { state: "success".to_owned(), reason: None };
        self.link.release(&Release { holding: work.holding(), outcome }, SOON).await
    }
}

/// A job in the hands of an agent.
pub(crate) struct Work {
    pub(crate) assignment: Assignment,
}

impl Work {
    pub(crate) fn holding(&self) -> Holding {
        self.assignment.holding
    }

    pub(crate) fn job(&self) -> Job {
        serde_json::from_str(self.assignment.payload.get()).expect("a payload")
    }

    fn client(&self) -> JobClient {
        let client = Client::new(&self.assignment.gitlab.url, &ClientOptions::default()).expect("a client");
        let job = self.job();
        client.job(job.id, &job.token)
    }

    /// The trace that goes on where the runner's log ends.
    pub(crate) fn trace(&self, directory: &Path) -> Trace {
        let start = match self.assignment.log.clone() {
            Log::Continue(text) => trace::Start::Continue(text.into_bytes()),
            Log::TakeOver { open_section } => trace::Start::TakeOver { open_section },
        };
        let directory = directory.to_owned();
        let options = trace::Options {
            output_limit: 1 << 20,
            debug: false,
            timestamps: true,
            directory,
            start,
            masks: Masks::default(),
        };
        Trace::open(self.client(), options).expect("a trace")
    }

    /// Writes to the log and sends the final state: from then on nothing but the release is missing.
    pub(crate) async fn report(&self, directory: &Path, text: &str) -> Result<()> {
        let trace = self.trace(directory);
        let mut writer = trace.writer();
        writer.write_all(text.as_bytes())?;
        writer.close()?;
        trace.finish(Final::success()).await?;
        Ok(())
    }
}

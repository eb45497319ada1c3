//! What a job costs above `docker run` of its image: until its first line, and in all.
//!
//! The agent that ships takes jobs of the fake GitLab, a git fetch of a small repository included; between two of them
//! `docker run` runs the same command in the same image.

mod report;
mod timeline;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use timeline::Timeline;
use warmstart_tests::gitlab::{Endpoint, FakeGitlab, JobSpec, JobState, Options};
use warmstart_tests::harness::{BUSYBOX, DEBIAN, Process, host_for_containers};

use crate::{machine::Machine, say};

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The warmstart-agent to measure.
    #[arg(long)]
    agent: PathBuf,
    /// How often each is measured; once more before, which does not count.
    #[arg(long, default_value = "15")]
    rounds: usize,
    /// The report to write.
    #[arg(long, default_value = "docs/benchmarks-jobs.md")]
    report: PathBuf,
}

/// What scripts print.
const WORD: &str = "the-first-line";

/// Seconds from the beginning.
#[derive(Clone, Debug, Default)]
struct Run {
    first: f64,
    whole: f64,
    /// Of a job: its parts, in their order.
    parts: Vec<(String, f64)>,
}

/// All runs with one image.
#[derive(Debug, Default)]
struct Measured {
    docker: Vec<Run>,
    job: Vec<Run>,
}

/// Measures both with each image in turn, and writes the report.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let measured = runtime.block_on(measure(arguments))?;
    let text = report::write(&Machine::here(), arguments.rounds, &measured);
    std::fs::write(&arguments.report, text).with_context(|| format!("write {}", arguments.report.display()))?;
    say(&format!("the report is {}", arguments.report.display()));
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<BTreeMap<&'static str, Measured>> {
    let bench = Bench::start(&arguments.agent).await?;
    let mut all = BTreeMap::new();
    for (name, image) in [("busybox", BUSYBOX), ("debian", DEBIAN)] {
        let measured: &mut Measured = all.entry(name).or_default();
        for round in 0..=arguments.rounds {
            let (docker, job) = (docker_run(image)?, bench.job(image).await?);
            say(&format!(
                "{name}, round {round} of {}: docker run {:.2} {:.2} s, job {:.2} {:.2} s",
                arguments.rounds, docker.first, docker.whole, job.first, job.whole
            ));
            if round > 0 {
                measured.docker.push(docker);
                measured.job.push(job);
            }
        }
    }
    bench.gitlab.assert_clean();
    Ok(all)
}

/// Runs the command in a container of its own; the client's start is part of it.
fn docker_run(image: &str) -> Result<Run> {
    let mut command = Command::new("docker");
    command.args(["run", "--rm", image, "sh", "-c"]).arg(format!("echo {WORD}"));
    let start = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().context("start docker run")?;
    let mut output = BufReader::new(child.stdout.take().context("docker run has an output")?);
    let mut line = String::new();
    output.read_line(&mut line).context("read the output of docker run")?;
    let first = start.elapsed().as_secs_f64();
    output.read_to_string(&mut line).context("read the output of docker run")?;
    let status = child.wait().context("wait for docker run")?;
    ensure!(status.success() && line.trim() == WORD, "docker run {image}: {status}, {line:?}");
    Ok(Run { first, whole: start.elapsed().as_secs_f64(), parts: Vec::new() })
}

/// A GitLab and an agent that waits for its jobs.
struct Bench {
    gitlab: FakeGitlab,
    _agent: Process,
    _directory: TempDir,
}

impl Bench {
    async fn start(agent: &Path) -> Result<Self> {
        let listen = vec![(host_for_containers()?, 0).into()];
        let gitlab = FakeGitlab::start(Options { listen, ..Options::default() }).await?;
        let directory = tempfile::Builder::new().prefix("warmstart-bench-").tempdir()?;
        let mut command = tokio::process::Command::new(agent);
        command.args(["run", "--check-interval", "1", "--pull-policy", "if-not-present", "--url", &gitlab.url()]);
        command.arg("--directory").arg(directory.path().join("agent")).env("CI_SERVER_TOKEN", gitlab.runner_token());
        let agent = Process::start(command, &directory.path().join("agent.log"))?;
        gitlab.wait_requests(Endpoint::JobRequest, 1).await;
        Ok(Self { gitlab, _agent: agent, _directory: directory })
    }

    /// Runs an empty job. Its time begins with GitLab's answer that hands it out, and ends when GitLab has its result.
    async fn job(&self, image: &str) -> Result<Run> {
        let job = self.gitlab.add_job(JobSpec::script([format!("echo {WORD}")]).image(image));
        let finished = self.gitlab.wait_finished(job).await;
        let (now, at) = (jiff::Timestamp::now(), Instant::now());
        ensure!(finished.state == JobState::Success, "the job failed:\n{}", finished.text());
        let picked = finished.times.picked.context("the job was handed out")?;
        let ended = finished.times.finished.context("the job has ended")?;
        let begin = now - jiff::SignedDuration::try_from(at - picked)?;
        let log = String::from_utf8_lossy(&finished.log).into_owned();
        let timeline = Timeline::read(&log, begin, WORD)?;
        let whole = (ended - picked).as_secs_f64();
        Ok(Run { first: timeline.first, whole, parts: timeline.parts(whole) })
    }
}

//! The program `fake-gitlab`: runs the pipeline of a directory for whatever runner comes with the token.

use super::display::Terminal;
use super::pipeline::{self, Event, JobReport, Pipeline};
use super::{FakeGitlab, JobId, Options};
use anyhow::{Context, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A GitLab for runners, without GitLab: serves the repository and the pipeline of a directory.
///
/// Prints its URL and the runner's token, waits for a runner, shows the jobs' logs as they come, and ends with the
/// pipelines: exit code 0 when every job passed and the runner broke no rule of the protocol, else 1.
#[derive(Clone, Debug, clap::Parser)]
#[command(version, about)]
pub struct Arguments {
    /// Address to listen on; may be given several times, port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: Vec<SocketAddr>,
    /// URL under which jobs reach the server, when it is not the first listen address.
    #[arg(long, value_name = "URL")]
    pub external_url: Option<String>,
    /// Directory with the project's files and its `.gitlab-ci.yml`.
    #[arg(long, value_name = "DIRECTORY")]
    pub project: PathBuf,
    /// The runner's token (`glrt-…`) [default: a random one]
    #[arg(long, value_name = "TOKEN", env = "FAKE_GITLAB_RUNNER_TOKEN", hide_env_values = true)]
    pub runner_token: Option<String>,
    /// How often the pipeline runs, one after the other.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub pipelines: usize,
    /// File for the seconds of each job, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Runs the program and writes to `out`. Ctrl-C ends it with code 130.
pub async fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode> {
    tokio::select! {
        result = serve(arguments, out) => result,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
    }
}

async fn serve(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode> {
    let pipeline = read(&arguments.project)?;
    let options = Options {
        listen: arguments.listen.clone(),
        external_url: arguments.external_url.clone(),
        runner_token: arguments.runner_token.clone(),
        ..Options::default()
    };
    let gitlab = FakeGitlab::start(options).await?;
    let project = format!("group/{}", name(&arguments.project));
    gitlab.repo(&project).commit_directory(&arguments.project, "The project as it is");
    writeln!(out, "url: {}\nrunner token: {}", gitlab.url(), gitlab.runner_token())?;
    let mut runs = Vec::new();
    for number in 1..=arguments.pipelines {
        writeln!(out, "\npipeline {number} of {} waits for a runner", arguments.pipelines)?;
        let mut screen = Screen { out, terminals: BTreeMap::new() };
        runs.push(pipeline::run(&gitlab, &project, &pipeline, |event| screen.show(event)).await?);
    }
    if let Some(file) = &arguments.json {
        let runs: Vec<_> = runs.iter().map(|jobs| jobs.iter().map(JobReport::to_json).collect::<Vec<_>>()).collect();
        let text = format!("{:#}\n", json!({ "pipelines": runs }));
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    conclude(&gitlab, &runs, out)
}

fn conclude(gitlab: &FakeGitlab, runs: &[Vec<JobReport>], out: &mut impl Write) -> Result<ExitCode> {
    let violations = gitlab.violations();
    for violation in &violations {
        writeln!(out, "the runner broke a rule: {violation}")?;
    }
    let passed = violations.is_empty() && runs.iter().flatten().all(JobReport::passes);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(project: &Path) -> Result<Pipeline> {
    let file = project.join(".gitlab-ci.yml");
    let yaml = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    pipeline::parse(&yaml)
}

/// The directory's name, as far as it can stand in a project's path.
fn name(project: &Path) -> String {
    let project = project.canonicalize().unwrap_or_else(|_| project.to_owned());
    let name = project.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    if name.is_empty() { "project".to_owned() } else { name }
}

/// Shows the logs of jobs that may run at the same time: each line with its job's name.
struct Screen<'a, W> {
    out: &'a mut W,
    terminals: BTreeMap<JobId, Terminal>,
}

impl<W: Write> Screen<'_, W> {
    fn show(&mut self, event: Event) {
        let lines: Vec<String> = match event {
            Event::Queued { job, name } => vec![format!("{name} │ job {job} is queued")],
            Event::Log { job, name, bytes } => {
                let lines = self.terminals.entry(job).or_default().push(&bytes);
                lines.into_iter().map(|line| format!("{name} │ {line}")).collect()
            }
            Event::Finished { job, name, report } => {
                let rest = self.terminals.remove(&job).and_then(|mut terminal| terminal.finish());
                let rest = rest.filter(|line| !line.is_empty()).map(|line| format!("{name} │ {line}"));
                rest.into_iter().chain([summary(&name, &report)]).collect()
            }
        };
        for line in lines {
            // Whoever closed the pipe does not want to see more.
            let _ = writeln!(self.out, "{line}");
        }
        let _ = self.out.flush();
    }
}

fn summary(name: &str, report: &JobReport) -> String {
    let JobReport { waiting, preparing, total, finished, .. } = report;
    let reason = finished.failure_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!(
        "{name} │ {}{reason} after {total:.1} s, {waiting:.1} of them waiting, {preparing:.1} preparing",
        finished.state
    )
}

//! The demo: a pipeline of a real project runs twice, on executors that serve one job each. The first run finds nothing,
//! the second finds the cache of the first.

mod screen;
mod table;

use crate::gitlab::pipeline::{self, JobReport, Pipeline};
use crate::gitlab::{JobState, Options};
use crate::harness::{DEBIAN, Deployment, Privileged, Setup, host_for_containers};
use anyhow::{Context, Result, ensure};
use screen::Screen;
use std::path::Path;

/// Where the host keeps its CA certificates; shared with the jobs, so that the package index is trusted wherever the
/// host trusts it.
const CERTIFICATES: &str = "/etc/ssl/certs";

/// The project that the pipeline builds.
#[must_use]
pub fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/project"))
}

/// Runs the pipeline twice and prints the jobs' logs as they come, then the comparison. Fails when a job fails.
///
/// 1. Start the fake GitLab and push the project to it.
/// 2. Start the runner: executors are processes of this machine, one job each; caches go to a directory.
/// 3. Run the pipeline, cold.
/// 4. Run it again, warm.
/// 5. Build an image in Docker-in-Docker.
///
/// Dropping the future at any point ends every process and removes every container.
pub async fn run() -> Result<()> {
    let mut screen = Screen::new();
    screen.title("Starting a GitLab (fake, but strict), a runner and a cache on this machine");
    let deployment = Deployment::start(setup()?).await?;
    Screen::note(&format!("GitLab listens on {} – open it to see jobs, logs and artifacts", deployment.gitlab.url()));
    deployment.gitlab.repo("demo/shop").commit_directory(project(), "Add up what the shop has in stock");
    let ci = std::fs::read_to_string(project().join(".gitlab-ci.yml")).context("read the demo's .gitlab-ci.yml")?;
    let (pipeline, image) = without_image(pipeline::parse(&ci)?);
    screen.title("Pipeline 1: cold, nothing is cached");
    let cold = run_once(&deployment, &pipeline, &mut screen).await?;
    screen.title("Pipeline 2: warm, on new executors");
    let warm = run_once(&deployment, &pipeline, &mut screen).await?;
    screen.title("Seconds per job");
    Screen::text(&table::render(&cold, &warm));
    check(&deployment)?;
    drop(deployment);
    screen.title("Pipeline 3: an image, built in Docker-in-Docker");
    run_privileged(&image, &mut screen).await
}

/// The pipeline without the job that builds an image, and that job alone: it needs privileged containers.
fn without_image(pipeline: Pipeline) -> (Pipeline, Pipeline) {
    let Pipeline { stages, jobs } = pipeline;
    let (image, others) = jobs.into_iter().partition(|job| job.name == "container");
    (Pipeline { stages: stages.clone(), jobs: others }, Pipeline { stages, jobs: image })
}

/// Runs it where privileged containers are allowed: on the machine's own daemon, else on one of the tests'.
async fn run_privileged(pipeline: &Pipeline, screen: &mut Screen) -> Result<()> {
    let privileged = match tokio::task::spawn_blocking(Privileged::daemon).await? {
        Ok(privileged) => privileged,
        Err(error) => {
            Screen::note(&format!("left out, since Docker refuses privileged containers here: {error:#}"));
            return Ok(());
        }
    };
    let (docker, volumes) = (vec!["privileged = true".to_owned()], vec!["/certs/client".to_owned()]);
    let setup = Setup { daemon: privileged.daemon, docker, volumes, ..Setup::default() };
    let deployment = Deployment::start(setup).await?;
    deployment.gitlab.repo("demo/shop").commit_directory(project(), "Add up what the shop has in stock");
    run_once(&deployment, pipeline, screen).await?;
    deployment.wait_nothing_left(&deployment.executors()).await;
    check(&deployment)
}

fn check(deployment: &Deployment) -> Result<()> {
    let broken = deployment.gitlab.violations();
    ensure!(broken.is_empty(), "rules of GitLab's protocol were broken: {broken:?}");
    Ok(())
}

async fn run_once(deployment: &Deployment, pipeline: &Pipeline, screen: &mut Screen) -> Result<Vec<JobReport>> {
    let reports = pipeline::run(&deployment.gitlab, "demo/shop", pipeline, |event| screen.show(&event)).await?;
    for report in &reports {
        let state = report.finished.state;
        ensure!(state == JobState::Success, "job {} ended as {state}; its log is above", report.name);
    }
    Ok(reports)
}

fn setup() -> Result<Setup> {
    let host = host_for_containers()?;
    Ok(Setup {
        gitlab: Options { listen: vec![(host, 0).into()], ..Options::default() },
        image: DEBIAN.to_owned(),
        volumes: vec![format!("{CERTIFICATES}:{CERTIFICATES}:ro")],
        environment: vec![
            format!("PIP_CERT={CERTIFICATES}/ca-certificates.crt"),
            "PIP_DISABLE_PIP_VERSION_CHECK=1".to_owned(),
            "PIP_PROGRESS_BAR=off".to_owned(),
        ],
        ..Setup::default()
    })
}

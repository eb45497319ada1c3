//! GitLab is away (refused, 500, hanging) during trace, artifacts and final update: nothing is lost, and the log holds
//! exactly what the job printed.

use crate::jobs::{ends_once, go};
use std::time::Duration;
use warmstart_tests::gitlab::{Endpoint, Finished, JobSpec, JobState, Outage};
use warmstart_tests::harness::{Deployment, Setup};

/// As long as the "a minute": longer than any single retry of a client would bridge.
const AWAY: Duration = Duration::from_mins(1);

/// What the script prints between two marks: enough for several patches, with a secret in it.
fn printed() -> Vec<String> {
    (1..=40_000).map(|n| format!("line {n} of the job, with [MASKED] in it")).collect()
}

fn job() -> JobSpec {
    JobSpec::script([
        "echo ran >> /evidence/$CI_JOB_ID",
        "echo begin of lines",
        "i=1; while [ $i -le 20000 ]; do echo \"line $i of the job, with $SECRET in it\"; i=$((i+1)); done",
        "touch /evidence/here; while [ ! -e /evidence/go-$CI_JOB_ID ]; do sleep 0.1; done",
        "i=20001; while [ $i -le 40000 ]; do echo \"line $i of the job, with $SECRET in it\"; i=$((i+1)); done",
        "echo kept > artifact.txt",
        "echo the script has run",
    ])
    .masked("SECRET", "t0p-s3cret-value")
    .artifact_paths(["artifact.txt"])
}

fn assert_nothing_is_lost(finished: &Finished) {
    let log = finished.text();
    let of_job = |line: &&str| line.starts_with("line ") && line.contains(" of the job");
    let lines: Vec<_> = log.lines().filter(of_job).collect();
    assert_eq!(lines.len(), printed().len());
    assert!(lines == printed(), "the log differs from what the job printed");
    assert_eq!(finished.artifacts.len(), 1);
}

async fn away_during_the_trace(outage: Outage) {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(job());
    deployment.gitlab.wait_log_contains(job, "line 10 of the job").await;
    deployment.gitlab.outage(outage).await;
    go(&deployment, job);
    tokio::time::sleep(AWAY).await;
    deployment.gitlab.recover().await;
    assert_nothing_is_lost(&ends_once(&deployment, job, JobState::Success).await);
}

/// The outage begins with the first request of that kind; the server comes back after a minute.
async fn away_at(endpoint: Endpoint, outage: Outage) {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(job());
    let first = deployment
        .gitlab
        .misbehave(warmstart_tests::gitlab::Matcher::on(endpoint), warmstart_tests::gitlab::Fault::DropBefore);
    go(&deployment, job);
    deployment.gitlab.wait_hits(first, 1).await;
    deployment.gitlab.outage(outage).await;
    tokio::time::sleep(AWAY).await;
    deployment.gitlab.recover().await;
    assert_nothing_is_lost(&ends_once(&deployment, job, JobState::Success).await);
}

#[tokio::test]
async fn refused_during_the_trace() {
    away_during_the_trace(Outage::Refused).await;
}

#[tokio::test]
async fn failing_during_the_trace() {
    away_during_the_trace(Outage::Status500).await;
}

#[tokio::test]
async fn hanging_during_the_trace() {
    away_during_the_trace(Outage::Hanging).await;
}

#[tokio::test]
async fn refused_during_the_upload() {
    away_at(Endpoint::Upload, Outage::Refused).await;
}

#[tokio::test]
async fn failing_during_the_upload() {
    away_at(Endpoint::Upload, Outage::Status500).await;
}

#[tokio::test]
async fn hanging_during_the_upload() {
    away_at(Endpoint::Upload, Outage::Hanging).await;
}

#[tokio::test]
async fn refused_during_the_final_update() {
    away_at(Endpoint::FinalUpdate, Outage::Refused).await;
}

#[tokio::test]
async fn failing_during_the_final_update() {
    away_at(Endpoint::FinalUpdate, Outage::Status500).await;
}

#[tokio::test]
async fn hanging_during_the_final_update() {
    away_at(Endpoint::FinalUpdate, Outage::Hanging).await;
}

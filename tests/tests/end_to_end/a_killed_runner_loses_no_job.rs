//! Kill -9 the runner at each step of a job, start it again: the job ends once, well, and its script ran once.

use crate::jobs::{ends_well, go, waiting, witnessed};
use warmstart_tests::faults::Fault as Cut;
use warmstart_tests::gitlab::{Endpoint, Fault, Matcher};
use warmstart_tests::harness::{Deployment, Setup};

#[tokio::test]
async fn killed_after_journalling() {
    let mut deployment = Deployment::start(Setup::default()).await.unwrap();
    let first_update = deployment.gitlab.misbehave(Matcher::on(Endpoint::KeepAlive), Fault::HangUntilReleased);
    let job = deployment.gitlab.add_job(witnessed());
    deployment.gitlab.wait_hits(first_update, 1).await;
    // The killed runner knew what it had written to the log; the next one can only go on where the server is.
    deployment.gitlab.expect_loss(job);
    deployment.kill_runner().await.unwrap();
    deployment.gitlab.release(first_update);
    deployment.start_runner().unwrap();
    ends_well(&deployment, job).await;
}

/// Kills the runner when an agent's call has come to the fault, breaks that call, and starts the runner again.
async fn killed_at(call: &str, fault: Cut) {
    let mut deployment = Deployment::start(Setup::default()).await.unwrap();
    let mut gate = deployment.proxy.once(call, fault);
    let job = deployment.gitlab.add_job(witnessed());
    gate.reached().await;
    if ["register", "next"].contains(&call) {
        // The killed runner knew what it had written to the log; the next one can only go on where the server is.
        deployment.gitlab.expect_loss(job);
    }
    deployment.kill_runner().await.unwrap();
    drop(gate);
    deployment.start_runner().unwrap();
    ends_well(&deployment, job).await;
}

#[tokio::test]
async fn killed_after_launching() {
    killed_at("register", Cut::HoldRequest).await;
}

#[tokio::test]
async fn killed_after_registration() {
    killed_at("register", Cut::HoldAnswer).await;
}

#[tokio::test]
async fn killed_after_assigning() {
    killed_at("next", Cut::HoldAnswer).await;
}

#[tokio::test]
async fn killed_before_the_acknowledgement_is_journalled() {
    killed_at("ack", Cut::HoldRequest).await;
}

#[tokio::test]
async fn killed_after_the_acknowledgement_is_journalled() {
    killed_at("ack", Cut::HoldAnswer).await;
}

#[tokio::test]
async fn killed_before_the_barrier_is_journalled() {
    killed_at("script", Cut::HoldRequest).await;
}

#[tokio::test]
async fn killed_after_the_barrier_is_journalled() {
    killed_at("script", Cut::HoldAnswer).await;
}

#[tokio::test]
async fn killed_while_the_script_runs() {
    let mut deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(waiting());
    deployment.gitlab.wait_log_contains(job, "waiting for go").await;
    deployment.kill_runner().await.unwrap();
    deployment.start_runner().unwrap();
    go(&deployment, job);
    ends_well(&deployment, job).await;
}

#[tokio::test]
async fn killed_before_the_end_is_journalled() {
    killed_at("release", Cut::HoldRequest).await;
}

#[tokio::test]
async fn killed_after_the_end_is_journalled() {
    killed_at("release", Cut::HoldAnswer).await;
}

//! The runner is restarted while an agent is in each phase of a job: the agent keeps its job and ends it well.

use crate::jobs::{ends_well, go, witnessed};
use rustix::process::Signal;
use warmstart_tests::gitlab::{Endpoint, Fault, JobId, JobSpec, Matcher, ServiceSpec};
use warmstart_tests::harness::{Deployment, Setup, eventually};

/// Waits inside a script until [`go`].
const WAIT: &str = "while [ ! -e /evidence/go-$CI_JOB_ID ]; do sleep 0.1; done";

/// Stops the runner politely and starts the next one; the agent must not notice.
async fn restart(deployment: &mut Deployment) {
    let agents = deployment.executors();
    let ended = deployment.stop_runner(Signal::TERM).await.unwrap();
    assert!(ended.status.success(), "{}", ended.output);
    deployment.start_runner().unwrap();
    assert_eq!(deployment.executors(), agents, "the agent lives on");
}

/// Restarts the runner when a script of the job has left a file named `here`.
async fn restarted_in(job: JobSpec) {
    let mut deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(job);
    let here = deployment.evidence.join("here");
    eventually("the job has come to the phase", async || here.exists().then_some(())).await;
    restart(&mut deployment).await;
    go(&deployment, job);
    ends_well(&deployment, job).await;
}

/// Restarts the runner while a call of the agent to GitLab hangs.
async fn restarted_at(endpoint: Endpoint, job: impl FnOnce(&Deployment) -> JobId) {
    let mut deployment = Deployment::start(Setup::default()).await.unwrap();
    let call = deployment.gitlab.misbehave(Matcher::on(endpoint), Fault::HangUntilReleased);
    let job = job(&deployment);
    deployment.gitlab.wait_hits(call, 1).await;
    restart(&mut deployment).await;
    deployment.gitlab.release(call);
    ends_well(&deployment, job).await;
}

#[tokio::test]
async fn while_services_are_waited_for() {
    let mut deployment = Deployment::start(Setup::default()).await.unwrap();
    let silent = ServiceSpec {
        name: "warmstart-test/busybox:1".to_owned(),
        alias: "silent".to_owned(),
        command: Some(["sleep", "1000"].map(str::to_owned).to_vec()),
        variables: vec![("HEALTHCHECK_TCP_PORT".to_owned(), "9".to_owned())],
        ..ServiceSpec::default()
    };
    let job = deployment.gitlab.add_job(witnessed().service_with(silent));
    deployment.gitlab.wait_log_contains(job, "Waiting for services to be up and running").await;
    restart(&mut deployment).await;
    let finished = ends_well(&deployment, job).await;
    assert!(finished.text().contains("probably didn't start properly"), "{}", finished.text());
}

#[tokio::test]
async fn while_sources_are_fetched() {
    let hook = ["touch /evidence/here", WAIT];
    restarted_in(witnessed().hook("pre_get_sources_script", hook)).await;
}

#[tokio::test]
async fn while_the_script_runs() {
    restarted_in(JobSpec::script([
        "echo ran >> /evidence/$CI_JOB_ID",
        "touch /evidence/here",
        WAIT,
        "echo the script has run",
    ]))
    .await;
}

#[tokio::test]
async fn while_the_after_script_runs() {
    restarted_in(witnessed().after_script(["touch /evidence/here", WAIT])).await;
}

#[tokio::test]
async fn while_artifacts_are_uploaded() {
    restarted_at(Endpoint::Upload, |deployment| {
        let job = witnessed().hook("post_get_sources_script", ["echo made > file"]);
        deployment.gitlab.add_job(job.artifact_paths(["file"]))
    })
    .await;
}

#[tokio::test]
async fn while_the_result_is_reported() {
    restarted_at(Endpoint::FinalUpdate, |deployment| deployment.gitlab.add_job(witnessed())).await;
}

//! The runner is restarted while an agent is in each phase of a job: the agent keeps its job and ends it well.

use crate::jobs::{ends_well, go};
use rustix::process::Signal;
use warmstart_tests::gitlab::JobSpec;
use warmstart_tests::harness::{Deployment, Setup, eventually};

/// Waits inside a script until [`go`].
const WAIT: &str = "while [ ! -e /evidence/go-$CI_JOB_ID ]; do sleep 0.1; done";

/// Restarts the runner, politely, when the job's script has left a file named `here`.
async fn restarted_in(job: JobSpec) {
    let mut deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(job);
    let here = deployment.evidence.join("here");
    eventually("the job has come to the phase", async || here.exists().then_some(())).await;
    let agents = deployment.executors();
    let ended = deployment.stop_runner(Signal::TERM).await.unwrap();
    assert!(ended.status.success(), "{}", ended.output);
    deployment.start_runner().unwrap();
    assert_eq!(deployment.executors(), agents, "the agent lives on");
    go(&deployment, job);
    ends_well(&deployment, job).await;
}

fn job() -> JobSpec {
    JobSpec::script(["echo ran >> /evidence/$CI_JOB_ID", "echo the script has run"])
}

#[tokio::test]
async fn while_sources_are_fetched() {
    let hook = ["touch /evidence/here", WAIT];
    restarted_in(job().hook("pre_get_sources_script", hook)).await;
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
    restarted_in(job().after_script(["touch /evidence/here", WAIT])).await;
}

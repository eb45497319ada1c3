//! The jobs that the promises are checked with.

use warmstart_tests::gitlab::{Finished, JobId, JobSpec, JobState};
use warmstart_tests::harness::Deployment;

/// A job that leaves one line of evidence when its script runs.
pub(crate) fn witnessed() -> JobSpec {
    JobSpec::script(["echo ran >> /evidence/$CI_JOB_ID", "echo the script has run"])
}

/// A job that leaves evidence, says `waiting for go`, and goes on when [`go`] is called.
pub(crate) fn waiting() -> JobSpec {
    JobSpec::script([
        "echo ran >> /evidence/$CI_JOB_ID",
        "echo waiting for go",
        "while [ ! -e /evidence/go-$CI_JOB_ID ]; do sleep 0.1; done",
        "echo the script has run",
    ])
}

/// Lets a [`waiting`] job go on.
pub(crate) fn go(deployment: &Deployment, job: JobId) {
    std::fs::write(deployment.evidence.join(format!("go-{job}")), "").expect("write to the evidence directory");
}

/// How often the job's script began.
pub(crate) fn runs(deployment: &Deployment, job: JobId) -> usize {
    deployment.evidence_lines(&job.to_string())
}

/// Waits for the job's success and checks that its script ran once, that no executor is left and that no rule was broken.
pub(crate) async fn ends_well(deployment: &Deployment, job: JobId) -> Finished {
    let finished = ends_once(deployment, job, JobState::Success).await;
    assert_eq!(finished.text().matches("the script has run\n").count(), 1, "{}", finished.text());
    finished
}

/// Waits for the job's end and checks that its script ran at most once, that no executor is left and that no rule was broken.
pub(crate) async fn ends_once(deployment: &Deployment, job: JobId, state: JobState) -> Finished {
    let finished = deployment.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, state, "{}", finished.text());
    assert_eq!(runs(deployment, job), 1, "{}", finished.text());
    deployment.wait_nothing_left(&deployment.executors()).await;
    deployment.gitlab.assert_clean();
    finished
}

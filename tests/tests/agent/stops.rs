//! What ends a job from outside: cancelling, time limits, signals.

use crate::lone::{Lone, ended, plain, says};
use rustix::process::Signal;
use std::time::Duration;
use warmstart_tests::gitlab::{JobSpec, JobState};

/// A script that would take an hour, with processes that ignore what they can.
fn endless() -> JobSpec {
    JobSpec::script(["echo the script runs", "sleep 3600 & sleep 3600", "echo never here"])
}

#[tokio::test]
async fn a_cancelled_script_is_stopped_and_its_after_script_runs() {
    let lone = Lone::start().await;
    let job = lone.gitlab.add_job(endless().after_script(["echo status=$CI_JOB_STATUS"]));
    let agent = lone.agent();
    lone.gitlab.wait_log_contains(job, "the script runs\n").await;
    lone.gitlab.cancel(job);
    let finished = lone.gitlab.wait_finished(job).await;
    lone.ends_clean(agent, job).await;
    ended(&finished, JobState::Canceled);
    says(&finished, "status=canceled\n");
    says(&finished, "Job failed: canceled");
    assert!(!plain(&finished).contains("never here\n"));
}

#[tokio::test]
async fn a_forced_cancel_stops_everything_at_once() {
    let lone = Lone::start().await;
    let job = lone.gitlab.add_job(endless().after_script(["echo not after this"]));
    let agent = lone.agent();
    lone.gitlab.wait_log_contains(job, "the script runs\n").await;
    lone.gitlab.force_cancel(job);
    lone.ends_clean(agent, job).await;
    let finished = lone.gitlab.wait_finished(job).await;
    ended(&finished, JobState::Canceled);
    assert!(!plain(&finished).contains("not after this\n"));
}

#[tokio::test]
async fn a_job_cancelled_before_its_script_runs_nothing_more() {
    let lone = Lone::start().await;
    let slow = JobSpec::script(["echo not here"]).after_script(["echo nor here"]);
    let job = lone.gitlab.add_job(slow.hook("pre_get_sources_script", ["echo the hook runs; sleep 3600"]));
    let agent = lone.agent();
    lone.gitlab.wait_log_contains(job, "the hook runs\n").await;
    lone.gitlab.cancel(job);
    let finished = lone.gitlab.wait_finished(job).await;
    lone.ends_clean(agent, job).await;
    ended(&finished, JobState::Canceled);
    assert!(!plain(&finished).contains("not here\n") && !plain(&finished).contains("nor here\n"));
}

#[tokio::test]
async fn a_job_whose_time_is_over_fails_with_that_reason() {
    let lone = Lone::start().await;
    let finished = lone.run(endless().timeout(Duration::from_secs(10)).after_script(["echo not after this"])).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("job_execution_timeout"));
    says(&finished, "Job failed: execution took longer than 10s seconds");
    assert!(!plain(&finished).contains("not after this\n"));
}

#[tokio::test]
async fn a_script_whose_time_is_over_still_gets_its_after_script() {
    let lone = Lone::start().await;
    let spec = endless().variable("RUNNER_SCRIPT_TIMEOUT", "2s").after_script(["echo status=$CI_JOB_STATUS"]);
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("job_execution_timeout"));
    says(&finished, "status=timedout\n");
}

#[tokio::test]
async fn an_after_script_has_its_own_time() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["true"]).after_script(["sleep 3600"]).variable("RUNNER_AFTER_SCRIPT_TIMEOUT", "1s");
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Success);
    says(&finished, "RUNNER_AFTER_SCRIPT_TIMEOUT");
}

#[tokio::test]
async fn an_agent_told_to_stop_ends_its_job_with_the_reason() {
    let lone = Lone::start().await;
    let job = lone.gitlab.add_job(endless());
    let agent = lone.agent();
    lone.gitlab.wait_log_contains(job, "the script runs\n").await;
    agent.signal(Signal::TERM);
    let finished = lone.gitlab.wait_finished(job).await;
    lone.ends_clean(agent, job).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_interrupted"));
    says(&finished, "told to stop");
}

#[tokio::test]
async fn a_process_left_in_the_background_does_not_hold_the_job() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["(sleep 3600; echo late) &", "echo done"]);
    let finished = lone.run(spec.hook("post_get_sources_script", ["sleep 3600 &", "echo hooked"])).await;
    ended(&finished, JobState::Success);
    says(&finished, "done\n");
}

#[tokio::test]
async fn what_a_killed_agent_left_is_removed_by_the_next() {
    let lone = Lone::start().await;
    let job = lone.gitlab.add_job(endless());
    let agent = lone.agent();
    lone.gitlab.wait_log_contains(job, "the script runs\n").await;
    lone.gitlab.expect_loss(job);
    agent.kill().await.expect("kill");
    lone.wait_containers(2).await;
    lone.gitlab.force_cancel(job);
    let finished = lone.run(JobSpec::script(["echo the next job"])).await;
    ended(&finished, JobState::Success);
}

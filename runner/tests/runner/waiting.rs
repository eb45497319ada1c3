//! Jobs for which the runner speaks.

use super::support::Bench;
use anyhow::Result;
use warmstart_tests::gitlab::{JobSpec, JobState};

#[tokio::test]
async fn a_job_without_an_executor_fails_with_the_reason_in_its_log() -> Result<()> {
    let bench = Bench::start("acquire_timeout = \"5s\"").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    let finished = bench.gitlab.wait_finished(job).await;
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    let log = String::from_utf8(bench.gitlab.log(job).to_vec())?;
    assert!(log.contains("Waiting for an executor, 3 s so far") && log.contains("No executor within 5s"), "{log}");
    bench.wait_no_job().await;
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn feature_flags_of_the_configuration_are_the_runners_and_the_agents() -> Result<()> {
    let mut bench = Bench::prepare("").await?;
    let text = std::fs::read_to_string(bench.file("config.toml"))?;
    std::fs::write(bench.file("config.toml"), text + "[runners.feature_flags]\nFF_TIMESTAMPS = false\n")?;
    bench.start_runner()?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]).variable("FF_TIMESTAMPS", "true"));
    bench.gitlab.wait_log_contains(job, "Waiting for an executor").await;
    assert!(bench.gitlab.log(job).starts_with(b"\x1b[0KWaiting"));
    let work = bench.agent(&[]).await?.take().await?;
    assert!(!work.assignment.settings.feature_flags["FF_TIMESTAMPS"]);
    Ok(())
}

#[tokio::test]
async fn a_job_that_is_canceled_while_it_waits_ends_canceled() -> Result<()> {
    let bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    bench.gitlab.wait_log_contains(job, "Waiting").await;
    bench.gitlab.cancel(job);
    assert_eq!(bench.gitlab.wait_finished(job).await.state, JobState::Canceled);
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_job_that_is_canceled_by_force_is_dropped() -> Result<()> {
    let bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    bench.gitlab.wait_log_contains(job, "Waiting").await;
    bench.gitlab.force_cancel(job);
    bench.wait_log("job is settled").await;
    assert_eq!(bench.gitlab.state(job), JobState::Canceled);
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_job_that_chooses_a_pool_it_may_not_have_fails_at_once_and_reads_which_it_may() -> Result<()> {
    let bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]).variable("WARMSTART_POOL", "huge"));
    let finished = bench.gitlab.wait_finished(job).await;
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    assert!(
        finished.text().contains("which this runner's jobs may not have; they may have default."),
        "{}",
        finished.text()
    );
    bench.wait_no_job().await;
    bench.gitlab.assert_clean();
    Ok(())
}

//! Executors that die with a job.

use super::support::{Bench, SOON};
use anyhow::Result;
use std::io::Write as _;
use warmstart_api::assignment::Log;
use warmstart_api::client::Error;
use warmstart_tests::gitlab::{JobSpec, JobState};

#[tokio::test]
async fn before_the_script_another_one_takes_over_job_and_log() -> Result<()> {
    let bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    bench.gitlab.expect_loss(job);
    let lost = bench.agent(&[]).await?;
    let work = lost.take().await?;
    let trace = work.trace(bench.path());
    let begun = warmstart_gitlab::sections::start("get_sources", 1);
    trace.writer().write_all(format!("{begun}cloning\n").as_bytes())?;
    lost.beat(work.holding(), "get_sources").await?;
    bench.gitlab.wait_log_contains(job, "cloning").await;
    bench.kill_executor(&lost.id);
    drop(trace);

    let next = bench.agent(&[&lost.id]).await?;
    let again = next.take().await?;
    assert_eq!(again.holding().generation, 2);
    assert!(matches!(again.assignment.log, Log::TakeOver { .. }));
    assert!(matches!(lost.link.script(work.holding(), SOON).await, Err(Error::Stale(_) | Error::Session(_))));
    next.link.script(again.holding(), SOON).await?;
    next.succeed(&again, "done\n").await?;

    assert_eq!(bench.gitlab.wait_finished(job).await.state, JobState::Success);
    let log = String::from_utf8(bench.gitlab.log(job).to_vec())?;
    let order: Vec<_> =
        ["cloning", "section_end:", "executor was lost before the script", "done"].map(|text| log.find(text)).into();
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?} in {log}");
    bench.wait_no_executor().await;
    assert!(bench.purged().contains(&lost.id));
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn after_the_barrier_the_job_fails_and_says_so() -> Result<()> {
    let bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    bench.gitlab.expect_loss(job);
    let lost = bench.agent(&[]).await?;
    let work = lost.take().await?;
    lost.link.script(work.holding(), SOON).await?;
    bench.kill_executor(&lost.id);
    let finished = bench.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    let log = String::from_utf8(bench.gitlab.log(job).to_vec())?;
    assert!(log.contains(&format!("Executor {} was lost while the script ran", lost.id)), "{log}");
    bench.wait_no_executor().await;
    bench.wait_journal_empty().await;
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn one_that_is_silent_before_the_script_loses_its_job() -> Result<()> {
    let bench = Bench::start("lease = \"3s\"").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    bench.gitlab.expect_loss(job);
    let silent = bench.agent(&[]).await?;
    let work = silent.take().await?;
    let next = bench.agent(&[&silent.id]).await?;
    let again = next.take().await?;
    assert!(silent.beat(work.holding(), "get_sources").await.is_err());
    next.link.script(again.holding(), SOON).await?;
    next.succeed(&again, "done\n").await?;
    assert_eq!(bench.gitlab.wait_finished(job).await.state, JobState::Success);
    bench.wait_no_executor().await;
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn one_that_hangs_in_boot_is_replaced_and_its_log_is_quoted() -> Result<()> {
    let bench = Bench::start("boot_timeout = \"2s\"").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    bench.wait_log("executor hung in boot").await;
    bench.wait_log("the stand-in is up").await;
    bench.gitlab.wait_log_contains(job, "did not come up: the stand-in is up").await;
    bench.configure("boot_timeout = \"5m\"")?;
    let mut bench = bench;
    bench.kill_runner().await?;
    bench.start_runner()?;
    let agent = bench.agent(&[]).await?;
    let work = agent.take().await?;
    agent.succeed(&work, "").await?;
    assert_eq!(bench.gitlab.wait_finished(job).await.state, JobState::Success);
    Ok(())
}

#[tokio::test]
async fn orphans_are_ended() -> Result<()> {
    let mut bench = Bench::start("").await?;
    bench.gitlab.add_job(JobSpec::script(["true"]));
    let agent = bench.agent(&[]).await?;
    bench.kill_runner().await?;
    std::fs::remove_dir_all(bench.file("state"))?;
    bench.start_runner()?;
    bench.wait_no_executor().await;
    assert_eq!(bench.purged(), [agent.id]);
    Ok(())
}

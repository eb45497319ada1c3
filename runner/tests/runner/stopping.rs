//! SIGTERM leaves everything to the next runner, SIGQUIT leaves nothing.

use super::support::{Bench, SOON};
use anyhow::Result;
use rustix::process::Signal;
use warmstart_tests::gitlab::{JobSpec, JobState};

#[tokio::test]
async fn after_sigterm_the_next_runner_goes_on_with_the_same_executor() -> Result<()> {
    let mut bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    let agent = bench.agent(&[]).await?;
    let work = agent.take().await?;
    agent.link.script(work.holding(), SOON).await?;
    let ended = bench.stop_runner(Signal::TERM).await?;
    assert!(ended.status.success(), "{}", ended.output);
    assert_eq!(bench.executors(), [agent.id.as_str()]);
    bench.start_runner()?;
    agent.beat(work.holding(), "step_script").await?;
    agent.succeed(&work, "done\n").await?;
    assert_eq!(bench.gitlab.wait_finished(job).await.state, JobState::Success);
    bench.wait_no_executor().await;
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn sigquit_waits_for_running_jobs_and_ends_all_executors() -> Result<()> {
    let mut bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    let agent = bench.agent(&[]).await?;
    let work = agent.take().await?;
    bench.signal(Signal::QUIT);
    bench.wait_log("SIGQUIT").await;
    let late = bench.gitlab.add_job(JobSpec::script(["true"]));
    agent.link.script(work.holding(), SOON).await?;
    agent.succeed(&work, "done\n").await?;
    let ended = bench.stop_runner(Signal::CONT).await?;
    assert!(ended.status.success(), "{}", ended.output);
    assert_eq!(bench.gitlab.state(job), JobState::Success);
    assert_eq!(bench.executors(), [""; 0]);
    assert!(matches!(bench.gitlab.state(late), JobState::Pending | JobState::Running));
    Ok(())
}

#[tokio::test]
async fn an_idle_executor_is_ended_after_its_time() -> Result<()> {
    let bench = Bench::start("max = 2").await?;
    let jobs = [0, 1].map(|_| bench.gitlab.add_job(JobSpec::script(["true"])));
    let first = bench.agent(&[]).await?;
    let second = bench.agent(&[&first.id]).await?;
    bench.gitlab.force_cancel(jobs[0]);
    bench.gitlab.force_cancel(jobs[1]);
    bench.wait_no_executor().await;
    let mut purged = bench.purged();
    purged.sort();
    let mut expected = [first.id, second.id];
    expected.sort();
    assert_eq!(purged, expected);
    Ok(())
}

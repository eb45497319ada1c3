//! The ordinary way of a job.

use super::support::{Bench, SOON};
use anyhow::Result;
use warmstart_api::assignment::Log;
use warmstart_api::client::Error;
use warmstart_tests::gitlab::{JobSpec, JobState};

#[tokio::test]
async fn a_job_goes_from_gitlab_to_an_agent_and_its_executor_ends() -> Result<()> {
    let bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    let agent = bench.agent(&[]).await?;
    let work = agent.take().await?;
    assert_eq!(work.holding().job, job.0);
    let payload: serde_json::Value = serde_json::from_str(work.assignment.payload.get())?;
    assert!(payload["variables"] == bench.gitlab.payload(job)["variables"], "GitLab's own payload");
    let gitlab = &work.assignment.gitlab;
    assert_eq!((gitlab.runner_name.as_str(), gitlab.concurrent_id, gitlab.concurrent_project_id), ("test", 0, 0));
    assert_eq!(work.assignment.settings.docker.image, "alpine");
    assert!(work.assignment.seconds_left <= work.job().timeout().as_secs());
    agent.link.script(work.holding(), SOON).await?;
    agent.beat(work.holding(), "step_script").await?;
    agent.succeed(&work, "hello\n").await?;

    assert_eq!(bench.gitlab.wait_finished(job).await.state, JobState::Success);
    assert!(bench.gitlab.log(job).ends_with(b"hello\n"));
    assert!(matches!(agent.link.next(SOON).await, Err(Error::Gone | Error::Session(_))), "one job for each executor");
    bench.wait_no_executor().await;
    bench.wait_journal_empty().await;
    assert_eq!(bench.purged(), [agent.id]);
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn the_log_of_a_job_that_waited_is_one_log() -> Result<()> {
    let bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    bench.gitlab.wait_log_contains(job, "Waiting for an executor, 3 s so far").await;
    let agent = bench.agent(&[]).await?;
    let work = agent.take().await?;
    let Log::Continue(so_far) = work.assignment.log.clone() else { panic!("the runner knows its own log") };
    assert!(so_far.contains("Waiting for an executor"), "{so_far}");
    agent.succeed(&work, "hello\n").await?;
    let finished = bench.gitlab.wait_finished(job).await;
    assert!(finished.log.starts_with(so_far.as_bytes()) && finished.text().ends_with("\nhello\n"));
    assert_eq!(finished.state, JobState::Success);
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn jobs_run_side_by_side_up_to_the_maximum_with_numbers_of_their_own() -> Result<()> {
    let bench = Bench::start("max = 2").await?;
    let jobs = [0, 1, 2].map(|_| bench.gitlab.add_job(JobSpec::script(["true"])));
    let first = bench.agent(&[]).await?;
    let second = bench.agent(&[&first.id]).await?;
    let (one, two) = (first.take().await?, second.take().await?);
    let mut numbers = [&one, &two].map(|work| work.assignment.gitlab.concurrent_id);
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1]);
    assert_eq!(bench.executors().len(), 2);
    assert_eq!(bench.gitlab.state(jobs[2]), JobState::Pending, "no more than the fleet can serve are asked for");
    first.succeed(&one, "").await?;
    let third = bench.agent(&[&first.id, &second.id]).await?;
    let three = third.take().await?;
    assert_eq!(three.assignment.gitlab.concurrent_id, one.assignment.gitlab.concurrent_id, "the smallest free one");
    second.succeed(&two, "").await?;
    third.succeed(&three, "").await?;
    for job in jobs {
        assert_eq!(bench.gitlab.wait_finished(job).await.state, JobState::Success);
    }
    bench.wait_no_executor().await;
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn an_offer_that_nobody_takes_is_withdrawn_and_made_again() -> Result<()> {
    let bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    let agent = bench.agent(&[]).await?;
    let ignored = agent.next().await?;
    bench.wait_log("job is waiting").await;
    let work = agent.take().await?;
    assert_eq!(work.holding().generation, ignored.holding().generation + 1);
    assert!(matches!(agent.link.ack(ignored.holding(), SOON).await, Err(Error::Stale(_))));
    agent.link.script(work.holding(), SOON).await?;
    agent.succeed(&work, "").await?;
    assert_eq!(bench.gitlab.wait_finished(job).await.state, JobState::Success);
    bench.gitlab.assert_clean();
    Ok(())
}

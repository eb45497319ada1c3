//! A runner that is killed at a step of a job and started again.

use super::support::{Agent, Bench, SOON, Work};
use anyhow::Result;
use warmstart_tests::gitlab::{JobId, JobSpec, JobState};

/// Where the runner is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Acquired,
    Offered,
    Acknowledged,
    Scripting,
    Reported,
}

async fn reach(bench: &Bench, job: JobId, step: Step) -> Result<(Option<Agent>, Option<Work>)> {
    bench.wait_log("job is acquired").await;
    if step == Step::Acquired {
        bench.gitlab.wait_log_contains(job, "Waiting for an executor").await;
        return Ok((None, None));
    }
    let agent = bench.agent(&[]).await?;
    let work = agent.next().await?;
    if step != Step::Offered {
        agent.link.ack(work.holding(), SOON).await?;
    }
    if matches!(step, Step::Scripting | Step::Reported) {
        agent.link.script(work.holding(), SOON).await?;
    }
    if step == Step::Reported {
        work.report(bench.path(), "done\n").await?;
    }
    Ok((Some(agent), Some(work)))
}

async fn kill_at(step: Step) -> Result<()> {
    let mut bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    let (agent, work) = reach(&bench, job, step).await?;
    bench.kill_runner().await?;
    let executors = bench.executors();
    bench.start_runner()?;

    let agent = match agent {
        Some(agent) => agent,
        None => bench.agent(&[]).await?,
    };
    assert_eq!(bench.executors(), executors, "the executor is found again");
    let work = match (step, work) {
        (Step::Acquired | Step::Offered, earlier) => {
            let again = agent.take().await?;
            assert!(earlier.is_none_or(|earlier| earlier.holding() == again.holding()), "the offer is repeated");
            again
        }
        (_, work) => work.expect("there is work"),
    };
    if step != Step::Reported {
        agent.beat(work.holding(), "step_script").await?;
        agent.link.script(work.holding(), SOON).await?;
        work.report(bench.path(), "done\n").await?;
    }
    agent.release(&work).await?;

    assert_eq!(bench.gitlab.wait_finished(job).await.state, JobState::Success);
    bench.wait_no_executor().await;
    bench.wait_journal_empty().await;
    assert!(bench.gitlab.log(job).ends_with(b"done\n"));
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn killed_while_the_job_waits() -> Result<()> {
    kill_at(Step::Acquired).await
}

#[tokio::test]
async fn killed_after_the_offer() -> Result<()> {
    kill_at(Step::Offered).await
}

#[tokio::test]
async fn killed_after_the_acknowledgement() -> Result<()> {
    kill_at(Step::Acknowledged).await
}

#[tokio::test]
async fn killed_after_the_barrier() -> Result<()> {
    kill_at(Step::Scripting).await
}

#[tokio::test]
async fn killed_after_gitlab_has_the_result() -> Result<()> {
    kill_at(Step::Reported).await
}

#[tokio::test]
async fn an_executor_that_died_while_no_runner_was_there_is_noticed() -> Result<()> {
    let mut bench = Bench::start("").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    bench.gitlab.expect_loss(job);
    let agent = bench.agent(&[]).await?;
    let work = agent.take().await?;
    agent.link.script(work.holding(), SOON).await?;
    bench.kill_runner().await?;
    bench.kill_executor(&agent.id);
    bench.start_runner()?;
    let finished = bench.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    bench.wait_no_executor().await;
    bench.wait_journal_empty().await;
    bench.gitlab.assert_clean();
    Ok(())
}

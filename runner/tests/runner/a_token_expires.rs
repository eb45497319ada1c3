//! A runner's token with an end (protocol §1.4).

use super::support::{Bench, SOON};
use anyhow::Result;
use rustix::process::Signal;
use std::time::Duration;
use warmstart_tests::gitlab::{Endpoint, Fault, JobSpec, JobState, Matcher, Options};
use warmstart_tests::harness::eventually;

async fn bench() -> Result<Bench> {
    let (hold, lifetime) = (Duration::from_secs(1), Duration::from_secs(3));
    Bench::with(Options { hold, token_lifetime: Some(lifetime), ..Options::default() }, "").await
}

/// Waits until the runner has taken a job.
async fn takes_a_job(bench: &Bench) {
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    eventually("the job is taken", async || (bench.gitlab.state(job) == JobState::Running).then_some(())).await;
}

#[tokio::test]
async fn it_is_renewed_again_and_again_and_the_next_runner_uses_the_newest() -> Result<()> {
    let mut bench = bench().await?;
    bench.start_runner()?;
    bench.gitlab.wait_requests(Endpoint::ResetToken, 2).await;
    takes_a_job(&bench).await;
    bench.stop_runner(Signal::TERM).await?;
    bench.start_runner()?;
    takes_a_job(&bench).await;
    assert!(!bench.log().contains("glrt-"), "no token is shown: {}", bench.log());
    Ok(())
}

#[tokio::test]
async fn a_job_that_runs_meanwhile_goes_on_as_if_nothing_had_happened() -> Result<()> {
    let mut bench = bench().await?;
    bench.start_runner()?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    let agent = bench.agent(&[]).await?;
    let work = agent.take().await?;
    agent.link.script(work.holding(), SOON).await?;
    let renewed = bench.gitlab.count(Endpoint::ResetToken);
    bench.gitlab.wait_requests(Endpoint::ResetToken, renewed + 2).await;
    agent.beat(work.holding(), "step_script").await?;
    agent.succeed(&work, "hello\n").await?;
    let finished = bench.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, JobState::Success);
    assert!(finished.text().ends_with("hello\n"), "{}", finished.text());
    bench.wait_journal_empty().await;
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn one_that_gitlab_does_not_renew_is_used_to_its_end() -> Result<()> {
    let mut bench = bench().await?;
    bench.gitlab.misbehave(Matcher::on(Endpoint::ResetToken), Fault::status(403));
    bench.start_runner()?;
    bench.wait_log("set another token, nothing renews this one any more").await;
    takes_a_job(&bench).await;
    Ok(())
}

//! Kill -9 an agent: before the barrier its job moves to another executor; after it the job fails and says why.

use crate::jobs::{ends_well, runs, waiting, witnessed};
use warmstart_tests::faults::Fault;
use warmstart_tests::gitlab::{CacheSpec, JobState};
use warmstart_tests::harness::{Deployment, Setup, eventually};

#[tokio::test]
async fn before_the_barrier_the_job_moves_to_another_executor_and_its_log_continues() {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let mut barrier = deployment.proxy.once("script", Fault::HoldRequest);
    let job = deployment.gitlab.add_job(witnessed());
    barrier.reached().await;
    let before = deployment.gitlab.log(job);
    let first = deployment.wait_executors(1).await;
    deployment.gitlab.expect_loss(job);
    first[0].kill();
    drop(barrier);
    let finished = ends_well(&deployment, job).await;
    assert!(finished.log.starts_with(&before), "the log goes on where it was");
    deployment.wait_nothing_left(&first).await;
}

#[tokio::test]
async fn a_cache_that_was_being_restored_comes_on_the_other_executor_and_nothing_of_it_stays() {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let cache = || CacheSpec::new("deps", ["deps/"]);
    let fill = witnessed().cache(cache()).hook("post_get_sources_script", ["mkdir deps; echo precious > deps/file"]);
    ends_well(&deployment, deployment.gitlab.add_job(fill)).await;
    let wait = "echo the hook runs; while [ ! -e /evidence/go ]; do sleep 0.1; done";
    let job = deployment.gitlab.add_job(witnessed().cache(cache()).hook("pre_get_sources_script", [wait]));
    deployment.gitlab.wait_log_contains(job, "the hook runs").await;
    let first = deployment.wait_executors(1).await;
    deployment.gitlab.expect_loss(job);
    first[0].kill();
    std::fs::write(deployment.evidence.join("go"), "").unwrap();
    let finished = ends_well(&deployment, job).await;
    assert!(finished.text().contains("Restored deps-non_protected: 1 file, "), "{}", finished.text());
    deployment.wait_nothing_left(&first).await;
    let left = deployment.directory().join("executors");
    eventually("no file of an executor is left", async || {
        std::fs::read_dir(&left).ok()?.flatten().all(|entry| !entry.path().join("builds").exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_the_barrier_the_job_fails_and_its_log_says_so() {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(waiting());
    deployment.gitlab.wait_log_contains(job, "waiting for go").await;
    let executors = deployment.wait_executors(1).await;
    deployment.gitlab.expect_loss(job);
    executors[0].kill();
    let finished = deployment.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    assert_eq!(runs(&deployment, job), 1);
    let log = finished.text();
    let last = log.trim_end().lines().last().unwrap_or_default();
    assert!(last.contains("ERROR: Job failed (system failure)"), "{log}");
    assert!(log.contains("executor"), "the log says what was lost: {log}");
    deployment.wait_nothing_left(&executors).await;
    deployment.gitlab.assert_clean();
}

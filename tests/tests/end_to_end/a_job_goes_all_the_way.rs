//! The main job: GitLab → runner → executor → Docker → GitLab, with artifacts handed on, a service, and a cache that
//! survives the executor.

use crate::jobs::{ends_well, go, waiting, witnessed};
use rustix::process::Signal;
use warmstart_tests::gitlab::{CacheSpec, JobSpec, JobState};
use warmstart_tests::harness::{Deployment, Setup, eventually};

#[tokio::test]
async fn a_job_runs_and_nothing_of_it_is_left() {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(witnessed());
    ends_well(&deployment, job).await;
}

#[tokio::test]
async fn a_failing_job_reports_its_exit_code() {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(JobSpec::script(["exit 42"]));
    let finished = deployment.gitlab.wait_finished(job).await;
    assert_eq!((finished.state, finished.exit_code), (JobState::Failed, Some(42)));
    assert_eq!(finished.failure_reason.as_deref(), Some("script_failure"));
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn a_cache_survives_its_executor() {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let cache = || CacheSpec::new("deps", ["deps/"]);
    let cold =
        JobSpec::script(["test ! -e deps", "mkdir -p deps/a", "echo precious > deps/a/file", "ln -s a/file deps/link"]);
    let cold = deployment.gitlab.add_job(cold.cache(cache()));
    let finished = deployment.gitlab.wait_finished(cold).await;
    assert_eq!(finished.state, JobState::Success, "{}", finished.text());
    deployment.wait_executors(0).await;
    let warm = JobSpec::script(["test precious = \"$(cat deps/link)\"", "echo it is warm"]);
    let warm = deployment.gitlab.add_job(warm.cache(cache()));
    let finished = deployment.gitlab.wait_finished(warm).await;
    assert_eq!(finished.state, JobState::Success, "{}", finished.text());
    assert!(finished.text().contains("it is warm\n"), "{}", finished.text());
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn artifacts_are_handed_on_and_a_service_answers() {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let build = JobSpec::script(["mkdir out", "echo made > out/file"]).artifact_paths(["out/"]);
    let build = deployment.gitlab.add_job(build);
    deployment.gitlab.wait_finished(build).await;
    let serve = warmstart_tests::gitlab::ServiceSpec {
        name: "warmstart-test/busybox:1".to_owned(),
        alias: "web".to_owned(),
        command: Some(["httpd", "-f", "-p", "80", "-h", "/bin"].map(str::to_owned).to_vec()),
        variables: vec![("HEALTHCHECK_TCP_PORT".to_owned(), "80".to_owned())],
        ..Default::default()
    };
    let test = JobSpec::script(["cat out/file", "wget -q -O /dev/null http://web/busybox", "echo the service answers"]);
    let test = deployment.gitlab.add_job(test.needs(build).service_with(serve));
    let finished = deployment.gitlab.wait_finished(test).await;
    assert_eq!(finished.state, JobState::Success, "{}", finished.text());
    assert!(finished.text().contains("the service answers\n"), "{}", finished.text());
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn jobs_beyond_the_limit_wait_and_all_end() {
    let deployment = Deployment::start(Setup { max: 2, ..Setup::default() }).await.unwrap();
    let jobs: Vec<_> = (0..5).map(|_| deployment.gitlab.add_job(witnessed())).collect();
    for job in jobs {
        let finished = deployment.gitlab.wait_finished(job).await;
        assert_eq!(finished.state, JobState::Success, "{}", finished.text());
    }
    deployment.wait_executors(0).await;
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn a_cancelled_job_stops_and_runs_its_after_script() {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(waiting().after_script(["echo the state is $CI_JOB_STATUS"]));
    deployment.gitlab.wait_log_contains(job, "waiting for go").await;
    deployment.gitlab.cancel(job);
    let finished = deployment.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, JobState::Canceled, "{}", finished.text());
    assert!(finished.text().contains("the state is canceled\n"), "{}", finished.text());
    deployment.wait_executors(0).await;
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn a_polite_stop_of_the_runner_leaves_running_jobs_to_the_next_one() {
    let mut deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(waiting());
    deployment.gitlab.wait_log_contains(job, "waiting for go").await;
    let ended = deployment.stop_runner(Signal::TERM).await.unwrap();
    assert!(ended.status.success(), "{}", ended.output);
    deployment.start_runner().unwrap();
    go(&deployment, job);
    ends_well(&deployment, job).await;
}

#[tokio::test]
async fn a_graceful_quit_waits_for_running_jobs_and_leaves_no_executor() {
    let mut deployment = Deployment::start(Setup::default()).await.unwrap();
    let job = deployment.gitlab.add_job(waiting());
    deployment.gitlab.wait_log_contains(job, "waiting for go").await;
    let evidence = deployment.evidence.clone();
    let (ended, ()) = tokio::join!(deployment.stop_runner(Signal::QUIT), async {
        let file = evidence.join(format!("go-{job}"));
        eventually("the job is let go", async || std::fs::write(&file, "").ok()).await;
    });
    assert!(ended.unwrap().status.success());
    assert_eq!(deployment.gitlab.wait_finished(job).await.state, JobState::Success);
    deployment.wait_executors(0).await;
    deployment.gitlab.assert_clean();
}

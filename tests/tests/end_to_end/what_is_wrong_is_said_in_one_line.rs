//! Bad configuration, bad token, no Docker, full disk, unreachable store: one clear line, an exit code, no panic.

use crate::jobs::witnessed;
use std::fs;
use tokio::process::Command;
use warmstart_tests::gitlab::{Endpoint, JobSpec, JobState};
use warmstart_tests::harness::{Deployment, Ended, Process, Setup, SmallDisk, binary};

/// Runs the runner with this configuration to its end.
async fn runner_with(change: impl FnOnce(String) -> String, token: Option<&str>) -> Ended {
    let deployment = Deployment::prepare(Setup::default()).await.unwrap();
    let config = fs::read_to_string(deployment.config_path()).unwrap();
    fs::write(deployment.config_path(), change(config)).unwrap();
    let mut command = Command::new(binary("warmstart-runner").unwrap());
    command.args(["run", "--config"]).arg(deployment.config_path());
    command.env("WARMSTART_RUNNER_TOKEN", token.map_or_else(|| deployment.gitlab.runner_token(), str::to_owned));
    let process = Process::start(command, &deployment.directory().join("output")).unwrap();
    process.wait().await.unwrap()
}

/// Checks that the program failed, that its last word is one line which contains all these words, and that there was
/// nothing but its log before.
fn assert_one_line(ended: &Ended, words: &[&str]) {
    assert!(ended.status.code().is_some_and(|code| code == 1 || code == 2), "{:?}: {}", ended.status, ended.output);
    let mut lines = ended.output.trim_end().lines().rev();
    let last = lines.next().unwrap_or_default();
    assert!(last.starts_with("warmstart-"), "{}", ended.output);
    for word in words {
        assert!(last.contains(word), "{word:?} is missing in {last}");
    }
    assert!(lines.all(|line| line.starts_with('{')), "{}", ended.output);
}

#[tokio::test]
async fn an_unknown_key_names_itself_and_the_nearest_known_one() {
    let ended = runner_with(|config| config.replace("concurrent =", "concurent ="), None).await;
    assert_one_line(&ended, &["concurent", "concurrent"]);
}

#[tokio::test]
async fn broken_toml_names_its_line() {
    let ended = runner_with(|config| format!("{config}\n[broken"), None).await;
    assert_one_line(&ended, &["config.toml:35: "]);
}

#[tokio::test]
async fn a_bad_token_is_refused_at_the_start() {
    let ended = runner_with(|config| config, Some("glrt-wrongwrongwrong")).await;
    assert_one_line(&ended, &["token"]);
    assert!(!ended.output.contains("glrt-wrong"), "the token is not shown: {}", ended.output);
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_named() {
    let ended = runner_with(|config| config.replace("/state\"", "/config.toml\""), None).await;
    assert_one_line(&ended, &["config.toml"]);
}

#[tokio::test]
async fn a_missing_agent_is_named() {
    let ended = runner_with(|config| config.replace("warmstart-agent\"", "no-such-agent\""), None).await;
    assert_one_line(&ended, &["no-such-agent"]);
}

#[tokio::test]
async fn a_configuration_that_is_not_there_is_named() {
    let output = Command::new(binary("warmstart-runner").unwrap())
        .args(["run", "--config", "/nonexistent/config.toml"])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_one_line(&Ended { status: output.status, output: text }, &["/nonexistent/config.toml"]);
}

#[tokio::test]
async fn an_agent_without_docker_says_so() {
    let deployment = Deployment::prepare(Setup::default()).await.unwrap();
    let output = Command::new(binary("warmstart-agent").unwrap())
        .args(["run", "--url", &deployment.gitlab.url(), "--token", &deployment.gitlab.runner_token(), "--once"])
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("WARMSTART_DIRECTORY", deployment.directory())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_one_line(&Ended { status: output.status, output: text }, &["Docker", "/nonexistent/docker.sock"]);
}

#[tokio::test]
async fn an_unreachable_cache_store_is_a_warning_in_a_job_that_succeeds() {
    let setup = Setup { cache: Some("file:///proc/nowhere".to_owned()), ..Setup::default() };
    let deployment = Deployment::start(setup).await.unwrap();
    let cache = warmstart_tests::gitlab::CacheSpec::new("deps", ["deps/"]);
    let job = deployment.gitlab.add_job(witnessed().cache(cache));
    let finished = deployment.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, JobState::Success, "{}", finished.text());
    assert!(finished.text().contains("WARNING"), "{}", finished.text());
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn a_full_disk_of_the_executor_fails_the_job_with_its_name() {
    let mut deployment = Deployment::prepare(Setup::default()).await.unwrap();
    let _disk = SmallDisk::mount(&deployment.directory().join("executors"), "2m").unwrap();
    deployment.start_runner().unwrap();
    let script = ["echo ran >> /evidence/$CI_JOB_ID", "dd if=/dev/zero of=big bs=1M count=16"];
    let job = deployment.gitlab.add_job(JobSpec::script(script));
    let finished = deployment.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, JobState::Failed, "{}", finished.text());
    assert!(finished.text().contains("No space left on device"), "{}", finished.text());
    deployment.wait_executors(0).await;
    deployment.kill_runner().await.unwrap();
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn a_full_disk_of_the_journal_fails_the_job_at_gitlab_and_the_next_one_runs() {
    let mut deployment = Deployment::prepare(Setup::default()).await.unwrap();
    let disk = SmallDisk::mount(&deployment.directory().join("state"), "256k").unwrap();
    deployment.start_runner().unwrap();
    deployment.gitlab.wait_requests(Endpoint::JobRequest, 1).await;
    disk.fill().unwrap();
    let job = deployment.gitlab.add_job(witnessed());
    let finished = deployment.gitlab.wait_finished(job).await;
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    assert!(finished.text().contains("the runner cannot take it: cannot write the journal"), "{}", finished.text());
    disk.free().unwrap();
    let next = deployment.gitlab.add_job(witnessed());
    assert_eq!(deployment.gitlab.wait_finished(next).await.state, JobState::Success);
    deployment.wait_executors(0).await;
    deployment.kill_runner().await.unwrap();
    deployment.gitlab.assert_clean();
}

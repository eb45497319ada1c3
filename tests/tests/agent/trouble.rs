//! What is wrong is said in one line.

use crate::lone::{Lone, ended, says};
use std::process::Stdio;
use warmstart_tests::gitlab::{JobSpec, JobState};

#[tokio::test]
async fn an_image_that_is_not_to_be_had_is_named() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["true"]).image("127.0.0.1:1/nobody/nothing:1").after_script(["echo not here"]);
    let finished = lone.run(spec.set("/image/pull_policy", serde_json::json!(["never"]))).await;
    ended(&finished, JobState::Failed);
    says(&finished, "pull_policy ([never]) defined in GitLab pipeline config");
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_configuration_error"));
}

#[tokio::test]
async fn a_registry_that_is_away_is_not_the_jobs_fault() {
    let lone = Lone::start().await;
    let finished = lone.run(JobSpec::script(["true"]).image("127.0.0.1:1/nobody/nothing:1")).await;
    ended(&finished, JobState::Failed);
    says(&finished, "failed to pull image \"127.0.0.1:1/nobody/nothing:1\"");
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_external_dependency_failure"));
}

#[tokio::test]
async fn an_image_without_a_shell_is_explained() {
    let lone = Lone::start().await;
    let image = format!("warmstart-test/empty:{}", lone.executor);
    let import = "tar -c --files-from /dev/null | docker import --change 'CMD [\"none\"]' - ";
    let made =
        std::process::Command::new("sh").args(["-c", &format!("{import}{image}")]).stdout(Stdio::null()).status();
    assert!(made.is_ok_and(|status| status.success()));
    let finished = lone.run(JobSpec::script(["true"]).image(&image)).await;
    let _ = std::process::Command::new("docker").args(["rmi", &image]).stdout(Stdio::null()).status();
    ended(&finished, JobState::Failed);
    says(&finished, "cannot start a shell");
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_configuration_error"));
}

/// Starts an agent that cannot work and gives its only line.
async fn refused(lone: &Lone, change: impl FnOnce(&mut tokio::process::Command)) -> String {
    let mut command = lone.command();
    change(&mut command);
    let output = command.stdin(Stdio::null()).output().await.expect("the agent's end");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<&str> = text.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(errors.len(), 1, "{text}");
    errors[0].to_owned()
}

#[tokio::test]
async fn an_agent_that_cannot_work_says_why_in_one_line_and_ends() {
    let lone = Lone::start().await;
    let no_docker = refused(&lone, |command| {
        command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    });
    assert!(no_docker.await.contains("cannot connect to Docker at /nowhere/docker.sock"));
    let remote = refused(&lone, |command| {
        command.env("DOCKER_HOST", "tcp://192.0.2.1:2375");
    });
    assert!(remote.await.contains("only a daemon on this machine"));
    let token = refused(&lone, |command| {
        command.env("CI_SERVER_TOKEN", "glrt-wrong");
    });
    assert!(token.await.contains("GitLab does not accept the token"));
    let url = refused(&lone, |command| {
        command.args(["--url", "ftp://gitlab.test"]);
    });
    assert!(url.await.contains("cannot make a client for GitLab"));
    let directory = refused(&lone, |command| {
        command.args(["--directory", "/proc/warmstart"]);
    });
    assert!(directory.await.contains("cannot create the directory /proc/warmstart"));
}

#[tokio::test]
async fn two_agents_do_not_share_a_directory() {
    let lone = Lone::start().await;
    let job = lone.gitlab.add_job(JobSpec::script(["echo the script runs", "while [ ! -e go ]; do sleep 0.1; done"]));
    let agent = lone.agent();
    lone.gitlab.wait_log_contains(job, "the script runs\n").await;
    let refusal = refused(&lone, |_| {}).await;
    assert!(refusal.contains("another agent uses it"), "{refusal}");
    lone.gitlab.cancel(job);
    lone.gitlab.wait_finished(job).await;
    lone.ends_clean(agent, job).await;
}

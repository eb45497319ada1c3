//! Images from a real registry, which asks for a password.

use crate::lone::{Lone, ended, says};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use warmstart_tests::gitlab::{Finished, JobSpec, JobState};
use warmstart_tests::harness::{BUSYBOX, Registry};

const USER: &str = Registry::USER;
const PASSWORD: &str = Registry::PASSWORD;

/// A registry with one image in it, which this machine does not have under that name.
struct Stocked {
    host: String,
    image: String,
    _registry: Registry,
}

impl Stocked {
    async fn start() -> Self {
        let registry = Registry::start(Ipv4Addr::LOCALHOST.into()).await.expect("a registry");
        let host = registry.host.clone();
        let image = format!("{host}/team/busybox:1");
        let directory = tempfile::tempdir().expect("a directory");
        let login = directory.path().display().to_string();
        docker(&["--config", &login, "login", "--username", USER, "--password", PASSWORD, &host]);
        // An image of its own: another test must not remove it under this one.
        let container = docker(&["create", BUSYBOX]);
        docker(&["commit", "--change", &format!("LABEL registry={host}"), &container, &image]);
        docker(&["rm", &container]);
        docker(&["--config", &login, "push", "--quiet", &image]);
        docker(&["rmi", &image]);
        Self { host, image, _registry: registry }
    }

    fn job(&self) -> JobSpec {
        JobSpec::script(["echo it is pulled"]).image(&self.image)
    }
}

impl Drop for Stocked {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", &self.image]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker runs");
    assert!(output.status.success(), "docker {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn is_pulled(finished: &Finished, credentials: &str) {
    ended(finished, JobState::Success);
    says(finished, &format!("Authenticating with credentials from {credentials}"));
    says(finished, "it is pulled\n");
    assert!(!finished.text().contains(PASSWORD), "{}", finished.text());
}

#[tokio::test]
async fn an_image_is_pulled_with_the_jobs_own_credentials() {
    let (registry, lone) = (Stocked::start().await, Lone::start().await);
    let finished = lone.run(registry.job().registry(&registry.host, USER, PASSWORD)).await;
    is_pulled(&finished, "job payload (GitLab Registry)");
}

#[tokio::test]
async fn an_image_is_pulled_with_docker_auth_config_before_the_jobs_own_credentials() {
    use base64::Engine as _;
    let (registry, lone) = (Stocked::start().await, Lone::start().await);
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = serde_json::json!({ "auths": { &registry.host: { "auth": auth } } }).to_string();
    let job = registry.job().variable("DOCKER_AUTH_CONFIG", &config).registry(&registry.host, USER, "wrong");
    is_pulled(&lone.run(job).await, "$DOCKER_AUTH_CONFIG");
}

#[tokio::test]
async fn an_image_is_always_pulled_where_the_policy_says_so() {
    let registry = Stocked::start().await;
    let lone = Lone::start().await.with(&["--pull-policy", "always"]);
    docker(&["tag", BUSYBOX, &registry.image]);
    let job = registry.job().registry(&registry.host, USER, PASSWORD);
    let finished = lone.run(job.set("/image/pull_policy", serde_json::json!(["always"]))).await;
    is_pulled(&finished, "job payload (GitLab Registry)");
    says(&finished, &format!("Pulling docker image {}", registry.image));
}

#[tokio::test]
async fn a_wrong_password_fails_the_job_and_names_image_and_credentials_but_not_the_password() {
    let (registry, lone) = (Stocked::start().await, Lone::start().await);
    let finished = lone.run(registry.job().registry(&registry.host, USER, "not-the-one")).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_configuration_error"), "{}", finished.text());
    says(&finished, &registry.image);
    says(&finished, "job payload (GitLab Registry)");
    assert!(!finished.text().contains("not-the-one"), "{}", finished.text());
}

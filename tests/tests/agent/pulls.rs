//! Images from a real registry, which asks for a password.

use crate::lone::{Lone, ended, says};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use warmstart_tests::gitlab::{Finished, JobSpec, JobState};
use warmstart_tests::harness::{BUSYBOX, eventually};

const USER: &str = "ali";
const PASSWORD: &str = "open-sesame";
/// The password's bcrypt hash at the lowest cost.
const HTPASSWD: &str = "ali:$2b$04$XvBEWJo2o2kUEABqHv09Jeq.kdtPXOeU6BQWJYnbJcRr3.kL5Hd1C\n";

/// Debian's `docker-registry` with one image in it, which this machine does not have under that name.
struct Registry {
    server: std::process::Child,
    host: String,
    image: String,
    _directory: TempDir,
}

#[expect(clippy::unwrap_used, reason = "what cannot be set up has failed the test")]
impl Registry {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        std::fs::write(directory.path().join("htpasswd"), HTPASSWD).unwrap();
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {at}/storage\n\
             http:\n  addr: {host}\nauth:\n  htpasswd:\n    realm: test\n    path: {at}/htpasswd\n"
        );
        std::fs::write(directory.path().join("config.yml"), config).unwrap();
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(directory.path().join("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let server = serve.spawn().expect("docker-registry is installed by tests/setup/install");
        eventually("the registry listens", async || std::net::TcpStream::connect(&host).ok()).await;
        let image = format!("{host}/team/busybox:1");
        let login = directory.path().join("login").display().to_string();
        docker(&["--config", &login, "login", "--username", USER, "--password", PASSWORD, &host]);
        // An image of its own: another test must not remove it under this one.
        let container = docker(&["create", BUSYBOX]);
        docker(&["commit", "--change", &format!("LABEL registry={host}"), &container, &image]);
        docker(&["rm", &container]);
        docker(&["--config", &login, "push", "--quiet", &image]);
        docker(&["rmi", &image]);
        Self { server, host, image, _directory: directory }
    }

    fn job(&self) -> JobSpec {
        JobSpec::script(["echo it is pulled"]).image(&self.image)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill().and_then(|()| self.server.wait());
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
    let (registry, lone) = (Registry::start().await, Lone::start().await);
    let finished = lone.run(registry.job().registry(&registry.host, USER, PASSWORD)).await;
    is_pulled(&finished, "job payload (GitLab Registry)");
}

#[tokio::test]
async fn an_image_is_pulled_with_docker_auth_config_before_the_jobs_own_credentials() {
    use base64::Engine as _;
    let (registry, lone) = (Registry::start().await, Lone::start().await);
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = serde_json::json!({ "auths": { &registry.host: { "auth": auth } } }).to_string();
    let job = registry.job().variable("DOCKER_AUTH_CONFIG", &config).registry(&registry.host, USER, "wrong");
    is_pulled(&lone.run(job).await, "$DOCKER_AUTH_CONFIG");
}

#[tokio::test]
async fn an_image_is_always_pulled_where_the_policy_says_so() {
    let registry = Registry::start().await;
    let lone = Lone::start().await.with(&["--pull-policy", "always"]);
    docker(&["tag", BUSYBOX, &registry.image]);
    let job = registry.job().registry(&registry.host, USER, PASSWORD);
    let finished = lone.run(job.set("/image/pull_policy", serde_json::json!(["always"]))).await;
    is_pulled(&finished, "job payload (GitLab Registry)");
    says(&finished, &format!("Pulling docker image {}", registry.image));
}

#[tokio::test]
async fn a_wrong_password_fails_the_job_and_names_image_and_credentials_but_not_the_password() {
    let (registry, lone) = (Registry::start().await, Lone::start().await);
    let finished = lone.run(registry.job().registry(&registry.host, USER, "not-the-one")).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_configuration_error"), "{}", finished.text());
    says(&finished, &registry.image);
    says(&finished, "job payload (GitLab Registry)");
    assert!(!finished.text().contains("not-the-one"), "{}", finished.text());
}

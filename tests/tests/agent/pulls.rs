//! Images from a real registry, which asks for a password.

use crate::lone::{Lone, ended, plain, says};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::watch;
use warmstart_tests::gitlab::{Finished, JobSpec, JobState, ServiceSpec};
use warmstart_tests::harness::{BUSYBOX, Registry};

const USER: &str = Registry::USER;
const PASSWORD: &str = Registry::PASSWORD;

/// A registry with one image in it, which this machine does not have under that name.
struct Stocked {
    host: String,
    image: String,
    /// Docker's configuration with the login.
    login: TempDir,
    _registry: Registry,
}

impl Stocked {
    async fn start() -> Self {
        let registry = Registry::start(Ipv4Addr::LOCALHOST.into()).await.expect("a registry");
        let host = registry.host.clone();
        let image = format!("{host}/team/busybox:1");
        let login = tempfile::tempdir().expect("a directory");
        let config = login.path().display().to_string();
        docker(&["--config", &config, "login", "--username", USER, "--password", PASSWORD, &host]);
        let this = Self { host, image, login, _registry: registry };
        this.push("busybox");
        this
    }

    /// Puts one more image into the registry.
    fn push(&self, name: &str) {
        let (host, image) = (&self.host, format!("{}/team/{name}:1", self.host));
        // An image of its own: another test must not remove it under this one.
        let container = docker(&["create", BUSYBOX]);
        docker(&["commit", "--change", &format!("LABEL registry={host}/{name}"), &container, &image]);
        docker(&["rm", &container]);
        docker(&["--config", &self.login.path().display().to_string(), "push", "--quiet", &image]);
        docker(&["rmi", &image]);
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
async fn an_image_is_pulled_by_its_digest() {
    let (registry, lone) = (Stocked::start().await, Lone::start().await);
    let login = registry.login.path().display().to_string();
    docker(&["--config", &login, "pull", "--quiet", &registry.image]);
    let digest = docker(&["inspect", "--format", "{{index .RepoDigests 0}}", &registry.image]);
    docker(&["rmi", &registry.image]);
    let job = JobSpec::script(["echo it is pulled"]).image(&digest);
    let finished = lone.run(job.registry(&registry.host, USER, PASSWORD)).await;
    is_pulled(&finished, "job payload (GitLab Registry)");
    says(&finished, &format!("Pulling docker image {digest} ..."));
    docker(&["rmi", &digest]);
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
    says(&finished, &format!("Job failed: failed to pull image \"{}\" with specified policies", registry.image));
    says(&finished, "(with credentials from job payload (GitLab Registry))\n");
    assert!(!finished.text().contains("not-the-one"), "{}", finished.text());
}

/// An agent whose machine has a credential helper, `docker-credential-warmstart-test`.
async fn with_helper(script: &str) -> Lone {
    let mut lone = Lone::start().await;
    let programs = lone.directory.path().join("programs");
    let helper = programs.join("docker-credential-warmstart-test");
    std::fs::create_dir(&programs).expect("a directory");
    std::fs::write(&helper, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(&helper, Permissions::from_mode(0o755)).expect("a program");
    let path = std::env::var("PATH").expect("a path");
    lone.environment.push(("PATH", format!("{}:{path}", programs.display())));
    lone
}

#[tokio::test]
async fn credential_helpers_of_the_variable_and_of_the_hosts_configuration_are_asked() {
    let registry = Stocked::start().await;
    let mut lone = with_helper(&format!(
        "read -r host; if [ $1,$host = get,{} ]; then echo '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'; \
         else echo credentials not found in native keychain; exit 1; fi",
        registry.host
    ))
    .await;
    let config = serde_json::json!({ "credHelpers": { &registry.host: "warmstart-test" } }).to_string();
    let job = registry.job().variable("DOCKER_AUTH_CONFIG", &config).registry(&registry.host, USER, "wrong");
    is_pulled(&lone.run(job).await, "$DOCKER_AUTH_CONFIG");

    docker(&["rmi", &registry.image]);
    let file = lone.directory.path().join("config.json");
    std::fs::write(&file, r#"{"credsStore":"warmstart-test"}"#).expect("written");
    lone.environment.push(("DOCKER_CONFIG", lone.directory.path().display().to_string()));
    is_pulled(&lone.run(registry.job()).await, &file.display().to_string());
}

#[tokio::test]
async fn a_credential_helper_that_fails_is_named_and_what_it_printed_is_not() {
    let registry = Stocked::start().await;
    let lone = with_helper("cat > /dev/null; echo \"cannot log in with hush\"; exit 1").await;
    let config = serde_json::json!({ "credHelpers": { &registry.host: "warmstart-test" } }).to_string();
    let finished = lone.run(registry.job().variable("DOCKER_AUTH_CONFIG", &config)).await;
    fails(&finished, "runner_configuration_error", &registry.image, "(without credentials)");
    let helper = "docker-credential-warmstart-test";
    says(
        &finished,
        &format!("WARNING: No credentials for {} from $DOCKER_AUTH_CONFIG: {helper} failed;", registry.host),
    );
    assert!(!finished.text().contains("hush"), "{}", finished.text());
}

#[tokio::test]
async fn what_a_registry_says_decides_the_reason_and_stands_beside_image_and_credentials() {
    let lone = Lone::start().await;
    for (status, code, message, credentials, reason) in [
        (403, "DENIED", "Your authorization token has expired.", true, "runner_configuration_error"),
        (404, "MANIFEST_UNKNOWN", "manifest unknown", true, "runner_configuration_error"),
        // The newest server does not know `image_pull_failure`, which it is.
        (429, "TOOMANYREQUESTS", "You have reached your pull rate limit.", false, "runner_system_failure"),
    ] {
        let host = refusing(status, code, message).await;
        let image = format!("{host}/team/busybox:1");
        let job = JobSpec::script(["true"]).image(&image);
        let job = if credentials { job.registry(&host, "AWS", "t0k3n") } else { job };
        let finished = lone.run(job).await;
        let source =
            if credentials { "with credentials from job payload (GitLab Registry)" } else { "without credentials" };
        fails(&finished, reason, &image, &format!("({source})"));
        says(&finished, message);
        assert!(!finished.text().contains("t0k3n"), "{}", finished.text());
    }
}

/// Checks that a job failed for this reason, and that its last word names the image and ends so.
#[track_caller]
fn fails(finished: &Finished, reason: &str, image: &str, end: &str) {
    ended(finished, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some(reason), "{}", finished.text());
    let text = plain(finished);
    let last = text.lines().find(|line| line.contains("Job failed: ")).unwrap_or_default();
    assert!(last.starts_with(&format!("ERROR: Job failed: failed to pull image \"{image}\"")), "{text}");
    assert!(last.ends_with(end), "{text}");
}

/// A registry that lets everybody in and gives nobody anything; its address.
async fn refusing(status: u16, code: &'static str, message: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let host = listener.local_addr().expect("bound").to_string();
    let status = StatusCode::from_u16(status).expect("a status");
    let refusal =
        move || async move { (status, Json(serde_json::json!({ "errors": [{ "code": code, "message": message }] }))) };
    let app = Router::new().route("/v2/", get(async || "{}")).fallback(refusal);
    tokio::spawn(async move { axum::serve(listener, app).await });
    host
}

/// Stands before a registry and holds questions for manifests back.
struct Gate {
    host: String,
    images: Vec<String>,
}

/// Whether an image is held back as long as only these were asked for.
type Hold = fn(&str, &BTreeSet<String>) -> bool;

#[expect(clippy::unwrap_used, reason = "what cannot be set up has failed the test")]
impl Gate {
    async fn before(registry: &Stocked, hold: Hold) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (asked, upstream) = (watch::Sender::default(), registry.host.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.unwrap();
                tokio::spawn(pass(client, server, asked.clone(), hold));
            }
        });
        let images = ["one", "two", "three", "absent"].map(|name| format!("{host}/team/{name}:1")).to_vec();
        Self { host, images }
    }

    fn job(&self, image: usize) -> JobSpec {
        let job = JobSpec::script(["echo all are there"]).image(&self.images[image]).timeout(Duration::from_mins(2));
        job.registry(&self.host, USER, PASSWORD)
    }

    fn service(&self, image: usize) -> ServiceSpec {
        ServiceSpec {
            name: self.images[image].clone(),
            command: Some(["httpd", "-f", "-p", "80"].map(str::to_owned).to_vec()),
            variables: vec![("HEALTHCHECK_TCP_PORT".to_owned(), "80".to_owned())],
            ..ServiceSpec::default()
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ =
            Command::new("docker").arg("rmi").args(&self.images).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Passes on what a connection says, one question after the other. None has a body.
async fn pass(
    client: TcpStream,
    server: TcpStream,
    asked: watch::Sender<BTreeSet<String>>,
    hold: Hold,
) -> std::io::Result<()> {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut from_client = BufReader::new(from_client);
    while let Some(head) = head(&mut from_client).await? {
        let first = head.lines().next().unwrap_or_default();
        if let Some(image) = first.split_once("/team/").and_then(|(_, rest)| Some(rest.split_once("/manifests/")?.0)) {
            asked.send_if_modified(|asked| asked.insert(image.to_owned()));
            let _ = asked.subscribe().wait_for(|asked| !hold(image, asked)).await;
        }
        to_server.write_all(head.as_bytes()).await?;
    }
    Ok(())
}

/// The lines up to an empty one; none at the end of the connection.
async fn head(from: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Option<String>> {
    let mut head = String::new();
    while from.read_line(&mut head).await? > 0 {
        if head.ends_with("\r\n\r\n") {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

#[tokio::test]
async fn all_images_of_a_job_come_at_once_and_each_pull_speaks_in_its_turn() {
    let (registry, lone) = (Stocked::start().await, Lone::start().await);
    for name in ["one", "two", "three"] {
        registry.push(name);
    }
    let gate = Gate::before(&registry, |_, asked| asked.len() < 3).await;
    let (one, two) = (gate.service(0), gate.service(1));
    // The same image once more is not pulled once more.
    let again = ServiceSpec { alias: "again".to_owned(), ..gate.service(2) };
    let finished = lone.run(gate.job(2).service_with(one).service_with(two).service_with(again)).await;
    ended(&finished, JobState::Success);
    let policy =
        |image: usize| format!("Using effective pull policy of [if-not-present] for container {}", gate.images[image]);
    let pulled = |image: usize| {
        let name = &gate.images[image];
        [
            policy(image),
            "Authenticating with credentials from job payload (GitLab Registry)".to_owned(),
            format!("Pulling docker image {name} ..."),
            "Using docker image sha256:".to_owned(),
        ]
    };
    let starting = |name: &str| vec![format!("Starting service 127.0.0.1/team/{name}:1...")];
    let waiting = vec!["Waiting for services to be up and running (timeout 30 seconds)...".to_owned(), policy(2)];
    let expected = [
        [starting("one"), pulled(0).to_vec(), starting("two"), pulled(1).to_vec()].concat(),
        [starting("three"), pulled(2).to_vec(), waiting].concat(),
    ];
    let text = plain(&finished);
    let mut lines = text.lines().skip_while(|line| !line.starts_with("Starting service"));
    for expected in expected.concat() {
        let found = lines.next().unwrap_or_default();
        assert!(found.starts_with(&expected), "{found:?} instead of {expected:?} in\n{text}");
    }
}

#[tokio::test]
async fn a_pull_that_fails_ends_the_job_while_others_are_under_way_and_has_the_last_word() {
    let (registry, lone) = (Stocked::start().await, Lone::start().await);
    registry.push("one");
    let gate = Gate::before(&registry, |image, asked| image == "one" || !asked.contains("one")).await;
    let finished = lone.run(gate.job(3).service_with(gate.service(0))).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_configuration_error"), "{}", finished.text());
    let absent = &gate.images[3];
    let text = plain(&finished);
    let places = [
        format!("Using effective pull policy of [if-not-present] for container {absent}\n"),
        format!("Pulling docker image {absent} ...\n"),
        format!("Job failed: failed to pull image \"{absent}\" with specified policies [if-not-present]: "),
    ];
    let places = places.map(|line| text.find(&line).unwrap_or_else(|| panic!("no {line:?} in\n{text}")));
    assert!(places.is_sorted(), "{text}");
}

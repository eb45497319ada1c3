//! Images of Amazon's registry, with the real credential helper for it.

use crate::lone::{Lone, ended, says};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use warmstart_tests::aws::Moto;
use warmstart_tests::gitlab::{JobSpec, JobState, TlsFront};
use warmstart_tests::harness::{BUSYBOX, Daemon, Privileged, Registry};

const API: &str = "api.ecr.us-east-1.amazonaws.com";
const REGISTRY: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

/// ECR is two servers: an API that gives a token for twelve hours, here moto's behind TLS, and a registry that takes it.
#[tokio::test]
async fn an_image_of_amazons_registry_is_pulled_with_the_token_that_its_helper_gets() {
    let privileged = Privileged::private().expect("a daemon");
    let daemon = privileged.daemon;
    let host = daemon.host_for_containers().expect("an address");
    let moto = Moto::start().expect("moto");
    let mut api = TlsFront::bind_named(SocketAddr::new(host, 443), API).await.expect("the API's port");
    api.serve_address(moto.url.trim_start_matches("http://").parse().expect("an address"));
    let registry = Registry::start(host).await.expect("a registry");
    let registry_host = registry.host.replace(&host.to_string(), REGISTRY);
    let image = format!("{registry_host}/team/busybox:1");

    let mut lone = Lone::start_on(daemon).await;
    let home = lone.directory.path().display().to_string();
    stock(daemon, &home, &registry_host, &image);
    let ca = lone.directory.path().join("ca.pem");
    std::fs::write(&ca, api.authority_pem()).expect("written");
    // The helper keeps its tokens in the home directory.
    lone.environment.extend([("AWS_CA_BUNDLE", ca.display().to_string()), ("HOME", home)]);
    let config = serde_json::json!({ "credHelpers": { &registry_host: "ecr-login" } }).to_string();
    let job = JobSpec::script(["echo it is pulled"]).image(&image).variable("DOCKER_AUTH_CONFIG", &config);
    let finished = lone.run(job).await;
    ended(&finished, JobState::Success);
    says(&finished, "Authenticating with credentials from $DOCKER_AUTH_CONFIG\n");
    says(&finished, "it is pulled\n");
    assert!(!finished.text().contains("auth-token"), "{}", finished.text());
}

/// Puts an image into the registry, which the daemon does not have under that name.
fn stock(daemon: Daemon, config: &str, registry: &str, image: &str) {
    let load = format!("docker save {BUSYBOX} | DOCKER_HOST=unix://{} docker load", daemon.socket());
    run(Command::new("sh").args(["-c", &load]));
    let password = format!("{}-auth-token", Moto::ACCOUNT);
    for arguments in [
        &["login", "--username", "AWS", "--password", &password, registry][..],
        &["tag", BUSYBOX, image],
        &["push", "--quiet", image],
        &["rmi", image],
        &["logout", registry],
    ] {
        run(Command::new("docker").args(["--config", config]).args(arguments).envs(daemon.environment()));
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

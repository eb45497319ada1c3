//! A GitLab behind TLS of a private authority that asks callers for a certificate: runner, agent, git and the job's own
//! programs have it.

use std::fs;
use warmstart_tests::gitlab::{JobSpec, JobState, Options, TlsFront};
use warmstart_tests::harness::{Daemon, Deployment, Setup};

#[tokio::test]
async fn a_job_runs_with_the_client_certificate_of_the_configuration() {
    let host = Daemon::default().host_for_containers().unwrap();
    let mut front = TlsFront::bind_asking(host).await.unwrap();
    let gitlab = Options { external_url: Some(front.url()), ..Options::default() };
    let mut deployment = Deployment::prepare(Setup { gitlab, ..Setup::default() }).await.unwrap();
    front.serve(&deployment.gitlab);
    give_certificates(&deployment, &front);
    deployment.start_runner().unwrap();

    let script = ["head -n 1 $CI_SERVER_TLS_CERT_FILE $CI_SERVER_TLS_KEY_FILE $CI_SERVER_TLS_CA_FILE", "ls README.md"];
    let job = deployment.gitlab.add_job(JobSpec::script(script).artifact_paths(["README.md"]));
    let finished = deployment.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, JobState::Success, "{}", finished.text());
    assert_eq!(finished.text().matches("BEGIN CERTIFICATE").count(), 2, "{}", finished.text());
    assert!(finished.text().contains("BEGIN PRIVATE KEY"), "{}", finished.text());
    let executors = deployment.executors();
    deployment.wait_nothing_left(&executors).await;
    deployment.kill_runner().await.unwrap();
    deployment.gitlab.assert_clean();
}

/// Writes the files and names them in the configuration.
fn give_certificates(deployment: &Deployment, front: &TlsFront) {
    let (certificate, key) = front.caller_pem().unwrap();
    let files = [("tls-ca-file", front.authority_pem()), ("tls-cert-file", &certificate), ("tls-key-file", &key)];
    let lines = files.map(|(name, pem)| {
        let path = deployment.directory().join(name);
        fs::write(&path, pem).unwrap();
        format!("{name} = \"{}\"\n", path.display())
    });
    let config = fs::read_to_string(deployment.config_path()).unwrap();
    fs::write(
        deployment.config_path(),
        config.replace("name = \"test\"\n", &format!("name = \"test\"\n{}", lines.concat())),
    )
    .unwrap();
}

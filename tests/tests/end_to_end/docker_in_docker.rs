//! Docker for jobs: by a privileged service as the official `docker:dind`, and by the host's socket.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::Path;
use warmstart_tests::gitlab::display::plain;
use warmstart_tests::gitlab::{Finished, JobId, JobSpec, JobState, ServiceSpec};
use warmstart_tests::harness::{DIND, DIND_BY_NAME, Deployment, Privileged, Registry, Setup};

/// Builds `app`, a busybox.
const BUILD: [&str; 2] = [
    "mkdir -p app; cp /bin/busybox app; printf '%s\\n' 'FROM scratch' 'COPY busybox /bin/busybox' \
     'RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]' 'RUN echo built > /built; mkdir /mnt' > app/Dockerfile",
    "docker build --quiet --tag app app",
];

/// Says which key the certificate in `$1` is for.
const CURVE: &str = "curve() { openssl x509 -noout -text -in \"$1\" | grep -o 'NIST CURVE: P-256'; }";

fn dind(command: &[&str]) -> ServiceSpec {
    let command = (!command.is_empty()).then(|| command.iter().map(ToString::to_string).collect());
    ServiceSpec { name: DIND_BY_NAME.to_owned(), alias: "docker".to_owned(), command, ..ServiceSpec::default() }
}

fn job<'a>(lines: impl IntoIterator<Item = &'a str>) -> JobSpec {
    JobSpec::script(BUILD.into_iter().chain(lines)).image(DIND)
}

/// With the variables that GitLab's documentation gives for TLS.
fn with_tls(spec: JobSpec, directory: &str) -> JobSpec {
    let spec =
        spec.variable("DOCKER_TLS_CERTDIR", directory).variable("DOCKER_CERT_PATH", "$DOCKER_TLS_CERTDIR/client");
    spec.variable("DOCKER_HOST", "tcp://docker:2376").variable("DOCKER_TLS_VERIFY", "1")
}

async fn succeeded(deployment: &Deployment, job: JobId) -> Finished {
    let finished = deployment.gitlab.wait_finished(job).await;
    assert_eq!(finished.state, JobState::Success, "{}", plain(&finished.text()));
    finished
}

#[track_caller]
fn says(finished: &Finished, text: &str) {
    let log = plain(&finished.text());
    assert!(log.contains(text), "no `{text}` in the log:\n{log}");
}

/// A CA and a server's certificate as somebody would bring who has no use for made ones.
fn own_certificates(directory: &Path) {
    let key = || KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "an authority of our own");
    let (authority_key, server_key, client_key) = (key(), key(), key());
    let ca = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, &authority_key);
    for (part, key) in [("server", &server_key), ("client", &client_key)] {
        let certificate = CertificateParams::new(["docker".to_owned()]).unwrap().signed_by(key, &issuer).unwrap();
        let at = directory.join(part);
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("ca.pem"), &ca).unwrap();
        std::fs::write(at.join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(at.join("key.pem"), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn a_privileged_service_builds_runs_and_pushes_images_and_has_its_keys_from_us() {
    let privileged = Privileged::daemon().unwrap();
    let own = tempfile::tempdir().unwrap();
    own_certificates(own.path());
    let setup = Setup {
        daemon: privileged.daemon,
        docker: ["privileged = true", "network_mtu = 1400"].map(str::to_owned).to_vec(),
        volumes: vec!["/certs/client".to_owned(), format!("{}:/own", own.path().display())],
        ..Setup::default()
    };
    let deployment = Deployment::start(setup).await.unwrap();
    let registry = Registry::start(privileged.daemon.host_for_containers().unwrap()).await.unwrap();

    let tls = with_tls(
        job([
            CURVE,
            "openssl s_client -connect docker:2376 < /dev/null 2> /dev/null > server.pem || true",
            "for f in server.pem $DOCKER_CERT_PATH/ca.pem $DOCKER_CERT_PATH/cert.pem; do echo \"$(curve $f) in $f\"; done",
            "docker run --rm -v $PWD:/x app cp /built /x/copied && echo \"files are shared: $(cat copied)\"",
            "docker run --rm --privileged app mount -t tmpfs none /mnt && echo containers may be privileged",
            "docker run -d -p 8080:80 -v $PWD:/x app httpd -f -p 80 -h /x",
            "curl -sS --retry 9 --retry-connrefused http://docker:8080/copied && echo is published",
            "for where in '' 'docker run --rm --network host app'; do $where cat /sys/class/net/eth0/mtu; done",
            "printf 'services: {web: {image: app, command: httpd -f -p 80 -h /}, call: {image: app, depends_on: [web], \
             command: sh -c \"until wget -qO- http://web/built; do sleep 0.1; done\"}}' > docker-compose.yml",
            "docker-compose up --timeout 1 --exit-code-from call && echo composed",
            "echo $PASSWORD | docker login --username $USER --password-stdin $REGISTRY",
            "docker tag app $REGISTRY/team/app:1 && docker push --quiet $REGISTRY/team/app:1",
            "docker rmi $REGISTRY/team/app:1 && docker pull --quiet $REGISTRY/team/app:1 && echo pushed",
        ]),
        "/certs",
    );
    let tls = tls.variable("REGISTRY", &registry.host).variable("USER", Registry::USER);
    let tls = tls.masked("PASSWORD", Registry::PASSWORD).variable("FF_NETWORK_PER_BUILD", "true");
    let tls = tls.service_with(dind(&[&format!("--insecure-registry={}", registry.host)]));
    let plain = job(["docker run --rm --pid host app cat /proc/1/cmdline | tr '\\0' ' '"]);
    let plain = plain.variable("DOCKER_TLS_CERTDIR", "").variable("DOCKER_HOST", "tcp://docker:2375");
    let owned = with_tls(
        JobSpec::script([
            "docker version --format 'the daemon is {{.Server.Version}}'",
            "(openssl s_client -connect docker:2376 < /dev/null 2> /dev/null || true) | openssl x509 -noout -issuer",
        ]),
        "/own",
    );

    let tls = deployment.gitlab.add_job(tls);
    let plain = deployment.gitlab.add_job(plain.service_with(dind(&[])));
    let owned = deployment.gitlab.add_job(owned.image(DIND).service_with(dind(&[])));
    let tls = succeeded(&deployment, tls).await;
    for said in [
        "NIST CURVE: P-256 in server.pem\n",
        "NIST CURVE: P-256 in /certs/client/ca.pem\n",
        "NIST CURVE: P-256 in /certs/client/cert.pem\n",
        "files are shared: built\n",
        "containers may be privileged\n",
        "built\nis published\n",
        "\n1400\n1400\n",
        "composed\n",
        "pushed\n",
    ] {
        says(&tls, said);
    }
    says(&succeeded(&deployment, plain).await, "--host=tcp://0.0.0.0:2375 --tls=false");
    let owned = succeeded(&deployment, owned).await;
    says(&owned, "the daemon is ");
    says(&owned, "an authority of our own");
    deployment.wait_nothing_left(&deployment.executors()).await;
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn the_hosts_socket_lets_a_job_use_the_hosts_docker() {
    let privileged = Privileged::daemon().unwrap();
    let socket = privileged.daemon.socket();
    let volumes = vec![format!("{socket}:/var/run/docker.sock")];
    let deployment = Deployment::start(Setup { daemon: privileged.daemon, volumes, ..Setup::default() }).await.unwrap();
    let spec = job([
        "docker run --rm app cat /built",
        "docker ps --format '{{.Names}}' | grep -- \"-project-$CI_PROJECT_ID-.*-build\"",
        "docker rmi app > /dev/null && echo gone",
    ]);
    let job = deployment.gitlab.add_job(spec);
    let finished = succeeded(&deployment, job).await;
    says(&finished, "built\n");
    says(&finished, "gone\n");
    deployment.wait_nothing_left(&deployment.executors()).await;
    deployment.gitlab.assert_clean();
}

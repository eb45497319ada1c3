//! `[runners.docker]`, from the runner's configuration to what a job's containers are.

use crate::lone::{ended, says};
use serde_json::{Value, json};
use std::process::Command;
use warmstart_tests::gitlab::{JobSpec, JobState, ServiceSpec};
use warmstart_tests::harness::{BUSYBOX, DEBIAN, Deployment, Executor, Setup};

/// What Docker says of an executor's only container of a kind.
fn inspected(executor: &Executor, kind: &str) -> Value {
    let executor = format!("label=warmstart.executor={}", executor.id);
    let kind = format!("label=com.gitlab.gitlab-runner.type={kind}");
    let id = docker(&["ps", "--quiet", "--filter", &executor, "--filter", &kind]);
    let text = docker(&["inspect", id.trim()]);
    serde_json::from_str::<Value>(&text).expect("JSON")[0].take()
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker runs");
    assert!(output.status.success(), "docker {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Compares parts of a container by their JSON pointers.
#[track_caller]
fn has<const N: usize>(container: &Value, parts: [(&str, Value); N]) {
    for (pointer, expected) in parts {
        let found = container.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*found, expected, "{pointer} of {}", container["Name"]);
    }
}

const BOUNDS: [&str; 17] = [
    r#"cap_add = ["CAP_NET_ADMIN"]"#,
    r#"cap_drop = ["CAP_MKNOD"]"#,
    r#"ulimit = { nofile = "512:1024" }"#,
    r#"sysctls = { "net.core.somaxconn" = "99" }"#,
    r#"memory = "256m""#,
    r#"memory_reservation = "128m""#,
    "oom_score_adjust = 100",
    r#"cpus = "1/2""#,
    "cpu_shares = 512",
    r#"cpuset_cpus = "0""#,
    "shm_size = 1048576",
    r#"runtime = "runc""#,
    r#"userns_mode = "host""#,
    r#"ipcmode = "shareable""#,
    r#"hostname = "builder""#,
    r#"container_labels = { team = "$CI_PROJECT_NAME", "warmstart.job" = "mine" }"#,
    r#"log_options = { env = "CI_JOB_ID" }"#,
];

const SURROUNDINGS: [&str; 7] = [
    r#"extra_hosts = ["elsewhere:192.0.2.1"]"#,
    r#"dns = ["192.0.2.53"]"#,
    r#"dns_search = ["far.test"]"#,
    r#"devices = ["/dev/zero:/dev/nil:r"]"#,
    r#"device_cgroup_rules = ["c 1:7 r"]"#,
    r#"tmpfs = { "/scratch" = "rw,size=1m,mode=1777" }"#,
    r#"group_add = ["1234"]"#,
];

const SERVICES: [&str; 8] = [
    "services_privileged = false",
    r#"services_security_opt = ["no-new-privileges"]"#,
    r#"services_tmpfs = { "/state" = "size=1m" }"#,
    r#"services_devices = { "warmstart-test/*:*" = ["/dev/zero"], "other:*" = ["/dev/full"] }"#,
    r#"service_memory = "64m""#,
    r#"service_memory_reservation = "32m""#,
    "service_cpu_shares = 256",
    r#"service_cpus = "0.25""#,
];

/// A profile that allows everything but to change the root directory.
const PROFILE: &str =
    r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chroot"],"action":"SCMP_ACT_ERRNO"}]}"#;

#[tokio::test]
async fn limits_and_surroundings_of_the_settings_are_those_of_the_jobs_containers() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("profile.json"), PROFILE).expect("written");
    let mut lines =
        [&BOUNDS[..], &SURROUNDINGS, &SERVICES].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
    lines.push(format!(r#"security_opt = ["seccomp={}/profile.json"]"#, directory.path().display()));
    lines.push(format!(r#"cache_dir = "{}""#, directory.path().display()));
    let setup = Setup { docker: lines, volumes: vec!["/cache".to_owned()], ..Setup::default() };
    let deployment = Deployment::start(setup).await.expect("a deployment");
    let script = [
        "echo kept > /cache/file; echo it runs; while [ ! -e /evidence/go ]; do sleep 0.1; done",
        "echo nofile $(ulimit -n), somaxconn $(cat /proc/sys/net/core/somaxconn), adj $(cat /proc/self/oom_score_adj)",
        "echo host $(hostname), groups $(id -G), scratch $(df -k /scratch | awk 'END { print $2 }') KiB",
        "dd if=/dev/nil of=/dev/null bs=1 count=1 2> /dev/null && echo there is nil",
        "mknod /tmp/node c 1 3 || echo no mknod; chroot / true || echo no chroot",
        "grep elsewhere /etc/hosts; grep far.test /etc/resolv.conf",
        "wget -q -O /dev/null http://web/passwd && echo web answers",
    ];
    let texts = |texts: &[&str]| Some(texts.iter().map(ToString::to_string).collect());
    let web = ServiceSpec {
        name: BUSYBOX.to_owned(),
        alias: "web".to_owned(),
        entrypoint: texts(&["httpd", "-f", "-p"]),
        command: texts(&["80", "-h", "/etc"]),
        variables: vec![("HEALTHCHECK_TCP_PORT".to_owned(), "80".to_owned())],
    };
    let job = deployment.gitlab.add_job(JobSpec::script(script).service_with(web));
    deployment.gitlab.wait_log_contains(job, "it runs\n").await;
    let executors = deployment.executors();
    let [build, helper, service] = ["build", "predefined", "service"].map(|kind| inspected(&executors[0], kind));
    std::fs::write(deployment.evidence.join("go"), "").expect("written");
    for own in [&build, &helper] {
        has(
            own,
            [
                ("/HostConfig/CapAdd", json!(["CAP_NET_ADMIN"])),
                ("/HostConfig/CapDrop", json!(["CAP_MKNOD"])),
                ("/HostConfig/Memory", json!(256 << 20)),
                ("/HostConfig/MemoryReservation", json!(128 << 20)),
                ("/HostConfig/NanoCpus", json!(500_000_000)),
                ("/HostConfig/CpuShares", json!(512)),
                ("/HostConfig/CpusetCpus", json!("0")),
                ("/HostConfig/IpcMode", json!("shareable")),
                ("/HostConfig/SecurityOpt", json!([format!("seccomp={PROFILE}")])),
            ],
        );
    }
    for any in [&build, &helper, &service] {
        has(
            any,
            [
                ("/HostConfig/ShmSize", json!(1 << 20)),
                ("/HostConfig/Runtime", json!("runc")),
                ("/HostConfig/UsernsMode", json!("host")),
                ("/HostConfig/Dns", json!(["192.0.2.53"])),
                ("/HostConfig/LogConfig/Config/env", json!("CI_JOB_ID")),
                ("/Config/Labels/team", json!("demo")),
            ],
        );
    }
    has(
        &service,
        [
            ("/HostConfig/Memory", json!(64 << 20)),
            ("/HostConfig/MemoryReservation", json!(32 << 20)),
            ("/HostConfig/CpuShares", json!(256)),
            ("/HostConfig/NanoCpus", json!(250_000_000)),
            ("/HostConfig/SecurityOpt", json!(["no-new-privileges"])),
            ("/HostConfig/Tmpfs", json!({ "/state": "size=1m" })),
            ("/HostConfig/Devices/0/PathInContainer", json!("/dev/zero")),
            ("/HostConfig/Devices/1", Value::Null),
            ("/HostConfig/CapAdd", Value::Null),
            ("/HostConfig/Privileged", json!(false)),
            ("/Config/Entrypoint", json!(["httpd", "-f", "-p"])),
            ("/Config/Labels/com.gitlab.gitlab-runner.team", json!("demo")),
        ],
    );
    has(&build, [("/HostConfig/DeviceCgroupRules", json!(["c 1:7 r"]))]);
    let finished = deployment.gitlab.wait_finished(job).await;
    ended(&finished, JobState::Success);
    says(&finished, "nofile 512, somaxconn 99, adj 100\n");
    says(&finished, "host builder, groups 0 1234, scratch 1024 KiB\n");
    for seen in
        ["web answers\n", "there is nil\n", "no mknod\n", "no chroot\n", "192.0.2.1\telsewhere\n", "search far.test\n"]
    {
        says(&finished, seen);
    }
    let kept =
        std::fs::read_dir(directory.path()).expect("a directory").flatten().filter(|entry| entry.path().is_dir());
    let kept: Vec<_> = kept.map(|entry| entry.path().join("3c3f060a0374fc8bc39395164f415a70/file")).collect();
    assert!(kept.len() == 1 && kept[0].is_file(), "{kept:?}");
    deployment.wait_nothing_left(&executors).await;
}

#[tokio::test]
async fn a_job_gets_only_what_the_settings_allow() {
    let lines = [
        &format!("helper_image = \"{DEBIAN}\""),
        "allowed_images = [\"warmstart-test/*:*\"]",
        "allowed_services = [\"warmstart-test/d*:*\"]",
        "allowed_pull_policies = [\"if-not-present\", \"never\"]",
        "allowed_users = [\"node\"]",
        "disable_entrypoint_overwrite = true",
        "services_limit = 1",
        "network_mtu = 1400",
        "wait_for_services_timeout = -1",
    ];
    let setup = Setup { docker: lines.map(str::to_owned).to_vec(), ..Setup::default() };
    let deployment = Deployment::start(setup).await.expect("a deployment");
    let own = |user: &str| {
        let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
        json!({ "docker": { "user": user, "platform": format!("linux/{architecture}") } })
    };
    let good = JobSpec::script(["echo I am $(whoami)", "echo mtu $(cat /sys/class/net/eth0/mtu)"]);
    let good = good.image("$WHERE/busybox:1").variable("WHERE", "warmstart-test");
    let good = good.set("/image/executor_opts", own("node")).set("/image/pull_policy", json!(["always", "never"]));
    let good = good.set("/image/entrypoint", json!(["/no/such/program"])).service(DEBIAN, "db");
    let good = good.set("/services/0/pull_policy", json!(["never"]));
    let good = deployment.gitlab.add_job(good.variable("FF_NETWORK_PER_BUILD", "true"));
    let plain = || JobSpec::script(["true"]).image(BUSYBOX);
    let refused = [
        (JobSpec::script(["true"]).image("alpine:3"), "disallowed image \"alpine:3\": this runner allows"),
        (plain().service(BUSYBOX, "a"), "disallowed service \"warmstart-test/busybox:1\": this runner allows"),
        (plain().set("/image/executor_opts", own("root")), "user \"root\" is not an allowed user: [node]"),
        (plain().service(DEBIAN, "a").service(DEBIAN, "b"), "too many services requested: 2, only 1 allowed"),
    ];
    let refused = refused.map(|(job, text)| (deployment.gitlab.add_job(job), text));
    let finished = deployment.gitlab.wait_finished(good).await;
    ended(&finished, JobState::Success);
    says(&finished, "I am node\n");
    says(&finished, "mtu 1400\n");
    says(&finished, "Entrypoint override disabled");
    says(&finished, &format!("Using effective pull policy of [never] for container {BUSYBOX}"));
    for policy in ["never", "if-not-present"] {
        says(&finished, &format!("Using effective pull policy of [{policy}] for container {DEBIAN}"));
    }
    assert!(!finished.text().contains("Waiting for services"), "{}", finished.text());
    for (job, text) in refused {
        let finished = deployment.gitlab.wait_finished(job).await;
        ended(&finished, JobState::Failed);
        says(&finished, text);
        assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    }
}

/// What a test makes in Docker for a job to use; gone with the value.
struct Made(&'static str, String);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = Command::new("docker").args([self.0, "rm", "--force", &self.1]).output();
    }
}

impl Made {
    fn new(kind: &'static str, arguments: &[&str]) -> Self {
        Self(kind, docker(&[&[kind], arguments].concat()).trim().to_owned())
    }
}

#[tokio::test]
async fn what_is_handed_to_docker_as_it_is_arrives_there() {
    let name = format!("warmstart-test-{}", uuid::Uuid::new_v4().simple());
    let network = Made::new("network", &["create", &name]);
    let other = Made::new("container", &["run", "--detach", "--volume", "/shared", BUSYBOX, "sleep", "600"]);
    docker(&["exec", &other.1, "sh", "-c", "echo theirs > /shared/file"]);
    let linked = docker(&["inspect", "--format", "{{.Name}}", &other.1]);
    let linked = linked.trim().trim_start_matches('/');
    let common = [
        "cpuset_mems = \"0\"".to_owned(),
        "memory = \"128m\"".to_owned(),
        "memory_swap = \"192m\"".to_owned(),
        "oom_kill_disable = true".to_owned(),
        "cgroup_parent = \"/warmstart-test\"".to_owned(),
        format!("volumes_from = [\"{}\"]", other.1),
        "volume_driver = \"local\"".to_owned(),
        "volume_driver_ops = { type = \"tmpfs\", device = \"tmpfs\", o = \"size=1m\" }".to_owned(),
    ];
    let own = [format!("links = [\"{linked}:other\"]"), "pid_mode = \"host\"".to_owned()];
    let named = [format!("network_mode = \"{name}\""), format!("pid_mode = \"container:{}\"", other.1)];
    let setup = |more: &[String]| Setup {
        docker: [&common[..], more].concat(),
        volumes: vec!["/cache".to_owned()],
        ..Setup::default()
    };
    let look = "cat /shared/file; df -k /cache | awk 'END { print \"cache\", $1, $2 }'; cat /proc/1/comm; ";
    let wait = "echo it runs; while [ ! -e /evidence/go ]; do sleep 0.1; done";

    let bridged = Deployment::start(setup(&own)).await.expect("a deployment");
    let job = bridged.gitlab.add_job(JobSpec::script([look, "grep other /etc/hosts", wait]));
    bridged.gitlab.wait_log_contains(job, "it runs\n").await;
    let container = inspected(&bridged.executors()[0], "build");
    std::fs::write(bridged.evidence.join("go"), "").expect("written");
    has(
        &container,
        [
            ("/HostConfig/CpusetMems", json!("0")),
            ("/HostConfig/MemorySwap", json!(192 << 20)),
            ("/HostConfig/OomKillDisable", json!(true)),
            ("/HostConfig/CgroupParent", json!("/warmstart-test")),
            ("/HostConfig/VolumeDriver", json!("local")),
            ("/HostConfig/PidMode", json!("host")),
        ],
    );
    let finished = bridged.gitlab.wait_finished(job).await;
    ended(&finished, JobState::Success);
    says(&finished, "theirs\n");
    says(&finished, "cache tmpfs 1024\n");
    says(&finished, "\tother ");

    let joined = Deployment::start(setup(&named)).await.expect("a deployment");
    let command = Some(["sleep", "600"].map(str::to_owned).to_vec());
    let service = ServiceSpec { name: BUSYBOX.to_owned(), command, ..ServiceSpec::default() };
    let job = joined.gitlab.add_job(JobSpec::script([look, wait]).service_with(service));
    joined.gitlab.wait_log_contains(job, "it runs\n").await;
    let executors = joined.executors();
    let containers = ["build", "predefined", "service"].map(|kind| inspected(&executors[0], kind));
    std::fs::write(joined.evidence.join("go"), "").expect("written");
    for container in &containers {
        has(container, [("/HostConfig/NetworkMode", json!(name))]);
    }
    let finished = joined.gitlab.wait_finished(job).await;
    ended(&finished, JobState::Success);
    says(&finished, "\nsleep\n");
    drop(network);
}

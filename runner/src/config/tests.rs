//! What people write, and what they are told.

use super::{Cloud, Config, Error, parse};
use crate::ownership::{Reuse, Sharing};
use std::time::Duration;

const MINIMAL: &str = "[[runners]]\nurl = \"https://gitlab.test\"\ntoken = \"glrt-secret\"\n";

fn read(text: &str) -> Result<(Config, Vec<String>), Error> {
    parse(text, &|_| None)
}

fn message(text: &str) -> String {
    read(text).expect_err("refused").to_string()
}

#[test]
fn little_is_enough() {
    let (config, warnings) = read(MINIMAL).expect("good");
    assert_eq!(warnings, [""; 0]);
    let entry = &config.entries[0];
    assert_eq!((entry.name.as_str(), entry.url.as_str(), entry.limit), ("runner 1", "https://gitlab.test", None));
    assert_eq!((config.concurrent, config.pools[0].policy.max, config.pools[0].sharing.max_use_count), (1, 1, 1));
    assert_eq!(config.check_interval, Duration::from_secs(3));
    assert_eq!(entry.settings.docker.volumes[..], ["/cache"]);
    assert!(entry.settings.stage_times);
}

#[test]
fn a_configuration_of_gitlab_runner_is_taken_as_it_is() {
    let text = r#"
concurrent = 8
check_interval = 0
shutdown_timeout = 0
log_level = "debug"

[session_server]
  session_timeout = 1800

[[runners]]
  name = "shared"
  url = "https://gitlab.example.com/"
  id = 17
  token = "glrt-secret"
  token_obtained_at = 2026-01-01T00:00:00Z
  token_expires_at = 0001-01-01T00:00:00Z
  executor = "docker"
  limit = 4
  environment = ["A=b"]
  stage_times = false
  debug_trace_disabled = true
  [runners.feature_flags]
    FF_NETWORK_PER_BUILD = true
    FF_USE_FASTZIP = true
  [runners.cache]
    Type = "s3"
    MaxUploadedArchiveSize = 0
    [runners.cache.s3]
      BucketName = "cache"
      SecretKey = "secret"
  [runners.docker]
    tls_verify = false
    image = "alpine:3"
    privileged = true
    pull_policy = "if-not-present"
    cap_add = ["SYS_ADMIN"]
    volumes = ["/cache", "/certs/client"]
    shm_size = 0
    [[runners.docker.services]]
      name = "redis:7"
      alias = "cache"
"#;
    let (config, warnings) = read(text).expect("good");
    let docker = &config.entries[0].settings.docker;
    assert_eq!((docker.image.as_str(), docker.privileged, docker.services.len()), ("alpine:3", true, 1));
    assert_eq!(docker.pull_policy, ["if-not-present"]);
    assert!(config.entries[0].settings.feature_flags["FF_NETWORK_PER_BUILD"]);
    assert!(!config.entries[0].settings.stage_times && config.entries[0].settings.debug_trace_disabled);
    assert_eq!((config.concurrent, config.entries[0].limit), (8, Some(4)));
    assert_eq!(docker.cap_add, ["SYS_ADMIN"]);
    let names = [
        "shutdown_timeout",
        "session_server",
        "runners.feature_flags.FF_USE_FASTZIP",
        "runners.cache.Type",
        "runners.cache.s3",
        "runners.docker.tls_verify",
    ];
    for name in names {
        assert!(warnings.iter().any(|warning| warning.contains(&format!("`{name}`"))), "{name} in {warnings:#?}");
    }
    assert!(!warnings.concat().contains("secret"));
}

#[test]
fn durations_are_for_people() {
    let text = format!("{MINIMAL}[fleet]\nmax = 3\nidle_time = \"90s\"\nlease = \"1m\"\nacquire_timeout = \"1h 5m\"\n");
    let (config, _) = read(&text).expect("good");
    assert_eq!(config.pools[0].policy.idle_time, Duration::from_secs(90));
    assert_eq!((config.rules.lease, config.rules.script_lease), (Duration::from_mins(1), Duration::from_mins(3)));
    assert_eq!(config.rules.acquire_timeout, Duration::from_mins(65));
}

const EC2: &str = r#"
concurrent = 10
[fleet]
cloud = "ec2"
idle_time = "5m"
idle_count = 2
[fleet.ec2]
deployment = "ci"
launch_template = "lt-1"
role = "arn:aws:iam::123456789012:role/executor"
[[pools]]
name = "small"
instance_types = ["m7i.large"]
subnets = ["subnet-1", "subnet-2"]
spot = true
[pools.tags]
team = "ci"
[[pools]]
name = "large"
instance_types = ["m7i.8xlarge"]
subnets = ["subnet-1"]
max_instances = 2
idle_count = 0
scale_factor = 0.5
idle_time = "1m"
max_use_count = 5
reuse = "pool"
[[runners]]
url = "https://gitlab.test"
token = "glrt-1"
[[runners]]
url = "https://gitlab.test"
token = "glrt-2"
pool = "large"
"#;

#[test]
fn pools_have_what_the_fleet_has_unless_they_say_otherwise() {
    let (config, warnings) = read(EC2).expect("good");
    assert_eq!(warnings, [""; 0]);
    let pools = config.pools.iter().map(|pool| (pool.name.as_str(), pool.policy.max, pool.policy.idle_time));
    let minutes = Duration::from_mins;
    assert_eq!(pools.collect::<Vec<_>>(), [("small", 10, minutes(5)), ("large", 2, minutes(1))]);
    let scaling = |at: usize| (config.pools[at].policy.idle_count, config.pools[at].policy.scale_factor);
    assert_eq!((scaling(0), scaling(1)), ((2, 0.0), (0, 0.5)));
    assert_eq!(config.pools[1].sharing, Sharing { max_use_count: 5, reuse: Reuse::Pool });
    assert_eq!(config.entries.iter().map(|entry| entry.pool.as_str()).collect::<Vec<_>>(), ["small", "large"]);
    let Cloud::Ec2(ec2) = &config.cloud else { panic!("{:?}", config.cloud) };
    assert_eq!((ec2.deployment.as_str(), ec2.launch_template.as_str(), &ec2.region), ("ci", "lt-1", &None));
    let small = &ec2.machines["small"];
    assert!(small.spot && small.on_demand_fallback.is_none() && small.tags["team"] == "ci");
    assert_eq!((small.instance_types.len(), small.subnets.len()), (1, 2));
}

#[test]
fn mistakes_with_pools_are_told_by_name() {
    let cases = [
        ("name = \"large\"", "name = \"small\"", "two [[pools]] are named \"small\""),
        ("name = \"large\"\n", "", "a [[pools]] entry has no name"),
        (
            "pool = \"large\"",
            "pool = \"huge\"",
            "[[runners]] entry \"runner 2\": there is no pool \"huge\"; the pools are small, large",
        ),
        ("pool = \"large\"", "allowed_pools = [\"huge\"]", "[[runners]] entry \"runner 2\": there is no pool \"huge\""),
        ("max_instances = 2", "max_instances = 0", "pool \"large\": max_instances is 0"),
        ("max_use_count = 5", "max_use_count = 0", "pool \"large\": max_use_count is 0"),
        ("arn:aws:iam::123456789012:role/", "", "fleet.ec2.role: `executor` is not the ARN of a role"),
        ("scale_factor = 0.5", "scale_factor = -0.5", "pool \"large\": scale_factor is no positive number"),
        ("instance_types = [\"m7i.large\"]", "", "pool \"small\" has no instance_types"),
        ("subnets = [\"subnet-1\"]", "", "pool \"large\" has no subnets"),
        ("deployment = \"ci\"\n", "", "line 7: missing field `deployment`"),
        ("spot = true", "spott = true", "line 15: unknown key `spott` in [pools]; did you mean `spot`?"),
        ("cloud = \"ec2\"", "cloud = \"local\"", "[fleet.ec2] is there, but fleet.cloud is not \"ec2\""),
    ];
    for (from, to, expected) in cases {
        let text = EC2.replacen(from, to, 1);
        assert_ne!(text, EC2, "{from}");
        let message = message(&text);
        assert!(message.starts_with(expected), "{to:?}: {message}");
    }
    let without = EC2.replace("[fleet.ec2]\ndeployment = \"ci\"\nlaunch_template = \"lt-1\"\nrole = \"arn:aws:iam::123456789012:role/executor\"\n", "");
    assert!(message(&without).starts_with("fleet.cloud is \"ec2\": add [fleet.ec2]"));
}

#[test]
fn every_mistake_has_its_line_and_its_cure() {
    let cases = [
        ("concurent = 1\n", "line 1: unknown key `concurent`; did you mean `concurrent`?"),
        ("[[runners]]\nurll = \"x\"\n", "line 2: unknown key `urll` in [runners]; did you mean `url`?"),
        ("[fleet]\n\nidle = \"1m\"\n", "line 3: unknown key `idle` in [fleet]; did you mean `idle_time`?"),
        (
            "[[runners]]\n[runners.feature_flags]\nFF_TIMESTAMP = false\n",
            "line 3: unknown key `FF_TIMESTAMP` in [runners.feature_flags]; did you mean `FF_TIMESTAMPS`?",
        ),
        ("[runners.dcoker]\n", "line 1: unknown key `dcoker` in [runners]; did you mean `docker`?"),
        (
            "[[runners]]\n[runners.docker]\npriviliged = true\n",
            "line 3: unknown key `priviliged` in [runners.docker]; did you mean `privileged`?",
        ),
        ("zzz = 1\n", "line 1: unknown key `zzz`"),
        ("runners = 3\n", "line 1: `runners` is a table, not a integer"),
        ("[fleet]\ncloud = \"ec3\"\n", "line 2: cloud is `ec3`, must be `local` or `ec2`"),
        (
            "[[runners]]\nexecutor = \"shell\"\n",
            "line 2: executor is `shell`, must be `docker`, `docker+machine` or `docker-autoscaler`",
        ),
        (
            "[[runners]]\n[runners.docker]\npull_policy = [\"always\", \"often\"]\n",
            "line 3: pull_policy is `often`, must be `always`, `if-not-present` or `never`",
        ),
        ("[fleet]\nmax_age = \"soon\"\n", "line 2: `soon` is no duration"),
        ("concurrent = \"many\"\n", "line 1: invalid type: string \"many\", expected usize"),
        (
            "[state]\nstore = \"/var/lib\"\n",
            "line 2: `/var/lib` is no store: write file:///directory or s3://bucket/prefix",
        ),
        ("[agents]\naddress = \"http://x\"\n", "line 2: `http://x` is not of the form https://host:port"),
        ("[[runners]]\nurl = \"gitlab.test\"\n", "line 2: url is no URL"),
        ("[[runners]]\nurl = \"ftp://gitlab.test\"\n", "line 2: url must begin with https:// or http://"),
        ("concurrent = 0\n[[runners]]\n", "concurrent is 0"),
        ("", "there is no [[runners]] entry"),
        ("[[runners]]\n", "[[runners]] entry \"runner 1\": url is missing"),
        (
            "[[runners]]\nname = \"x\"\nurl = \"https://g\"\n",
            "[[runners]] entry \"x\": no token: set token, token_file or the environment variable WARMSTART_RUNNER_TOKEN",
        ),
        ("a = \n", "line 1: "),
    ];
    for (text, expected) in cases {
        let message = message(text);
        assert!(message.starts_with(expected), "{text:?}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn no_message_shows_a_token() {
    let cases = [
        "[[runners]]\ntoken = glrt-verysecret\n",
        "[[runners]]\ntoken = \"glrt-verysecret\nurl = \"x\"\n",
        "[[runners]]\nurl = \"https://g\"\ntoken = \"glrt-very secret\"\n",
        "[[runners]]\nurl = \"https://user:glrt-verysecret@g\"\n",
        "[[runners]]\nurl = \"https://g\"\ntoken = \"glrt-verysecret\"\ntoken_file = \"/x\"\n",
    ];
    for text in cases {
        assert!(!message(text).contains("secret"), "{}", message(text));
    }
    let (config, _) = read(MINIMAL).expect("good");
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn the_token_comes_from_a_file_or_the_environment_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "glrt-file\n").expect("written");
    let text = format!("[[runners]]\nurl = \"https://g\"\ntoken_file = {file:?}\n");
    assert_eq!(read(&text).expect("good").0.entries[0].token.expose(), "glrt-file");

    let environment = |name: &str| (name == "WARMSTART_RUNNER_TOKEN").then(|| "glrt-environment".to_owned());
    let (config, _) = parse("[[runners]]\nurl = \"https://g\"\n", &environment).expect("good");
    assert_eq!(config.entries[0].token.expose(), "glrt-environment");
}

#[test]
fn every_key_of_docker_that_is_done_is_read() {
    let read = serde_json::to_value(warmstart_api::settings::Docker::default()).expect("settings");
    let read: Vec<&String> = read.as_object().expect("a table").keys().collect();
    let mut done: Vec<&str> = super::keys::DOCKER.done.to_vec();
    done.extend(super::keys::DOCKER.tables.iter().map(|(name, _)| *name));
    done.sort_unstable();
    assert_eq!(read, done);
}

#[test]
fn a_profile_of_seccomp_is_a_file_of_the_runners_machine() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("profile.json");
    let text =
        format!("{MINIMAL}[runners.docker]\nsecurity_opt = [\"no-new-privileges\", \"seccomp={}\"]\n", file.display());
    assert!(message(&text).contains("cannot read security_opt "), "{}", message(&text));
    std::fs::write(&file, "{").expect("written");
    assert!(message(&text).contains("is no profile of seccomp"), "{}", message(&text));
    std::fs::write(&file, "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}").expect("written");
    let (config, _) = read(&text).expect("good");
    let options = ["no-new-privileges", "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"];
    assert_eq!(config.entries[0].settings.docker.security_opt, options);
    assert!(read(&format!("{MINIMAL}[runners.docker]\nsecurity_opt = [\"seccomp=unconfined\"]\n")).is_ok());
}

#[test]
fn a_client_certificate_comes_with_its_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let text = format!("{MINIMAL}tls-cert-file = {certificate:?}\n");
    assert!(message(&text).contains("has tls-cert-file without tls-key-file"), "{}", message(&text));
    let text = format!("{text}tls-key-file = {key:?}\n");
    assert!(message(&text).contains("cannot read tls-cert-file "), "{}", message(&text));
    std::fs::write(&certificate, "PEM").expect("written");
    std::fs::write(&key, "s3cr3t").expect("written");
    let (config, warnings) = read(&text).expect("good");
    let read = config.entries[0].client_certificate.as_ref().expect("a certificate");
    assert_eq!((read.certificate.as_str(), read.key.expose(), warnings.len()), ("PEM", "s3cr3t", 0));
    assert!(!format!("{config:?}").contains("s3cr3t"));
}

#[test]
fn entries_of_one_name_are_told_apart() {
    let entry = "[[runners]]\nname = \"host\"\nurl = \"https://g\"\ntoken = \"t\"\n";
    let (config, _) = read(&entry.repeat(2)).expect("good");
    assert_eq!([config.entries[0].id.as_str(), config.entries[1].id.as_str()], ["host", "host#2"]);
}

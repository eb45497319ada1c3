//! The rules of protocol §2.6 and §3.1, with the vectors of §8.1.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Directories, Inputs, JobSettings, Strategy, Submodules, Variables, expand::expand};
use crate::archive::Level;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;
use warmstart_api::assignment::GitLab;
use warmstart_api::settings::Settings;
use warmstart_gitlab::client::ClientCertificate;
use warmstart_gitlab::payload::{self, Job};

/// A job and all that is known about it.
pub(crate) struct Fixture {
    pub(crate) job: Job,
    pub(crate) settings: Settings,
    pub(crate) gitlab: GitLab,
}

impl Fixture {
    /// A job of project 42 with these variables, as GitLab writes them.
    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    pub(crate) fn new(variables: Value) -> Self {
        let job = json!({
            "id": 1001,
            "allow_git_fetch": true,
            "job_info": {"project_id": 42},
            "git_info": {"repo_url": "http://gitlab-ci-token:glcbt-test@gitlab.test/group/demo.git", "depth": 20},
            "runner_info": {"timeout": 3600},
            "image": {"name": "alpine:3"},
            "variables": variables,
        });
        let gitlab = GitLab {
            url: "http://gitlab.test/".to_owned(),
            ca: None,
            client_certificate: None,
            runner_name: "test".to_owned(),
            short_token: "ABCDEFGHI".to_owned(),
            system_id: "s_0123456789ab".to_owned(),
            concurrent_id: 3,
            concurrent_project_id: 1,
            volume_prefix: "runner-x".to_owned(),
        };
        Self { job: serde_json::from_value(job).unwrap(), settings: Settings::default(), gitlab }
    }

    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs { job: &self.job, settings: &self.settings, gitlab: &self.gitlab }
    }

    pub(crate) fn directories(&self) -> Directories {
        Directories::resolve(&self.inputs()).unwrap()
    }

    pub(crate) fn variables(&self) -> Variables {
        Variables::compose(&self.inputs(), &self.directories(), None)
    }

    fn read(&self) -> (JobSettings, Vec<String>) {
        JobSettings::read(&self.variables(), &self.job)
    }
}

fn vector(text: &str) -> Variables {
    Fixture::new(json!([
        {"key": "A", "value": "1"},
        {"key": "B", "value": "$A"},
        {"key": "F", "value": "content of $A", "file": true},
        {"key": "R", "value": "$A", "raw": true},
        {"key": "X", "value": text},
    ]))
    .variables()
}

#[test]
fn a_value_is_expanded_once_from_the_unexpanded_list() {
    let vectors = [
        ("$A-${B}", "1-$A"),
        ("$F", "/builds/group/demo.tmp/F"),
        ("$R", "$A"),
        ("$$A", "$A"),
        ("$NOPE.", "."),
        ("$1x", "x"),
        ("$-x", "x"),
        ("$*$#$@$!$?$0", ""),
        ("${}", ""),
        ("a${", "a"),
        ("a${b c", "ab c"),
        ("a$/b", "a$/b"),
        ("100%", "100%"),
        ("%A%", "%A%"),
        ("end$", "end$"),
        ("$ä", "$ä"),
        ("${$}", "$"),
    ];
    for (text, wanted) in vectors {
        assert_eq!(vector(text).get("X"), wanted, "{text}");
    }
}

#[test]
fn a_field_is_expanded_from_the_expanded_list() {
    let variables = vector("");
    assert_eq!(variables.expand("$A-${B}"), "1-1");
    assert_eq!(variables.expand("$R"), "$A");
    assert_eq!(variables.expand("$F"), "/builds/group/demo.tmp/F");
}

#[test]
fn paths_are_expanded_as_a_shell_would() {
    let mut fixture = Fixture::new(json!([{"key": "A", "value": "a"}, {"key": "EMPTY", "value": ""}]));
    fixture.gitlab.short_token = "x".to_owned();
    let variables = fixture.variables();
    for (text, wanted) in [
        ("$A/${A}-$NOPE.", "a/a-."),
        ("${NOPE:-d}${NOPE-d}${EMPTY:-d}${EMPTY-d}", "ddd"),
        ("${A:-d}${A-d}${A:+s}${A+s}${EMPTY:+s}${EMPTY+s}${NOPE+s}", "aasss"),
        ("${NOPE:-${NOPE:-$A}/x}", "a/x"),
        ("{a,b}/*.$A", "{a,b}/*.a"),
        ("\\$A\\x$", "$A\\x$"),
        ("$/", "$/"),
    ] {
        assert_eq!(variables.expand_like_shell(text).as_deref(), Ok(wanted), "{text}");
    }
    let deep = "${NOPE:-".repeat(100_000) + &"}".repeat(100_000);
    for text in ["$(id)", "`id`", "${A", "${A%x}", "${}", "${A:?x}", &deep] {
        assert!(variables.expand_like_shell(text).is_err(), "{text}");
    }
}

#[test]
fn a_raw_value_stays_and_a_file_variable_is_its_path_or_its_content() {
    let variables = vector("");
    assert_eq!(variables.get("R"), "$A");
    assert_eq!(variables.get("F"), "/builds/group/demo.tmp/F");
    assert_eq!(variables.content("F"), "content of 1");
    assert!(variables.container_env().contains(&"F=/builds/group/demo.tmp/F".to_owned()));
}

#[test]
fn later_sources_win() {
    let mut fixture = Fixture::new(json!([
        {"key": "CI_SERVER", "value": "payload wins over item 2"},
        {"key": "CI_RUNNER_VERSION", "value": "item 4 wins over the payload"},
        {"key": "TWICE", "value": "first"},
        {"key": "TWICE", "value": "second"},
        {"key": "CONFIGURED", "value": "payload"},
        {"key": "FF_NETWORK_PER_BUILD", "value": "T"},
        {"key": "FF_TIMESTAMPS", "value": "maybe"},
    ]));
    fixture.settings.environment = ["CONFIGURED=entry", "ENTRY=a=b $TWICE", "nothing"].map(str::to_owned).to_vec();
    let mut variables = fixture.variables();
    assert_eq!(variables.get("CI_SERVER"), "payload wins over item 2");
    assert_eq!(variables.get("CI_RUNNER_VERSION"), env!("CARGO_PKG_VERSION"));
    assert_eq!(variables.get("TWICE"), "second");
    assert_eq!(variables.get("CONFIGURED"), "payload");
    assert_eq!(variables.get("ENTRY"), "a=b second");
    assert!(variables.flag("FF_NETWORK_PER_BUILD"));
    assert_eq!(variables.get("FF_NETWORK_PER_BUILD"), "true");
    assert!(variables.flag("FF_TIMESTAMPS"), "a word that is no boolean leaves the default");
    variables.set("CI_JOB_STATUS", "failed");
    assert_eq!(variables.get("CI_JOB_STATUS"), "failed");
    assert_eq!(variables.container_env().iter().filter(|e| e.starts_with("CI_JOB_STATUS=")).count(), 1);
}

#[test]
fn the_runners_own_variables_are_there() {
    let mut fixture = Fixture::new(json!([]));
    fixture.gitlab.ca = Some("PEM $A".to_owned());
    let (certificate, key) = ("PEM of the certificate".to_owned(), "PEM of the key".into());
    fixture.gitlab.client_certificate = Some(ClientCertificate { certificate, key });
    let variables = fixture.variables();
    for (key, value) in [
        ("CI_JOB_IMAGE", "alpine:3"),
        ("CI_RUNNER_SHORT_TOKEN", "ABCDEFGHI"),
        ("CI_BUILDS_DIR", "/builds"),
        ("CI_PROJECT_DIR", "/builds/group/demo"),
        ("CI_CONCURRENT_ID", "3"),
        ("CI_CONCURRENT_PROJECT_ID", "1"),
        ("CI_SERVER", "yes"),
        ("CI_JOB_STATUS", "running"),
        ("CI_JOB_TIMEOUT", "3600"),
        ("CI_DISPOSABLE_ENVIRONMENT", "true"),
        ("RUNNER_TEMP_PROJECT_DIR", "/builds/group/demo.tmp"),
        ("CI_SERVER_TLS_CA_FILE", "/builds/group/demo.tmp/CI_SERVER_TLS_CA_FILE"),
        ("CI_SERVER_TLS_KEY_FILE", "/builds/group/demo.tmp/CI_SERVER_TLS_KEY_FILE"),
        ("CI_BUILD_NETWORK_NAME", ""),
    ] {
        assert_eq!(variables.get(key), value, "{key}");
    }
    assert_eq!(variables.content("CI_SERVER_TLS_CA_FILE"), "PEM $A");
    assert_eq!(variables.content("CI_SERVER_TLS_CERT_FILE"), "PEM of the certificate");
    assert_eq!(variables.content("CI_SERVER_TLS_KEY_FILE"), "PEM of the key");
    let with_network = Variables::compose(&fixture.inputs(), &fixture.directories(), Some("net"));
    assert_eq!(with_network.get("CI_BUILD_NETWORK_NAME"), "net");
}

#[test]
fn a_service_sees_public_and_internal_variables_and_its_own() {
    let mut fixture = Fixture::new(json!([
        {"key": "SECRET", "value": "s3cret", "masked": true},
        {"key": "OPEN", "value": "open", "public": true},
        {"key": "SHADOWED", "value": "job", "public": true},
    ]));
    fixture.settings.environment = vec!["ENTRY=entry".to_owned()];
    let own: Vec<payload::Variable> = serde_json::from_value(json!([
        {"key": "PASSWORD", "value": "is $SECRET"},
        {"key": "RAW", "value": "$SECRET", "raw": true},
        {"key": "SHADOWED", "value": "own"},
    ]))
    .unwrap();
    let env = fixture.variables().service_env(&own);
    for wanted in ["OPEN=open", "ENTRY=entry", "CI_SERVER=yes", "PASSWORD=is s3cret", "RAW=$SECRET", "SHADOWED=own"] {
        assert!(env.contains(&wanted.to_owned()), "{wanted}");
    }
    assert!(!env.iter().any(|e| e.starts_with("SECRET=") || e == "SHADOWED=job"));
}

#[test]
fn masks_are_expanded_trimmed_unique_and_longest_first() {
    let variables = Fixture::new(json!([
        {"key": "A", "value": "inner"},
        {"key": "M1", "value": " padded\n", "masked": true},
        {"key": "M2", "value": "padded", "masked": true},
        {"key": "M3", "value": "longer $A", "masked": true},
        {"key": "M4", "value": "  ", "masked": true},
        {"key": "M5", "value": "shadowed", "masked": true},
        {"key": "M5", "value": "winner", "masked": true},
    ]))
    .variables();
    assert_eq!(variables.masks(), ["longer inner", "shadowed", "padded", "winner"]);
}

#[test]
fn names_and_values_that_no_environment_holds_are_left_out() {
    let variables = Fixture::new(json!([
        {"key": "", "value": "x"},
        {"key": "A=B", "value": "x"},
        {"key": "N\u{0}", "value": "x"},
        {"key": "NUL", "value": "a\u{0}b"},
        {"key": "../../etc/passwd", "value": "x", "file": true},
        {"key": "..", "value": "x", "file": true},
    ]))
    .variables();
    let env = variables.container_env();
    assert!(env.contains(&"NUL=ab".to_owned()));
    assert!(env.iter().all(|e| !e.contains('\0') && !e.starts_with('=') && !e.starts_with("A=")));
    assert_eq!(variables.get("../../etc/passwd"), "");
    assert_eq!(variables.get(".."), "");
}

#[test]
fn the_project_directory_follows_the_repositorys_path() {
    let at = |url: &str| {
        let mut fixture = Fixture::new(json!([]));
        fixture.job.git_info.repo_url = url.into();
        fixture.directories().project
    };
    assert_eq!(at("https://gitlab.test/group/sub/demo.git"), "/builds/group/sub/demo");
    assert_eq!(at("https://gitlab.test:8443/gitlab/group/demo"), "/builds/gitlab/group/demo");
    for odd in
        ["", "https://gitlab.test/", "https://gitlab.test/a..b/c.git", "git@gitlab.test:a/b.git", "file:///a/b.git"]
    {
        assert_eq!(at(odd), "/builds/project-42", "{odd}");
    }
}

#[test]
fn builds_on_a_volume_of_the_host_are_told_apart() {
    let mut fixture = Fixture::new(json!([]));
    for (volume, shared) in [
        ("/cache", false),
        ("/builds", false),
        ("/srv:/builds:rw", true),
        ("/srv:/", true),
        ("name:/builds/", true),
        ("/srv:/build", false),
        ("/srv:/builds/group", false),
    ] {
        fixture.settings.docker.volumes = vec![volume.to_owned()].into();
        let wanted = if shared { "/builds/ABCDEFGHI/1/group/demo" } else { "/builds/group/demo" };
        assert_eq!(fixture.directories().project, wanted, "{volume}");
    }
}

#[test]
fn a_clone_path_must_lie_inside_the_builds_directory() {
    let at = |path: &str| {
        let fixture = Fixture::new(json!([{"key": "GIT_CLONE_PATH", "value": path}]));
        Directories::resolve(&fixture.inputs()).map(|directories| directories.project).ok()
    };
    assert_eq!(at("$CI_BUILDS_DIR/go/./src/../x").as_deref(), Some("/builds/go/x"));
    assert_eq!(at("/builds/$CI_CONCURRENT_ID/x").as_deref(), Some("/builds/3/x"));
    for outside in ["/etc", "relative", "/builds/../etc", "/buildsx/a", "/builds", "/builds/a/.."] {
        assert_eq!(at(outside), None, "{outside}");
    }
}

#[test]
fn the_empty_strategy_has_a_directory_of_its_own() {
    let fixture = Fixture::new(json!([{"key": "GIT_STRATEGY", "value": "empty"}]));
    let directories = fixture.directories();
    assert_eq!(directories.project, "/builds/group/demo-empty");
    assert_eq!(directories.tmp, "/builds/group/demo-empty.tmp");
}

#[test]
fn settings_have_gitlabs_defaults() {
    let (settings, warnings) = Fixture::new(json!([])).read();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.strategy, Strategy::Fetch);
    assert_eq!(settings.clean_flags, Some(vec!["-ffdx".to_owned()]));
    assert_eq!(settings.fetch_flags, ["--prune", "--quiet"]);
    assert_eq!((settings.submodules, settings.submodule_depth), (Submodules::None, 20));
    assert_eq!((settings.get_sources_attempts, settings.script_timeout), (1, None));
    assert_eq!(settings.after_script_timeout, Duration::from_mins(5));
    assert!(settings.checkout && settings.after_script_ignore_errors && !settings.debug_trace);
}

#[test]
fn settings_follow_the_variables_and_name_what_they_cannot_use() {
    let (settings, warnings) = Fixture::new(json!([
        {"key": "GIT_STRATEGY", "value": "cloen"},
        {"key": "GIT_CLEAN_FLAGS", "value": "none"},
        {"key": "GIT_FETCH_EXTRA_FLAGS", "value": " --tags  --jobs=2 "},
        {"key": "GIT_SUBMODULE_STRATEGY", "value": "recursive"},
        {"key": "GIT_SUBMODULE_DEPTH", "value": "-1"},
        {"key": "GET_SOURCES_ATTEMPTS", "value": "3"},
        {"key": "RESTORE_CACHE_ATTEMPTS", "value": "99"},
        {"key": "ARTIFACT_DOWNLOAD_ATTEMPTS", "value": "-9223372036854775808"},
        {"key": "RUNNER_SCRIPT_TIMEOUT", "value": "1h30m"},
        {"key": "RUNNER_AFTER_SCRIPT_TIMEOUT", "value": "-5m"},
        {"key": "AFTER_SCRIPT_IGNORE_ERRORS", "value": "FALSE"},
        {"key": "CI_DEBUG_TRACE", "value": "yes"},
        {"key": "ARTIFACT_COMPRESSION_LEVEL", "value": "fastest"},
    ]))
    .read();
    assert_eq!(settings.strategy, Strategy::Fetch);
    assert_eq!(settings.clean_flags, None);
    assert_eq!(settings.fetch_flags, ["--tags", "--jobs=2"]);
    assert_eq!((settings.submodules, settings.submodule_depth), (Submodules::Recursive, 20));
    assert_eq!((settings.get_sources_attempts, settings.restore_cache_attempts), (3, 10));
    assert_eq!(settings.artifact_download_attempts, 1);
    assert_eq!(settings.script_timeout, Some(Duration::from_mins(90)));
    assert_eq!(settings.after_script_timeout, Duration::from_mins(5));
    assert!(!settings.after_script_ignore_errors && !settings.debug_trace);
    assert_eq!(settings.artifact_compression, Level::Fastest);
    for key in [
        "GIT_STRATEGY",
        "GIT_SUBMODULE_DEPTH",
        "RESTORE_CACHE_ATTEMPTS",
        "ARTIFACT_DOWNLOAD_ATTEMPTS",
        "RUNNER_AFTER_SCRIPT_TIMEOUT",
        "CI_DEBUG_TRACE",
    ] {
        assert_eq!(warnings.iter().filter(|w| w.starts_with(key)).count(), 1, "{key} in {warnings:?}");
    }
    assert_eq!(warnings.len(), 6);
}

#[test]
fn durations_are_gos() {
    let parse = super::duration::parse;
    assert_eq!(parse("1h30m"), Some(Duration::from_mins(90)));
    assert_eq!(parse("1.5s"), Some(Duration::from_millis(1500)));
    assert_eq!(parse("+2m"), Some(Duration::from_mins(2)));
    assert_eq!(parse("100us"), Some(Duration::from_micros(100)));
    assert_eq!(parse("0"), Some(Duration::ZERO));
    for bad in ["", "5", "-5m", "1x", "h", "1h2", ".", "1..2s", "99999999999h", "1 h"] {
        assert_eq!(parse(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn expansion_never_panics(text in ".*") {
        expand(&text, |_| "é$X");
    }

    #[test]
    fn the_shells_expansion_never_panics(text in "[${}:+\\\\a-c\u{e4}(`-]{0,20}|.*") {
        let _ = Fixture::new(json!([{"key": "a", "value": "$b"}])).variables().expand_like_shell(&text);
    }

    #[test]
    fn expansion_keeps_text_without_dollars(text in "[^$]*") {
        prop_assert_eq!(expand(&text, |_| "no"), text);
    }

    #[test]
    fn expansion_does_not_look_at_its_own_result(before in "[^$]*", name in "[A-Z_]{1,5}", after in "[^$A-Za-z0-9_][^$]*") {
        let text = format!("{before}${name}{after}${{{name}}}");
        prop_assert_eq!(expand(&text, |_| "$A${B}"), format!("{before}$A${{B}}{after}$A${{B}}"));
    }

    #[test]
    fn a_raw_variable_is_never_changed(value in ".*") {
        let variables = Fixture::new(json!([{"key": "RAW", "value": value, "raw": true}])).variables();
        prop_assert_eq!(variables.get("RAW"), value);
    }
}

#[test]
fn a_runner_may_forbid_what_prints_secrets() {
    let (mut settings, _) = Fixture::new(json!([{"key": "CI_DEBUG_SERVICES", "value": "true"}])).read();
    assert!(settings.debug_services);
    assert_eq!(settings.forbid_debug(), ["CI_DEBUG_SERVICES: usage is disabled on this runner"]);
    assert!(!settings.debug_services && settings.forbid_debug().is_empty());
}

//! The user's scripts: shells, exit codes, variables, what runs after them.

use crate::lone::{Lone, ended, plain, says};
use warmstart_tests::gitlab::{JobSpec, JobState};
use warmstart_tests::harness::{BUSYBOX, DEBIAN, eventually};

#[tokio::test]
async fn a_job_runs_in_busybox_and_says_so() {
    let lone = Lone::start().await;
    let finished = lone.run(JobSpec::script(["echo hello", "echo to stderr >&2", "cat"])).await;
    ended(&finished, JobState::Success);
    says(&finished, "hello\n");
    says(&finished, "to stderr\n");
    says(&finished, "Job succeeded");
    assert_eq!((finished.failure_reason, finished.exit_code), (None, None));
}

#[tokio::test]
async fn every_line_has_its_time_and_stream_unless_the_job_says_otherwise() {
    let lone = Lone::start().await;
    let job = || JobSpec::script(["echo hello", "echo to stderr >&2", "printf '50%%\\r'; printf 'no end'"]);
    let finished = lone.run(job()).await;
    ended(&finished, JobState::Success);
    says(&finished, "no end\n");
    let log = String::from_utf8_lossy(&finished.log);
    for line in ["00O \x1b[0KRunning with ", "01O hello\n", "01E to stderr\n"] {
        assert!(log.contains(&format!("Z {line}")), "{line:?} in {log}");
    }
    assert!(log.ends_with("\x1b[32;1mJob succeeded\x1b[0;m\n"), "{log}");
    let text = plain(&finished);
    let lines: Vec<_> = text.trim_end().lines().rev().collect();
    let stages = ["prepare_executor ", ", prepare_script ", ", get_sources ", ", step_script ", " s in all"];
    assert!(
        lines[1].starts_with("Time of each stage: ") && stages.iter().all(|part| lines[1].contains(part)),
        "{text}"
    );
    let finished = lone.run(job().without_timestamps().variable("WARMSTART_STAGE_TIMES", "false")).await;
    ended(&finished, JobState::Success);
    let log = String::from_utf8_lossy(&finished.log);
    assert!(log.starts_with("\x1b[0KRunning with ") && log.contains("\nhello\n"), "{log}");
    says(&finished, "  feature flags: FF_TIMESTAMPS:false\n");
    assert!(!plain(&finished).contains("Time of each stage"));
}

#[tokio::test]
async fn bash_is_taken_where_the_image_has_it() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["[[ -n $BASH_VERSION ]] && echo this is bash", "false | true", "echo not here"]);
    let finished = lone.run(spec.image(DEBIAN)).await;
    ended(&finished, JobState::Failed);
    says(&finished, "this is bash\n");
    assert!(!plain(&finished).contains("not here\n"));
}

#[tokio::test]
async fn the_exit_code_of_a_failing_script_is_reported() {
    let lone = Lone::start().await;
    for code in [1, 42, 137, 255] {
        let finished = lone.run(JobSpec::script([format!("exit {code}")])).await;
        ended(&finished, JobState::Failed);
        assert_eq!(finished.exit_code, Some(code));
        assert_eq!(finished.failure_reason.as_deref(), Some("script_failure"));
        says(&finished, &format!("Job failed: exit code {code}"));
    }
}

#[tokio::test]
async fn after_script_runs_in_its_own_shell_and_does_not_change_the_result() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["X=1", "touch made", "exit 3"]);
    let finished = lone.run(spec.after_script(["echo \"status=$CI_JOB_STATUS x=$X\"", "ls made", "exit 9"])).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.exit_code, Some(3));
    says(&finished, "status=failed x=\n");
    says(&finished, "WARNING: after_script failed");
}

#[tokio::test]
async fn a_failing_after_script_counts_where_the_job_says_so() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["true"]).after_script(["exit 9"]).variable("AFTER_SCRIPT_IGNORE_ERRORS", "false");
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.exit_code, Some(9));
}

#[tokio::test]
async fn variables_reach_the_script_and_masked_ones_do_not_reach_the_log() {
    let lone = Lone::start().await;
    let spec = JobSpec::script([
        "echo \"plain=$PLAIN raw=$RAW secret=$SECRET\"",
        "echo \"two=$(echo $SECRET | cut -c1-4)\"",
        "test \"$(cat \"$CERT\")\" = \"$(printf 'line1\\nline2')\" && echo the file is right",
        "echo dir=$CI_PROJECT_DIR status=$CI_JOB_STATUS",
    ]);
    let spec = spec.variable("A", "a").variable("PLAIN", "$A-b").raw_variable("RAW", "$A-b");
    let finished = lone.run(spec.masked("SECRET", "s3cr3tvalue").file("CERT", "line1\nline2")).await;
    ended(&finished, JobState::Success);
    says(&finished, "plain=a-b raw=$A-b secret=[MASKED]\n");
    says(&finished, "the file is right\n");
    says(&finished, "dir=/builds/group/demo status=running\n");
    assert!(!finished.text().contains("s3cr3tvalue"));
}

#[tokio::test]
async fn a_release_step_follows_the_script() {
    let lone = Lone::start().await;
    let finished = lone.run(JobSpec::script(["echo first"]).release(["echo released $CI_COMMIT_REF_NAME"])).await;
    ended(&finished, JobState::Success);
    says(&finished, "released main\n");
    assert!(finished.text().contains("section_start") && finished.text().contains(":step_release"));
}

#[tokio::test]
async fn a_user_without_rights_can_write_to_the_project() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["id -u", "touch file", "mkdir dir", "echo x >> README.md"]).image(BUSYBOX);
    let spec = spec.set("/image/executor_opts", serde_json::json!({"docker": {"user": 1000}}));
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Success);
    says(&finished, "1000\n");
}

#[tokio::test]
async fn an_entrypoint_of_the_job_is_used() {
    let lone = Lone::start().await;
    let entrypoint = serde_json::json!(["/bin/busybox", "env", "FROM_ENTRYPOINT=yes"]);
    let finished =
        lone.run(JobSpec::script(["echo $FROM_ENTRYPOINT"]).image(BUSYBOX).set("/image/entrypoint", entrypoint)).await;
    ended(&finished, JobState::Success);
    says(&finished, "yes\n");
}

#[tokio::test]
async fn what_is_not_supported_yet_is_said() {
    let lone = Lone::start().await;
    let finished = lone.run(JobSpec::script(["true"]).variable("FF_CONCRETE", "true")).await;
    ended(&finished, JobState::Success);
    says(&finished, "WARNING: FF_CONCRETE is not supported yet");
}

#[tokio::test]
async fn a_shell_that_reads_the_jobs_files_as_it_starts_finds_them() {
    let lone = Lone::start().await;
    lone.gitlab.repo("group/demo").commit(&[("env.sh", "greet() { echo hello from the project; }\n")], "Add functions");
    let spec = JobSpec::script(["greet"]).image(DEBIAN).variable("BASH_ENV", "$CI_PROJECT_DIR/env.sh");
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Success);
    says(&finished, "hello from the project\n");
}

/// Removes the build container of a job as soon as there is one, in the state that it then has.
async fn remove_build(lone: &Lone) {
    let executor = format!("label=warmstart.executor={}", lone.executor);
    let kind = "label=com.gitlab.gitlab-runner.type=build";
    let docker =
        |arguments: &[&str]| std::process::Command::new("docker").args(arguments).output().expect("docker runs");
    eventually("the build container is removed", async || {
        let found = docker(&["ps", "--all", "--quiet", "--filter", &executor, "--filter", kind]).stdout;
        let id = String::from_utf8_lossy(&found).trim().to_owned();
        (!id.is_empty() && docker(&["rm", "--force", &id]).status.success()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_build_container_that_somebody_removes_before_its_script_is_made_again() {
    let gate = tempfile::tempdir().expect("a directory");
    let lone = Lone::start().await.with(&["--volume", &format!("{}:/gate", gate.path().display())]);
    let wait = "echo the hook runs; while [ ! -e /gate/go ]; do sleep 0.1; done";
    // With an entrypoint of its own it is made, but not started.
    let spec = JobSpec::script(["echo it runs"]).image(BUSYBOX);
    let spec = spec.set("/image/entrypoint", serde_json::json!(["/bin/busybox", "env"]));
    let job = lone.gitlab.add_job(spec.hook("pre_get_sources_script", [wait]));
    let agent = lone.agent();
    lone.gitlab.wait_log_contains(job, "the hook runs\n").await;
    remove_build(&lone).await;
    std::fs::write(gate.path().join("go"), "").expect("written");
    let finished = lone.gitlab.wait_finished(job).await;
    lone.ends_clean(agent, job).await;
    ended(&finished, JobState::Success);
    says(&finished, "it runs\n");
}

//! Caches for a job's own use: `warmstart-cache` in any container, without credentials.

use crate::lone::{Lone, ended, plain, says};
use warmstart_tests::gitlab::{CacheSpec, JobSpec, JobState, ServiceSpec};
use warmstart_tests::harness::{BUSYBOX, DEBIAN};

/// Nothing of a sidecar is left beside the job's log.
fn nothing_left(lone: &Lone) {
    let left = std::fs::read_dir(lone.directory.path().join("agent/tmp")).expect("the directory of temporary files");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_job_hands_files_to_another_one_without_credentials() {
    let lone = Lone::start().await.with_cache();
    let save = JobSpec::script([
        "mkdir -p dir/a && echo precious > dir/a/file && ln -s a/file dir/link",
        "test \"$(env | grep -c '^AWS_')\" = 0 && warmstart-cache save --key k dir",
    ]);
    let finished = lone.run(save).await;
    ended(&finished, JobState::Success);
    says(&finished, "Saved k: 2 files, ");
    nothing_left(&lone);
    let restore = ["test ! -e dir", "warmstart-cache restore --key k --fail-on-miss", "cat dir/link"];
    let finished = lone.run(JobSpec::script(restore).image(DEBIAN)).await;
    ended(&finished, JobState::Success);
    says(&finished, "Restored k: 2 files, ");
    says(&finished, "precious\n");
    nothing_left(&lone);
}

#[tokio::test]
async fn every_user_of_a_container_may_use_it_and_nobody_may_remove_it() {
    let lone = Lone::start().await.with_cache();
    let lines = [
        "id -u",
        "rm -f /run/warmstart/cache.sock || echo it stays",
        "echo mine > file && warmstart-cache save --key k file && rm file",
        "warmstart-cache restore --key k --fail-on-miss && cat file",
    ];
    let spec = JobSpec::script(lines).image(BUSYBOX);
    let spec = spec.set("/image/executor_opts", serde_json::json!({"docker": {"user": 1234}}));
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Success);
    says(&finished, "1234\n");
    says(&finished, "it stays\n");
    says(&finished, "mine\n");
}

#[tokio::test]
async fn a_service_may_use_it_too() {
    let lone = Lone::start().await.with_cache();
    let service = ServiceSpec {
        name: BUSYBOX.to_owned(),
        alias: "web".to_owned(),
        command: Some(
            ["sh", "-c", "mkdir -p /www && warmstart-cache list >/www/list; httpd -f -p 80 -h /www"]
                .map(str::to_owned)
                .to_vec(),
        ),
        variables: vec![("HEALTHCHECK_TCP_PORT".to_owned(), "80".to_owned())],
        ..ServiceSpec::default()
    };
    let finished = lone.run(JobSpec::script(["wget -q -O - http://web/list"]).service_with(service)).await;
    ended(&finished, JobState::Success);
    says(&finished, "0 caches in ");
}

#[tokio::test]
async fn other_scopes_than_the_jobs_are_refused() {
    let lone = Lone::start().await.with_cache();
    let foreign = JobSpec::script([
        "echo x > file",
        "warmstart-cache save --key k --scope 999/unprotected file || echo other project: $?",
        "warmstart-cache save --key k-protected file || echo protected: $?",
        "warmstart-cache restore --key k-protected --fail-on-miss || echo miss: $?",
    ]);
    // A key may say what it likes: the ref is not protected.
    let spec = foreign.cache(CacheSpec::new("deps", ["deps/"])).set("/cache/0/key", "deps-protected".into());
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Success);
    says(&finished, "other project: 4\n");
    says(&finished, "protected: 4\n");
    says(&finished, "miss: 3\n");
    assert!(plain(&finished).contains("is outside the scopes that are served here"), "{}", plain(&finished));
    let own = JobSpec::script(["echo x > file", "warmstart-cache save --key k-protected file"]);
    let finished = lone.run(own.protected().cache(CacheSpec::new("deps", ["deps/"]))).await;
    ended(&finished, JobState::Success);
    says(&finished, "Saved k-protected: 1 file");
}

#[tokio::test]
async fn a_store_of_the_jobs_own_stays_and_without_one_there_is_nothing() {
    let lone = Lone::start().await.with_cache();
    let spec = JobSpec::script(["echo store=$WARMSTART_CACHE_STORE"]).variable("WARMSTART_CACHE_STORE", "file:///mine");
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Success);
    says(&finished, "store=file:///mine\n");
    let lone = Lone::start().await;
    let lines = ["echo store=$WARMSTART_CACHE_STORE.", "test ! -e /run/warmstart && echo nothing"];
    let finished = lone.run(JobSpec::script(lines)).await;
    ended(&finished, JobState::Success);
    says(&finished, "store=.\n");
    says(&finished, "nothing\n");
}

#[tokio::test]
async fn an_agent_that_is_killed_leaves_a_socket_that_the_next_one_removes() {
    let lone = Lone::start().await.with_cache();
    let job = lone.gitlab.add_job(JobSpec::script(["echo the script runs", "sleep 1000"]));
    let agent = lone.agent();
    lone.gitlab.wait_log_contains(job, "the script runs\n").await;
    lone.gitlab.expect_loss(job);
    agent.kill().await.expect("kill");
    lone.gitlab.force_cancel(job);
    let tmp = lone.directory.path().join("agent/tmp");
    let sidecars = || {
        let names = std::fs::read_dir(&tmp).expect("the directory").map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().starts_with("sidecar-")).count()
    };
    assert_eq!(sidecars(), 1);
    let finished = lone.run(JobSpec::script(["warmstart-cache list"])).await;
    ended(&finished, JobState::Success);
    assert_eq!(sidecars(), 0);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_does_not_keep_the_job() {
    let lone = Lone::start().await.with(&["--cache-store", "file:///proc/no/store"]);
    let finished = lone.run(JobSpec::script(["warmstart-cache restore --key k"])).await;
    ended(&finished, JobState::Success);
    says(&finished, "Nothing restored: ");
    says(&finished, "no answer");
}

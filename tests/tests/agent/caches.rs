//! Caches: kept between jobs, found by fallback keys, and never a reason to fail.

use crate::lone::{Lone, ended, plain, says};
use warmstart_tests::gitlab::{CacheSpec, JobSpec, JobState};

fn fill() -> JobSpec {
    JobSpec::script(["test ! -e deps", "mkdir -p deps/a", "echo precious > deps/a/file", "ln -s a/file deps/link"])
}

fn use_it() -> JobSpec {
    JobSpec::script(["test precious = \"$(cat deps/link)\" && echo it is warm"])
}

#[tokio::test]
async fn a_cache_comes_back_in_the_next_job() {
    let lone = Lone::start().await.with_cache();
    let cache = || CacheSpec::new("deps", ["deps/"]);
    let finished = lone.run(fill().cache(cache())).await;
    ended(&finished, JobState::Success);
    says(&finished, "Created cache");
    let finished = lone.run(use_it().cache(cache())).await;
    ended(&finished, JobState::Success);
    says(&finished, "Checking cache for deps-non_protected...");
    says(&finished, "Successfully extracted cache");
    says(&finished, "it is warm\n");
}

#[tokio::test]
async fn a_cache_of_untracked_files_has_all_that_git_does_not_know() {
    let lone = Lone::start().await.with_cache();
    let cache = || CacheSpec::new("untracked", Vec::<String>::new()).untracked();
    let finished = lone.run(fill().cache(cache())).await;
    ended(&finished, JobState::Success);
    says(&finished, "Created cache");
    let finished = lone.run(use_it().cache(cache().policy("pull"))).await;
    ended(&finished, JobState::Success);
    says(&finished, "Restored untracked-non_protected: 2 files, ");
}

#[tokio::test]
async fn a_fallback_key_is_used_where_the_key_has_nothing() {
    let lone = Lone::start().await.with_cache();
    ended(&lone.run(fill().cache(CacheSpec::new("main", ["deps/"]))).await, JobState::Success);
    let finished = lone.run(use_it().cache(CacheSpec::new("branch", ["deps/"]).fallback("main"))).await;
    ended(&finished, JobState::Success);
    says(&finished, "Checking cache for branch-non_protected...\nno cache for branch-non_protected\nFailed to extract");
    says(&finished, "Checking cache for main-non_protected...\nSuccessfully extracted cache\n");
    says(&finished, "Restored main-non_protected (a fallback): 2 files, ");
    let spec = use_it().cache(CacheSpec::new("other", ["deps/"])).variable("CACHE_FALLBACK_KEY", "main-non_protected");
    ended(&lone.run(spec).await, JobState::Success);
}

#[tokio::test]
async fn a_protected_cache_is_not_to_be_had_by_a_fallback_key() {
    let lone = Lone::start().await.with_cache();
    ended(&lone.run(fill().protected().cache(CacheSpec::new("main", ["deps/"]))).await, JobState::Success);
    let spec = JobSpec::script(["test ! -e deps"]).cache(CacheSpec::new("x", ["deps/"]));
    let finished = lone.run(spec.variable("CACHE_FALLBACK_KEY", "main-protected. ")).await;
    ended(&finished, JobState::Success);
    says(&finished, "not allowed to end in \"-protected\"");
}

#[tokio::test]
async fn a_key_of_protected_refs_is_of_no_use_to_another_ref() {
    let lone = Lone::start().await.with_cache();
    ended(&lone.run(fill().protected().cache(CacheSpec::new("main", ["deps/"]))).await, JobState::Success);
    // In a project that does not keep the two apart GitLab appends nothing.
    let spoil = JobSpec::script(["test ! -e deps", "mkdir deps", "echo spoilt > deps/link"]);
    let spoil = spoil.cache(CacheSpec::new("main", ["deps/"])).set("/cache/0/key", "main-protected".into());
    let finished = lone.run(spoil).await;
    ended(&finished, JobState::Success);
    says(&finished, "cache key \"main-protected\" is for protected branches and tags, this job's ref is none");
    let finished = lone.run(use_it().protected().cache(CacheSpec::new("main", ["deps/"]))).await;
    ended(&finished, JobState::Success);
    says(&finished, "Restored main-protected: 2 files, ");
}

#[tokio::test]
async fn policy_and_result_decide_what_is_saved() {
    let lone = Lone::start().await.with_cache();
    let finished = lone.run(fill().cache(CacheSpec::new("a", ["deps/"]).policy("pull"))).await;
    ended(&finished, JobState::Success);
    says(&finished, "Not uploading cache a-non_protected due to policy");
    let failing = JobSpec::script(["mkdir deps", "echo x > deps/x", "exit 1"]);
    let failing =
        failing.cache(CacheSpec::new("a", ["deps/"])).cache(CacheSpec::new("b", ["deps/"]).when("on_failure"));
    let finished = lone.run(failing).await;
    ended(&finished, JobState::Failed);
    says(&finished, "Creating cache b-non_protected...");
    assert!(!plain(&finished).contains("Creating cache a-non_protected..."));
}

#[tokio::test]
async fn a_policy_that_nobody_knows_fails_the_job_before_its_script_and_such_a_when_saves_nothing() {
    let lone = Lone::start().await.with_cache();
    let often = fill().cache(CacheSpec::new("a", ["deps/"]).policy("$HOW")).variable("HOW", "often");
    let finished = lone.run(often.after_script(["echo not here"])).await;
    ended(&finished, JobState::Failed);
    says(&finished, "Job failed (system failure): unknown cache policy often for a-non_protected");
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    assert!(!plain(&finished).contains("step_script") && !plain(&finished).contains("not here"));
    let finished = lone.run(fill().cache(CacheSpec::new("a", ["deps/"]).when("sometimes"))).await;
    ended(&finished, JobState::Success);
    assert!(!plain(&finished).contains("Creating cache"));
}

/// Makes every manifest of a store another.
fn damage(directory: &std::path::Path) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        if entry.path().is_dir() {
            damage(&entry.path());
        } else if directory.ends_with("manifests") {
            std::fs::write(entry.path(), "damaged").expect("written");
        }
    }
}

#[tokio::test]
async fn a_cache_that_is_there_but_was_not_restored_is_tried_again_as_often_as_the_job_says() {
    let lone = Lone::start().await.with_cache();
    ended(&lone.run(fill().cache(CacheSpec::new("deps", ["deps/"]))).await, JobState::Success);
    damage(&lone.directory.path().join("store"));
    let spec = JobSpec::script(["test ! -e deps"]).variable("RESTORE_CACHE_ATTEMPTS", "2");
    let spec = spec.cache(CacheSpec::new("none", ["none/"]).policy("pull"));
    let finished = lone.run(spec.cache(CacheSpec::new("deps", ["deps/"]).policy("pull"))).await;
    ended(&finished, JobState::Success);
    says(&finished, "cannot restore the cache deps-non_protected; attempt 2 of 2 follows\n");
    assert_eq!(plain(&finished).matches("attempt 2 of 2").count(), 1, "{}", plain(&finished));
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_one_warning() {
    let lone = Lone::start().await.with(&["--cache-store", "file:///proc/no/store"]);
    let finished = lone.run(fill().cache(CacheSpec::new("deps", ["deps/"]))).await;
    ended(&finished, JobState::Success);
    says(&finished, "WARNING: ");
}

#[tokio::test]
async fn a_protected_job_finds_a_fallback_among_the_unprotected_caches() {
    let lone = Lone::start().await.with_cache();
    ended(&lone.run(fill().cache(CacheSpec::new("main", ["deps/"]))).await, JobState::Success);
    let spec = use_it().protected().cache(CacheSpec::new("main", ["deps/"]));
    let finished = lone.run(spec.variable("CACHE_FALLBACK_KEY", "main-non_protected")).await;
    ended(&finished, JobState::Success);
    says(&finished, "no cache for main-protected");
    says(&finished, "Restored main-non_protected (a fallback): 2 files, ");
    // It was saved under the protected key, for the next.
    let finished = lone.run(use_it().protected().cache(CacheSpec::new("main", ["deps/"]))).await;
    ended(&finished, JobState::Success);
    says(&finished, "Restored main-protected: 2 files, ");
}

#[tokio::test]
async fn of_caches_that_overlap_the_later_one_wins_and_both_win_over_the_checkout() {
    let lone = Lone::start().await.with_cache();
    lone.gitlab.repo("group/demo").commit(&[("out/checkout", "git\n"), ("out/only", "git\n")], "Add files");
    for key in ["one", "two"] {
        let write = format!("for name in checkout both {key}; do echo {key} > out/$name; done");
        let spec = JobSpec::script([write.as_str(), "rm out/only"]).cache(CacheSpec::new(key, ["out/"]).policy("push"));
        ended(&lone.run(spec).await, JobState::Success);
    }
    let spec = JobSpec::script(["cd out", "echo result: $(cat checkout both one two only)"]);
    let spec = spec.cache(CacheSpec::new("one", ["out/"]).policy("pull"));
    let finished = lone.run(spec.cache(CacheSpec::new("two", ["out/"]).policy("pull"))).await;
    ended(&finished, JobState::Success);
    says(&finished, "result: two two one two git\n");
}

#[tokio::test]
async fn a_link_in_the_repository_where_a_cache_goes_is_not_followed() {
    let lone = Lone::start().await.with_cache();
    ended(&lone.run(fill().cache(CacheSpec::new("deps", ["deps/"]))).await, JobState::Success);
    let outside = lone.directory.path().join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    let repository = lone.gitlab.repo("group/demo");
    std::os::unix::fs::symlink(&outside, repository.work_tree().join("deps")).expect("a link");
    repository.commit_all("Plant a link");
    let finished = lone.run(use_it().cache(CacheSpec::new("deps", ["deps/"]).policy("pull"))).await;
    ended(&finished, JobState::Success);
    assert_eq!(std::fs::read_dir(&outside).expect("a directory").count(), 0);
}

/// Runs jobs whose builds directory is this one of the host, and stays.
async fn kept_builds(builds: &std::path::Path) {
    let lone = Lone::start().await.with_cache().with(&["--volume", &format!("{}:/builds", builds.display())]);
    let cache = || CacheSpec::new("deps", ["deps/"]);
    ended(&lone.run(fill().cache(cache())).await, JobState::Success);
    // Git removes what it does not track before the cache comes.
    let finished = lone.run(use_it().cache(cache())).await;
    ended(&finished, JobState::Success);
    says(&finished, "Removing deps/");
    says(&finished, ", sent 0 B, in ");
    // Without git the files of the job before are still there.
    let spec =
        JobSpec::script(["rm deps/a/file", "test -L deps/link", "ls README.md"]).variable("GIT_STRATEGY", "none");
    ended(&lone.run(spec.cache(cache().policy("pull"))).await, JobState::Success);
    let finished = lone.run(use_it().variable("GIT_STRATEGY", "none").cache(cache())).await;
    ended(&finished, JobState::Success);
    assert_eq!(std::fs::read_dir(builds).expect("the builds").count(), 1, "nothing lies beside the projects");
}

#[tokio::test]
async fn builds_that_are_kept_get_their_caches_too() {
    let builds = tempfile::tempdir().expect("a directory");
    kept_builds(builds.path()).await;
}

#[tokio::test]
async fn builds_on_another_file_system_get_their_caches_in_the_stage() {
    let builds = tempfile::tempdir_in("/dev/shm").expect("a directory");
    kept_builds(builds.path()).await;
}

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
async fn a_fallback_key_is_used_where_the_key_has_nothing() {
    let lone = Lone::start().await.with_cache();
    ended(&lone.run(fill().cache(CacheSpec::new("main", ["deps/"]))).await, JobState::Success);
    let finished = lone.run(use_it().cache(CacheSpec::new("branch", ["deps/"]).fallback("main"))).await;
    ended(&finished, JobState::Success);
    says(&finished, "Checking cache for main-non_protected...");
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
async fn a_store_that_cannot_be_used_is_one_warning() {
    let lone = Lone::start().await.with(&["--cache-store", "file:///proc/no/store"]);
    let finished = lone.run(fill().cache(CacheSpec::new("deps", ["deps/"]))).await;
    ended(&finished, JobState::Success);
    says(&finished, "WARNING: ");
}

//! Where the project's files come from.

use crate::lone::{Lone, ended, plain, says};
use warmstart_tests::gitlab::{JobSpec, JobState};
use warmstart_tests::harness::DEBIAN;

#[tokio::test]
async fn every_strategy_leaves_the_files_it_should() {
    let lone = Lone::start().await;
    lone.gitlab.repo("group/demo").commit(&[("src/main.c", "int main;\n")], "Add a file");
    for (strategy, count) in [("fetch", "1"), ("clone", "1"), ("none", "0"), ("empty", "0")] {
        let spec = JobSpec::script(["{ ls src || true; } 2> /dev/null | wc -l"]).variable("GIT_STRATEGY", strategy);
        let finished = lone.run(spec).await;
        ended(&finished, JobState::Success);
        says(&finished, &format!("\n{count}\n"));
    }
}

#[tokio::test]
async fn the_history_is_as_deep_as_asked_for() {
    let lone = Lone::start().await;
    let repository = lone.gitlab.repo("group/demo");
    for number in 0..5 {
        repository.commit(&[("file", &number.to_string())], "Another commit");
    }
    for (depth, commits) in [(2, "2"), (0, "6")] {
        let spec = JobSpec::script(["git config --global safe.directory '*'", "git rev-list --count HEAD"]);
        let finished = lone.run(spec.image(DEBIAN).depth(depth)).await;
        ended(&finished, JobState::Success);
        says(&finished, &format!("\n{commits}\n"));
    }
}

#[tokio::test]
async fn submodules_come_with_the_jobs_own_token_which_is_not_left_behind() {
    let lone = Lone::start().await;
    let library = lone.gitlab.repo("group/library");
    library.commit(&[("lib.h", "#pragma once\n")], "Add a header");
    lone.gitlab.repo("group/demo").add_submodule("vendor/library", &library);
    let spec = JobSpec::script(["ls vendor/library", "! grep -r \"$CI_JOB_TOKEN\" .git", "echo no token is left"]);
    let finished = lone.run(spec.variable("GIT_SUBMODULE_STRATEGY", "recursive")).await;
    ended(&finished, JobState::Success);
    says(&finished, "lib.h\n");
    says(&finished, "no token is left\n");
}

#[tokio::test]
async fn a_commit_that_is_gone_fails_the_job_before_its_script() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["echo not here"]).after_script(["echo nor here"]);
    let finished = lone.run(spec.set("/git_info/sha", "1234567890123456789012345678901234567890".into())).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("script_failure"));
    assert!(!plain(&finished).contains("not here\n") && !plain(&finished).contains("nor here\n"));
}

#[tokio::test]
async fn hooks_run_around_the_checkout() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["true"]).hook("pre_get_sources_script", ["echo before the sources"]);
    let finished = lone.run(spec.hook("post_get_sources_script", ["ls README.md && echo after the sources"])).await;
    ended(&finished, JobState::Success);
    let text = plain(&finished);
    let (before, after) = (text.find("before the sources\n"), text.find("after the sources\n"));
    assert!(before.is_some() && before < after, "{text}");
}

#[tokio::test]
async fn the_flags_of_fetch_and_of_submodules_are_gits() {
    let lone = Lone::start().await;
    let library = lone.gitlab.repo("group/library");
    library.commit(&[("lib.h", "old\n")], "Add a header");
    let demo = lone.gitlab.repo("group/demo");
    demo.branch("side");
    demo.commit(&[("side", "")], "Go another way");
    demo.tag("v1");
    demo.branch("main");
    demo.add_submodule("vendor/library", &library);
    library.commit(&[("lib.h", "new\n")], "Change the header");
    let job = || {
        let spec = JobSpec::script(["echo tags: $(ls .git/refs/tags) library: $(cat vendor/library/lib.h)"]);
        spec.variable("GIT_SUBMODULE_STRATEGY", "normal")
    };
    let finished = lone.run(job()).await;
    ended(&finished, JobState::Success);
    says(&finished, "tags: library: old\n");
    let flagged = job().variable("GIT_FETCH_EXTRA_FLAGS", "--tags --quiet");
    let finished = lone.run(flagged.variable("GIT_SUBMODULE_UPDATE_FLAGS", "--remote --jobs 2")).await;
    ended(&finished, JobState::Success);
    says(&finished, "tags: v1 library: new\n");
}

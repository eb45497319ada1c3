//! Volumes of the settings where a job's files are: what containers see there, cache and artifacts see too.

use crate::lone::{Lone, ended, plain, says};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use uuid::Uuid;
use warmstart_tests::gitlab::{CacheSpec, JobId, JobSpec, JobState};
use warmstart_tests::harness::BUSYBOX;

/// A volume of Docker's, gone with the value.
struct Named(String);

impl Named {
    fn new() -> Self {
        Self(format!("warmstart-test-{}", Uuid::new_v4().simple()))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["volume", "rm", "--force", &self.0]).output();
    }
}

/// Runs a job whose artifacts a later one wants.
async fn run_first(lone: &Lone, spec: JobSpec) -> JobId {
    let job = lone.gitlab.add_job(spec);
    let agent = lone.agent();
    let finished = lone.gitlab.wait_finished(job).await;
    lone.ends_clean(agent, job).await;
    ended(&finished, JobState::Success);
    assert!(!plain(&finished).contains("WARNING"), "{}", plain(&finished));
    job
}

/// A user without rights makes what it wants to keep.
const MAKE: [&str; 5] = [
    "mkdir -p deps/a out",
    "echo precious > deps/a/file; chmod 750 deps/a/file; touch -d '2001-02-03 04:05:06' deps/a/file deps/a",
    "ln -s a/file deps/link",
    "echo made > out/tool; chmod 4711 out/tool; touch -d '2002-03-04 05:06:07' out/tool",
    "ln -s /etc/passwd out/away",
];

/// Another one finds it as it was, but for the bit that lets it run as somebody else.
const FIND: [&str; 4] = [
    "stat -c 'found %n %u:%g %a %Y' deps/a deps/a/file out/tool",
    "test precious = \"$(cat deps/link)\" && echo the link leads there",
    "echo changed > deps/a/file && echo it is writable",
    "test \"$(readlink out/away)\" = /etc/passwd && echo and the link out is a link",
];

fn as_nobody<const N: usize>(lines: [&str; N]) -> JobSpec {
    let spec = JobSpec::script(lines).image(BUSYBOX).variable("GIT_CLEAN_FLAGS", "none").variable("TZ", "UTC0");
    let user = serde_json::json!({"docker": {"user": "1234:2345"}});
    spec.set("/image/executor_opts", user).cache(CacheSpec::new("deps", ["deps/"]))
}

async fn made_and_found(first: Lone, second: impl FnOnce(Lone) -> Lone) {
    let make = run_first(&first, as_nobody(MAKE).name("make").artifact_paths(["out/"])).await;
    let second = second(first);
    let finished = second.run(as_nobody(FIND).needs(make)).await;
    ended(&finished, JobState::Success);
    says(&finished, "found deps/a 1234:2345 755 981173106\n");
    says(&finished, "found deps/a/file 1234:2345 750 981173106\n");
    says(&finished, "found out/tool 1234:2345 711 1015218367\n");
    for line in ["the link leads there\n", "it is writable\n", "and the link out is a link\n"] {
        says(&finished, line);
    }
    assert!(!plain(&finished).contains("WARNING"), "{}", plain(&finished));
}

#[tokio::test]
async fn owners_modes_and_times_of_what_is_kept_are_the_same_in_the_next_job() {
    made_and_found(Lone::start().await.with_cache(), |lone| lone).await;
}

/// A host directory at `deps`, and a volume of Docker's at `out`.
fn mounted(lone: Lone, deps: &Path, out: &Named) -> Lone {
    let deps = format!("{}:/builds/group/demo/deps", deps.display());
    let out = format!("{}:/builds/group/demo/out", out.0);
    lone.with(&["--volume", &deps, "--volume", &out])
}

#[tokio::test]
async fn volumes_in_the_project_directory_are_seen_by_cache_and_artifacts() {
    let (one, two, outs) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
        [Named::new(), Named::new()],
    );
    for directory in [&one, &two] {
        std::os::unix::fs::chown(directory.path(), Some(1234), Some(2345)).expect("done");
    }
    let first = mounted(Lone::start().await.with_cache(), one.path(), &outs[0]);
    let prepare = "mkdir -p /builds/group/demo/out && chmod 777 /builds/group/demo/out";
    let spec = JobSpec::script([prepare]).variable("GIT_CLEAN_FLAGS", "none");
    ended(&first.run(spec).await, JobState::Success);
    made_and_found(first, |mut lone| {
        lone.arguments.retain(|argument| !argument.contains(":/builds/") && argument != "--volume");
        mounted(lone, two.path(), &outs[1])
    })
    .await;
    // They went through the mounts: the volumes have them, nothing else.
    assert_eq!(std::fs::read_to_string(two.path().join("a/file")).expect("read"), "changed\n");
    assert_eq!(two.path().join("a/file").metadata().expect("there").uid(), 1234);
    let names: Vec<_> =
        std::fs::read_dir(two.path()).expect("there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn a_volume_in_the_project_directory_leads_nowhere_else() {
    let (volume, outside) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    std::fs::write(outside.path().join("secret"), "secret").expect("done");
    symlink(outside.path(), volume.path().join("link")).expect("done");
    symlink("/etc", volume.path().join("etc")).expect("done");
    let lone = Lone::start().await.with_cache();
    let lone = lone.with(&["--volume", &format!("{}:/builds/group/demo/in", volume.path().display())]);
    let spec = JobSpec::script(["cd ..", "mv demo real", "ln -s /etc demo"]).variable("GIT_CLEAN_FLAGS", "none");
    let spec = spec.artifact_paths(["in/link/secret", "in/etc/passwd", "passwd"]);
    let finished = lone.run(spec.cache(CacheSpec::new("in", ["in/link/", "in/etc/"]))).await;
    assert!(finished.artifacts.is_empty(), "{}", finished.text());
    assert!(!plain(&finished).contains("Created cache"), "{}", finished.text());
}

#[tokio::test]
async fn builds_in_a_volume_of_dockers_are_kept_and_have_caches_and_artifacts() {
    let builds = Named::new();
    let lone = Lone::start().await.with_cache().with(&["--volume", &format!("{}:/builds", builds.0)]);
    let make = as_nobody(MAKE).name("make").artifact_paths(["out/"]);
    let make = run_first(&lone, make).await;
    let spec = as_nobody(["cat out/tool; rm -r out deps"]).variable("GIT_STRATEGY", "none");
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Success);
    says(&finished, "made\n");
    let finished = lone.run(as_nobody(FIND).needs(make)).await;
    ended(&finished, JobState::Success);
    says(&finished, "found deps/a/file 1234:2345 750 981173106\n");
    says(&finished, "found out/tool 1234:2345 711 1015218367\n");
}

//! Caches are fetched while the job is prepared, out of its reach, and nothing of them is left where they are not used.

use crate::lone::{Lone, ended, plain, says};
use std::path::{Path, PathBuf};
use warmstart_tests::gitlab::{CacheSpec, Finished, JobId, JobSpec, JobState};
use warmstart_tests::harness::{Process, eventually};
use warmstart_tests::s3::S3;

/// An agent whose caches are in a store that can be held, and whose jobs see a directory of the test as `/gate`.
struct Bench {
    lone: Lone,
    store: S3,
}

fn deps() -> CacheSpec {
    CacheSpec::new("deps", ["deps/"])
}

impl Bench {
    /// Fills the cache `deps`.
    async fn start() -> Self {
        let store = S3::start().await.expect("a store");
        let lone = Lone::start().await;
        let gate = lone.directory.path().join("gate");
        std::fs::create_dir(&gate).expect("a directory");
        let lone = lone.with(&["--cache-store", store.url(), "--volume", &format!("{}:/gate", gate.display())]);
        let this = Self { lone, store };
        let fill = JobSpec::script(["mkdir -p deps/a", "echo precious > deps/a/file", "ln -s a/file deps/link"]);
        let finished = this.lone.run(fill.cache(deps())).await;
        ended(&finished, JobState::Success);
        says(&finished, "Saved deps-non_protected: 2 files, ");
        this
    }

    /// Starts an agent with a job whose sources wait for [`Bench::go`].
    async fn begin(&self, job: JobSpec) -> (JobId, Process) {
        let wait = "echo the hook runs; while [ ! -e /gate/go ]; do sleep 0.1; done";
        let job = self.lone.gitlab.add_job(job.hook("pre_get_sources_script", [wait, "test ! -e /gate/fail"]));
        let agent = self.lone.agent();
        self.lone.gitlab.wait_log_contains(job, "the hook runs\n").await;
        (job, agent)
    }

    fn go(&self) {
        self.gate("go");
    }

    fn gate(&self, name: &str) {
        std::fs::write(self.lone.directory.path().join("gate").join(name), "").expect("write to the gate");
    }

    async fn end(&self, job: JobId, agent: Process) -> Finished {
        let finished = self.lone.gitlab.wait_finished(job).await;
        self.lone.ends_clean(agent, job).await;
        finished
    }

    /// Waits for a path in a staging directory.
    async fn wait_staged(&self, path: &str) -> PathBuf {
        eventually(&format!("{path} is staged"), async || {
            staging(&self.lone.directory.path().join("agent/builds")).into_iter().find(|at| at.join(path).exists())
        })
        .await
    }
}

/// The staging directories below the agent's builds.
fn staging(builds: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = below(builds.to_owned()).filter(|path| path.extension().is_some_and(|end| end == "caches"));
    let all = all.flat_map(below).filter(|path| path.join("tree").is_dir());
    all.collect()
}

fn warm() -> JobSpec {
    JobSpec::script(["test precious = \"$(cat deps/link)\" && echo it is warm"]).cache(deps())
}

#[tokio::test]
async fn a_cache_is_fetched_before_the_sources_are_there_and_an_unchanged_one_is_not_sent_again() {
    let bench = Bench::start().await;
    let (seen, written) = (bench.store.calls().len(), bench.store.writes());
    let (job, agent) = bench.begin(warm()).await;
    bench.store.wait_read("/packs/", seen, true).await;
    let staged = bench.wait_staged("tree/deps/a/file").await;
    let log = String::from_utf8_lossy(&bench.lone.gitlab.log(job)).into_owned();
    assert!(!log.contains("Restoring cache"), "the sources are still on their way: {log}");
    bench.go();
    let finished = bench.end(job, agent).await;
    ended(&finished, JobState::Success);
    says(&finished, "it is warm\n");
    says(&finished, "Restored deps-non_protected: 2 files, ");
    says(&finished, ", sent 0 B, in ");
    assert!(!staged.exists());
    assert_eq!(bench.store.writes(), written, "nothing is sent");
    let text = plain(&finished);
    let order =
        ["Restoring cache", "Checking cache for deps-non_protected...", "Successfully extracted", "Restored deps"];
    let places: Vec<_> = order.iter().map(|words| text.find(words)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{text}");
}

#[tokio::test]
async fn a_cache_that_comes_late_is_waited_for() {
    let bench = Bench::start().await;
    bench.store.hold("/packs/");
    bench.go();
    let job = bench.lone.gitlab.add_job(warm());
    let agent = bench.lone.agent();
    bench.lone.gitlab.wait_log_contains(job, "Checking cache for deps-non_protected...").await;
    bench.store.release();
    let finished = bench.end(job, agent).await;
    ended(&finished, JobState::Success);
    says(&finished, "it is warm\n");
}

#[tokio::test]
async fn a_cache_that_takes_too_long_is_a_miss() {
    let bench = Bench::start().await;
    bench.store.hold("/refs/");
    let cold = JobSpec::script(["test ! -e deps && echo it is cold"]).cache(deps().policy("pull"));
    let finished = bench.lone.run(cold.variable("CACHE_REQUEST_TIMEOUT", "0")).await;
    ended(&finished, JobState::Success);
    says(&finished, "Failed to extract cache");
    says(&finished, "it is cold\n");
}

#[tokio::test]
async fn sources_that_fail_leave_nothing_of_a_cache_that_was_fetched() {
    let bench = Bench::start().await;
    let (job, agent) = bench.begin(warm()).await;
    let staged = bench.wait_staged("tree/deps/a/file").await;
    bench.gate("fail");
    bench.go();
    let finished = bench.end(job, agent).await;
    ended(&finished, JobState::Failed);
    assert!(!staged.exists());
    assert!(!plain(&finished).contains("Restored deps"), "{}", plain(&finished));
}

#[tokio::test]
async fn sources_that_fail_end_a_fetch_that_is_under_way() {
    let bench = Bench::start().await;
    bench.store.hold("/packs/");
    let (job, agent) = bench.begin(warm()).await;
    bench.wait_staged("tree/deps").await;
    bench.gate("fail");
    bench.go();
    ended(&bench.end(job, agent).await, JobState::Failed);
}

#[tokio::test]
async fn a_job_cancelled_meanwhile_leaves_nothing() {
    let bench = Bench::start().await;
    bench.store.hold("/packs/");
    let (job, agent) = bench.begin(warm()).await;
    bench.wait_staged("tree/deps").await;
    bench.lone.gitlab.cancel(job);
    ended(&bench.end(job, agent).await, JobState::Canceled);
}

#[tokio::test]
async fn what_a_killed_agent_had_fetched_is_removed_by_the_next() {
    let bench = Bench::start().await;
    bench.store.hold("/packs/");
    let (job, agent) = bench.begin(warm()).await;
    let staged = bench.wait_staged("tree/deps").await;
    bench.lone.gitlab.expect_loss(job);
    agent.kill().await.expect("kill");
    assert!(staged.exists());
    bench.store.release();
    bench.lone.gitlab.force_cancel(job);
    ended(&bench.lone.run(JobSpec::script(["echo the next job"])).await, JobState::Success);
    assert!(!staged.exists());
}

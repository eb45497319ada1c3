//! Whatever ends a job, and in whichever stage, nothing of it is left.

use crate::lone::{Lone, ended, plain};
use axum::Router;
use axum::routing::get;
use rustix::process::Signal;
use std::ops::Range;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;
use warmstart_tests::gitlab::ServiceSpec;
use warmstart_tests::gitlab::{CacheSpec, Endpoint, Fault, FaultId, Finished, JobId, JobSpec, JobState, Matcher};
use warmstart_tests::harness::{BUSYBOX, Process};
use warmstart_tests::s3::S3;

/// Waits until the test opens the gate.
const WAIT: &str = "while [ ! -e /gate/open ]; do sleep 0.1; done";

/// The stages in which a job can be stopped, in their order; a stage after the first failure is another one.
const STAGES: [&str; 8] = [
    "prepare_executor",
    "get_sources",
    "restore_cache",
    "download_artifacts",
    "step_script",
    "after_script",
    "archive_cache",
    "upload_artifacts_on_success",
];
/// From here on the user's script has run: cancelling stops nothing more.
const SCRIPT_IS_OVER: usize = 5;

/// An agent with a job in each stage, where it is held: by a registry, a store or a GitLab that does not answer, or by
/// a script that waits.
struct Held {
    lone: Lone,
    store: S3,
    registry: String,
    _registry: AbortOnDropHandle<()>,
    faults: [FaultId; 2],
    agent: Option<Process>,
    jobs: Vec<JobId>,
}

impl Held {
    /// Begins the jobs and waits until each has come to its stage. They may take this long in all.
    async fn start(timeout: Duration) -> Self {
        let store = S3::start().await.expect("a store");
        let lone = Lone::start().await;
        let gate = lone.directory.path().join("gate");
        std::fs::create_dir(&gate).expect("a directory");
        let gate = format!("{}:/gate", gate.display());
        let lone = lone.with(&["--cache-store", store.url(), "--volume", &gate, "--concurrent", "8"]);
        let agent = Some(lone.steady_agent());
        let made = make(&lone).await;
        store.hold("/packs/");
        let hang = |endpoint| lone.gitlab.misbehave(Matcher::on(endpoint).forever(), Fault::HangUntilReleased);
        let faults = [hang(Endpoint::Download), hang(Endpoint::Upload)];
        let (registry, server) = silent_registry().await;
        let mut this = Self { lone, store, registry, _registry: server, faults, agent, jobs: Vec::new() };
        this.jobs =
            STAGES.iter().map(|stage| this.lone.gitlab.add_job(this.job(stage, made).timeout(timeout))).collect();
        for at in 0..STAGES.len() {
            this.wait_held(at).await;
        }
        this
    }

    /// A job that is held in a stage. It has everything that can be left behind.
    fn job(&self, stage: &str, made: JobId) -> JobSpec {
        let job = JobSpec::script(["echo $CI_JOB_ID > file"]).name(stage).artifact_paths(["file"]);
        let cache = |key: &str, policy| CacheSpec::new(key, ["file"]).policy(policy);
        // Networks are few on one machine.
        let beside = |job: JobSpec| job.variable("FF_NETWORK_PER_BUILD", "true").service_with(sleeping());
        match stage {
            "prepare_executor" => beside(job.image(&format!("{}/team/never:1", self.registry))),
            "get_sources" => beside(job.hook("pre_get_sources_script", ["echo it waits", WAIT])),
            "restore_cache" => job.cache(cache("old", "pull")),
            "download_artifacts" => job.needs(made),
            "step_script" => beside(JobSpec::script(["echo it waits", WAIT])),
            "after_script" => job.after_script(["echo it waits", WAIT]),
            "archive_cache" => job.cache(cache("new", "push")),
            _ => job,
        }
    }

    async fn wait_held(&self, at: usize) {
        let gitlab = &self.lone.gitlab;
        let words = match STAGES[at] {
            "prepare_executor" => "Pulling docker image",
            "restore_cache" => "Checking cache for old-non_protected...",
            "download_artifacts" => return gitlab.wait_hits(self.faults[0], 1).await,
            "archive_cache" => "Creating cache new-non_protected...",
            "upload_artifacts_on_success" => return gitlab.wait_hits(self.faults[1], 1).await,
            _ => "it waits\n",
        };
        gitlab.wait_log_contains(self.jobs[at], words).await;
    }

    /// Lets go whatever is still held.
    fn release(&self) {
        std::fs::write(self.lone.directory.path().join("gate/open"), "").expect("write to the gate");
        self.store.release();
        self.faults.iter().for_each(|fault| self.lone.gitlab.release(*fault));
    }

    /// Waits for the end of these jobs and checks it.
    async fn all_end(&self, which: Range<usize>, state: JobState) -> Vec<Finished> {
        let mut all = Vec::new();
        for at in which {
            let finished = self.lone.gitlab.wait_finished(self.jobs[at]).await;
            ended(&finished, state);
            all.push(finished);
        }
        all
    }

    /// The agent takes the next job, and then nothing is left.
    async fn ends_clean(mut self) {
        self.release();
        let job = self.lone.gitlab.add_job(JobSpec::script(["echo the next job"]));
        ended(&self.lone.gitlab.wait_finished(job).await, JobState::Success);
        let agent = self.agent.take().expect("an agent");
        agent.signal(Signal::QUIT);
        self.lone.ends_clean(agent, job).await;
    }
}

/// Runs a job whose cache and artifacts others want.
async fn make(lone: &Lone) -> JobId {
    let spec = JobSpec::script(["echo made > file"]).artifact_paths(["file"]);
    let job = lone.gitlab.add_job(spec.cache(CacheSpec::new("old", ["file"])));
    ended(&lone.gitlab.wait_finished(job).await, JobState::Success);
    job
}

/// A service that has to be ended.
fn sleeping() -> ServiceSpec {
    let command = Some(["sleep", "3600"].map(str::to_owned).to_vec());
    ServiceSpec { name: BUSYBOX.to_owned(), alias: "beside".to_owned(), command, ..ServiceSpec::default() }
}

/// A registry that greets and then says nothing more.
async fn silent_registry() -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let router = Router::new().route("/v2/", get(async || ())).fallback(std::future::pending::<()>);
    let serve = async move {
        let _ = axum::serve(listener, router).await;
    };
    (host, AbortOnDropHandle::new(tokio::spawn(serve)))
}

/// No stage after the one in which the job was stopped has begun.
#[track_caller]
fn stopped_in(at: usize, finished: &Finished) {
    let log = finished.text();
    let begun = |stage: &str| log.contains(&format!(":{stage}\r"));
    assert!(STAGES[at + 1..].iter().all(|later| !begun(later)), "{} was not the last: {log}", STAGES[at]);
}

#[tokio::test]
async fn a_job_cancelled_in_any_stage_leaves_nothing() {
    let held = Held::start(Duration::from_hours(1)).await;
    held.jobs.iter().for_each(|job| held.lone.gitlab.cancel(*job));
    for (at, finished) in held.all_end(0..SCRIPT_IS_OVER, JobState::Canceled).await.iter().enumerate() {
        stopped_in(at, finished);
    }
    held.release();
    let last = held.all_end(SCRIPT_IS_OVER..STAGES.len(), JobState::Canceled).await;
    assert!(!plain(&last[0]).contains("Uploading artifacts"), "what a cancelled script made is not uploaded");
    assert!(last[1..].iter().all(|finished| finished.artifacts.len() == 1), "what it made before is");
    held.ends_clean().await;
}

#[tokio::test]
async fn a_job_that_gitlab_has_ended_is_stopped_in_any_stage_and_leaves_nothing() {
    let held = Held::start(Duration::from_hours(1)).await;
    held.jobs.iter().for_each(|job| held.lone.gitlab.force_cancel(*job));
    held.all_end(0..STAGES.len(), JobState::Canceled).await;
    held.lone.wait_nothing_left().await;
    held.ends_clean().await;
}

#[tokio::test]
async fn a_job_whose_time_is_over_is_stopped_in_any_stage_and_leaves_nothing() {
    // So long that all come to their stages, whatever else this machine does.
    let held = Held::start(Duration::from_mins(2)).await;
    for (at, finished) in held.all_end(0..STAGES.len(), JobState::Failed).await.iter().enumerate() {
        stopped_in(at, finished);
        assert_eq!(finished.failure_reason.as_deref(), Some("job_execution_timeout"));
        assert!(plain(finished).contains("execution took longer than 2m0s seconds"), "{}", plain(finished));
    }
    held.lone.wait_nothing_left().await;
    held.ends_clean().await;
}

#[tokio::test]
async fn what_an_agent_left_that_was_killed_while_it_looked_at_its_machine_is_removed_by_the_next() {
    let lone = Lone::start().await;
    let label = format!("label=warmstart.executor={}", lone.executor);
    let agent = lone.agent();
    let mut events = Command::new("docker");
    events.args(["events", "--since", "10m", "--filter", &label, "--filter", "event=create"]);
    let mut events = events.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("docker runs");
    let mut events = BufReader::new(events.stdout.take().expect("its output")).lines();
    events.next_line().await.expect("an event");
    agent.kill().await.expect("kill");
    ended(&lone.run(JobSpec::script(["echo the next job"])).await, JobState::Success);
}

#[tokio::test]
async fn what_a_killed_agent_had_in_any_stage_is_gone_before_the_next_one_calls_gitlab() {
    let mut held = Held::start(Duration::from_hours(1)).await;
    held.jobs.iter().for_each(|job| held.lone.gitlab.expect_loss(*job));
    let next = held.lone.gitlab.misbehave(Matcher::on(Endpoint::Verify), Fault::HangUntilReleased);
    held.agent.take().expect("an agent").kill().await.expect("kill");
    held.agent = Some(held.lone.steady_agent());
    held.lone.gitlab.wait_hits(next, 1).await;
    held.lone.nothing_left();
    held.jobs.iter().for_each(|job| held.lone.gitlab.force_cancel(*job));
    held.lone.gitlab.release(next);
    held.ends_clean().await;
}

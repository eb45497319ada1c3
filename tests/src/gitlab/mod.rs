//! The fake GitLab: a server that enforces the runner's protocol and judges who talks to it.
//!
//! It answers as the real server would (`docs/protocol.md` §1) and records each request that breaks a rule of §7 as
//! a [`Violation`]. A request passes `gate` (recorded, judged by `judge`, disturbed by `faults`) and then one
//! endpoint (`runner_endpoints`, `job_request`, `trace`, `update`, `artifacts`, `download`, `git_http`, `pages`).
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use warmstart_tests::gitlab::{FakeGitlab, JobSpec, JobState, Options};
//! let gitlab = FakeGitlab::start(Options::default()).await?;
//! let job = gitlab.add_job(JobSpec::script(["echo hello"]).image("busybox"));
//! // … a runner with gitlab.url() and gitlab.runner_token() takes it …
//! assert_eq!(gitlab.wait_finished(job).await.state, JobState::Success);
//! gitlab.assert_clean();
//! # Ok(()) }
//! ```

mod access;
mod answer;
mod artifacts;
mod call;
mod connection;
pub mod display;
mod disturb;
mod download;
mod endpoint;
mod entries;
mod faults;
mod gate;
mod git_http;
mod job;
mod job_request;
mod judge;
mod options;
mod pages;
mod payload;
pub mod pipeline;
pub mod program;
mod repositories;
mod requests;
mod rules;
mod runner_endpoints;
mod server;
mod spec;
mod state;
mod tls;
mod trace;
mod update;
mod wait;

pub use endpoint::Endpoint;
pub use entries::{ArtifactSpec, CacheSpec};
pub use faults::{Fault, FaultId, Matcher, Outage};
pub use job::{Finished, JobId, JobState, Times, Upload};
pub use options::Options;
pub use repositories::Repository;
pub use requests::RecordedRequest;
pub use rules::{Rule, Violation};
pub use spec::{JobSpec, ServiceSpec};
pub use tls::TlsFront;

use bytes::Bytes;
use server::Server;
use state::{Job, Shared, State, random};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;

/// Beyond 32 bits, as on a large server (B26).
const FIRST_JOB: u64 = 7_000_000_001;

/// A running fake; dropping it closes its ports and connections and removes its repositories.
///
/// Functions that name a job panic when there is none of that id.
#[derive(Debug)]
pub struct FakeGitlab {
    shared: Arc<Shared>,
    server: Server,
}

impl FakeGitlab {
    /// Starts a server with the project `group/demo`. Fails when an address is taken.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let server = Server::bind(&options.listen)?;
        let first = server.addresses()[0];
        let external = options.external_url.clone().unwrap_or_else(|| format!("http://{first}"));
        let url = external.replace("{port}", &first.port().to_string()) + &options.relative_root;
        let shared = Arc::new(Shared::new(options, url, repositories::Repositories::new()?));
        let demo = shared.clone();
        tokio::task::spawn_blocking(move || drop(demo.repositories.open("group/demo", "sha1"))).await?;
        server.open(&shared)?;
        Ok(Self { shared, server })
    }

    /// The URL to configure a runner with: the external URL, or the first listen address, with the relative root.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url.clone()
    }

    /// The URL of each listen address.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let root = &self.shared.options.relative_root;
        self.server.addresses().iter().map(|address| format!("http://{address}{root}")).collect()
    }

    /// The runner's authentication token (`glrt-…`), random per instance.
    #[must_use]
    pub fn runner_token(&self) -> String {
        self.shared.runner_token.clone()
    }

    /// The legacy registration token.
    #[must_use]
    pub fn registration_token(&self) -> String {
        runner_endpoints::REGISTRATION_TOKEN.to_owned()
    }

    /// The repository of a project; made, with one commit on `main`, when it does not exist.
    #[must_use]
    pub fn repo(&self, project: &str) -> Repository {
        self.shared.repositories.open(project, "sha1")
    }

    /// Like [`Self::repo`], but new ones have the object format `sha256`.
    #[must_use]
    pub fn sha256_repo(&self, project: &str) -> Repository {
        self.shared.repositories.open(project, "sha256")
    }

    /// A new pipeline id, for jobs that share one.
    #[must_use]
    pub fn new_pipeline(&self) -> u64 {
        self.shared.update(|state| {
            state.pipelines += 1;
            state.pipelines
        })
    }

    /// Queues a job for the head of its ref. The jobs it needs must have ended.
    pub fn add_job(&self, spec: JobSpec) -> JobId {
        let pipeline = spec.pipeline.unwrap_or_else(|| self.new_pipeline());
        self.shared.update(|state| {
            let id = JobId(FIRST_JOB + state.jobs.len() as u64);
            let token = format!("glcbt-64_{}", random(20));
            let facts = payload::Facts { id: id.0, token: &token, pipeline };
            let payload = payload::build(&self.shared, state, &spec, &facts);
            state.jobs.insert(id, Job::new(id, spec, token, pipeline, payload));
            job_request::queue(state, id);
            id
        })
    }

    /// The user's cancel: `canceling` when the runner can do that, else `canceled`.
    pub fn cancel(&self, job: JobId) {
        self.change(job, update::cancel);
    }

    /// Cancels for good: the job's token is worth nothing any more.
    pub fn force_cancel(&self, job: JobId) {
        self.change(job, update::force_cancel);
    }

    /// Says that the job's executor is lost on purpose: calls of another process after the job is over are no violation.
    pub fn expect_loss(&self, job: JobId) {
        self.change(job, |job| job.loss_expected = true);
    }

    /// The job's state now.
    #[must_use]
    pub fn state(&self, job: JobId) -> JobState {
        self.look(job, |job| job.state)
    }

    /// The stored log now, as it was sent.
    #[must_use]
    pub fn log(&self, job: JobId) -> Bytes {
        self.look(job, |job| Bytes::copy_from_slice(&job.log))
    }

    /// The job token.
    #[must_use]
    pub fn job_token(&self, job: JobId) -> String {
        self.look(job, |job| job.token.clone())
    }

    /// The job's payload as it is, or will be, handed out.
    #[must_use]
    pub fn payload(&self, job: JobId) -> serde_json::Value {
        self.look(job, |job| job.payload.clone())
    }

    /// The stored log and then every piece that is appended; ends when the job has ended. Needs the runtime.
    #[must_use]
    pub fn subscribe(&self, job: JobId) -> UnboundedReceiver<Bytes> {
        wait::subscribe(self.shared.clone(), job)
    }

    /// Waits until the job has ended. Panics with the log and the violations when patience ends.
    pub async fn wait_finished(&self, job: JobId) -> Finished {
        let look = |state: &State| state.jobs.get(&job).filter(|job| job.state.is_final()).map(Job::finished);
        wait::expect(&self.shared, &format!("job {job} to end"), Some(job), look).await
    }

    /// Waits until the log, without timestamps, contains the text.
    ///
    /// # Panics
    /// When patience ends, or when the job ends without it.
    pub async fn wait_log_contains(&self, job: JobId, text: &str) {
        let look = |state: &State| {
            let job = state.jobs.get(&job)?;
            let found = display::untimed(&String::from_utf8_lossy(&job.log)).contains(text);
            (found || job.state.is_final()).then_some(found)
        };
        let found = wait::expect(&self.shared, &format!("`{text}` in the log of job {job}"), Some(job), look).await;
        assert!(found, "job {job} ended without `{text}` in its log\n{}", self.explain(job));
    }

    /// Waits until the job is in this state.
    ///
    /// # Panics
    /// When patience ends, or when the job ends in another.
    pub async fn wait_state(&self, job: JobId, wanted: JobState) {
        let look = |state: &State| state.jobs.get(&job).map(|job| job.state).filter(|s| *s == wanted || s.is_final());
        let reached = wait::expect(&self.shared, &format!("job {job} to be {wanted}"), Some(job), look).await;
        assert!(reached == wanted, "job {job} ended {reached}, not {wanted}\n{}", self.explain(job));
    }

    /// Waits until that many requests of this kind have arrived since the start.
    pub async fn wait_requests(&self, endpoint: Endpoint, count: usize) {
        let what = format!("{count} requests {endpoint:?}");
        wait::expect(&self.shared, &what, None, |state| (state.count(endpoint) >= count).then_some(())).await;
    }

    /// What there is to know about a job, for the message of a failing assertion.
    #[must_use]
    pub fn explain(&self, job: JobId) -> String {
        self.shared.read(|state| wait::explain(state, Some(job)))
    }

    /// Sets up a fault. Of several that fit a request the first set up hits.
    pub fn misbehave(&self, matcher: Matcher, fault: Fault) -> FaultId {
        self.shared.update(|state| state.faults.add(matcher, fault))
    }

    /// How many requests the fault has hit.
    #[must_use]
    pub fn hits(&self, fault: FaultId) -> usize {
        self.shared.read(|state| state.faults.hits(fault))
    }

    /// Waits until the fault has hit that many requests.
    pub async fn wait_hits(&self, fault: FaultId, count: usize) {
        let look = |state: &State| (state.faults.hits(fault) >= count).then_some(());
        wait::expect(&self.shared, &format!("{count} hits of a fault"), None, look).await;
    }

    /// Ends a fault and lets go what hangs in it.
    pub fn release(&self, fault: FaultId) {
        self.shared.update(|state| state.faults.release(fault));
    }

    /// The server goes away. When this returns, it is away.
    ///
    /// # Panics
    /// When the ports cannot be kept.
    pub async fn outage(&self, kind: Outage) {
        self.shared.update(|state| state.fail(kind));
        if kind == Outage::Refused {
            self.server.close().await.unwrap_or_else(|error| panic!("{error:#}"));
        }
    }

    /// The server comes back, on the same addresses. What hung is cut.
    ///
    /// # Panics
    /// When the ports are lost.
    pub async fn recover(&self) {
        self.shared.update(State::recover);
        self.server.open(&self.shared).unwrap_or_else(|error| panic!("{error:#}"));
        let reached = tokio::net::TcpStream::connect(self.server.addresses()[0]).await;
        reached.unwrap_or_else(|error| panic!("reach the fake GitLab after its outage: {error}"));
    }

    /// How many requests of this kind arrived.
    #[must_use]
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.shared.read(|state| state.count(endpoint))
    }

    /// All requests in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.read(|state| state.requests.clone())
    }

    /// The rules broken so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.read(|state| state.violations.clone())
    }

    /// Tells that no rule was broken.
    ///
    /// # Panics
    /// With the list, when a rule was broken.
    pub fn assert_clean(&self) {
        let list: Vec<String> = self.violations().iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "{} rules of the protocol were broken:\n{}", list.len(), list.join("\n"));
    }

    fn look<T>(&self, id: JobId, look: impl FnOnce(&Job) -> T) -> T {
        self.shared.read(|state| look(state.jobs.get(&id).unwrap_or_else(|| panic!("there is no job {id}"))))
    }

    fn change(&self, id: JobId, change: impl FnOnce(&mut Job)) {
        self.shared.update(|state| change(state.jobs.get_mut(&id).unwrap_or_else(|| panic!("there is no job {id}"))));
    }
}

impl Job {
    fn new(id: JobId, spec: JobSpec, token: String, pipeline: u64, payload: serde_json::Value) -> Self {
        Self {
            id,
            spec,
            token,
            pipeline,
            payload,
            state: JobState::Pending,
            failure_reason: None,
            exit_code: None,
            times: Times { queued: Instant::now(), picked: None, started: None, finished: None },
            log: Vec::new(),
            uploads: Vec::new(),
            cancel_gracefully: false,
            over: None,
            loss_expected: false,
            trace: judge::trace::TraceJudge::default(),
            update: judge::update::UpdateJudge::default(),
            artifacts: judge::artifacts::ArtifactJudge::default(),
        }
    }
}

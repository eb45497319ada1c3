//! The fake GitLab: a server that enforces the runner's protocol and judges who talks to it.
//!
//! Skeleton: the types are final, the inside follows.

mod endpoint;
mod faults;
mod job;
mod options;
pub mod pipeline;
mod repositories;
mod requests;
mod rules;
mod spec;

pub use endpoint::Endpoint;
pub use faults::{Fault, FaultId, Matcher, Outage};
pub use job::{Finished, JobId, JobState, Times, Upload};
pub use options::Options;
pub use repositories::Repository;
pub use requests::RecordedRequest;
pub use rules::{Rule, Violation};
pub use spec::{ArtifactSpec, CacheSpec, JobSpec, ServiceSpec};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

/// A running fake; dropping it closes its ports and connections and removes its repositories.
#[derive(Debug)]
pub struct FakeGitlab {}

#[expect(clippy::unused_async, clippy::unused_self, reason = "skeleton")]
impl FakeGitlab {
    /// Starts a server.
    pub async fn start(_options: Options) -> anyhow::Result<Self> {
        Ok(Self {})
    }
    /// The URL to configure a runner with: external URL, or the first listen address, with the relative root.
    #[must_use]
    pub fn url(&self) -> String {
        unimplemented!()
    }
    /// The URL of each listen address.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        unimplemented!()
    }
    /// The runner's authentication token (`glrt-…`), random per instance.
    #[must_use]
    pub fn runner_token(&self) -> String {
        unimplemented!()
    }
    /// The repository of a project; made, with one commit on `main`, when it does not exist.
    #[must_use]
    pub fn repo(&self, _project: &str) -> Repository {
        unimplemented!()
    }
    /// A new pipeline id, for jobs that share one.
    #[must_use]
    pub fn new_pipeline(&self) -> u64 {
        unimplemented!()
    }
    /// Queues a job.
    pub fn add_job(&self, _spec: JobSpec) -> JobId {
        unimplemented!()
    }
    /// The user's cancel: `canceling` when the runner can do that, else `canceled`.
    pub fn cancel(&self, _job: JobId) {}
    /// Cancels for good: the job's token is worth nothing any more.
    pub fn force_cancel(&self, _job: JobId) {}
    /// Says that the job's executor is lost on purpose: a second final update of another process is no violation.
    pub fn expect_loss(&self, _job: JobId) {}
    /// The job's state now.
    #[must_use]
    pub fn state(&self, _job: JobId) -> JobState {
        unimplemented!()
    }
    /// The stored log now.
    #[must_use]
    pub fn log(&self, _job: JobId) -> Bytes {
        unimplemented!()
    }
    /// The job token.
    #[must_use]
    pub fn job_token(&self, _job: JobId) -> String {
        unimplemented!()
    }
    /// The stored log and then every piece that is appended; ends when the job has ended.
    #[must_use]
    pub fn subscribe(&self, _job: JobId) -> UnboundedReceiver<Bytes> {
        unimplemented!()
    }
    /// Waits until the job has ended. Panics with the log and the violations when patience ends.
    pub async fn wait_finished(&self, _job: JobId) -> Finished {
        unimplemented!()
    }
    /// Waits until the log contains the text; panics like [`Self::wait_finished`], also when the job ends without it.
    pub async fn wait_log_contains(&self, _job: JobId, _text: &str) {}
    /// Waits until the job is in this state; panics like [`Self::wait_finished`].
    pub async fn wait_state(&self, _job: JobId, _state: JobState) {}
    /// Waits until that many requests of this kind have arrived since the start.
    pub async fn wait_requests(&self, _endpoint: Endpoint, _count: usize) {}
    /// Sets up a fault.
    pub fn misbehave(&self, _matcher: Matcher, _fault: Fault) -> FaultId {
        unimplemented!()
    }
    /// How many requests the fault has hit.
    #[must_use]
    pub fn hits(&self, _fault: FaultId) -> usize {
        unimplemented!()
    }
    /// Waits until the fault has hit that many requests.
    pub async fn wait_hits(&self, _fault: FaultId, _count: usize) {}
    /// Ends a fault and lets go what hangs in it.
    pub fn release(&self, _fault: FaultId) {}
    /// The server goes away. When this returns, it is away.
    pub async fn outage(&self, _kind: Outage) {}
    /// The server comes back, on the same addresses.
    pub async fn recover(&self) {}
    /// How many requests of this kind arrived.
    #[must_use]
    pub fn count(&self, _endpoint: Endpoint) -> usize {
        unimplemented!()
    }
    /// All requests in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        unimplemented!()
    }
    /// The rules broken so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        unimplemented!()
    }
    /// Panics with the list when a rule was broken.
    pub fn assert_clean(&self) {}
}

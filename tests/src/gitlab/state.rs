//! Everything the fake remembers, behind one lock, and waiting for it to change.

use super::call::Call;
use super::endpoint::Endpoint;
use super::faults::{Faults, Outage};
use super::job::{Finished, JobId, JobState, Times, Upload};
use super::judge::{calls::Calls, runner::RunnerJudge, trace::TraceJudge, update::UpdateJudge};
use super::options::Options;
use super::repositories::Repositories;
use super::requests::RecordedRequest;
use super::rules::{Rule, Violation};
use super::spec::JobSpec;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    /// The URL in payloads, with the relative root.
    pub(super) url: String,
    pub(super) runner_token: String,
    pub(super) repositories: Repositories,
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) queue: VecDeque<JobId>,
    /// The opaque value of `X-GitLab-Last-Update` is made of this count of changes of the queue.
    pub(super) queue_version: u64,
    pub(super) pipelines: u64,
    pub(super) requests: Vec<RecordedRequest>,
    pub(super) calls: Calls,
    pub(super) violations: Vec<Violation>,
    pub(super) faults: Faults,
    pub(super) outage: Option<Outage>,
    pub(super) runner: RunnerJudge,
    /// What the runner's token was exchanged for.
    pub(super) renewed: Option<String>,
    /// When the runner's token expires, RFC 3339.
    pub(super) expires: Option<String>,
    /// Tokens of runners that were registered the old way.
    pub(super) registered: Vec<String>,
    /// Targets of redirected downloads: key → content.
    pub(super) storage: BTreeMap<String, Bytes>,
}

/// A job and what the judge knows about it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) spec: JobSpec,
    pub(super) token: String,
    pub(super) pipeline: u64,
    pub(super) payload: serde_json::Value,
    pub(super) state: JobState,
    pub(super) failure_reason: Option<String>,
    pub(super) exit_code: Option<i64>,
    pub(super) times: Times,
    pub(super) log: Vec<u8>,
    pub(super) uploads: Vec<Upload>,
    /// What the requesting runner said (protocol §1.9).
    pub(super) cancel_gracefully: bool,
    /// The runner was told, by an answer that was not lost, that the job is over.
    pub(super) over: Option<Over>,
    /// The test said that an executor is lost on purpose.
    pub(super) loss_expected: bool,
    pub(super) trace: TraceJudge,
    pub(super) update: UpdateJudge,
    pub(super) artifacts: super::judge::artifacts::ArtifactJudge,
}

/// When a job was over for its runner, and whether by its own final update.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) at: Instant,
    pub(super) accepted: bool,
}

impl Job {
    pub(super) fn finished(&self) -> Finished {
        Finished {
            state: self.state,
            failure_reason: self.failure_reason.clone(),
            exit_code: self.exit_code,
            log: Bytes::copy_from_slice(&self.log),
            artifacts: self.uploads.clone(),
            times: self.times,
        }
    }

    /// Ends the job in the server's books.
    pub(super) fn end(&mut self, state: JobState, reason: Option<&str>) {
        self.state = state;
        self.failure_reason = reason.map(str::to_owned);
        self.times.finished = Some(Instant::now());
    }
}

impl State {
    /// Records that a call broke a rule.
    pub(super) fn violate(&mut self, rule: Rule, call: &Call, what: impl Into<String>) {
        let request_id = call.request_id.clone();
        self.violations.push(Violation { rule, job: call.job, what: what.into(), request_id });
    }

    /// Records the rules that a judge found broken.
    pub(super) fn violate_all(&mut self, call: &Call, found: impl IntoIterator<Item = (Rule, String)>) {
        for (rule, what) in found {
            self.violate(rule, call, what);
        }
    }

    /// The active job with that token.
    pub(super) fn job_of_token(&self, token: &str) -> Option<JobId> {
        self.jobs.values().find(|job| job.token == token).map(|job| job.id)
    }

    /// The server is away from now on.
    pub(super) fn fail(&mut self, outage: Outage) {
        self.outage = Some(outage);
        self.excuse_jobs();
    }

    /// The server is back.
    pub(super) fn recover(&mut self) {
        self.outage = None;
        self.excuse_jobs();
    }

    /// Silence and lost answers are the server's own fault.
    fn excuse_jobs(&mut self) {
        for job in self.jobs.values_mut() {
            job.trace.pace.disturb();
            job.trace.doubt();
        }
    }

    pub(super) fn running(&self) -> usize {
        self.jobs.values().filter(|job| job.state.is_active()).count()
    }

    pub(super) fn count(&self, endpoint: Endpoint) -> usize {
        self.requests.iter().filter(|request| request.endpoint == endpoint).count()
    }
}

impl Shared {
    pub(super) fn new(options: Options, url: String, repositories: Repositories) -> Self {
        let state = State { pipelines: 3_000_000_000, queue_version: 1, ..State::default() };
        let runner_token = options.runner_token.clone().unwrap_or_else(|| format!("glrt-t1_{}", random(20)));
        let version = watch::Sender::new(0);
        Self { options, url, runner_token, repositories, state: Mutex::new(state), version }
    }

    /// Looks at the state.
    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state and wakes who waits.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.version.send_modify(|version| *version += 1);
        result
    }

    /// Waits until `look` finds something. A change between looking and waiting is not missed.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let mut version = self.version.subscribe();
        loop {
            version.mark_unchanged();
            if let Some(found) = self.read(&mut look) {
                return found;
            }
            // The sender lives as long as `self`.
            let _ = version.changed().await;
        }
    }
}

/// Random lower-case hex characters, at most 32.
pub(super) fn random(length: usize) -> String {
    uuid::Uuid::new_v4().simple().to_string()[..length].to_owned()
}

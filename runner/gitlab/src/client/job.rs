//! The calls of one job (protocol §1.7, §1.8).

use super::Client;
use super::answer::{interval, job_status, read, signal, stored};
use super::transport::Call;
use crate::sections::{Level, line};
use crate::trace::stamped;
use crate::update::{FailureReason, LogState, Signal, State, Update, UpdateAnswer, Verdict};
use crate::{Error, info::Info, secret::Secret};
use bytes::Bytes;
use reqwest::{Method, Response};
use serde::Serialize;
use std::time::Duration;

/// The calls under `/jobs/:id`, with the job's token. Clones share connections.
#[derive(Clone, Debug)]
pub struct JobClient {
    pub(crate) client: Client,
    pub(crate) id: u64,
    pub(crate) token: Secret,
    pub(crate) info: Info,
}

/// GitLab's answer to a patch of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PatchAnswer {
    /// What the status means.
    pub verdict: PatchVerdict,
    /// What GitLab wants of the job.
    pub signal: Signal,
    /// `X-GitLab-Trace-Update-Interval`, if it was there and made sense.
    pub interval: Option<Duration>,
}

/// What the status of an answer to a patch means (protocol §1.7, table).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PatchVerdict {
    /// 202: stored.
    Stored,
    /// 416: GitLab has this many bytes.
    Has(u64),
    /// 404: there is no such log (any more).
    Missing,
    /// Anything else: not stored. Why, in one line.
    Failed(String),
}

impl JobClient {
    /// Sends another `info` than the default one.
    #[must_use]
    pub fn with_info(mut self, info: Info) -> Self {
        self.info = info;
        self
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Reports a state: one try (over the retry layer).
    ///
    /// Directly after a job was acquired comes [`Update::running`], before any log (protocol §1.5): refused or
    /// [`Signal::Aborted`] means drop the job silently, [`Signal::Canceling`] report it failed at once, else go on.
    /// An error is a transport error.
    pub async fn update(&self, update: &Update) -> Result<UpdateAnswer, Error> {
        let call = self.call("update the job's state", Method::PUT, "");
        let body = Body::new(self, update);
        let dress = |request: reqwest::RequestBuilder| request.header("JOB-TOKEN", self.token.expose()).json(&body);
        let response = self.client.transport.send(&call, dress).await?;
        let (signal, interval) = (signal(response.headers()), interval(response.headers()));
        let job_status = job_status(response.headers()).map(str::to_owned);
        let verdict = Verdict::of(response.status().as_u16(), why(&call, response).await);
        Ok(UpdateAnswer { verdict, signal, job_status, interval })
    }

    /// Fails a job that will not run here, and says why in its log: the running update that must come first, one line, the
    /// end with `runner_system_failure`. Needs no file; each call is tried once (over the retry layer). `timestamps` is
    /// `FF_TIMESTAMPS`.
    pub async fn refuse(&self, why: &str, timestamps: bool) -> Result<(), Error> {
        let line = line(Level::Error, &format!("Job failed (system failure): {why}"));
        let text = if timestamps { stamped(&line) } else { line };
        let whole = LogState { checksum: Some(crc32fast::hash(text.as_bytes())), bytes: text.len() as u64 };
        self.update(&Update::running()).await?;
        let stored = self.patch_trace(0, text.into(), false).await?.verdict == PatchVerdict::Stored;
        let log = if stored { whole } else { LogState::default() };
        let reason = Some(FailureReason::RunnerSystemFailure);
        self.update(&Update { state: State::Failed, reason, exit_code: None, log }).await.map(drop)
    }

    /// Sends `bytes` of the log that begin at `offset`: one try (over the retry layer). Nothing is stored
    /// without a call: GitLab takes no empty patch.
    pub async fn patch_trace(&self, offset: u64, bytes: Bytes, debug: bool) -> Result<PatchAnswer, Error> {
        if bytes.is_empty() {
            return Ok(PatchAnswer { verdict: PatchVerdict::Stored, signal: Signal::Running, interval: None });
        }
        let mut call = self.call("send the job's log", Method::PATCH, "/trace");
        call.url.set_query(Some(&format!("debug_trace={debug}")));
        let range = format!("{offset}-{}", offset + bytes.len() as u64 - 1);
        let dress = |request: reqwest::RequestBuilder| {
            let request = request.header("JOB-TOKEN", self.token.expose()).header("Content-Type", "text/plain");
            request.header("Content-Range", &range).body(bytes.clone())
        };
        let response = self.client.transport.send(&call, dress).await?;
        Ok(PatchAnswer::of(&call, response).await)
    }

    fn call(&self, what: &'static str, method: Method, path: &str) -> Call {
        let mut call = self.client.transport.call(what, method, &format!("jobs/{}{path}", self.id));
        call.total = self.client.transport.timing().update;
        call
    }
}

impl PatchAnswer {
    async fn of(call: &Call, response: Response) -> Self {
        let headers = response.headers();
        let (signal, interval, stored) = (signal(headers), interval(headers), stored(headers));
        let status = response.status().as_u16();
        let why = why(call, response).await;
        let verdict = match status {
            202 => PatchVerdict::Stored,
            416 => PatchVerdict::Has(stored),
            404 => PatchVerdict::Missing,
            _ => PatchVerdict::Failed(why),
        };
        let signal = if status == 403 { Signal::Aborted } else { signal };
        Self { verdict, signal, interval }
    }
}

/// The status and GitLab's reason, as a line; reads the body to its end, so that the connection is used again.
async fn why(call: &Call, response: Response) -> String {
    if response.status().is_success() {
        read(response).await;
        return String::new();
    }
    call.failure(response).await.to_string()
}

/// The body of a job update (protocol §1.8).
#[derive(Serialize)]
struct Body<'a> {
    info: &'a Info,
    token: &'a Secret,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'static str>,
    /// The deprecated copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    output: Output,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
}

#[derive(Serialize)]
struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytesize: Option<u64>,
}

impl<'a> Body<'a> {
    fn new(job: &'a JobClient, update: &Update) -> Self {
        let LogState { checksum, bytes } = update.log;
        let checksum = checksum.map(|checksum| format!("crc32:{checksum:08x}"));
        let failed = update.state == State::Failed;
        Self {
            info: &job.info,
            token: &job.token,
            state: update.state,
            failure_reason: update.reason.filter(|_| failed).map(FailureReason::as_str),
            output: Output { checksum: checksum.clone(), bytesize: (bytes > 0).then_some(bytes) },
            checksum,
            exit_code: update.exit_code.filter(|&code| failed && code != 0),
        }
    }
}

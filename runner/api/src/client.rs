//! The agent's side of the API: one method per call, repeated until an answer or the caller's deadline.

use crate::pin::{self, Fingerprint};
use crate::{Assignment, Empty, Heartbeat, Holding, Notice, Register, Registered, Release};
use backon::{ExponentialBuilder, Retryable};
use reqwest::StatusCode;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;
use warmstart_gitlab::secret::Secret;

/// How long the runner holds a `next` without work before it answers 204.
pub const LONG_POLL: Duration = Duration::from_secs(50);

/// One attempt of a call that is answered at once. Short: a runner that hangs is replaced, and each call is idempotent.
const ATTEMPT: Duration = Duration::from_secs(10);

/// What a call can end with, besides its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL or the fingerprint is not one.
    #[error("cannot use runner {what}: {reason}")]
    Configuration {
        /// `address` or `fingerprint`.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// 409: the generation is stale (stop that job, send nothing more to GitLab), or for `leave`: work is waiting.
    #[error("runner answered 409 to {0}: no longer (or not yet) this agent's turn")]
    Stale(&'static str),
    /// 401: the session is unknown, or belongs to an earlier run of this executor. Register again.
    #[error("runner does not know this session any more ({0})")]
    Session(&'static str),
    /// 403: the proof is wrong, or the executor is not one of the runner's.
    #[error("runner refused {call}: {reason}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The runner's words.
        reason: String,
    },
    /// 410: there will be no more work here; shut down.
    #[error("runner has no more work for this executor")]
    Gone,
    /// No usable answer before the deadline.
    #[error("no answer from the runner to {call} within {}: {reason}", humane(.within))]
    Unreachable {
        /// The call.
        call: &'static str,
        /// The caller's limit.
        within: Duration,
        /// What the last attempt met.
        reason: String,
    },
    /// An answer that this version does not understand.
    #[error("runner answered {call} with {detail}")]
    Protocol {
        /// The call.
        call: &'static str,
        /// Status and beginning of the body, or why the body is not JSON of the expected shape.
        detail: String,
    },
}

/// A connection to the runner. Clones share the session.
#[derive(Clone, Debug)]
pub struct Link {
    http: reqwest::Client,
    base: Url,
    session: Arc<Mutex<Secret>>,
}

impl Link {
    /// Prepares a link to `url` (`https://host:port`) that trusts exactly the certificate with this SHA-256
    /// (64 hex digits). Nothing is dialled yet.
    pub fn new(url: &str, fingerprint: &str) -> Result<Self, Error> {
        let base = address(url)?;
        let fingerprint: Fingerprint = fingerprint.parse().map_err(|e| configuration("fingerprint", &e))?;
        let tls = pin::tls(fingerprint).map_err(|e| configuration("fingerprint", &e))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(ATTEMPT)
            .tcp_keepalive(Duration::from_secs(30))
            .user_agent(concat!("warmstart-agent ", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| configuration("address", &e))?;
        Ok(Self { http, base, session: Arc::default() })
    }

    /// Announces the agent and keeps the session of the answer for the other calls.
    pub async fn register(&self, request: &Register, within: Duration) -> Result<Registered, Error> {
        let answer: Registered = self.call("register", request, ATTEMPT, within).await?;
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = answer.session.clone();
        Ok(answer)
    }

    /// Asks for a job and waits up to [`LONG_POLL`] for one. `None`: nothing yet, ask again.
    ///
    /// The job is not the agent's before [`Link::ack`].
    pub async fn next(&self, within: Duration) -> Result<Option<Assignment>, Error> {
        self.call("next", &Empty {}, LONG_POLL + ATTEMPT, within).await
    }

    /// Takes an assigned job. Only after `Ok` it is the agent's, and the runner writes nothing more to its log.
    pub async fn ack(&self, holding: Holding, within: Duration) -> Result<(), Error> {
        self.done("ack", &holding, within).await
    }

    /// Asks to open the barrier. Only after `Ok` the first byte of the user's script may run.
    pub async fn script(&self, holding: Holding, within: Duration) -> Result<(), Error> {
        self.done("script", &holding, within).await
    }

    /// Renews the lease of the job. `Ok` starts the agent's own lease clock afresh.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat, within: Duration) -> Result<(), Error> {
        self.done("heartbeat", heartbeat, within).await
    }

    /// Tells the runner what became of the job.
    pub async fn release(&self, release: &Release, within: Duration) -> Result<(), Error> {
        self.done("release", release, within).await
    }

    /// Asks to leave the fleet. [`Error::Stale`] means that work is waiting: ask for it with [`Link::next`].
    pub async fn leave(&self, within: Duration) -> Result<(), Error> {
        self.done("leave", &Empty {}, within).await
    }

    /// Tells the runner that the machine is about to be taken away: it assigns no more jobs.
    pub async fn notice(&self, notice: &Notice, within: Duration) -> Result<(), Error> {
        self.done("notice", notice, within).await
    }

    async fn done(&self, call: &'static str, body: &impl Serialize, within: Duration) -> Result<(), Error> {
        self.call::<Option<Empty>>(call, body, ATTEMPT, within).await.map(drop)
    }

    /// Repeats a call until it is answered for good or `within` is over.
    async fn call<T: DeserializeOwned>(
        &self,
        call: &'static str,
        body: &impl Serialize,
        attempt: Duration,
        within: Duration,
    ) -> Result<T, Error> {
        let last = Mutex::new("no attempt ended".to_owned());
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times();
        let attempts = (async || self.attempt(call, body, attempt).await)
            .retry(pauses)
            .when(|failure| matches!(failure, Failure::Passing(_)))
            .notify(|failure, pause| {
                if let Failure::Passing(reason) = failure {
                    tracing::warn!(call, ?pause, "no answer from the runner, trying again: {reason}");
                    last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(reason);
                }
            });
        match tokio::time::timeout(within, attempts).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Failure::Final(error))) => Err(error),
            Ok(Err(Failure::Passing(reason))) => Err(Error::Unreachable { call, within, reason }),
            Err(_) => {
                let reason = last.into_inner().unwrap_or_else(PoisonError::into_inner);
                Err(Error::Unreachable { call, within, reason })
            }
        }
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        call: &'static str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<T, Failure> {
        let url = format!("{}v1/{call}", self.base);
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = self.http.post(url).timeout(limit).json(body);
        let request = if session.is_empty() { request } else { request.bearer_auth(session.expose()) };
        let answer = request.send().await.map_err(|e| Failure::Passing(causes(&e)))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| Failure::Passing(causes(&e)))?;
        judge(call, status, &text)
    }
}

/// One attempt without an answer that counts.
#[derive(Debug)]
enum Failure {
    /// Another attempt may do better.
    Passing(String),
    Final(Error),
}

/// Reads an answer; 204 and an empty 200 are `null`.
fn judge<T: DeserializeOwned>(call: &'static str, status: StatusCode, text: &str) -> Result<T, Failure> {
    let start: String = text.chars().take(200).collect();
    match status.as_u16() {
        200 | 204 => {
            let text = if text.is_empty() { "null" } else { text };
            let unread = |e: serde_json::Error| Error::Protocol { call, detail: format!("an unreadable body: {e}") };
            serde_json::from_str(text).map_err(|e| Failure::Final(unread(e)))
        }
        401 => Err(Failure::Final(Error::Session(call))),
        403 => Err(Failure::Final(Error::Refused { call, reason: start })),
        409 => Err(Failure::Final(Error::Stale(call))),
        410 => Err(Failure::Final(Error::Gone)),
        408 | 429 | 500.. => Err(Failure::Passing(format!("{status}: {start}"))),
        _ => Err(Failure::Final(Error::Protocol { call, detail: format!("{status}: {start}") })),
    }
}

fn address(url: &str) -> Result<Url, Error> {
    let base = Url::parse(url).map_err(|e| configuration("address", &e))?;
    if base.scheme() != "https" || base.path() != "/" {
        return Err(configuration("address", &format!("`{url}` is not of the form https://host:port")));
    }
    Ok(base)
}

fn configuration(what: &'static str, reason: &dyn std::fmt::Display) -> Error {
    Error::Configuration { what, reason: reason.to_string() }
}

/// The error with its causes on one line: reqwest's own text ends at "error sending request".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn humane(duration: &Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

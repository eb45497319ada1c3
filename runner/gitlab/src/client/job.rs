//! The calls of one job (protocol §1.7, §1.8).

use super::Client;
use crate::update::{Signal, Update, UpdateAnswer};
use crate::{Error, info::Info, secret::Secret};
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
        let _ = update;
        std::future::ready(()).await;
        todo!()
    }

    /// Sends `bytes` of the log that begin at `offset`: one try (over the retry layer). Never empty.
    pub async fn patch_trace(&self, offset: u64, bytes: bytes::Bytes, debug: bool) -> Result<PatchAnswer, Error> {
        let _ = (offset, bytes, debug);
        std::future::ready(()).await;
        todo!()
    }
}

//! What a test learns about a job.

use super::display::untimed;
use bytes::Bytes;
use std::time::Instant;

/// A job's id; the fake's ids do not fit 32 bits, as on a large server (B26).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct JobId(pub u64);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The server's state of a job (protocol §1.9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JobState {
    /// In the queue.
    Pending,
    /// Handed to a runner.
    Running,
    /// Cancelled by the user, the runner is still cleaning up.
    Canceling,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
    /// Cancelled for good.
    Canceled,
}

impl JobState {
    /// The word of the `Job-Status` header.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Canceling => "canceling",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Whether the job has ended; its token is worth nothing then.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled)
    }

    /// Whether the job's calls are accepted.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Canceling)
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// An uploaded artifact.
#[derive(Clone, Debug)]
pub struct Upload {
    /// `artifact_type` of the query, `archive` when absent.
    pub kind: String,
    /// `artifact_format` of the query, `zip` when absent.
    pub format: String,
    /// The part's file name.
    pub filename: String,
    /// The part's content.
    pub bytes: Bytes,
    /// The query as it was sent.
    pub query: String,
}

/// When things happened to a job.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Entered the queue.
    pub queued: Instant,
    /// Handed to the runner (201).
    pub picked: Option<Instant>,
    /// First `PUT state=running`.
    pub started: Option<Instant>,
    /// Reached its final state.
    pub finished: Option<Instant>,
}

/// A job that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The final state.
    pub state: JobState,
    /// As sent by the runner, or set by the server (`runner_unsupported`, `trace_size_exceeded`).
    pub failure_reason: Option<String>,
    /// As sent by the runner; absent means 0.
    pub exit_code: Option<i64>,
    /// The stored log, as it was sent.
    pub log: Bytes,
    /// Uploads in the order of arrival.
    pub artifacts: Vec<Upload>,
    /// When it happened.
    pub times: Times,
}

impl Finished {
    /// The log as text without timestamps; bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        untimed(&String::from_utf8_lossy(&self.log))
    }
}

//! What can go wrong between us and GitLab.

/// Why something asked of GitLab did not happen. One line each; never with a token or a query in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration does not allow a client: a bad URL, a CA or client certificate that cannot be read.
    #[error("cannot make a client for GitLab at {url}: {why}")]
    Setup {
        /// The URL as configured, without secrets.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No answer: DNS, refused, reset, timeout, or a body that ended early.
    #[error("{what}: no answer from {url}: {why}")]
    Transport {
        /// The call, for example `request a job`.
        what: &'static str,
        /// Where to, without user info, query and fragment.
        url: String,
        /// The innermost reasons, outermost first.
        why: String,
    },
    /// An answer that is not the wanted one.
    #[error("{what}: {url} answered {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Status {
        /// The call, for example `request a job`.
        what: &'static str,
        /// Where to, without user info, query and fragment.
        url: String,
        /// The HTTP status.
        status: u16,
        /// GitLab's own words (protocol §1.1, error bodies); may be empty.
        message: String,
    },
    /// The right status with a body that does not mean anything.
    #[error("{what}: cannot understand the answer of {url}: {why}")]
    Answer {
        /// The call, for example `request a job`.
        what: &'static str,
        /// Where to, without user info, query and fragment.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The log's own file failed: a full disk, most often.
    #[error("cannot {what}: {source}")]
    File {
        /// The operation and the file, for example `create the log in /tmp`.
        what: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A log that was taken over cannot be completed, for the missing part is not here (design: one log).
    #[error("GitLab lost a part of the log that was written before this process took the job over: {why}")]
    LogLost {
        /// How that was noticed.
        why: String,
    },
    /// The final state did not get through within all rounds (protocol §1.8).
    #[error("GitLab did not take the job's final state in {rounds} rounds: {last}")]
    GaveUp {
        /// How many rounds without progress there were.
        rounds: usize,
        /// The last failure.
        last: String,
    },
}

impl Error {
    /// The HTTP status, where GitLab answered with one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether asking again later may help: no answer, 408, 429 or 5xx.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }
}

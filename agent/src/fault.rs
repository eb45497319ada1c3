//! What makes a stage of a job fail, classified as GitLab does.

use bollard::errors::Error as DockerError;
use warmstart_gitlab::update::FailureReason;

/// Why a stage failed. The text is what the job's log says.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A script ended with this exit code.
    #[error("exit code {0}")]
    Exit(i32),
    /// A script took longer than it may; other scripts still run (protocol §2.2).
    #[error("{0}")]
    Timeout(String),
    /// The user cancelled while a script ran (protocol §1.9).
    #[error("canceled")]
    Canceled,
    /// The job or the runner's settings ask for something impossible.
    #[error("{0}")]
    Configuration(String),
    /// The runner's settings do not allow what the job asks for: to GitLab a failure of the system (protocol §4.2).
    #[error("{0}")]
    Refused(String),
    /// Something outside of GitLab and this machine is not to be had, a registry mostly.
    #[error("{0}")]
    Dependency(String),
    /// An image could not be pulled for a reason that is neither of the two before.
    #[error("{0}")]
    ImagePull(String),
    /// The Docker daemon refused.
    #[error("{doing}: {source}")]
    Docker {
        /// What was attempted, on what.
        doing: String,
        /// The daemon's answer.
        source: DockerError,
    },
    /// Anything else that is this machine's fault.
    #[error("{0}")]
    System(String),
}

impl Fault {
    /// A daemon's answer to `doing`; a bad request means that the configuration asked for it (protocol §1.8).
    pub fn docker(doing: impl Into<String>, source: DockerError) -> Self {
        let doing = doing.into();
        match source {
            DockerError::DockerResponseServerError { status_code: 400, message } => {
                Self::Configuration(format!("{doing}: {message}"))
            }
            source => Self::Docker { doing, source },
        }
    }

    /// A failure of this machine, with everything that led to it on one line.
    pub fn system(doing: &str, error: &dyn std::error::Error) -> Self {
        Self::System(format!("{doing}: {}", causes(error)))
    }

    /// GitLab's word for it (protocol §1.8).
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Exit(_) => FailureReason::ScriptFailure,
            Self::Timeout(_) => FailureReason::JobExecutionTimeout,
            Self::Canceled => FailureReason::JobCanceled,
            Self::Configuration(_) => FailureReason::RunnerConfigurationError,
            Self::Dependency(_) => FailureReason::RunnerExternalDependencyFailure,
            Self::ImagePull(_) => FailureReason::ImagePullFailure,
            Self::Refused(_) | Self::Docker { .. } | Self::System(_) => FailureReason::RunnerSystemFailure,
        }
    }

    /// Whether a container is not there any more: somebody else has removed it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Docker { source: DockerError::DockerResponseServerError { message, .. }, .. }
            if ["No such container", "marked for removal"].iter().any(|words| message.contains(words)))
    }

    /// Whether preparing once more may help: what is classified will not change in three seconds (protocol §2.1), nor
    /// will what is refused.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Docker { .. } | Self::System(_))
    }
}

/// An error with its causes on one line.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

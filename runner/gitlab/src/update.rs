//! A job's state: what we tell GitLab, and what its answers mean (protocol §1.8, §1.9).

use crate::payload::Features;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The state of a job as a runner reports it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The first update, and keep-alives.
    Running,
    /// A final state.
    Success,
    /// A final state; also that of a cancelled job.
    Failed,
}

/// Why a job failed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the reasons are GitLab's, explained in protocol §1.8")]
pub enum FailureReason {
    ScriptFailure,
    RunnerSystemFailure,
    JobExecutionTimeout,
    ImagePullFailure,
    RunnerConfigurationError,
    RunnerExternalDependencyFailure,
    RunnerInterrupted,
    /// Never sent as it is.
    JobCanceled,
    UnknownFailure,
}

impl State {
    /// GitLab's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }
}

impl FailureReason {
    /// GitLab's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScriptFailure => "script_failure",
            Self::RunnerSystemFailure => "runner_system_failure",
            Self::JobExecutionTimeout => "job_execution_timeout",
            Self::ImagePullFailure => "image_pull_failure",
            Self::RunnerConfigurationError => "runner_configuration_error",
            Self::RunnerExternalDependencyFailure => "runner_external_dependency_failure",
            Self::RunnerInterrupted => "runner_interrupted",
            Self::JobCanceled => "job_canceled",
            Self::UnknownFailure => "unknown_failure",
        }
    }

    /// What an older server is told instead.
    fn older(self) -> Option<Self> {
        match self {
            Self::ImagePullFailure | Self::RunnerExternalDependencyFailure => Some(Self::RunnerSystemFailure),
            Self::RunnerConfigurationError => Some(Self::ScriptFailure),
            _ => None,
        }
    }

    fn accepted(self, features: &Features) -> bool {
        let always = matches!(self, Self::ScriptFailure | Self::RunnerSystemFailure | Self::JobExecutionTimeout);
        always || features.failure_reasons.iter().any(|reason| reason == self.as_str())
    }
}

/// The reason to send to a server with these features, for a failure with this reason (protocol §1.8, mapping).
#[must_use]
pub fn map_reason(reason: FailureReason, features: &Features) -> FailureReason {
    std::iter::successors(Some(reason), |reason| reason.older())
        .find(|reason| reason.accepted(features))
        .unwrap_or(FailureReason::UnknownFailure)
}

/// One report to GitLab.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// The state.
    pub state: State,
    /// For `Failed` only, already mapped.
    pub reason: Option<FailureReason>,
    /// Of the script; 0 is not sent.
    pub exit_code: Option<i32>,
    /// CRC-32 (IEEE) and length of the whole log; both stay out of the first update, the checksum also of a log
    /// that was taken over.
    pub log: LogState,
}

/// What an update says about the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogState {
    /// CRC-32 (IEEE) of the whole log, if it is known.
    pub checksum: Option<u32>,
    /// Bytes of the whole log; 0 is not sent.
    pub bytes: u64,
}

impl Update {
    /// The first update of a job, which must come before any trace data (protocol §1.5).
    #[must_use]
    pub fn running() -> Self {
        Self { state: State::Running, reason: None, exit_code: None, log: LogState::default() }
    }
}

/// The end of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Final {
    /// `Success` or `Failed`.
    pub state: State,
    /// What is sent: already mapped to what the server accepts.
    pub reason: Option<FailureReason>,
    /// The script's exit code; not sent for 0.
    pub exit_code: Option<i32>,
}

impl Final {
    /// A job that succeeded.
    #[must_use]
    pub fn success() -> Self {
        Self { state: State::Success, reason: None, exit_code: None }
    }

    /// A job that failed, its reason mapped to what this server accepts.
    #[must_use]
    pub fn failed(reason: FailureReason, exit_code: Option<i32>, features: &Features) -> Self {
        Self { state: State::Failed, reason: Some(map_reason(reason, features)), exit_code }
    }
}

impl Final {
    /// The same, or failed by the system where it was success.
    pub(crate) fn or_system_failure(self) -> Self {
        match self.state {
            State::Failed => self,
            _ => Self { state: State::Failed, reason: Some(FailureReason::RunnerSystemFailure), exit_code: None },
        }
    }
}

/// What GitLab wants of a running job (protocol §1.9). Goes forward only.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Signal {
    /// Go on.
    #[default]
    Running,
    /// Stop the script, then run `after_script`, upload what failure uploads, report `failed`.
    Canceling,
    /// Stop everything at once, upload nothing; GitLab takes no more of this job.
    Aborted,
}

impl Signal {
    /// What a `Job-Status` header means.
    #[must_use]
    pub fn of_status(job_status: Option<&str>) -> Self {
        match job_status {
            Some("canceled" | "failed") => Self::Aborted,
            Some("canceling") => Self::Canceling,
            _ => Self::Running,
        }
    }
}

/// GitLab's answer to an [`Update`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpdateAnswer {
    /// What the status means.
    pub verdict: Verdict,
    /// What GitLab wants of the job: of the first update and of keep-alives. After a final state `Job-Status` only
    /// repeats it.
    pub signal: Signal,
    /// `Job-Status`: the job's state at GitLab, in its own words.
    pub job_status: Option<String>,
    /// `X-GitLab-Trace-Update-Interval`, if it was there and made sense.
    pub interval: Option<Duration>,
}

/// What the status of an answer to an [`Update`] means (protocol §1.8, table).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// 200: taken.
    Done,
    /// 202: taken, but GitLab is still persisting the log; the same update is repeated after the interval.
    Persisting,
    /// 412: GitLab's log differs from ours; it must be sent again from the start.
    LogDiffers,
    /// 403 or 404: GitLab takes nothing more of this job. Why, in GitLab's words.
    Refused(String),
    /// 400, 409, 5xx and whatever else: not taken. Why, in one line.
    Failed(String),
}

impl Verdict {
    pub(crate) fn of(status: u16, why: String) -> Self {
        match status {
            200 => Self::Done,
            202 => Self::Persisting,
            412 => Self::LogDiffers,
            403 | 404 => Self::Refused(why),
            _ => Self::Failed(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FailureReason as R;

    fn features(reasons: &[&str]) -> Features {
        Features { failure_reasons: reasons.iter().map(|&r| r.to_owned()).collect(), ..Features::default() }
    }

    #[test]
    fn a_reason_is_sent_as_the_server_knows_it() {
        let newest =
            features(&["runner_configuration_error", "runner_external_dependency_failure", "runner_interrupted"]);
        let old = features(&["unknown_failure", "script_failure"]);
        let cases = [
            (R::ScriptFailure, R::ScriptFailure, R::ScriptFailure),
            (R::RunnerSystemFailure, R::RunnerSystemFailure, R::RunnerSystemFailure),
            (R::JobExecutionTimeout, R::JobExecutionTimeout, R::JobExecutionTimeout),
            (R::ImagePullFailure, R::RunnerSystemFailure, R::RunnerSystemFailure),
            (R::RunnerConfigurationError, R::RunnerConfigurationError, R::ScriptFailure),
            (R::RunnerExternalDependencyFailure, R::RunnerExternalDependencyFailure, R::RunnerSystemFailure),
            (R::RunnerInterrupted, R::RunnerInterrupted, R::UnknownFailure),
            (R::JobCanceled, R::UnknownFailure, R::UnknownFailure),
            (R::UnknownFailure, R::UnknownFailure, R::UnknownFailure),
        ];
        for (reason, by_newest, by_old) in cases {
            assert_eq!(map_reason(reason, &newest), by_newest);
            assert_eq!(map_reason(reason, &old), by_old);
        }
    }

    #[test]
    fn the_words_are_gitlabs() {
        for reason in [R::ScriptFailure, R::RunnerInterrupted, R::ImagePullFailure, R::JobCanceled] {
            assert_eq!(serde_json::to_value(reason).expect("serializes"), reason.as_str());
        }
    }

    #[test]
    fn the_header_says_what_gitlab_wants() {
        assert_eq!(Signal::of_status(None), Signal::Running);
        assert_eq!(Signal::of_status(Some("running")), Signal::Running);
        assert_eq!(Signal::of_status(Some("canceling")), Signal::Canceling);
        assert_eq!(Signal::of_status(Some("canceled")), Signal::Aborted);
        assert_eq!(Signal::of_status(Some("failed")), Signal::Aborted);
    }
}

//! How a job ended.

use crate::fault::Fault;
use std::time::Duration;
use warmstart_gitlab::payload::Features;
use warmstart_gitlab::sections::Level;
use warmstart_gitlab::update::{FailureReason, Final};

/// How a job ended: a value, not an error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Every step ended with 0 and everything was uploaded.
    Success,
    /// A script ended with this code.
    ScriptFailure(i32),
    /// Something else failed; the text is for the job's log.
    SystemFailure(FailureReason, String),
    /// The user cancelled.
    Canceled,
    /// A time limit was exceeded; the text says which.
    TimedOut(String),
}

impl Outcome {
    /// The outcome of a job whose time is over (protocol §2.2; the wording is GitLab's).
    #[must_use]
    pub fn out_of_time(timeout: Duration) -> Self {
        Self::TimedOut(format!("execution took longer than {} seconds", go_duration(timeout)))
    }

    /// The value of `CI_JOB_STATUS` from `after_script` on (protocol §2.3).
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ScriptFailure(_) | Self::SystemFailure(..) => "failed",
            Self::Canceled => "canceled",
            Self::TimedOut(_) => "timedout",
        }
    }

    /// Whether the job did what it should.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Success
    }

    /// This outcome, or the later one when nothing had failed before it.
    #[must_use]
    pub fn and(self, later: Result<(), Fault>) -> Self {
        match (self, later) {
            (Self::Success, Err(fault)) => fault.into(),
            (outcome, _) => outcome,
        }
    }

    /// The last line of the job's log (protocol §2.3).
    #[must_use]
    pub fn last_line(&self) -> (Level, String) {
        let text = match self {
            Self::Success => return (Level::Info, "Job succeeded".to_owned()),
            Self::ScriptFailure(code) => format!("Job failed: exit code {code}"),
            Self::SystemFailure(FailureReason::RunnerSystemFailure, text) => {
                format!("Job failed (system failure): {text}")
            }
            Self::SystemFailure(_, text) | Self::TimedOut(text) => format!("Job failed: {text}"),
            Self::Canceled => "Job failed: canceled".to_owned(),
        };
        (Level::Error, text)
    }

    /// What GitLab is told.
    #[must_use]
    pub fn report(&self, features: &Features) -> Final {
        let failed = |reason, code| Final::failed(reason, code, features);
        match self {
            Self::Success => Final::success(),
            Self::ScriptFailure(code) => failed(FailureReason::ScriptFailure, Some(*code)),
            Self::SystemFailure(reason, _) => failed(*reason, None),
            Self::Canceled => failed(FailureReason::JobCanceled, None),
            Self::TimedOut(_) => failed(FailureReason::JobExecutionTimeout, None),
        }
    }
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Exit(code) => Self::ScriptFailure(code),
            Fault::Canceled => Self::Canceled,
            Fault::Timeout(text) => Self::TimedOut(text),
            other => Self::SystemFailure(other.reason(), other.to_string()),
        }
    }
}

impl From<Result<(), Fault>> for Outcome {
    fn from(result: Result<(), Fault>) -> Self {
        result.map_or_else(Self::from, |()| Self::Success)
    }
}

/// A duration as Go prints it: `1h0m0s`, `5m0s`, `45s`; whole seconds.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_does() {
        let cases = [(0, "0s"), (45, "45s"), (300, "5m0s"), (3600, "1h0m0s"), (3725, "1h2m5s")];
        for (seconds, text) in cases {
            assert_eq!(go_duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_first_failure_decides_the_job() {
        let later = || Err(Fault::System("upload".to_owned()));
        assert_eq!(Outcome::ScriptFailure(2).and(later()), Outcome::ScriptFailure(2));
        let uploaded = Outcome::Success.and(later());
        assert_eq!(uploaded, Outcome::SystemFailure(FailureReason::RunnerSystemFailure, "upload".to_owned()));
        assert_eq!(Outcome::Success.and(Ok(())), Outcome::Success);
    }

    #[test]
    fn the_last_line_says_how_the_job_ended() {
        let text = |outcome: Outcome| outcome.last_line().1;
        assert_eq!(text(Outcome::Success), "Job succeeded");
        assert_eq!(text(Outcome::ScriptFailure(137)), "Job failed: exit code 137");
        assert_eq!(text(Outcome::from(Fault::System("x".into()))), "Job failed (system failure): x");
        assert_eq!(text(Outcome::from(Fault::Configuration("x".into()))), "Job failed: x");
        assert_eq!(
            text(Outcome::out_of_time(Duration::from_hours(1))),
            "Job failed: execution took longer than 1h0m0s seconds"
        );
    }

    #[test]
    fn an_exit_code_is_reported_and_a_cancelled_job_has_none() {
        let features = Features::default();
        assert_eq!(Outcome::ScriptFailure(3).report(&features).exit_code, Some(3));
        assert_eq!(Outcome::Canceled.report(&features).exit_code, None);
        assert_eq!(Outcome::Canceled.report(&features).reason, Some(FailureReason::UnknownFailure));
    }
}

//! How long a job took, and for what.

use crate::gitlab::judge::sections::{durations, markers};
use crate::gitlab::{Finished, JobId, JobState};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime};

/// How a job of a pipeline went.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// The job.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// Whether it may fail without failing the pipeline.
    pub allow_failure: bool,
    /// How it ended.
    pub finished: Finished,
    /// Seconds from the queue to the runner (201).
    pub waiting: f64,
    /// Seconds from the runner (201) to the first section of the user's script; to the end where it never got there.
    /// The log tells whole seconds: this is the middle of what they allow.
    pub preparing: f64,
    /// Seconds from the queue to the end.
    pub total: f64,
    /// Whole seconds per log section, in order.
    pub sections: Vec<(String, f64)>,
}

impl JobReport {
    pub(super) fn new(job: JobId, name: &str, stage: &str, allow_failure: bool, finished: Finished) -> Self {
        let times = finished.times;
        let end = times.finished.unwrap_or_else(Instant::now);
        let picked = times.picked.unwrap_or(end);
        let log = finished.text();
        let script = markers(&log).into_iter().find(|marker| marker.is_start && marker.name.starts_with("step_"));
        let preparing = script.map_or(end.duration_since(picked), |marker| since(picked, end, marker.time));
        Self {
            job,
            name: name.to_owned(),
            stage: stage.to_owned(),
            allow_failure,
            waiting: picked.duration_since(times.queued).as_secs_f64(),
            preparing: preparing.as_secs_f64(),
            total: end.duration_since(times.queued).as_secs_f64(),
            sections: durations(&log),
            finished,
        }
    }

    /// Whether the pipeline goes on as if the job had succeeded.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.allow_failure || self.finished.state == JobState::Success
    }

    /// The report for `--json`: names, state, seconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let sections = self.sections.iter().map(|(name, seconds)| json!({ "name": name, "seconds": seconds }));
        json!({
            "id": self.job.0,
            "name": self.name,
            "stage": self.stage,
            "state": self.finished.state.word(),
            "failure_reason": self.finished.failure_reason,
            "waiting": self.waiting,
            "preparing": self.preparing,
            "total": self.total,
            "sections": sections.collect::<Vec<_>>(),
        })
    }
}

/// From `start` to an event that the log puts into the unix second `unix`, and that came before `end`.
fn since(start: Instant, end: Instant, unix: u64) -> Duration {
    let then = SystemTime::now().checked_sub(start.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
    let after = |unix| (SystemTime::UNIX_EPOCH + Duration::from_secs(unix)).duration_since(then).unwrap_or_default();
    (after(unix) + after(unix + 1).min(end.duration_since(start))) / 2
}

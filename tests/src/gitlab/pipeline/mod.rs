//! A small subset of `.gitlab-ci.yml`, and running it against the fake.

use super::{FakeGitlab, Finished, JobId};

/// A pipeline to run: jobs in the order of their stages.
#[derive(Clone, Debug)]
pub struct Pipeline {}

/// What happens while a pipeline runs.
#[derive(Clone, Debug)]
pub enum Event {
    /// A job entered the queue.
    Queued {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
    },
    /// Bytes were appended to a job's log.
    Log {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
        /// The new bytes, as stored.
        bytes: bytes::Bytes,
    },
    /// A job has ended.
    Finished {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
        /// How it ended.
        report: JobReport,
    },
}

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
    /// Seconds from the queue to the runner.
    pub waiting: f64,
    /// Seconds from the runner (201) to the first section of the user's script; to the end where it never got there.
    pub preparing: f64,
    /// Seconds per log section, in order.
    pub sections: Vec<(String, f64)>,
}

/// Reads a `.gitlab-ci.yml`; an unknown key is an error that names it.
pub fn parse(_yaml: &str) -> anyhow::Result<Pipeline> {
    Ok(Pipeline {})
}

/// Runs a pipeline for the head of `main` of `project`: stage after stage, artifacts handed on.
#[expect(clippy::unused_async, reason = "skeleton")]
pub async fn run(
    _gitlab: &FakeGitlab,
    _project: &str,
    _pipeline: &Pipeline,
    _on_event: impl FnMut(Event),
) -> anyhow::Result<Vec<JobReport>> {
    Ok(Vec::new())
}

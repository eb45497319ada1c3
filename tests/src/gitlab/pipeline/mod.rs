//! A small subset of `.gitlab-ci.yml`, and running it against the fake.
//!
//! [`parse`] knows `stages`, `default`, `image`, `services`, `variables`, `before_script`, `script`, `after_script`,
//! `cache`, `artifacts`, `needs`, `dependencies`, `allow_failure` and `when`; anything else is an error that names it.

mod report;
mod run;
mod yaml;

pub use report::JobReport;
pub use run::{Event, run};
pub use yaml::parse;

use super::JobSpec;

/// A pipeline to run.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The stages in order.
    pub stages: Vec<String>,
    /// The jobs in the order of their stages.
    pub jobs: Vec<PipelineJob>,
}

/// A job of a pipeline.
#[derive(Clone, Debug)]
pub struct PipelineJob {
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// Whether it may fail without failing the pipeline.
    pub allow_failure: bool,
    /// On which results of the jobs before it runs.
    pub when: When,
    /// Jobs it waits for; none is all jobs of earlier stages.
    pub needs: Option<Vec<String>>,
    /// Jobs whose artifacts it downloads; none is all jobs of earlier stages.
    pub downloads: Option<Vec<String>>,
    /// What it does, without what depends on the run.
    pub spec: JobSpec,
}

/// On which results of the jobs before a job runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// All succeeded, or were allowed to fail.
    OnSuccess,
    /// One failed.
    OnFailure,
    /// In any case.
    Always,
    /// Never.
    Never,
}

impl Pipeline {
    /// The names of the jobs that a job waits for.
    pub(super) fn before<'a>(&'a self, job: &'a PipelineJob) -> Vec<&'a str> {
        match &job.needs {
            Some(needs) => needs.iter().map(String::as_str).collect(),
            None => self.earlier(job),
        }
    }

    /// The names of the jobs whose artifacts a job downloads.
    pub(super) fn downloads<'a>(&'a self, job: &'a PipelineJob) -> Vec<&'a str> {
        match &job.downloads {
            Some(downloads) => downloads.iter().map(String::as_str).collect(),
            None => self.earlier(job),
        }
    }

    fn earlier<'a>(&'a self, job: &PipelineJob) -> Vec<&'a str> {
        let place = |stage: &str| self.stages.iter().position(|known| known == stage);
        let earlier = self.jobs.iter().filter(|other| place(&other.stage) < place(&job.stage));
        earlier.map(|other| other.name.as_str()).collect()
    }
}

//! What an agent is to do: an assignment, read.

use anyhow::{Context, Result};
use std::time::Duration;
use tokio::time::Instant;
use warmstart_api::Assignment;
use warmstart_api::assignment::{CacheStore, GitLab, Log};
use warmstart_api::settings::Settings;
use warmstart_gitlab::flags;
use warmstart_gitlab::payload::{Artifact, Cache, Job};
use warmstart_gitlab::trace::Start;

use crate::variables::Inputs;

/// A job to run.
#[derive(Debug)]
pub struct Order {
    /// GitLab's payload.
    pub job: Job,
    /// The runner entry's settings.
    pub settings: Settings,
    /// Where and as whom to report.
    pub gitlab: GitLab,
    /// GitLab's id of the job request.
    pub correlation_id: String,
    /// Where caches are kept.
    pub cache: Option<CacheStore>,
    /// When the job's time is over.
    pub deadline: Instant,
    /// How the log goes on.
    pub log: Log,
}

impl Order {
    /// Reads an assignment. The job's time runs from now.
    pub fn read(assignment: Assignment) -> Result<Self> {
        let job = serde_json::from_str(assignment.payload.get())
            .with_context(|| format!("cannot read the payload of job {}", assignment.holding.job))?;
        Ok(Self {
            job,
            settings: assignment.settings,
            gitlab: assignment.gitlab,
            correlation_id: assignment.correlation_id,
            cache: assignment.cache,
            deadline: Instant::now() + Duration::from_secs(assignment.seconds_left),
            log: assignment.log,
        })
    }

    /// What variables and scripts are composed from.
    #[must_use]
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs { job: &self.job, settings: &self.settings, gitlab: &self.gitlab }
    }

    /// Whether a feature flag (`FF_…`) is on.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        flags::is_on(name, &self.settings.feature_flags, &self.job)
    }

    /// Whether the log ends with the time of each stage: as the job says, else the runner.
    #[must_use]
    pub fn stage_times(&self) -> bool {
        let asked = self.job.variable("WARMSTART_STAGE_TIMES").and_then(flags::parse_bool);
        asked.unwrap_or(self.settings.stage_times)
    }

    /// How the trace begins.
    #[must_use]
    pub fn log_start(&self) -> Start {
        match &self.log {
            Log::Continue(text) if text.is_empty() => Start::Fresh,
            Log::Continue(text) => Start::Continue(text.clone().into_bytes()),
            Log::TakeOver { open_section } => Start::TakeOver { open_section: open_section.clone() },
        }
    }
}

/// What a job asks for that this version does not do, one line each for its log.
#[must_use]
pub fn not_done(job: &Job) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut say = |line: &str| lines.push(line.to_owned());
    if !job.secrets.is_empty() {
        say("secrets: are not supported yet: their variables are not set");
    }
    for flag in FLAGS.iter().filter(|flag| is_on(job, flag)) {
        lines.push(format!("{flag} is not supported yet and does nothing"));
    }
    for variable in VARIABLES.iter().filter(|name| job.variable(name).is_some_and(|value| !value.is_empty())) {
        lines.push(format!("{variable} is not supported yet and does nothing"));
    }
    lines
}

/// Why a job cannot be run at all by this executor (protocol §1.5, rejections).
#[must_use]
pub fn rejection(job: &Job) -> Option<String> {
    if !job.run.is_empty() {
        return Some("this job uses `run:` steps, which are not supported; use `script:`".to_owned());
    }
    let images = std::iter::once(&job.image).chain(&job.services);
    let mut others: Vec<&str> = images.flat_map(|image| image.executor_opts.other.keys()).map(String::as_str).collect();
    others.sort_unstable();
    others.dedup();
    let unsupported = !others.is_empty();
    unsupported.then(|| format!("executor options of other executors are not supported here: {}", others.join(", ")))
}

/// Feature flags of GitLab Runner that jobs can set and that do nothing here.
const FLAGS: [&str; 13] = [
    "FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR",
    "FF_USE_INIT_WITH_DOCKER_EXECUTOR",
    "FF_LOG_IMAGES_CONFIGURED_FOR_JOB",
    "FF_CLEAN_UP_FAILED_CACHE_EXTRACT",
    "FF_HASH_CACHE_KEYS",
    "FF_USE_NATIVE_CONTAINER_STOP",
    "FF_CONCRETE",
    "FF_ENABLE_JOB_CLEANUP",
    "FF_GIT_URLS_WITHOUT_TOKENS",
    "FF_USE_GIT_NATIVE_CLONE",
    "FF_USE_GIT_PROACTIVE_AUTH",
    "FF_USE_LEGACY_BASH_EVAL",
    "FF_SCRIPT_TO_STEP_MIGRATION",
];

/// Variables of GitLab Runner that do nothing here.
const VARIABLES: [&str; 6] = [
    "ARCHIVER_STAGING_DIR",
    "CACHE_COMPRESSION_FORMAT",
    "CACHE_COMPRESSION_LEVEL",
    "GIT_CLONE_EXTRA_FLAGS",
    "RUNNER_GENERATE_ARTIFACTS_METADATA",
    "TRANSFER_METER_FREQUENCY",
];

/// Whether a variable of the payload is true, in GitLab's words for it.
#[must_use]
pub fn is_on(job: &Job, key: &str) -> bool {
    job.variable(key).and_then(flags::parse_bool) == Some(true)
}

/// Whether a cache names any files; one that does not is none (protocol §5).
#[must_use]
pub fn asks_for_files(cache: &Cache) -> bool {
    cache.untracked || !cache.paths.is_empty()
}

/// Whether a job with this result saves a cache.
#[must_use]
pub fn saves_caches(job: &Job, success: bool) -> bool {
    job.cache.iter().any(asks_for_files) && job.cache.iter().any(|cache| cache.when.fits(success))
}

/// What a job with this result uploads, in order. An entry that names nothing is none (protocol §6.1).
#[must_use]
pub fn uploads(job: &Job, success: bool) -> Vec<&Artifact> {
    let asks = |a: &Artifact| a.untracked || !a.paths.is_empty() || !a.exclude.is_empty();
    job.artifacts.iter().filter(|artifact| artifact.when.fits(success) && asks(artifact)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use warmstart_gitlab::payload::Variable;

    fn job(json: &str) -> Job {
        serde_json::from_str(json).expect("a payload")
    }

    #[test]
    fn what_a_job_asks_for_in_vain_is_named() {
        let mut job = job(r#"{"secrets":{"A":{}}}"#);
        job.variables = vec![Variable { key: "FF_CONCRETE".into(), value: "true".into(), ..Variable::default() }];
        let lines = not_done(&job);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].contains("FF_CONCRETE"));
        assert!(not_done(&Job::default()).is_empty());
    }

    #[test]
    fn an_upload_fits_the_result_and_names_something() {
        let job = job(r#"{"artifacts":[{"paths":["a"]},{"when":"always","untracked":true},{"paths":[]},
                {"when":"on_failure","exclude":["b"]}]}"#);
        assert_eq!((uploads(&job, true).len(), uploads(&job, false).len()), (2, 2));
    }

    #[test]
    fn options_of_other_executors_are_refused_by_name() {
        let job = job(r#"{"image":{"name":"a","executor_opts":{"kubernetes":{"user":"1"},"docker":{"user":"2"}}}}"#);
        assert!(rejection(&job).is_some_and(|text| text.ends_with("here: kubernetes")));
        assert_eq!(rejection(&Job::default()), None);
    }
}

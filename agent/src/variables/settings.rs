//! The settings that a job makes through its variables, with GitLab's defaults.

use super::Variables;
use std::time::Duration;
use warmstart_gitlab::payload::Job;

/// What `GIT_STRATEGY` asks for (protocol §3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Strategy {
    /// Bring what is there up to date.
    Fetch,
    /// Begin with an empty directory.
    Clone,
    /// Leave the directory as it is.
    None,
    /// Empty the directory and leave it so.
    Empty,
}

/// What `GIT_SUBMODULE_STRATEGY` asks for (protocol §3.5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Submodules {
    /// No submodules.
    None,
    /// Those of the project.
    Normal,
    /// And theirs.
    Recursive,
    /// A word GitLab does not know: `get_sources` fails.
    Invalid(String),
}

/// The settings that a job makes through its variables.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// `CI_DEBUG_TRACE`: shell commands are traced into the log.
    pub debug_trace: bool,
    /// `CI_DEBUG_SERVICES`: output of services is copied into the log.
    pub debug_services: bool,
    /// `AFTER_SCRIPT_IGNORE_ERRORS`.
    pub after_script_ignore_errors: bool,
    /// `GET_SOURCES_ATTEMPTS`, 1 to 10, as all attempts.
    pub get_sources_attempts: u32,
    /// `RESTORE_CACHE_ATTEMPTS`.
    pub restore_cache_attempts: u32,
    /// `ARTIFACT_DOWNLOAD_ATTEMPTS`.
    pub artifact_download_attempts: u32,
    /// `EXECUTOR_JOB_SECTION_ATTEMPTS`.
    pub job_section_attempts: u32,
    /// `RUNNER_SCRIPT_TIMEOUT`, all user steps together.
    pub script_timeout: Option<Duration>,
    /// `RUNNER_AFTER_SCRIPT_TIMEOUT`.
    pub after_script_timeout: Duration,
    /// `CACHE_REQUEST_TIMEOUT`.
    pub cache_request_timeout: Duration,
    /// `ARTIFACT_COMPRESSION_LEVEL`.
    pub artifact_compression: crate::archive::Level,
    /// `GIT_STRATEGY`.
    pub strategy: Strategy,
    /// `GIT_CHECKOUT`.
    pub checkout: bool,
    /// `GIT_LFS_SKIP_SMUDGE`, set by the user.
    pub lfs_skip_smudge: bool,
    /// `GIT_CLEAN_FLAGS`; `None` means do not clean.
    pub clean_flags: Option<Vec<String>>,
    /// `GIT_FETCH_EXTRA_FLAGS`.
    pub fetch_flags: Vec<String>,
    /// `GIT_SUBMODULE_STRATEGY`.
    pub submodules: Submodules,
    /// `GIT_SUBMODULE_DEPTH`, 0 = full history.
    pub submodule_depth: u64,
    /// `GIT_SUBMODULE_PATHS`.
    pub submodule_paths: Vec<String>,
    /// `GIT_SUBMODULE_UPDATE_FLAGS`.
    pub submodule_flags: Vec<String>,
    /// `GIT_SUBMODULE_FORCE_HTTPS`.
    pub submodule_force_https: bool,
}

impl JobSettings {
    /// Reads the settings. The second part is a warning for the job's log per value that could not be used.
    #[must_use]
    pub fn read(variables: &Variables, job: &Job) -> (Self, Vec<String>) {
        let _ = (variables, job);
        todo!()
    }
}

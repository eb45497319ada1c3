//! The settings that a job makes through its variables, with GitLab's defaults.

use super::{Variables, duration};
use crate::archive::Level;
use std::time::Duration;
use warmstart_gitlab::flags;
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
#[expect(clippy::struct_excessive_bools, reason = "each is a variable of GitLab's")]
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
    pub artifact_compression: Level,
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
        let (strategy, warning) = strategy(variables, job);
        let mut read = Reader { variables, warnings: warning.into_iter().collect() };
        let minute = Duration::from_mins(1);
        let settings = Self {
            debug_trace: read.bool("CI_DEBUG_TRACE", false),
            debug_services: read.bool("CI_DEBUG_SERVICES", false),
            after_script_ignore_errors: read.bool("AFTER_SCRIPT_IGNORE_ERRORS", true),
            get_sources_attempts: read.attempts("GET_SOURCES_ATTEMPTS"),
            restore_cache_attempts: read.attempts("RESTORE_CACHE_ATTEMPTS"),
            artifact_download_attempts: read.attempts("ARTIFACT_DOWNLOAD_ATTEMPTS"),
            job_section_attempts: read.attempts("EXECUTOR_JOB_SECTION_ATTEMPTS"),
            script_timeout: read.duration("RUNNER_SCRIPT_TIMEOUT"),
            after_script_timeout: read.duration("RUNNER_AFTER_SCRIPT_TIMEOUT").unwrap_or(5 * minute),
            cache_request_timeout: minute * read.number("CACHE_REQUEST_TIMEOUT", 10),
            artifact_compression: read.level("ARTIFACT_COMPRESSION_LEVEL"),
            strategy,
            checkout: read.bool("GIT_CHECKOUT", true),
            lfs_skip_smudge: read.bool("GIT_LFS_SKIP_SMUDGE", false),
            clean_flags: read.flags("GIT_CLEAN_FLAGS", "-ffdx"),
            fetch_flags: read.flags("GIT_FETCH_EXTRA_FLAGS", "--prune --quiet").unwrap_or_default(),
            submodules: submodules(variables.get("GIT_SUBMODULE_STRATEGY")),
            submodule_depth: read.number("GIT_SUBMODULE_DEPTH", job.git_info.depth),
            submodule_paths: words(variables.get("GIT_SUBMODULE_PATHS")),
            submodule_flags: read.flags("GIT_SUBMODULE_UPDATE_FLAGS", "").unwrap_or_default(),
            submodule_force_https: read.bool("GIT_SUBMODULE_FORCE_HTTPS", false),
        };
        (settings, read.warnings)
    }

    /// Turns off what prints secrets. A warning for each that was on.
    pub fn forbid_debug(&mut self) -> Vec<String> {
        let both = [("CI_DEBUG_TRACE", &mut self.debug_trace), ("CI_DEBUG_SERVICES", &mut self.debug_services)];
        let on = both.into_iter().filter_map(|(key, setting)| std::mem::take(setting).then_some(key));
        on.map(|key| format!("{key}: usage is disabled on this runner")).collect()
    }
}

/// The git strategy of a job, with a warning when the variable holds no known word.
pub(super) fn strategy(variables: &Variables, job: &Job) -> (Strategy, Option<String>) {
    let (default, name) = if job.allow_git_fetch { (Strategy::Fetch, "fetch") } else { (Strategy::Clone, "clone") };
    match variables.get("GIT_STRATEGY") {
        "" => (default, None),
        "fetch" => (Strategy::Fetch, None),
        "clone" => (Strategy::Clone, None),
        "none" => (Strategy::None, None),
        "empty" => (Strategy::Empty, None),
        other => (default, Some(unusable("GIT_STRATEGY", other, "fetch, clone, none or empty", name))),
    }
}

fn submodules(word: &str) -> Submodules {
    match word {
        "" | "none" => Submodules::None,
        "normal" => Submodules::Normal,
        "recursive" => Submodules::Recursive,
        other => Submodules::Invalid(other.to_owned()),
    }
}

/// Reads values and collects what is wrong with them. An empty value is the default.
struct Reader<'a> {
    variables: &'a Variables,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn bool(&mut self, key: &str, default: bool) -> bool {
        self.parse(key, default, "true or false", flags::parse_bool)
    }

    fn number<T: std::str::FromStr + std::fmt::Display>(&mut self, key: &str, default: T) -> T {
        self.parse(key, default, "a number of 0 or more", |text| text.parse().ok())
    }

    fn attempts(&mut self, key: &str) -> u32 {
        let wanted: i64 = self.parse(key, 1, "a number from 1 to 10", |text| text.parse().ok());
        let used = wanted.clamp(1, 10);
        if used != wanted {
            self.warnings.push(unusable(key, &wanted.to_string(), "a number from 1 to 10", &used.to_string()));
        }
        u32::try_from(used).unwrap_or(1)
    }

    /// `None` when there is no usable duration; zero is none.
    fn duration(&mut self, key: &str) -> Option<Duration> {
        let text = self.variables.get(key);
        let parsed = duration::parse(text);
        if parsed.is_none() && !text.is_empty() {
            self.warnings.push(unusable(key, text, "a duration such as 1h30m", "the default"));
        }
        parsed.filter(|duration| !duration.is_zero())
    }

    fn level(&mut self, key: &str) -> Level {
        let text = self.variables.get(key);
        Level::parse(text).unwrap_or_else(|| {
            if !text.is_empty() {
                let words = "fastest, fast, default, slow or slowest";
                self.warnings.push(unusable(key, text, words, "default"));
            }
            Level::Default
        })
    }

    /// Command line flags: the word `none` means none at all.
    fn flags(&self, key: &str, default: &str) -> Option<Vec<String>> {
        match self.variables.get(key) {
            "none" => None,
            "" => Some(words(default)),
            text => Some(words(text)),
        }
    }

    fn parse<T: std::fmt::Display>(
        &mut self,
        key: &str,
        default: T,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let text = self.variables.get(key);
        parse(text).unwrap_or_else(|| {
            if !text.is_empty() {
                self.warnings.push(unusable(key, text, wanted, &default.to_string()));
            }
            default
        })
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn unusable(key: &str, value: &str, wanted: &str, used: &str) -> String {
    format!("{key}: expected {wanted}, got {value:?}, using {used}")
}

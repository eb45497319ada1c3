//! Feature flags: GitLab Runner's `FF_…` with their defaults (protocol §2.6).

use crate::payload::Job;
use std::collections::BTreeMap;

/// Every flag a job may ask for, and what it is without being asked.
const DEFAULTS: &[(&str, bool)] = &[
    ("FF_CLEAN_UP_FAILED_CACHE_EXTRACT", false),
    ("FF_CONCRETE", false),
    ("FF_DISABLE_AUTOMATIC_TOKEN_ROTATION", false),
    ("FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR", false),
    ("FF_ENABLE_BASH_EXIT_CODE_CHECK", false),
    ("FF_ENABLE_JOB_CLEANUP", false),
    ("FF_ENABLE_JOB_INPUTS_INTERPOLATION", true),
    ("FF_GIT_URLS_WITHOUT_TOKENS", false),
    ("FF_HASH_CACHE_KEYS", false),
    ("FF_LOG_IMAGES_CONFIGURED_FOR_JOB", false),
    ("FF_MASK_ALL_DEFAULT_TOKENS", true),
    ("FF_NETWORK_PER_BUILD", false),
    ("FF_POSIXLY_CORRECT_ESCAPES", false),
    ("FF_RESOLVE_FULL_TLS_CHAIN", false),
    ("FF_SCRIPT_SECTIONS", false),
    ("FF_SCRIPT_TO_STEP_MIGRATION", false),
    ("FF_SECRET_RESOLVING_FAILS_IF_MISSING", true),
    ("FF_SUSPENDABLE_ENVIRONMENTS", false),
    ("FF_TIMESTAMPS", true),
    ("FF_USE_ADAPTIVE_REQUEST_CONCURRENCY", true),
    ("FF_USE_DIRECT_DOWNLOAD", true),
    ("FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL", false),
    ("FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY", true),
    ("FF_USE_FASTZIP", true),
    ("FF_USE_GITALY_CORRELATION_ID", true),
    ("FF_USE_GIT_BUNDLE_URIS", true),
    ("FF_USE_GIT_NATIVE_CLONE", false),
    ("FF_USE_GIT_PROACTIVE_AUTH", false),
    ("FF_USE_INIT_WITH_DOCKER_EXECUTOR", false),
    ("FF_USE_JOB_ROUTER", false),
    ("FF_USE_LEGACY_BASH_EVAL", false),
    ("FF_USE_NATIVE_CONTAINER_STOP", false),
    ("FF_USE_PARALLEL_ARTIFACT_TRANSFER", false),
    ("FF_USE_PARALLEL_CACHE_TRANSFER", false),
];

/// Every line of the log carries its time (protocol §2.7).
pub const TIMESTAMPS: &str = "FF_TIMESTAMPS";
/// The runner's token is not renewed by the runner (protocol §1.4).
pub const KEEP_TOKEN: &str = "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION";
/// Each job has a network of its own (protocol §4.5).
pub const NETWORK_PER_BUILD: &str = "FF_NETWORK_PER_BUILD";

/// `[runners.feature_flags]`.
pub type Configured = BTreeMap<String, bool>;

/// Whether a variable is one of the flags.
#[must_use]
pub fn is_known(key: &str) -> bool {
    DEFAULTS.iter().any(|(name, _)| *name == key)
}

/// All flags, each as the runner's configuration says, else as the job does, else by default.
pub fn resolve(configured: &Configured, job: &Job) -> impl Iterator<Item = (&'static str, bool)> {
    DEFAULTS.iter().map(|(name, default)| (*name, decide(name, *default, configured, job)))
}

/// The flags that are not what they are by default, for the log's header (protocol §2.7).
pub fn changed(configured: &Configured, job: &Job) -> impl Iterator<Item = (&'static str, bool)> {
    resolve(configured, job).zip(DEFAULTS).filter(|(flag, default)| flag != *default).map(|(flag, _)| flag)
}

/// Whether a flag is on. One that is not known is off.
#[must_use]
pub fn is_on(flag: &str, configured: &Configured, job: &Job) -> bool {
    DEFAULTS.iter().any(|(name, default)| *name == flag && decide(name, *default, configured, job))
}

fn decide(name: &str, default: bool, configured: &Configured, job: &Job) -> bool {
    let asked = configured.get(name).copied().or_else(|| job.variable(name).and_then(parse_bool));
    asked.unwrap_or(default)
}

/// `true/false/1/0/t/f` in any case of letters.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Variable;

    fn job(key: &str, value: &str) -> Job {
        let variable = Variable { key: key.into(), value: value.into(), ..Variable::default() };
        Job { variables: vec![variable], ..Job::default() }
    }

    #[test]
    fn the_configuration_comes_before_the_job_and_the_job_before_the_default() {
        let (on, off) = (Configured::from([(TIMESTAMPS.into(), true)]), Configured::from([(TIMESTAMPS.into(), false)]));
        for (configured, value, expected) in [
            (Configured::new(), "", true),
            (Configured::new(), "maybe", true),
            (Configured::new(), "F", false),
            (on, "false", true),
            (off, "true", false),
        ] {
            assert_eq!(is_on(TIMESTAMPS, &configured, &job(TIMESTAMPS, value)), expected, "{configured:?} {value}");
        }
        assert!(!is_on("FF_UNHEARD_OF", &Configured::new(), &job("FF_UNHEARD_OF", "true")));
    }

    #[test]
    fn flags_that_are_not_as_usual_are_told() {
        let configured = Configured::from([(NETWORK_PER_BUILD.into(), true), ("FF_CONCRETE".into(), false)]);
        let told: Vec<_> = changed(&configured, &job(TIMESTAMPS, "0")).collect();
        assert_eq!(told, [(NETWORK_PER_BUILD, true), (TIMESTAMPS, false)]);
    }
}

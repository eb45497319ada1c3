//! What a runner says about itself with every call (protocol §1.3).

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The `info` object. `Info::default()` is the truth about this version of Warmstart with the docker executor.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.3")]
pub struct Info {
    pub name: String,
    pub version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The operating system's name: `linux`.
    pub platform: String,
    /// Go's name of the architecture: `amd64`, `arm64`.
    pub architecture: String,
    pub executor: String,
    pub shell: String,
    pub features: Features,
    pub config: Config,
    /// At most 32; GitLab refuses others than `[a-zA-Z0-9_][a-zA-Z0-9._-]{2,64}` → `[a-zA-Z0-9._-]{1,256}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The executor's settings that GitLab shows.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.3")]
pub struct Config {
    pub gpus: String,
}

/// Every feature flag of protocol §1.3 with what Warmstart can do; always sent in full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Features;

/// GitLab fails a job at once (`runner_unsupported`) when it needs a feature that is not true here, and a job
/// breaks when one is true that we do not have: only what is built is declared.
pub const FEATURES: [(&str, bool); 31] = [
    ("variables", true),
    ("image", true),
    ("services", true),
    ("artifacts", true),
    ("cache", true),
    ("fallback_cache_keys", true),
    ("upload_multiple_artifacts", true),
    ("upload_raw_artifacts", true),
    ("refspecs", true),
    ("masking", true),
    ("raw_variables", true),
    ("artifacts_exclude", true),
    ("multi_build_steps", true),
    ("trace_reset", true),
    ("trace_checksum", true),
    ("trace_size", true),
    ("cancelable", true),
    ("cancel_gracefully", true),
    ("return_exit_code", true),
    ("service_variables", true),
    ("service_multiple_aliases", true),
    ("image_executor_opts", true),
    ("service_executor_opts", true),
    ("vault_secrets", false),
    ("two_phase_job_commit", false),
    ("job_inputs", false),
    ("session", false),
    ("terminal", false),
    ("native_steps_integration", false),
    ("shared", false),
    ("proxy", false),
];

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(FEATURES)
    }
}

impl Default for Info {
    fn default() -> Self {
        Self {
            name: "warmstart".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            revision: option_env!("WARMSTART_REVISION").unwrap_or_default().into(),
            platform: std::env::consts::OS.into(),
            architecture: architecture().into(),
            executor: "docker".into(),
            shell: "bash".into(),
            features: Features,
            config: Config::default(),
            labels: BTreeMap::new(),
        }
    }
}

/// The architecture in Go's words, which GitLab shows.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `User-Agent` of every call: `<name> <version> (<branch>; <toolchain>; <os>/<arch>)` (protocol §1.1).
pub(crate) fn user_agent() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "warmstart {version} (main; rust{}; {}/{})",
        env!("CARGO_PKG_RUST_VERSION"),
        std::env::consts::OS,
        architecture()
    )
}

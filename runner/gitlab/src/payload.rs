//! The job payload: what GitLab answers to a job request (protocol §1.6).
//!
//! Decoding is lenient, as in GitLab Runner: unknown keys are ignored, every field may be absent or `null` and
//! then takes its default. A payload travels from the runner to the agent as the bytes GitLab sent, so nothing
//! that this version does not know is lost on the way.

mod files;
mod image;

pub use files::{Artifact, Cache, When};
pub use image::{DockerOpts, ExecutorOpts, Image, Port};

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

use crate::secret::Secret;

/// One job, as GitLab hands it out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Job {
    /// The job's id on the server; may exceed 32 bits.
    #[serde(deserialize_with = "null")]
    pub id: u64,
    /// The job token: the only credential of the job's own calls.
    #[serde(deserialize_with = "null")]
    pub token: Secret,
    /// Whether the project's default git strategy is `fetch` (else `clone`).
    #[serde(deserialize_with = "null")]
    pub allow_git_fetch: bool,
    /// Names and ids of the job, its project and pipeline.
    #[serde(deserialize_with = "null")]
    pub job_info: JobInfo,
    /// What to check out.
    #[serde(deserialize_with = "null")]
    pub git_info: GitInfo,
    /// The limits the server sets for the runner.
    #[serde(deserialize_with = "null")]
    pub runner_info: RunnerInfo,
    /// Variables in order; later entries win.
    #[serde(deserialize_with = "null")]
    pub variables: Vec<Variable>,
    /// `script`, `release`, `after_script`, … in order.
    #[serde(deserialize_with = "null")]
    pub steps: Vec<Step>,
    /// The image of the build container.
    #[serde(deserialize_with = "null")]
    pub image: Image,
    /// Containers started beside the build container.
    #[serde(deserialize_with = "null")]
    pub services: Vec<Image>,
    /// What to upload, one entry per upload.
    #[serde(deserialize_with = "null")]
    pub artifacts: Vec<Artifact>,
    /// What to restore before and save after the script.
    #[serde(deserialize_with = "null")]
    pub cache: Vec<Cache>,
    /// Registry logins; entries of another type are ignored.
    #[serde(deserialize_with = "null")]
    pub credentials: Vec<Credential>,
    /// Jobs whose artifacts are downloaded first.
    #[serde(deserialize_with = "null")]
    pub dependencies: Vec<Dependency>,
    /// What this server understands.
    #[serde(deserialize_with = "null")]
    pub features: Features,
    /// Name → provider definition; only sent to runners with `vault_secrets`.
    #[serde(deserialize_with = "null")]
    pub secrets: BTreeMap<String, serde_json::Value>,
    /// Scripts around `get_sources`.
    #[serde(deserialize_with = "null")]
    pub hooks: Vec<Hook>,
    /// JSON text of step-runner steps (`run:` jobs), empty otherwise.
    #[serde(deserialize_with = "null")]
    pub run: String,
    /// Only sent to runners with `job_inputs`.
    #[serde(deserialize_with = "null")]
    pub inputs: Vec<serde_json::Value>,
    /// What a security policy says about the job's variables.
    #[serde(deserialize_with = "null")]
    pub policy_options: PolicyOptions,
}

/// Names and ids around a job.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct JobInfo {
    #[serde(deserialize_with = "null")]
    pub id: u64,
    #[serde(deserialize_with = "null")]
    pub name: String,
    #[serde(deserialize_with = "null")]
    pub stage: String,
    #[serde(deserialize_with = "null")]
    pub pipeline_id: u64,
    #[serde(deserialize_with = "null")]
    pub project_id: u64,
    #[serde(deserialize_with = "null")]
    pub project_name: String,
    #[serde(deserialize_with = "null")]
    pub project_full_path: String,
    #[serde(deserialize_with = "null")]
    pub namespace_id: u64,
    #[serde(deserialize_with = "null")]
    pub root_namespace_id: u64,
    #[serde(deserialize_with = "null")]
    pub organization_id: u64,
    #[serde(deserialize_with = "null")]
    pub instance_id: String,
    #[serde(deserialize_with = "null")]
    pub instance_uuid: String,
    #[serde(deserialize_with = "null")]
    pub user_id: u64,
    pub scoped_user_id: Option<u64>,
    #[serde(deserialize_with = "null")]
    pub time_in_queue_seconds: f64,
    /// A number as text: `+Inf` for runners that are not the instance's, or for example `5+`.
    #[serde(deserialize_with = "text_or_number")]
    pub project_jobs_running_on_instance_runners_count: String,
    #[serde(deserialize_with = "count")]
    pub queue_size: u64,
    #[serde(deserialize_with = "count")]
    pub queue_depth: u64,
}

/// What to check out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct GitInfo {
    /// Contains `gitlab-ci-token:<job token>@`: a secret, like the token itself.
    #[serde(deserialize_with = "null")]
    pub repo_url: Secret,
    /// `sha1`, `sha256`, or empty, which means sha1.
    #[serde(deserialize_with = "null")]
    pub repo_object_format: String,
    #[serde(rename = "ref", deserialize_with = "null")]
    pub ref_name: String,
    #[serde(deserialize_with = "null")]
    pub sha: String,
    #[serde(deserialize_with = "null")]
    pub before_sha: String,
    /// `branch` or `tag`.
    #[serde(deserialize_with = "null")]
    pub ref_type: String,
    #[serde(deserialize_with = "null")]
    pub refspecs: Vec<String>,
    /// 0 = full history; already reflects `GIT_DEPTH` or the project's default.
    #[serde(deserialize_with = "count")]
    pub depth: u64,
    pub protected: Option<bool>,
}

/// The limits the server sets for the runner.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RunnerInfo {
    /// Seconds; at or below 0 means the default, see [`Job::timeout`].
    #[serde(deserialize_with = "null")]
    pub timeout: i64,
    /// Where an interactive session would be announced.
    #[serde(deserialize_with = "null")]
    pub runner_session_url: String,
    /// The server's own name for this runner.
    #[serde(deserialize_with = "null")]
    pub uuid: String,
}

/// What a security policy says about the job's variables.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct PolicyOptions {
    #[serde(deserialize_with = "null")]
    pub execution_policy_job: bool,
    #[serde(deserialize_with = "null")]
    pub policy_name: String,
    pub policy_variables_override_allowed: Option<bool>,
    #[serde(deserialize_with = "null")]
    pub policy_variables_override_exceptions: Vec<String>,
}

/// A CI/CD variable.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, clippy::struct_excessive_bools, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct Variable {
    #[serde(deserialize_with = "null")]
    pub key: String,
    #[serde(deserialize_with = "null")]
    pub value: String,
    #[serde(deserialize_with = "null")]
    pub public: bool,
    #[serde(deserialize_with = "null")]
    pub masked: bool,
    #[serde(deserialize_with = "null")]
    pub file: bool,
    #[serde(deserialize_with = "null")]
    pub raw: bool,
}

impl std::fmt::Debug for Variable {
    /// Prints the name only: any value may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", self.key)
    }
}

/// One step of the job's script.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Step {
    /// `script`, `release`, `after_script`; others are possible.
    #[serde(deserialize_with = "null")]
    pub name: String,
    /// Commands; each may contain newlines.
    #[serde(deserialize_with = "null")]
    pub script: Vec<String>,
    /// Seconds; GitLab's runner ignores it, as it does the two below (§1.6).
    #[serde(deserialize_with = "null")]
    pub timeout: i64,
    /// `on_success`, `always`, `on_failure`.
    #[serde(deserialize_with = "null")]
    pub when: When,
    /// Whether the step may fail.
    #[serde(deserialize_with = "null")]
    pub allow_failure: bool,
}

/// A login for a registry.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct Credential {
    #[serde(rename = "type", deserialize_with = "null")]
    pub kind: String,
    #[serde(deserialize_with = "null")]
    pub url: String,
    #[serde(deserialize_with = "null")]
    pub username: String,
    #[serde(deserialize_with = "null")]
    pub password: Secret,
}

/// A job whose artifacts this one needs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct Dependency {
    #[serde(deserialize_with = "null")]
    pub id: u64,
    #[serde(deserialize_with = "null")]
    pub name: String,
    /// The token of the download; the running job's own on newer servers.
    #[serde(deserialize_with = "null")]
    pub token: Secret,
    /// Without a file name there is nothing to download.
    #[serde(deserialize_with = "null")]
    pub artifacts_file: ArtifactsFile,
}

/// The archive of a dependency.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct ArtifactsFile {
    #[serde(deserialize_with = "null")]
    pub filename: String,
    #[serde(deserialize_with = "null")]
    pub size: u64,
}

/// What this server understands.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Features {
    /// Whether the log may contain section markers.
    #[serde(deserialize_with = "null")]
    pub trace_sections: bool,
    /// Failure reasons that the server accepts.
    #[serde(deserialize_with = "null")]
    pub failure_reasons: Vec<String>,
    /// Prefixes of tokens to mask in the log, besides the built-in ones.
    #[serde(deserialize_with = "null")]
    pub token_mask_prefixes: Vec<String>,
    /// Where the server wants traces of the runner's own work.
    pub tracing: Option<serde_json::Value>,
}

/// A script around `get_sources`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Hook {
    /// `pre_get_sources_script` or `post_get_sources_script`.
    #[serde(deserialize_with = "null")]
    pub name: String,
    /// Commands, as in [`Step::script`].
    #[serde(deserialize_with = "null")]
    pub script: Vec<String>,
}

impl Job {
    /// The job's effective timeout; GitLab Runner's two hours where the server names none (§1.6).
    #[must_use]
    pub fn timeout(&self) -> std::time::Duration {
        let seconds = u64::try_from(self.runner_info.timeout).ok().filter(|s| *s > 0);
        std::time::Duration::from_secs(seconds.unwrap_or(7200))
    }

    /// The value of the last variable of that name, unexpanded.
    #[must_use]
    pub fn variable(&self, key: &str) -> Option<&str> {
        self.variables.iter().rev().find(|v| v.key == key).map(|v| v.value.as_str())
    }
}

fn null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(input)?.unwrap_or_default())
}

/// A number that is not negative; whatever else it is, is 0.
fn count<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
    Ok(serde_json::Value::deserialize(input)?.as_u64().unwrap_or(0))
}

fn text_or_number<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(input)? {
        serde_json::Value::String(text) => text,
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests;

//! The settings of a `[[runners]]` entry that concern the execution of its jobs, with GitLab Runner's own keys.
//!
//! The runner reads them from its configuration and sends them with each assignment; a standalone agent takes them
//! from its command line. Defaults are GitLab Runner's.

mod docker;

pub use docker::{DindServices, Docker, Service, Volumes};

use serde::{Deserialize, Serialize};
use warmstart_gitlab::flags::Configured;

/// What an entry says about its jobs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    /// The directory of the builds inside the containers.
    pub builds_dir: String,
    /// KiB of log that are kept.
    pub output_limit: u64,
    /// `KEY=VALUE` entries for every job.
    pub environment: Vec<String>,
    /// Run before the hooks of the payload.
    pub pre_get_sources_script: String,
    /// Run after the hooks of the payload.
    pub post_get_sources_script: String,
    /// Run before each step.
    pub pre_build_script: String,
    /// Run after each step that has not failed.
    pub post_build_script: String,
    /// Whether `CI_DEBUG_TRACE` and `CI_DEBUG_SERVICES` do nothing.
    pub debug_trace_disabled: bool,
    /// Whether jobs' logs end with the time of each stage; a job's `WARMSTART_STAGE_TIMES` comes before it.
    pub stage_times: bool,
    /// Overrides what jobs say of these flags.
    pub feature_flags: Configured,
    /// `[runners.docker]`.
    pub docker: Docker,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            builds_dir: "/builds".to_owned(),
            output_limit: 4096,
            environment: Vec::new(),
            pre_get_sources_script: String::new(),
            post_get_sources_script: String::new(),
            pre_build_script: String::new(),
            post_build_script: String::new(),
            debug_trace_disabled: false,
            stage_times: true,
            feature_flags: Configured::new(),
            docker: Docker::default(),
        }
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Text::deserialize(input)? {
        Text::One(text) => vec![text],
        Text::Many(texts) => texts,
    })
}

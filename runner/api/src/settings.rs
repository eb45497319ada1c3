//! The settings of a `[[runners]]` entry that concern the execution of its jobs, with GitLab Runner's own keys.
//!
//! The runner reads them from its configuration and sends them with each assignment; a standalone agent takes them
//! from its command line. Defaults are GitLab Runner's.

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

/// `[runners.docker]` (protocol §4).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Docker {
    /// The image of jobs that name none.
    pub image: String,
    /// Give containers full privileges.
    pub privileged: bool,
    /// `source:dest[:options]`, or `dest` alone for a cache volume.
    pub volumes: Vec<String>,
    /// Default pull policies, tried in order.
    #[serde(deserialize_with = "one_or_many")]
    pub pull_policy: Vec<String>,
    /// The policies a job may ask for; empty means those of `pull_policy`.
    #[serde(deserialize_with = "one_or_many")]
    pub allowed_pull_policies: Vec<String>,
    /// Globs of images that jobs may use; empty means all.
    pub allowed_images: Vec<String>,
    /// Globs of images that services may use; empty means all.
    pub allowed_services: Vec<String>,
    /// Globs of services that are docker-in-docker and shall start at once; empty means none.
    pub dind_services: Vec<String>,
    /// Bytes of `/dev/shm`; 0 means Docker's default.
    pub shm_size: i64,
    /// The network of all containers; empty means the default bridge, or one per build.
    pub network_mode: String,
    /// MTU of the network per build; 0 means Docker's default.
    pub network_mtu: u32,
    /// `host:ip` entries for `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// Memory limit, `512m`; empty means none.
    pub memory: String,
    /// CPUs, `1.5`; empty means all.
    pub cpus: String,
    /// The user of build containers; empty means the image's.
    pub user: String,
    /// An image for the helper container instead of the host's own tools.
    pub helper_image: String,
    /// Seconds to wait for services; 0 means 30, negative means not at all.
    pub wait_for_services_timeout: i64,
    /// Services of every job.
    pub services: Vec<Service>,
    /// Keep no cache volumes.
    pub disable_cache: bool,
    /// Ignore entrypoints that jobs ask for.
    pub disable_entrypoint_overwrite: bool,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            image: String::new(),
            privileged: false,
            volumes: vec!["/cache".to_owned()],
            pull_policy: vec!["always".to_owned()],
            allowed_pull_policies: Vec::new(),
            allowed_images: Vec::new(),
            allowed_services: Vec::new(),
            dind_services: vec!["**/docker:*dind*".to_owned()],
            shm_size: 0,
            network_mode: String::new(),
            network_mtu: 0,
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            memory: String::new(),
            cpus: String::new(),
            user: String::new(),
            helper_image: String::new(),
            wait_for_services_timeout: 0,
            services: Vec::new(),
            disable_cache: false,
            disable_entrypoint_overwrite: false,
        }
    }
}

/// `[[runners.docker.services]]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's")]
pub struct Service {
    pub name: String,
    pub alias: String,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub environment: Vec<String>,
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

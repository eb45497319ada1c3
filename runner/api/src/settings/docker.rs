//! `[runners.docker]` (protocol §4).

use super::one_or_many;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Deref;

/// `[runners.docker]`. An empty value is as good as none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the keys are GitLab Runner's")]
pub struct Docker {
    /// The image of jobs that name none.
    pub image: String,
    /// Give containers full privileges.
    pub privileged: bool,
    /// The same for services only; absent means as `privileged`.
    pub services_privileged: Option<bool>,
    /// Globs of images that get these privileges; empty means all.
    pub allowed_privileged_images: Vec<String>,
    /// The same for services.
    pub allowed_privileged_services: Vec<String>,
    /// `source:dest[:options]`, or `dest` alone for a cache volume.
    pub volumes: Volumes,
    /// Docker's driver of volumes.
    pub volume_driver: String,
    /// The driver's options.
    pub volume_driver_ops: BTreeMap<String, String>,
    /// Containers whose volumes the build container gets too.
    pub volumes_from: Vec<String>,
    /// A host directory that cache volumes are kept in, instead of named volumes.
    pub cache_dir: String,
    /// Keep no cache volumes.
    pub disable_cache: bool,
    /// Default pull policies, tried in order; empty means `always`.
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
    pub dind_services: DindServices,
    /// The user of build containers; empty means the job's, else the image's.
    pub user: String,
    /// Users that jobs may ask for; empty means `user`, else all.
    pub allowed_users: Vec<String>,
    /// Further groups of the user.
    pub group_add: Vec<String>,
    /// An image for the helper container instead of the host's own tools.
    pub helper_image: String,
    /// Ignore entrypoints that jobs ask for.
    pub disable_entrypoint_overwrite: bool,
    /// Labels of all containers; variables in their values are expanded.
    pub container_labels: BTreeMap<String, String>,
    /// `env` and `labels` of Docker's log driver.
    pub log_options: BTreeMap<String, String>,

    /// The network of all containers; empty means the default bridge, or one per build.
    pub network_mode: String,
    /// MTU of the network per build; 0 means Docker's default.
    pub network_mtu: u32,
    /// Whether the network per build has IPv6.
    pub enable_ipv6: bool,
    /// The host name of build and helper containers.
    pub hostname: String,
    /// `host:ip` entries for `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// Docker's old links of the build container.
    pub links: Vec<String>,

    /// Memory limit, `512m`; empty means none.
    pub memory: String,
    /// Limit of memory and swap together.
    pub memory_swap: String,
    /// What is left to it when memory is short.
    pub memory_reservation: String,
    /// Whether the kernel must not end its processes when memory is short.
    pub oom_kill_disable: bool,
    /// How readily the kernel ends its processes then.
    pub oom_score_adjust: i64,
    /// CPUs, `1.5`; empty means all.
    pub cpus: String,
    /// Its share where CPUs are short; 0 means Docker's default.
    pub cpu_shares: i64,
    /// The CPUs it may use, `0-2`.
    pub cpuset_cpus: String,
    /// The memory nodes it may use.
    pub cpuset_mems: String,
    /// The control group above the container's.
    pub cgroup_parent: String,
    /// Bytes of `/dev/shm`; 0 means Docker's default.
    pub shm_size: i64,
    /// Directories in memory, with their mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// Limits of processes: `soft[:hard]` by name.
    pub ulimit: BTreeMap<String, String>,

    /// Docker's runtime.
    pub runtime: String,
    /// Capabilities besides Docker's default ones.
    pub cap_add: Vec<String>,
    /// Capabilities taken away.
    pub cap_drop: Vec<String>,
    /// Docker's `--security-opt`; a profile of seccomp as its content.
    pub security_opt: Vec<String>,
    /// `host[:container[:permissions]]`.
    pub devices: Vec<String>,
    /// Docker's `--device-cgroup-rule`.
    pub device_cgroup_rules: Vec<String>,
    /// Docker's `--gpus`.
    pub gpus: String,
    /// Kernel parameters of the container.
    pub sysctls: BTreeMap<String, String>,
    /// The namespace of users.
    pub userns_mode: String,
    /// The namespace of processes of the build container.
    pub pid_mode: String,
    /// The namespace of shared memory.
    pub ipcmode: String,

    /// Services of every job.
    pub services: Vec<Service>,
    /// Most services of a job; absent or negative means any number.
    pub services_limit: Option<i64>,
    /// Seconds to wait for services; 0 means 30, negative means not at all.
    pub wait_for_services_timeout: i64,
    /// As `memory`, of services.
    pub service_memory: String,
    /// As `memory_swap`, of services.
    pub service_memory_swap: String,
    /// As `memory_reservation`, of services.
    pub service_memory_reservation: String,
    /// As `cpus`, of services.
    pub service_cpus: String,
    /// As `cpu_shares`, of services.
    pub service_cpu_shares: i64,
    /// As `cpuset_cpus`, of services.
    pub service_cpuset_cpus: String,
    /// As `cgroup_parent`, of services.
    pub service_cgroup_parent: String,
    /// As `gpus`, of services.
    pub service_gpus: String,
    /// As `devices`, by globs of the services' images.
    pub services_devices: BTreeMap<String, Vec<String>>,
    /// As `security_opt`, of services.
    pub services_security_opt: Vec<String>,
    /// As `tmpfs`, of services.
    pub services_tmpfs: BTreeMap<String, String>,
}

/// The volumes of all containers: `/cache` where nothing is said, as after `gitlab-runner register`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Volumes(Vec<String>);

impl Default for Volumes {
    fn default() -> Self {
        Self(vec!["/cache".to_owned()])
    }
}

impl From<Vec<String>> for Volumes {
    fn from(volumes: Vec<String>) -> Self {
        Self(volumes)
    }
}

impl Deref for Volumes {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

/// Globs of services that are docker-in-docker: the official images, wherever they are from, where nothing is said.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct DindServices(Vec<String>);

impl Default for DindServices {
    fn default() -> Self {
        Self(vec!["**/docker:*dind*".to_owned()])
    }
}

impl Deref for DindServices {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
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

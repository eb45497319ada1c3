//! Every key: those that are done, and those that GitLab Runner documents and that are not done here.

/// A table of the configuration.
#[derive(Debug)]
pub(super) struct Table {
    /// Keys with an effect.
    pub(super) done: &'static [&'static str],
    /// GitLab Runner's keys that only record something.
    pub(super) silent: &'static [&'static str],
    /// GitLab Runner's keys without an effect here.
    pub(super) later: &'static [&'static str],
    /// Any other key has an effect too.
    pub(super) any: bool,
    /// Tables below, single or repeated.
    pub(super) tables: &'static [(&'static str, &'static Table)],
    /// Keys with few possible values.
    pub(super) choices: &'static [(&'static str, &'static [&'static str])],
}

const NONE: Table = Table { done: &[], silent: &[], later: &[], any: false, tables: &[], choices: &[] };

const POLICIES: &[&str] = &["always", "if-not-present", "never"];

pub(super) static GLOBAL: Table = Table {
    done: &["concurrent", "check_interval", "log_level", "log_format"],
    later: &[
        "connection_max_age",
        "experimental",
        "labels",
        "listen_address",
        "sentry_dsn",
        "session_server",
        "shutdown_timeout",
        "user",
    ],
    tables: &[("runners", &RUNNERS), ("state", &STATE), ("agents", &AGENTS), ("fleet", &FLEET), ("pools", &POOLS)],
    choices: &[
        ("log_level", &["trace", "debug", "info", "warn", "error"]),
        ("log_format", &["text", "json", "runner"]),
    ],
    ..NONE
};

static STATE: Table = Table { done: &["store"], ..NONE };

static AGENTS: Table = Table { done: &["listen", "address", "poll", "contact_limit"], ..NONE };

static FLEET: Table = Table {
    done: &[
        "cloud",
        "max",
        "idle_count",
        "scale_factor",
        "scale_factor_limit",
        "idle_time",
        "boot_timeout",
        "max_age",
        "acquire_timeout",
        "max_use_count",
        "reuse",
        "lease",
    ],
    tables: &[("local", &LOCAL), ("ec2", &EC2)],
    choices: &[("cloud", &["local", "ec2"]), ("reuse", &["project", "pool"])],
    ..NONE
};

static EC2: Table = Table { done: &["region", "deployment", "launch_template", "role"], ..NONE };

static POOLS: Table = Table {
    done: &[
        "name",
        "max_instances",
        "idle_count",
        "scale_factor",
        "scale_factor_limit",
        "idle_time",
        "boot_timeout",
        "max_age",
        "max_use_count",
        "reuse",
        "instance_types",
        "subnets",
        "spot",
        "on_demand_fallback",
        "ami",
    ],
    tables: &[("tags", &TAGS)],
    choices: &[("reuse", &["project", "pool"])],
    ..NONE
};

static TAGS: Table = Table { any: true, ..NONE };

static LOCAL: Table = Table { done: &["command", "directory"], ..NONE };

static RUNNERS: Table = Table {
    done: &[
        "name",
        "pool",
        "allowed_pools",
        "url",
        "token",
        "token_file",
        "executor",
        "limit",
        "request_concurrency",
        "output_limit",
        "builds_dir",
        "environment",
        "pre_get_sources_script",
        "post_get_sources_script",
        "pre_build_script",
        "post_build_script",
        "debug_trace_disabled",
        "stage_times",
        "tls-ca-file",
        "tls-cert-file",
        "tls-key-file",
        "unhealthy_requests_limit",
        "unhealthy_interval",
    ],
    silent: &["id", "token_obtained_at", "token_expires_at"],
    later: &[
        "autoscaler",
        "cache_dir",
        "clean_git_config",
        "clone_url",
        "custom",
        "custom_build_dir",
        "instance",
        "job_status_final_update_retry_limit",
        "kubernetes",
        "labels",
        "machine",
        "monitoring",
        "parallels",
        "post_clone_script",
        "pre_clone_script",
        "proxy_exec",
        "referees",
        "safe_directory_checkout",
        "shell",
        "slot_cgroups",
        "ssh",
        "strict_check_interval",
        "virtualbox",
    ],
    any: false,
    tables: &[("docker", &DOCKER), ("cache", &CACHE), ("feature_flags", &FEATURE_FLAGS)],
    choices: &[("executor", &["docker", "docker+machine", "docker-autoscaler"])],
};

static FEATURE_FLAGS: Table = Table {
    done: &[
        "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION",
        "FF_ENABLE_BASH_EXIT_CODE_CHECK",
        "FF_NETWORK_PER_BUILD",
        "FF_SCRIPT_SECTIONS",
        "FF_TIMESTAMPS",
        "FF_USE_DIRECT_DOWNLOAD",
        "FF_USE_GITALY_CORRELATION_ID",
        "FF_USE_GIT_BUNDLE_URIS",
    ],
    later: &[
        "FF_CLEAN_UP_FAILED_CACHE_EXTRACT",
        "FF_CONCRETE",
        "FF_DISABLE_POWERSHELL_STDIN",
        "FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR",
        "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR",
        "FF_ENABLE_JOB_CLEANUP",
        "FF_ENABLE_JOB_INPUTS_INTERPOLATION",
        "FF_EXPORT_HIGH_CARDINALITY_METRICS",
        "FF_GIT_URLS_WITHOUT_TOKENS",
        "FF_HASH_CACHE_KEYS",
        "FF_KUBERNETES_HONOR_ENTRYPOINT",
        "FF_LOG_IMAGES_CONFIGURED_FOR_JOB",
        "FF_MASK_ALL_DEFAULT_TOKENS",
        "FF_POSIXLY_CORRECT_ESCAPES",
        "FF_PRINT_POD_EVENTS",
        "FF_RESOLVE_FULL_TLS_CHAIN",
        "FF_SCRIPT_TO_STEP_MIGRATION",
        "FF_SECRET_RESOLVING_FAILS_IF_MISSING",
        "FF_SUSPENDABLE_ENVIRONMENTS",
        "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY",
        "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION",
        "FF_USE_DOCKER_AUTOSCALER_DIAL_STDIO",
        "FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR",
        "FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL",
        "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY",
        "FF_USE_FASTZIP",
        "FF_USE_FLEETING_ACQUIRE_HEARTBEATS",
        "FF_USE_GIT_NATIVE_CLONE",
        "FF_USE_GIT_PROACTIVE_AUTH",
        "FF_USE_INIT_WITH_DOCKER_EXECUTOR",
        "FF_USE_JOB_ROUTER",
        "FF_USE_LEGACY_BASH_EVAL",
        "FF_USE_LEGACY_GCS_CACHE_ADAPTER",
        "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY",
        "FF_USE_LEGACY_S3_CACHE_ADAPTER",
        "FF_USE_NATIVE_CONTAINER_STOP",
        "FF_USE_PARALLEL_ARTIFACT_TRANSFER",
        "FF_USE_PARALLEL_CACHE_TRANSFER",
        "FF_USE_POD_ACTIVE_DEADLINE_SECONDS",
        "FF_USE_POWERSHELL_PATH_RESOLVER",
        "FF_USE_WINDOWS_JOB_OBJECT",
        "FF_USE_WINDOWS_LEGACY_PROCESS_STRATEGY",
        "FF_WAIT_FOR_POD_TO_BE_REACHABLE",
    ],
    ..NONE
};

static CACHE: Table = Table {
    done: &["store"],
    later: &["Type", "Path", "Shared", "MaxUploadedArchiveSize", "s3", "gcs", "azure"],
    ..NONE
};

pub(super) static DOCKER: Table = Table {
    done: &[
        "allowed_images",
        "allowed_privileged_images",
        "allowed_privileged_services",
        "allowed_pull_policies",
        "allowed_services",
        "allowed_users",
        "cache_dir",
        "cap_add",
        "cap_drop",
        "cgroup_parent",
        "container_labels",
        "cpu_shares",
        "cpus",
        "cpuset_cpus",
        "cpuset_mems",
        "device_cgroup_rules",
        "devices",
        "dind_services",
        "disable_cache",
        "disable_entrypoint_overwrite",
        "dns",
        "dns_search",
        "enable_ipv6",
        "extra_hosts",
        "gpus",
        "group_add",
        "helper_image",
        "hostname",
        "image",
        "ipcmode",
        "links",
        "log_options",
        "memory",
        "memory_reservation",
        "memory_swap",
        "network_mode",
        "network_mtu",
        "oom_kill_disable",
        "oom_score_adjust",
        "pid_mode",
        "privileged",
        "pull_policy",
        "runtime",
        "security_opt",
        "service_cgroup_parent",
        "service_cpu_shares",
        "service_cpus",
        "service_cpuset_cpus",
        "service_gpus",
        "service_memory",
        "service_memory_reservation",
        "service_memory_swap",
        "services_devices",
        "services_limit",
        "services_privileged",
        "services_security_opt",
        "services_tmpfs",
        "shm_size",
        "sysctls",
        "tmpfs",
        "ulimit",
        "user",
        "userns_mode",
        "volume_driver",
        "volume_driver_ops",
        "volumes",
        "volumes_from",
        "wait_for_services_timeout",
    ],
    later: &[
        "helper_image_autoset_arch_and_os",
        "helper_image_flavor",
        "host",
        "isolation",
        "mac_address",
        "service_slot_cgroup_template",
        "tls_cert_path",
        "tls_verify",
        "volume_keep",
    ],
    tables: &[("services", &SERVICE)],
    choices: &[("pull_policy", POLICIES), ("allowed_pull_policies", POLICIES)],
    ..NONE
};

static SERVICE: Table = Table { done: &["name", "alias", "entrypoint", "command", "environment"], ..NONE };

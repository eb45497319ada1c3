//! Limits, privileges and surroundings of a container, by what it is for (protocol §4.6).

use super::values::{bytes, devices, gpus, nano_cpus, ulimits};
use super::{Role, Spec, some};
use crate::docker::allow;
use crate::docker::pull::with_tag;
use crate::fault::Fault;
use bollard::models::{DeviceMapping, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum};
use std::collections::{BTreeMap, HashMap};
use warmstart_api::settings::Docker;

/// Options of the log driver that the settings may set.
const LOG_OPTIONS: [&str; 2] = ["env", "labels"];

/// Composes Docker's `HostConfig`.
pub(super) fn compose(spec: &Spec, docker: &Docker) -> Result<HostConfig, Fault> {
    let shared = shared(spec, docker)?;
    match spec.role {
        Role::Service => service(shared, spec, docker),
        Role::Helper => bounded(shared, docker),
        Role::Build => equipped(bounded(shared, docker)?, docker),
    }
}

/// What all containers have.
fn shared(spec: &Spec, docker: &Docker) -> Result<HostConfig, Fault> {
    Ok(HostConfig {
        binds: Some(spec.binds.clone()),
        tmpfs: (!spec.tmpfs.is_empty()).then(|| spec.tmpfs.clone()),
        network_mode: some(&spec.network_mode),
        extra_hosts: list(docker.extra_hosts.iter().chain(&spec.extra_hosts)),
        dns: list(&docker.dns),
        dns_search: list(&docker.dns_search),
        runtime: some(&docker.runtime),
        userns_mode: some(&docker.userns_mode),
        shm_size: number(docker.shm_size),
        privileged: Some(is_privileged(spec, docker)?),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log_options(docker)?) }),
        ..Default::default()
    })
}

/// What bounds a job's own containers.
fn bounded(host: HostConfig, docker: &Docker) -> Result<HostConfig, Fault> {
    Ok(HostConfig {
        memory: bytes("memory", &docker.memory)?,
        memory_swap: bytes("memory_swap", &docker.memory_swap)?,
        memory_reservation: bytes("memory_reservation", &docker.memory_reservation)?,
        oom_kill_disable: docker.oom_kill_disable.then_some(true),
        oom_score_adj: number(docker.oom_score_adjust),
        nano_cpus: nano_cpus("cpus", &docker.cpus)?,
        cpu_shares: number(docker.cpu_shares),
        cpuset_cpus: some(&docker.cpuset_cpus),
        cpuset_mems: some(&docker.cpuset_mems),
        cgroup_parent: some(&docker.cgroup_parent),
        ulimits: ulimits(&docker.ulimit)?,
        cap_add: list(&docker.cap_add),
        cap_drop: list(&docker.cap_drop),
        security_opt: list(&docker.security_opt),
        sysctls: map(&docker.sysctls),
        ipc_mode: some(&docker.ipcmode),
        ..host
    })
}

/// What only a user's scripts can see. The helper has a system of its own, where some of it would have no place.
fn equipped(host: HostConfig, docker: &Docker) -> Result<HostConfig, Fault> {
    Ok(HostConfig {
        tmpfs: map(&docker.tmpfs),
        devices: some_devices(devices(&docker.devices)?),
        device_cgroup_rules: list(&docker.device_cgroup_rules),
        device_requests: gpus("gpus", &docker.gpus)?,
        group_add: list(&docker.group_add),
        pid_mode: some(&docker.pid_mode),
        links: list(&docker.links),
        volume_driver: some(&docker.volume_driver),
        volumes_from: list(&docker.volumes_from),
        ..host
    })
}

/// What services have.
fn service(host: HostConfig, spec: &Spec, docker: &Docker) -> Result<HostConfig, Fault> {
    let mut own = Vec::new();
    for (glob, wanted) in &docker.services_devices {
        if allow::matches(std::slice::from_ref(glob), &with_tag(&spec.name))? {
            own.extend(devices(wanted)?);
        }
    }
    Ok(HostConfig {
        memory: bytes("service_memory", &docker.service_memory)?,
        memory_swap: bytes("service_memory_swap", &docker.service_memory_swap)?,
        memory_reservation: bytes("service_memory_reservation", &docker.service_memory_reservation)?,
        nano_cpus: nano_cpus("service_cpus", &docker.service_cpus)?,
        cpu_shares: number(docker.service_cpu_shares),
        cpuset_cpus: some(&docker.service_cpuset_cpus),
        cgroup_parent: some(&docker.service_cgroup_parent),
        device_requests: gpus("service_gpus", &docker.service_gpus)?,
        devices: some_devices(own),
        security_opt: list(&docker.services_security_opt),
        tmpfs: map(&docker.services_tmpfs),
        ..host
    })
}

fn is_privileged(spec: &Spec, docker: &Docker) -> Result<bool, Fault> {
    let (wanted, images) = match spec.role {
        Role::Service => (docker.services_privileged.unwrap_or(docker.privileged), &docker.allowed_privileged_services),
        Role::Build | Role::Helper => (docker.privileged, &docker.allowed_privileged_images),
    };
    Ok(wanted && (images.is_empty() || allow::matches(images, &spec.name)?))
}

/// The output is in GitLab's log; what Docker keeps of it besides must not fill the disk.
fn log_options(docker: &Docker) -> Result<HashMap<String, String>, Fault> {
    if let Some(other) = docker.log_options.keys().find(|key| !LOG_OPTIONS.contains(&key.as_str())) {
        return Err(Fault::Configuration(format!("invalid log options: only env and labels are allowed, not {other}")));
    }
    let own = [("max-size", "1m"), ("max-file", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(own.into_iter().chain(docker.log_options.clone()).collect())
}

fn number(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

fn list<'a>(items: impl IntoIterator<Item = &'a String>) -> Option<Vec<String>> {
    let items: Vec<String> = items.into_iter().cloned().collect();
    (!items.is_empty()).then_some(items)
}

fn map(items: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!items.is_empty()).then(|| items.clone().into_iter().collect())
}

fn some_devices(devices: Vec<DeviceMapping>) -> Option<Vec<DeviceMapping>> {
    (!devices.is_empty()).then_some(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privileged(role: Role, name: &str, docker: &Docker) -> bool {
        let spec = Spec { role, name: name.to_owned(), ..Spec::default() };
        is_privileged(&spec, docker).expect("valid globs")
    }

    #[test]
    fn services_have_privileges_of_their_own_and_images_may_have_to_be_listed_for_them() {
        let all = Docker { privileged: true, ..Docker::default() };
        assert!(privileged(Role::Build, "a", &all) && privileged(Role::Service, "a", &all));
        let only_services = Docker { services_privileged: Some(true), ..Docker::default() };
        assert!(!privileged(Role::Build, "a", &only_services) && privileged(Role::Service, "a", &only_services));
        let no_services = Docker { services_privileged: Some(false), ..all.clone() };
        assert!(privileged(Role::Helper, "", &no_services) && !privileged(Role::Service, "a", &no_services));
        let listed = Docker {
            allowed_privileged_images: vec!["a:*".to_owned()],
            allowed_privileged_services: vec!["docker:*-dind".to_owned()],
            ..all
        };
        assert!(privileged(Role::Build, "a:1", &listed) && !privileged(Role::Build, "b:1", &listed));
        assert!(!privileged(Role::Helper, "", &listed));
        assert!(privileged(Role::Service, "docker:29-dind", &listed) && !privileged(Role::Service, "a:1", &listed));
    }

    #[test]
    fn the_helper_is_bounded_as_the_build_is_but_has_nothing_that_only_scripts_use() {
        let docker = Docker {
            memory: "512m".to_owned(),
            pid_mode: "host".to_owned(),
            cap_drop: vec!["ALL".to_owned()],
            gpus: "all".to_owned(),
            devices: vec!["/dev/null".to_owned()],
            service_memory: "64m".to_owned(),
            ..Docker::default()
        };
        let of = |role| compose(&Spec { role, ..Spec::default() }, &docker).expect("valid settings");
        let (build, helper, service) = (of(Role::Build), of(Role::Helper), of(Role::Service));
        assert_eq!((build.memory, helper.memory, service.memory), (Some(512 << 20), Some(512 << 20), Some(64 << 20)));
        assert_eq!(
            (&build.cap_drop, &helper.cap_drop, &service.cap_drop),
            (&list(&docker.cap_drop), &build.cap_drop, &None)
        );
        assert_eq!((build.pid_mode.as_deref(), &helper.pid_mode, &service.pid_mode), (Some("host"), &None, &None));
        assert!(build.device_requests.is_some() && helper.device_requests.is_none() && helper.devices.is_none());
    }

    #[test]
    fn only_two_options_of_the_log_are_the_settings() {
        let with = |key: &str| Docker { log_options: [(key.to_owned(), "X".to_owned())].into(), ..Docker::default() };
        let kept = log_options(&with("env")).expect("allowed");
        assert_eq!((kept["env"].as_str(), kept["max-size"].as_str()), ("X", "1m"));
        assert!(log_options(&with("max-size")).is_err());
    }
}

//! `[fleet]` and `[[pools]]`: which executors there are, of what kind, and for how long.

use super::values::Humane;
use super::{Error, Local};
use crate::fleet::{Policy, Pool};
use crate::ownership::{DEFAULT_POOL, Reuse, Rules, Sharing};
use crate::server::proof::Role;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where executors come from.
#[derive(Clone, Debug)]
pub enum Cloud {
    /// Processes on this machine.
    Local(Local),
    /// Instances of EC2.
    Ec2(Ec2),
}

/// `[fleet.ec2]` with the machines of every pool.
#[derive(Clone, Debug)]
pub struct Ec2 {
    /// The region; by default the one of the environment.
    pub region: Option<String>,
    /// The name of this deployment: only instances tagged with it are this runner's.
    pub deployment: String,
    /// The launch template, `lt-…`.
    pub launch_template: String,
    /// The role of the executors' instance profile, `arn:aws:iam::…:role/…`: what they prove themselves by.
    pub role: Role,
    /// The machines of each pool.
    pub machines: BTreeMap<String, Machines>,
}

/// What the executors of a pool are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Machines {
    /// Any of these instance types.
    pub instance_types: Vec<String>,
    /// In any of these subnets.
    pub subnets: Vec<String>,
    /// Spot instances.
    pub spot: bool,
    /// On-demand instances where no spot capacity is left.
    pub on_demand_fallback: Option<bool>,
    /// Another image than the launch template's, `ami-…`.
    pub ami: Option<String>,
    /// Tags of the instances, beside the runner's own.
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Fleet {
    cloud: Option<String>,
    max: Option<usize>,
    idle_count: usize,
    scale_factor: f64,
    scale_factor_limit: usize,
    idle_time: Humane,
    boot_timeout: Humane,
    max_age: Humane,
    pub(super) acquire_timeout: Humane,
    max_use_count: u32,
    reuse: Reuse,
    pub(super) lease: Humane,
    local: Local,
    ec2: Option<RawEc2>,
}

impl Default for Fleet {
    fn default() -> Self {
        let (policy, rules, sharing) = (Policy::default(), Rules::default(), Sharing::default());
        Self {
            cloud: None,
            max: None,
            idle_count: policy.idle_count,
            scale_factor: policy.scale_factor,
            scale_factor_limit: policy.scale_factor_limit,
            idle_time: Humane(policy.idle_time),
            boot_timeout: Humane(policy.boot_timeout),
            max_age: Humane(policy.max_age),
            acquire_timeout: Humane(rules.acquire_timeout),
            max_use_count: sharing.max_use_count,
            reuse: sharing.reuse,
            lease: Humane(rules.lease),
            local: Local::default(),
            ec2: None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct RawEc2 {
    region: Option<String>,
    deployment: String,
    launch_template: String,
    role: String,
}

/// A `[[pools]]` entry as it is written; what it leaves out is `[fleet]`'s.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    name: String,
    max_instances: Option<usize>,
    idle_count: Option<usize>,
    scale_factor: Option<f64>,
    scale_factor_limit: Option<usize>,
    idle_time: Option<Humane>,
    boot_timeout: Option<Humane>,
    max_age: Option<Humane>,
    max_use_count: Option<u32>,
    reuse: Option<Reuse>,
    #[serde(flatten)]
    machines: Machines,
}

/// Completes the pools, and says where their executors come from.
pub(super) fn settle(
    fleet: Fleet,
    raws: Vec<Raw>,
    concurrent: usize,
    rules: &Rules,
) -> Result<(Vec<Pool>, Cloud), Error> {
    let raws = if raws.is_empty() { vec![Raw { name: DEFAULT_POOL.to_owned(), ..Raw::default() }] } else { raws };
    let pools = raws.iter().map(|raw| pool(raw, &fleet, concurrent, rules)).collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    if let Some(twice) = pools.iter().find(|pool| !names.insert(&pool.name)) {
        return Err(Error::Whole(format!("two [[pools]] are named \"{}\": give each a name of its own", twice.name)));
    }
    let cloud = match (fleet.cloud.as_deref(), fleet.ec2) {
        (Some("ec2"), Some(ec2)) => Cloud::Ec2(machines(ec2, raws)?),
        (Some("ec2"), None) => {
            let hint = "add [fleet.ec2] with deployment, launch_template and role";
            return Err(Error::Whole(format!("fleet.cloud is \"ec2\": {hint}")));
        }
        (_, Some(_)) => {
            return Err(Error::Whole("[fleet.ec2] is there, but fleet.cloud is not \"ec2\": set it".to_owned()));
        }
        _ => Cloud::Local(fleet.local),
    };
    Ok((pools, cloud))
}

fn pool(raw: &Raw, fleet: &Fleet, concurrent: usize, rules: &Rules) -> Result<Pool, Error> {
    let or = |own: Option<Humane>, common: Humane| own.unwrap_or(common).0;
    let policy = Policy {
        max: raw.max_instances.or(fleet.max).unwrap_or(concurrent),
        idle_count: raw.idle_count.unwrap_or(fleet.idle_count),
        scale_factor: raw.scale_factor.unwrap_or(fleet.scale_factor),
        scale_factor_limit: raw.scale_factor_limit.unwrap_or(fleet.scale_factor_limit),
        idle_time: or(raw.idle_time, fleet.idle_time),
        boot_timeout: or(raw.boot_timeout, fleet.boot_timeout),
        max_age: or(raw.max_age, fleet.max_age),
        silence: rules.lease,
        ..Policy::default()
    };
    let max_use_count = raw.max_use_count.unwrap_or(fleet.max_use_count);
    let sharing = Sharing { max_use_count, reuse: raw.reuse.unwrap_or(fleet.reuse) };
    let wrong = |what: &str| Err(Error::Whole(format!("pool \"{}\": {what}", raw.name)));
    if raw.name.is_empty() {
        return Err(Error::Whole("a [[pools]] entry has no name: give it one".to_owned()));
    }
    if max_use_count == 0 {
        return wrong("max_use_count is 0: no job would ever run; set it to 1 or more");
    }
    if !policy.scale_factor.is_finite() || policy.scale_factor < 0.0 {
        return wrong(
            "scale_factor is no positive number: it says how many idle executors there are for each busy one",
        );
    }
    if policy.max == 0 {
        return wrong("max_instances is 0: no job would ever run; set it to 1 or more, or remove the pool");
    }
    Ok(Pool { name: raw.name.clone(), policy, sharing })
}

fn machines(ec2: RawEc2, raws: Vec<Raw>) -> Result<Ec2, Error> {
    let mut machines = BTreeMap::new();
    for raw in raws {
        for (key, values) in [("instance_types", &raw.machines.instance_types), ("subnets", &raw.machines.subnets)] {
            if values.is_empty() {
                return Err(Error::Whole(format!("pool \"{}\" has no {key}: EC2 needs at least one", raw.name)));
            }
        }
        machines.insert(raw.name, raw.machines);
    }
    let RawEc2 { region, deployment, launch_template, role } = ec2;
    let role = role.parse().map_err(|why| Error::Whole(format!("fleet.ec2.role: {why}")))?;
    Ok(Ec2 { region, deployment, launch_template, role, machines })
}

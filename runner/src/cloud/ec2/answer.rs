//! What an answer of `CreateFleet` says.

use super::breakers::{Choice, Market, Place, Refusal};
use aws_sdk_ec2::types::{CreateFleetError, LaunchTemplateAndOverridesResponse};
use std::collections::{BTreeMap, BTreeSet};

/// Codes that mean: not there, not now. <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
const CAPACITY: &[&str] = &[
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "UnfulfillableCapacity",
    "SpotMaxPriceTooLow",
    "Unsupported",
];

/// Codes that mean: the account has all it may have.
const QUOTA: &[&str] =
    &["InstanceLimitExceeded", "VcpuLimitExceeded", "MaxSpotInstanceCountExceeded", "MaxSpotFleetRequestCountExceeded"];

/// Whether a code is one of missing capacity.
pub(super) fn is_capacity(code: &str) -> bool {
    CAPACITY.contains(&code)
}

/// What the code of an error that stands in place of an answer says about later requests.
pub(super) fn refusals_of_all(choice: &Choice, code: &str) -> Vec<Refusal> {
    match code {
        code if QUOTA.contains(&code) => vec![Refusal::Quota],
        code if is_capacity(code) => everywhere(choice),
        _ => Vec::new(),
    }
}

fn everywhere(choice: &Choice) -> Vec<Refusal> {
    choice.places.iter().cloned().map(Refusal::Capacity).collect()
}

/// What the errors of an answer say about later requests. A fleet that got nothing and does not say where found
/// nothing anywhere.
pub(super) fn refusals(choice: &Choice, errors: &[CreateFleetError], started: usize) -> Vec<Refusal> {
    if errors.iter().filter_map(CreateFleetError::error_code).any(|code| QUOTA.contains(&code)) {
        return vec![Refusal::Quota];
    }
    let capacity = errors.iter().filter(|error| error.error_code().is_some_and(is_capacity));
    let named: BTreeSet<Place> =
        capacity.filter_map(|error| place(choice, error.launch_template_and_overrides())).collect();
    if named.is_empty() && errors.is_empty() && started == 0 {
        return everywhere(choice);
    }
    named.into_iter().map(Refusal::Capacity).collect()
}

/// The place that an instance or an error names, of those asked for.
pub(super) fn place(choice: &Choice, named: Option<&LaunchTemplateAndOverridesResponse>) -> Option<Place> {
    let overrides = named?.overrides()?;
    let (instance_type, subnet) = (overrides.instance_type()?.as_str(), overrides.subnet_id()?);
    let mut places = choice.places.iter();
    places.find(|place| place.instance_type == instance_type && place.subnet == subnet).cloned()
}

/// Why fewer instances came than were asked for, for the logs of jobs that wait; `zones` are the subnets' zones.
pub(super) fn obstacle(
    choice: &Choice,
    refusals: &[Refusal],
    errors: &[CreateFleetError],
    zones: &BTreeMap<String, String>,
) -> String {
    let market = choice.market;
    if refusals.contains(&Refusal::Quota) {
        return format!("the AWS account's quota of {market} instances is used up");
    }
    let places: Vec<&Place> = refusals.iter().filter_map(capacity).collect();
    if !places.is_empty() {
        return no_capacity(market, &places, zones);
    }
    let first = errors.first();
    let code = first.and_then(CreateFleetError::error_code).unwrap_or("no reason given");
    let message = first.and_then(CreateFleetError::error_message).unwrap_or_default();
    format!("EC2 started too few {market} instances: {code} {message}").trim_end().to_owned()
}

fn capacity(refusal: &Refusal) -> Option<&Place> {
    match refusal {
        Refusal::Capacity(place) => Some(place),
        Refusal::Quota => None,
    }
}

fn no_capacity(market: Market, places: &[&Place], zones: &BTreeMap<String, String>) -> String {
    let types: BTreeSet<&str> = places.iter().map(|place| place.instance_type.as_str()).collect();
    let zone = |place: &&Place| zones.get(&place.subnet).unwrap_or(&place.subnet).clone();
    let zones: BTreeSet<String> = places.iter().map(zone).collect();
    let list = |words: Vec<&str>| words.join(", ");
    let types = list(types.into_iter().collect());
    format!("no {market} capacity for {types} in {}", list(zones.iter().map(String::as_str).collect()))
}

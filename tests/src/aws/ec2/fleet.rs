//! `CreateFleet` where capacity is short.

use super::{Parameters, get};
use std::collections::BTreeMap;

/// How an instance is paid for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "EC2's own words")]
pub enum Market {
    Spot,
    OnDemand,
}

/// Market, instance type, subnet.
type Kind = (Market, String, String);

/// What is left.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    limits: BTreeMap<Kind, usize>,
    quotas: BTreeMap<Market, &'static str>,
}

/// A request as it may go on, and what stands in the way of the rest.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) call: Option<Parameters>,
    pub(super) errors: Vec<String>,
}

/// The prefix of the overrides of a request.
const OVERRIDES: &str = "LaunchTemplateConfigs.1.Overrides.";

impl Capacity {
    pub(super) fn limit(&mut self, market: Market, instance_type: &str, subnet: &str, left: usize) {
        self.limits.insert((market, instance_type.to_owned(), subnet.to_owned()), left);
    }

    pub(super) fn quota(&mut self, market: Market, code: &'static str) {
        self.quotas.insert(market, code);
    }

    /// Takes what is asked for out of the first place that has some.
    pub(super) fn grant(&mut self, call: &Parameters) -> Granted {
        let market = match get(call, "TargetCapacitySpecification.DefaultTargetCapacityType") {
            Some("spot") => Market::Spot,
            _ => Market::OnDemand,
        };
        if let Some(code) = self.quotas.get(&market) {
            return Granted { call: None, errors: vec![item(&(market, String::new(), String::new()), code)] };
        }
        let wanted = get(call, CAPACITY).and_then(|count| count.parse().ok()).unwrap_or(1);
        let kinds = overrides(call, market);
        let left = |kind: &Kind| self.limits.get(kind).copied().unwrap_or(usize::MAX);
        let dry = |kinds: &[Kind]| kinds.iter().map(|kind| item(kind, "InsufficientInstanceCapacity")).collect();
        let Some(at) = kinds.iter().position(|kind| left(kind) > 0) else {
            return Granted { call: None, errors: dry(&kinds) };
        };
        let granted = left(&kinds[at]).min(wanted);
        if let Some(left) = self.limits.get_mut(&kinds[at]) {
            *left -= granted;
        }
        let errors = if granted < wanted { dry(&kinds[..=at]) } else { Vec::new() };
        Granted { call: Some(narrowed(call, at + 1, granted)), errors }
    }
}

const CAPACITY: &str = "TargetCapacitySpecification.TotalTargetCapacity";

fn overrides(call: &Parameters, market: Market) -> Vec<Kind> {
    let field = |at: usize, field: &str| get(call, &format!("{OVERRIDES}{at}.{field}")).map(str::to_owned);
    (1..).map_while(|at| Some((market, field(at, "InstanceType")?, field(at, "SubnetId")?))).collect()
}

/// The request for so many of one of its overrides alone.
fn narrowed(call: &Parameters, at: usize, count: usize) -> Parameters {
    let chosen = format!("{OVERRIDES}{at}.");
    let keep = call.iter().filter_map(|(key, value)| match key.strip_prefix(&chosen) {
        Some(field) => Some((format!("{OVERRIDES}1.{field}"), value.clone())),
        None if key.starts_with(OVERRIDES) => None,
        None if key == CAPACITY => Some((key.clone(), count.to_string())),
        None => Some((key.clone(), value.clone())),
    });
    keep.collect()
}

/// The answer of a fleet without instances.
pub(super) fn nothing() -> String {
    "<CreateFleetResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>test</requestId>\
     <fleetId>fleet-test</fleetId></CreateFleetResponse>"
        .to_owned()
}

/// An answer with errors in it.
pub(super) fn with_errors(answer: &str, errors: &[String]) -> String {
    let end = "</fleetId>";
    answer.replacen(end, &format!("{end}<errorSet>{}</errorSet>", errors.concat()), 1)
}

fn item((market, instance_type, subnet): &Kind, code: &str) -> String {
    let lifecycle = if *market == Market::Spot { "spot" } else { "on-demand" };
    let overrides = if instance_type.is_empty() {
        String::new()
    } else {
        format!("<overrides><instanceType>{instance_type}</instanceType><subnetId>{subnet}</subnetId></overrides>")
    };
    format!(
        "<item><launchTemplateAndOverrides>{overrides}</launchTemplateAndOverrides><lifecycle>{lifecycle}</lifecycle>\
         <errorCode>{code}</errorCode><errorMessage>as the test wants it</errorMessage></item>"
    )
}

//! The request for executors.

use super::breakers::{Choice, Market, Place};
use crate::config::{Ec2, Machines};
use aws_sdk_ec2::operation::create_fleet::builders::CreateFleetInputBuilder;
use aws_sdk_ec2::types::{
    DefaultTargetCapacityType, FleetLaunchTemplateConfigRequest, FleetLaunchTemplateOverridesRequest,
    FleetLaunchTemplateSpecificationRequest, FleetOnDemandAllocationStrategy, FleetType, InstanceType,
    OnDemandOptionsRequest, ResourceType, SpotAllocationStrategy, SpotOptionsRequest, Tag, TagSpecification,
    TargetCapacitySpecificationRequest,
};

/// Whose an instance is: the name of the deployment.
pub(super) const DEPLOYMENT: &str = "warmstart:deployment";

/// The pool of an instance.
pub(super) const POOL: &str = "warmstart:pool";

/// The token of the launch that an instance came of.
pub(super) const LAUNCH: &str = "warmstart:launch";

/// The most that EC2 takes of overrides.
const OVERRIDES: usize = 300;

/// A `CreateFleet` of type `instant`: it is answered with the instances, or with what stood in the way.
pub(super) fn create_fleet(
    ec2: &Ec2,
    pool: &str,
    machines: &Machines,
    choice: &Choice,
    token: &str,
    count: usize,
    user_data: &str,
) -> CreateFleetInputBuilder {
    let template = FleetLaunchTemplateSpecificationRequest::builder()
        .launch_template_id(&ec2.launch_template)
        .version("$Default")
        .launch_template_specification_user_data(user_data)
        .build();
    let overrides = choice.places.iter().take(OVERRIDES).map(|place| overrides(place, machines)).collect();
    let config = FleetLaunchTemplateConfigRequest::builder()
        .launch_template_specification(template)
        .set_overrides(Some(overrides))
        .build();
    CreateFleetInputBuilder::default()
        .client_token(token)
        .r#type(FleetType::Instant)
        .launch_template_configs(config)
        .target_capacity_specification(capacity(choice.market, count))
        .spot_options(
            SpotOptionsRequest::builder().allocation_strategy(SpotAllocationStrategy::PriceCapacityOptimized).build(),
        )
        .on_demand_options(
            OnDemandOptionsRequest::builder().allocation_strategy(FleetOnDemandAllocationStrategy::LowestPrice).build(),
        )
        .tag_specifications(tags(ec2, pool, machines, token))
}

fn overrides(place: &Place, machines: &Machines) -> FleetLaunchTemplateOverridesRequest {
    FleetLaunchTemplateOverridesRequest::builder()
        .instance_type(InstanceType::from(place.instance_type.as_str()))
        .subnet_id(&place.subnet)
        .set_image_id(machines.ami.clone())
        .build()
}

fn capacity(market: Market, count: usize) -> TargetCapacitySpecificationRequest {
    let market = match market {
        Market::Spot => DefaultTargetCapacityType::Spot,
        Market::OnDemand => DefaultTargetCapacityType::OnDemand,
    };
    TargetCapacitySpecificationRequest::builder()
        .total_target_capacity(i32::try_from(count).unwrap_or(i32::MAX))
        .default_target_capacity_type(market)
        .build()
}

/// Ours last: a pool's own tags must not make an instance somebody else's.
fn tags(ec2: &Ec2, pool: &str, machines: &Machines, token: &str) -> TagSpecification {
    let mut tags = machines.tags.clone();
    tags.entry("Name".to_owned()).or_insert_with(|| format!("warmstart {pool}"));
    for (key, value) in [(DEPLOYMENT, ec2.deployment.as_str()), (POOL, pool), (LAUNCH, token)] {
        tags.insert(key.to_owned(), value.to_owned());
    }
    let tags = tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    TagSpecification::builder().resource_type(ResourceType::Instance).set_tags(Some(tags.collect())).build()
}

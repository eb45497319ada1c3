//! The cloud by itself: launches, listings and ends.

use super::account::Account;
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use warmstart_runner::clock::Clock;
use warmstart_runner::cloud::ec2::Ec2;
use warmstart_runner::cloud::{Cloud as _, Failed, Launched, Order, Status};
use warmstart_runner::config;
use warmstart_runner::ownership::Launch;
use warmstart_tests::aws::ec2::{Fault, Market, Parameters};

/// How often the SDK tries a call before it gives up.
const TRIES: usize = 3;

fn order(cloud: &Ec2, pool: &str, token: &str, count: usize) -> Order {
    let launch = Launch { token: token.to_owned(), count };
    let seeds = (0..count).map(|at| cloud.seed(&launch, at)).collect();
    Order { launch, pool: pool.to_owned(), seeds }
}

async fn launch(cloud: &Ec2, pool: &str, token: &str, count: usize) -> Result<Launched, Failed> {
    cloud.launch(&order(cloud, pool, token, count)).await
}

fn values<'a>(call: &'a Parameters, part: &str) -> Vec<&'a str> {
    call.iter().filter(|(key, _)| key.contains(part)).map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn a_launch_starts_tagged_instances_and_only_this_deployments_are_listed() -> Result<()> {
    let account = Account::open().await?;
    let (cloud, other) = (account.cloud("ours").await?, account.cloud("theirs").await?);
    let launched = launch(&cloud, "large", "token-1", 3).await?;
    launch(&other, "large", "token-2", 1).await?;
    assert_eq!((launched.executors.len(), launched.obstacle), (3, None));

    let listed = cloud.list().await?;
    let ids: BTreeSet<&String> = listed.iter().map(|instance| &instance.id).collect();
    assert_eq!(ids, launched.executors.iter().collect());
    for instance in &listed {
        assert_eq!((instance.pool.as_str(), instance.launch.as_deref()), ("large", Some("token-1")));
        assert_eq!(instance.status, Status::Running);
        assert!(instance.launched.unix() > 1_700_000_000);
    }
    let tagged = account.moto.call("ec2", "DescribeInstances", &[("InstanceId.1", &listed[0].id)]).await?;
    assert!(tagged.contains("<key>team</key>") && tagged.contains("warmstart large"), "{tagged}");
    let asked = [("InstanceId", listed[0].id.as_str()), ("Attribute", "userData")];
    let user_data = account.moto.call("ec2", "DescribeInstanceAttribute", &asked).await?;
    assert!(user_data.contains("dGhlIHVzZXItZGF0YQ=="), "{user_data}");
    Ok(())
}

#[tokio::test]
async fn all_types_and_subnets_of_the_pool_are_offered() -> Result<()> {
    let account = Account::open().await?;
    let cloud = account.cloud("ours").await?;
    launch(&cloud, "spot", "token", 1).await?;
    let calls = account.proxy.calls("CreateFleet");
    assert_eq!(values(&calls[0], "Overrides"), {
        let [a, b] = [account.subnets[0].as_str(), account.subnets[1].as_str()];
        ["m7i.large", a, "m7i.large", b, "m6i.large", a, "m6i.large", b]
    });
    assert_eq!(values(&calls[0], "DefaultTargetCapacityType"), ["spot"]);
    assert_eq!(values(&calls[0], "SpotOptions.AllocationStrategy"), ["price-capacity-optimized"]);
    Ok(())
}

#[tokio::test]
async fn a_launch_whose_answer_was_lost_is_made_again_and_comes_to_the_same_instances() -> Result<()> {
    let account = Account::open().await?;
    let cloud = account.cloud("ours").await?;
    account.proxy.fault("CreateFleet", &Fault::LoseAnswer, TRIES);
    let lost = launch(&cloud, "large", "token", 2).await;
    assert!(matches!(lost, Err(Failed::Unsure(_))), "{lost:?}");
    assert_eq!(account.instances().await?, 2, "they were started all the same");
    let launched = launch(&cloud, "large", "token", 2).await?;
    assert_eq!((launched.executors.len(), account.instances().await?), (2, 2));
    Ok(())
}

#[tokio::test]
async fn a_launch_that_another_runner_made_otherwise_is_left_to_the_listing() -> Result<()> {
    let account = Account::open().await?;
    account.proxy.fault("CreateFleet", &Fault::LoseAnswer, TRIES);
    let died = launch(&account.cloud("ours").await?, "large", "token", 2).await;
    assert!(matches!(died, Err(Failed::Unsure(_))), "{died:?}");
    // The next runner's configuration has changed meanwhile.
    let mut config = account.config("ours");
    config.machines.values_mut().for_each(|machines| machines.subnets.truncate(1));
    let cloud = Ec2::open(config, &account.sdk, "", Clock::start()).await?;
    let again = launch(&cloud, "large", "token", 2).await;
    assert!(matches!(again, Err(Failed::Unsure(_))), "{again:?}");
    assert_eq!(cloud.list().await?.iter().filter(|instance| instance.launch.as_deref() == Some("token")).count(), 2);
    Ok(())
}

#[tokio::test]
async fn without_spot_capacity_the_job_hears_of_it_and_on_demand_is_next() -> Result<()> {
    let account = Account::open().await?;
    let cloud = account.cloud("ours").await?;
    account.dry(&[Market::Spot]);
    let launched = launch(&cloud, "spot", "token-1", 1).await?;
    assert!(launched.executors.is_empty() && launched.elsewhere, "{launched:?}");
    let obstacle = launched.obstacle.context("an obstacle")?;
    assert_eq!(obstacle, "no spot capacity for m6i.large, m7i.large in us-east-1a, us-east-1b, trying on-demand");
    let launched = launch(&cloud, "spot", "token-2", 1).await?;
    assert_eq!(launched.executors.len(), 1);
    assert_eq!(values(&account.proxy.calls("CreateFleet")[1], "DefaultTargetCapacityType"), ["on-demand"]);
    Ok(())
}

#[tokio::test]
async fn what_is_missing_of_a_launch_is_asked_for_elsewhere() -> Result<()> {
    let account = Account::open().await?;
    let cloud = account.cloud("ours").await?;
    account.proxy.capacity(Market::OnDemand, "m7i.large", &account.subnets[0], 1);
    let launched = launch(&cloud, "large", "token-1", 3).await?;
    assert_eq!((launched.executors.len(), launched.elsewhere), (1, true));
    assert_eq!(
        launched.obstacle.as_deref(),
        Some("no on-demand capacity for m7i.large in us-east-1a, trying elsewhere")
    );
    assert_eq!(launch(&cloud, "large", "token-2", 2).await?.executors.len(), 2);
    assert_eq!(values(&account.proxy.calls("CreateFleet")[1], "Overrides").len(), 6, "one place is left alone");
    Ok(())
}

#[tokio::test]
async fn where_nothing_is_left_nothing_is_asked_for_a_while() -> Result<()> {
    let account = Account::open().await?;
    let cloud = account.cloud("ours").await?;
    account.dry(&[Market::OnDemand]);
    let launched = launch(&cloud, "large", "token-1", 1).await?;
    assert!(!launched.elsewhere, "{launched:?}");
    let refused = launch(&cloud, "large", "token-2", 1).await.expect_err("nothing is left").to_string();
    let expected = "no on-demand capacity for m6i.large, m7i.large in us-east-1a, us-east-1b; asking again at ";
    assert!(refused.starts_with(expected) && refused.ends_with(" UTC"), "{refused}");
    assert_eq!(account.proxy.calls("CreateFleet").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_quota_stops_a_market_and_says_so() -> Result<()> {
    let account = Account::open().await?;
    let cloud = account.cloud("ours").await?;
    account.proxy.quota(Market::Spot, "MaxSpotInstanceCountExceeded");
    let launched = launch(&cloud, "spot", "token-1", 1).await?;
    let obstacle = "the AWS account's quota of spot instances is used up, trying on-demand";
    assert_eq!((launched.obstacle.as_deref(), launched.elsewhere), (Some(obstacle), true));
    account.proxy.fault("CreateFleet", &Fault::Error(400, "VcpuLimitExceeded"), 1);
    let refused = launch(&cloud, "spot", "token-2", 1).await;
    assert!(matches!(&refused, Err(Failed::Refused(why)) if why.contains("VcpuLimitExceeded")), "{refused:?}");
    let refused = launch(&cloud, "spot", "token-3", 1).await.expect_err("both markets are closed").to_string();
    assert!(refused.contains("; asking again at "), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_throttled_call_is_made_again_by_the_sdk() -> Result<()> {
    let account = Account::open().await?;
    let cloud = account.cloud("ours").await?;
    for action in ["CreateFleet", "DescribeInstances", "TerminateInstances"] {
        account.proxy.fault(action, &Fault::Error(503, "RequestLimitExceeded"), 1);
    }
    let launched = launch(&cloud, "large", "token", 1).await?;
    assert_eq!(cloud.list().await?.len(), 1);
    cloud.terminate(&launched.executors[0]).await?;
    assert_eq!(account.proxy.calls("CreateFleet").len(), 2);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_not_asked_again() -> Result<()> {
    let account = Account::open().await?;
    let config = config::Ec2 { launch_template: "lt-0123456789abcdef0".to_owned(), ..account.config("ours") };
    let cloud = Ec2::open(config, &account.sdk, "", Clock::start()).await?;
    let refused = launch(&cloud, "large", "token", 1).await;
    let Err(Failed::Refused(why)) = &refused else { panic!("{refused:?}") };
    assert!(why.starts_with("cannot launch 1 on-demand instances: InvalidLaunchTemplateId"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_listing_of_several_pages_is_whole() -> Result<()> {
    let account = Account::open().await?;
    let cloud = account.cloud("ours").await?;
    // moto's pages are of launches.
    for token in ["token-1", "token-2", "token-3"] {
        launch(&cloud, "large", token, 2).await?;
    }
    account.proxy.page(1);
    assert_eq!(cloud.list().await?.len(), 6);
    assert!(account.proxy.calls("DescribeInstances").len() > 1);
    account.proxy.fault("DescribeInstances", &Fault::LoseRequest, TRIES);
    let error = cloud.list().await.expect_err("a part of a listing is none").to_string();
    assert!(error.starts_with("cannot list the instances of EC2: "), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_instance_is_ended_at_once_and_twice_is_fine() -> Result<()> {
    let account = Account::open().await?;
    let cloud = account.cloud("ours").await?;
    let launched = launch(&cloud, "large", "token", 2).await?;
    cloud.terminate(&launched.executors[0]).await?;
    cloud.terminate(&launched.executors[0]).await?;
    cloud.terminate("i-0123456789abcdef0").await?;
    let status = |id: &String| {
        let listed = cloud.list();
        let id = id.clone();
        async move { anyhow::Ok(listed.await?.into_iter().find(|instance| instance.id == id).map(|i| i.status)) }
    };
    assert_eq!(status(&launched.executors[0]).await?, Some(Status::Gone));
    assert_eq!(status(&launched.executors[1]).await?, Some(Status::Running));
    assert_eq!(values(&account.proxy.calls("TerminateInstances")[0], "SkipOsShutdown"), ["true"]);
    Ok(())
}

#[tokio::test]
async fn subnets_that_are_not_there_are_noticed_at_the_start() -> Result<()> {
    let account = Account::open().await?;
    let mut config = account.config("ours");
    config.machines.values_mut().for_each(|machines| machines.subnets.push("subnet-00000000".to_owned()));
    let error = Ec2::open(config, &account.sdk, "", Clock::start()).await.expect_err("refused").to_string();
    assert!(error.starts_with("cannot look at the pools' subnets: InvalidSubnetID.NotFound"), "{error}");
    Ok(())
}

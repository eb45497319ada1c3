//! The runner with instances as its executors.

use super::super::support::Bench;
use super::account::{Account, ZONES};
use anyhow::Result;
use rustix::process::Signal;
use warmstart_runner::cloud::{Cloud as _, Order};
use warmstart_runner::ownership::Launch;
use warmstart_tests::aws::ec2::{Fault, Market};
use warmstart_tests::gitlab::JobSpec;
use warmstart_tests::harness::eventually;

async fn start(account: &Account, pool: &str) -> Result<Bench> {
    let mut bench = Bench::prepare(&account.fleet(pool)).await?.in_environment(account.environment());
    bench.start_runner()?;
    Ok(bench)
}

/// Waits until so many instances run.
async fn wait_running(account: &Account, count: usize) -> Vec<String> {
    eventually(&format!("{count} instances run"), async || {
        let running = account.running().await.expect("moto answers");
        (running.len() == count).then_some(running)
    })
    .await
}

#[tokio::test]
async fn a_job_brings_an_instance_and_its_log_tells_what_is_in_the_way() -> Result<()> {
    let account = Account::open().await?;
    account.dry(&[Market::Spot, Market::OnDemand]);
    let bench = start(&account, "spot = true").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    let places = format!("capacity for m6i.large, m7i.large in {}, {}; asking again at ", ZONES[0], ZONES[1]);
    bench.gitlab.wait_log_contains(job, &format!("no on-demand {places}")).await;
    bench.wait_log(&format!("no spot {}, trying on-demand", places.trim_end_matches("; asking again at "))).await;
    assert_eq!(account.running().await?, [""; 0]);
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_runner_that_is_killed_while_it_launches_launches_nothing_twice() -> Result<()> {
    let account = Account::open().await?;
    account.proxy.fault("CreateFleet", &Fault::LoseAnswer, 100);
    let mut bench = start(&account, "").await?;
    bench.gitlab.add_job(JobSpec::script(["true"]));
    let first = wait_running(&account, 1).await;
    bench.kill_runner().await?;
    bench.start_runner()?;
    let record = bench.file("state/executors").join(&first[0]);
    eventually("the instance is known", async || record.exists().then_some(())).await;
    assert_eq!(account.running().await?, first, "it is found by its launch, and no other was started");
    Ok(())
}

#[tokio::test]
async fn instances_that_nobody_knows_end_and_those_of_others_stay() -> Result<()> {
    let account = Account::open().await?;
    let tags = |deployment: &'static str| {
        let image = [("ImageId", "ami-12345678"), ("MinCount", "1"), ("MaxCount", "1")];
        let kind = [("TagSpecification.1.ResourceType", "instance")];
        let tag =
            [("TagSpecification.1.Tag.1.Key", "warmstart:deployment"), ("TagSpecification.1.Tag.1.Value", deployment)];
        [&image[..], &kind, &tag].concat()
    };
    account.moto.call("ec2", "RunInstances", &tags("other")).await?;
    let other = account.running().await?;
    account.moto.call("ec2", "RunInstances", &tags("test")).await?;
    assert_eq!(account.running().await?.len(), 2);
    let mut bench = start(&account, "").await?;
    assert_eq!(wait_running(&account, 1).await, other);
    bench.wait_log("nobody knows it").await;
    assert!(bench.stop_runner(Signal::TERM).await?.status.success());
    Ok(())
}

#[tokio::test]
async fn reaping_ends_no_instance_that_is_new_or_somebody_elses() -> Result<()> {
    let account = Account::open().await?;
    let image = [("ImageId", "ami-12345678"), ("MinCount", "1"), ("MaxCount", "1")];
    account.moto.call("ec2", "RunInstances", &image).await?;
    let cloud = account.cloud("test").await?;
    let launch = Launch { token: "another".to_owned(), count: 1 };
    let order = Order { seeds: vec![cloud.seed(&launch, 0)], launch, pool: "large".to_owned() };
    cloud.launch(&order).await?;
    let bench = Bench::prepare(&account.fleet("")).await?.in_environment(account.environment());
    let reaped = bench.call(&["reap", "--dry-run"]).await?;
    assert!(reaped.status.success() && reaped.output.trim() == "0 of 1 instances would be ended", "{}", reaped.output);
    Ok(())
}

#[tokio::test]
async fn an_instance_whose_agent_never_registers_is_ended_and_its_console_kept() -> Result<()> {
    let account = Account::open().await?;
    let bench = start(&account, "boot_timeout = \"3s\"").await?;
    let job = bench.gitlab.add_job(JobSpec::script(["true"]));
    let first = wait_running(&account, 1).await;
    bench.wait_log("executor hung in boot").await;
    bench.gitlab.wait_log_contains(job, &format!("executor {} did not come up", first[0])).await;
    eventually("another one takes its place", async || {
        let running = account.running().await.expect("moto answers");
        running.iter().any(|id| *id != first[0]).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_the_account_is_said_at_the_start() -> Result<()> {
    let account = Account::open().await?;
    let fleet = account.fleet("").replace(&account.subnets[0], "subnet-00000000");
    let bench = Bench::prepare(&fleet).await?.in_environment(account.environment());
    let ended = bench.fail().await?;
    assert!(
        !ended.status.success() && ended.output.contains("cannot look at the pools' subnets: InvalidSubnetID.NotFound"),
        "{}",
        ended.output
    );
    Ok(())
}

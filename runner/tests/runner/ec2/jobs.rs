//! Jobs on instances, from GitLab to Docker and back: real runner, real agents, and an EC2 that lets machines run.

use super::super::support::Bench;
use super::account::{Account, ROLE};
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use warmstart_tests::aws::ec2::Market;
use warmstart_tests::aws::{Machines, Sts};
use warmstart_tests::gitlab::{JobSpec, JobState, Options};
use warmstart_tests::harness::{BUSYBOX, eventually, host_for_containers};

struct Region {
    bench: Bench,
    account: Account,
    machines: Machines,
}

impl Region {
    async fn start(pool: &str) -> Result<Self> {
        let account = Account::open().await?;
        let sts = Arc::new(Sts::start().await?);
        let listen = vec![SocketAddr::new(host_for_containers()?, 0)];
        let options = Options { listen, hold: Duration::from_secs(2), ..Options::default() };
        let bench = Bench::with(options, &account.fleet(pool)).await?;
        let environment = [account.environment(), vec![("AWS_ENDPOINT_URL_STS", sts.url.clone())]].concat();
        let mut bench = bench.in_environment(environment);
        bench.image(BUSYBOX)?;
        bench.start_runner()?;
        let directory = bench.file("machines");
        std::fs::create_dir(&directory)?;
        let machines = Machines::start(account.moto.clone(), sts, ROLE, &directory);
        Ok(Self { bench, account, machines })
    }

    /// Waits until no instance runs.
    async fn wait_empty(&self) {
        eventually("no instance is left", async || {
            self.account.running().await.expect("moto answers").is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn jobs_run_on_instances_that_prove_themselves_and_end_with_their_job() -> Result<()> {
    let region = Region::start("spot = true").await?;
    region.account.dry(&[Market::Spot]);
    let gitlab = &region.bench.gitlab;
    let jobs = [1, 2].map(|n| gitlab.add_job(JobSpec::script([format!("echo job number {n}")])));
    for (job, n) in jobs.into_iter().zip(1..) {
        let finished = gitlab.wait_finished(job).await;
        assert_eq!(finished.state, JobState::Success, "{}\n{}", finished.text(), region.machines.logs());
        assert!(finished.text().contains(&format!("job number {n}\n")), "{}", finished.text());
    }
    region.wait_empty().await;
    region.bench.wait_journal_empty().await;
    gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn an_instance_that_is_gone_during_a_script_fails_the_job_at_once_and_before_it_is_replaced() -> Result<()> {
    let region = Region::start("").await?;
    let gitlab = &region.bench.gitlab;
    let job = gitlab.add_job(JobSpec::script(["echo the script runs", "sleep 1000"]));
    gitlab.expect_loss(job);
    gitlab.wait_log_contains(job, "the script runs\n").await;
    let running = region.account.running().await?;
    region.account.moto.call("ec2", "TerminateInstances", &[("InstanceId.1", &running[0])]).await?;
    let finished = gitlab.wait_finished(job).await;
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    assert!(finished.text().contains("was lost while the script ran"), "{}", finished.text());
    region.wait_empty().await;
    Ok(())
}

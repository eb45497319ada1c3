//! An AWS account with what the stack makes in it.

use anyhow::{Context as _, Result};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::Credentials;
use std::collections::BTreeMap;
use std::sync::Arc;
use warmstart_runner::clock::Clock;
use warmstart_runner::cloud::ec2::Ec2;
use warmstart_runner::config;
use warmstart_tests::aws::ec2::Market;
use warmstart_tests::aws::{self, Moto, element};

/// The executors' role.
pub(super) const ROLE: &str = "executor";

/// The subnets' zones, in their order.
pub(super) const ZONES: [&str; 2] = ["us-east-1a", "us-east-1b"];

/// An account with two subnets and a launch template.
pub(super) struct Account {
    pub(super) moto: Arc<Moto>,
    pub(super) proxy: aws::Ec2,
    pub(super) sdk: SdkConfig,
    template: String,
    pub(super) subnets: Vec<String>,
}

impl Account {
    pub(super) async fn open() -> Result<Self> {
        let moto = Arc::new(Moto::start()?);
        let proxy = aws::Ec2::start(&moto.url).await?;
        let data = [
            ("LaunchTemplateName", "warmstart"),
            ("LaunchTemplateData.ImageId", "ami-12345678"),
            ("LaunchTemplateData.InstanceType", "t3.small"),
        ];
        let template = moto.call("ec2", "CreateLaunchTemplate", &data).await?;
        let template = element(&template, "launchTemplateId").context("a launch template")?;
        let listed = moto.call("ec2", "DescribeSubnets", &[]).await?;
        let subnet = |item: &str| Some((element(item, "availabilityZone")?, element(item, "subnetId")?));
        let subnets: BTreeMap<String, String> = listed.split("<item>").filter_map(subnet).collect();
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(Moto::REGION))
            .endpoint_url(&proxy.url)
            .credentials_provider(Credentials::new("testing", "testing", None, None, "test"));
        let sdk = Box::pin(sdk.load()).await;
        Ok(Self { moto, proxy, sdk, template, subnets: subnets.into_values().take(2).collect() })
    }

    fn machines(&self, spot: bool) -> config::Machines {
        config::Machines {
            instance_types: vec!["m7i.large".to_owned(), "m6i.large".to_owned()],
            subnets: self.subnets.clone(),
            spot,
            tags: BTreeMap::from([("team".to_owned(), "ci".to_owned())]),
            ..config::Machines::default()
        }
    }

    pub(super) fn config(&self, deployment: &str) -> config::Ec2 {
        let pools = [("large", false), ("spot", true)];
        config::Ec2 {
            region: None,
            deployment: deployment.to_owned(),
            launch_template: self.template.clone(),
            role: format!("arn:aws:iam::{}:role/{ROLE}", Moto::ACCOUNT).parse().expect("a role"),
            machines: pools.into_iter().map(|(name, spot)| (name.to_owned(), self.machines(spot))).collect(),
        }
    }

    pub(super) async fn cloud(&self, deployment: &str) -> Result<Ec2> {
        Ok(Ec2::open(self.config(deployment), &self.sdk, "the user-data", Clock::start()).await?)
    }

    /// The `[fleet]` of a runner whose executors are instances here, with one pool.
    pub(super) fn fleet(&self, pool: &str) -> String {
        format!(
            r#"
cloud = "ec2"
[fleet.ec2]
deployment = "test"
launch_template = "{}"
role = "arn:aws:iam::{}:role/{ROLE}"
[[pools]]
name = "main"
instance_types = ["m7i.large", "m6i.large"]
subnets = {:?}
{pool}
"#,
            self.template,
            Moto::ACCOUNT,
            self.subnets
        )
    }

    /// The environment of a runner that works in this account.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let plain = [
            ("AWS_ACCESS_KEY_ID", "testing"),
            ("AWS_SECRET_ACCESS_KEY", "testing"),
            ("AWS_REGION", Moto::REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_ENDPOINT_URL_EC2", &self.proxy.url),
            ("AWS_ENDPOINT_URL_STS", &self.moto.url),
        ];
        plain.map(|(name, value)| (name, value.to_owned())).to_vec()
    }

    /// The instances that run, whoever started them.
    pub(super) async fn running(&self) -> Result<Vec<String>> {
        self.moto.running().await
    }

    /// How many instances there are in all, whoever started them.
    pub(super) async fn instances(&self) -> Result<usize> {
        Ok(self.moto.call("ec2", "DescribeInstances", &[]).await?.matches("<instanceId>").count())
    }

    /// There is nothing left of these markets.
    pub(super) fn dry(&self, markets: &[Market]) {
        for market in markets {
            for instance_type in ["m7i.large", "m6i.large"] {
                self.subnets.iter().for_each(|subnet| self.proxy.capacity(*market, instance_type, subnet, 0));
            }
        }
    }
}

//! Executors as instances of EC2.
//!
//! An instance is ours by its tag `warmstart:deployment`, and of a pool and a launch by two others. Instances come by
//! `CreateFleet` of type `instant`, over every instance type and subnet of the pool that is not left alone
//! (`breakers`), with the launch's token as `ClientToken`: the same request again names the same instances.

mod answer;
mod breakers;
mod request;

use super::{Cloud, Error, Failed, Instance, Launched, Order, Seed, Status};
use crate::clock::{Clock, Time};
use crate::config;
use crate::ownership::Launch;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::create_fleet::CreateFleetOutput;
use aws_sdk_ec2::types::{self, Filter, InstanceStateName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use breakers::{Breakers, Choice};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long after a launch an instance may be missing from `DescribeInstances`, which is eventually consistent.
const SETTLES: Duration = Duration::from_mins(5);

/// `DescribeInstances` refills 20 calls a second for the whole account; five times a minute and after each change is
/// far from it.
const FRESHNESS: Duration = Duration::from_secs(5);

/// How much of a console's output is quoted.
const TAIL: usize = 2000;

/// The instances of one deployment.
#[derive(Debug)]
pub struct Ec2 {
    client: Client,
    config: config::Ec2,
    /// What every instance is told, base64.
    user_data: String,
    /// The zone of each subnet.
    zones: BTreeMap<String, String>,
    breakers: Mutex<Breakers>,
    /// Why each pool last got less than it asked for.
    obstacles: Mutex<BTreeMap<String, String>>,
    /// What was asked for with a token: to be idempotent a repeated request must be the same to the letter.
    asked: Mutex<BTreeMap<String, Choice>>,
    clock: Clock,
}

impl Ec2 {
    /// Looks at the subnets: what is wrong with credentials or configuration would only be noticed by the first job.
    pub async fn open(config: config::Ec2, sdk: &SdkConfig, user_data: &str, clock: Clock) -> Result<Self, Error> {
        let client = Client::new(sdk);
        let zones = zones(&client, &config).await?;
        let user_data = BASE64.encode(user_data);
        Ok(Self {
            client,
            config,
            user_data,
            zones,
            breakers: Mutex::default(),
            obstacles: Mutex::default(),
            asked: Mutex::default(),
            clock,
        })
    }

    /// What to ask for: the same as at an earlier try, else what the breakers leave.
    fn choose(&self, order: &Order, machines: &config::Machines) -> Option<Choice> {
        if let Some(choice) = locked(&self.asked).get(&order.launch.token) {
            return Some(choice.clone());
        }
        let choice = locked(&self.breakers).choose(machines, self.clock.now())?;
        locked(&self.asked).insert(order.launch.token.clone(), choice.clone());
        Some(choice)
    }

    /// Learns from an answer, and says what came.
    fn learn(
        &self,
        machines: &config::Machines,
        choice: &Choice,
        order: &Order,
        answer: &CreateFleetOutput,
    ) -> Launched {
        let now = self.clock.now();
        let executors: Vec<String> =
            answer.instances().iter().flat_map(types::CreateFleetInstance::instance_ids).cloned().collect();
        let mut breakers = locked(&self.breakers);
        for instance in answer.instances() {
            if let Some(place) = answer::place(choice, instance.launch_template_and_overrides()) {
                breakers.started(choice.market, &place);
            }
        }
        if executors.len() >= order.launch.count {
            return Launched { executors, ..Launched::default() };
        }
        let refusals = answer::refusals(choice, answer.errors(), executors.len());
        for refusal in &refusals {
            breakers.refused(choice.market, refusal, now);
        }
        let next = breakers.choose(machines, now).filter(|_| !refusals.is_empty());
        let then = match &next {
            Some(next) if next.market != choice.market => format!(", trying {}", next.market),
            Some(_) => ", trying elsewhere".to_owned(),
            None => String::new(),
        };
        let obstacle = answer::obstacle(choice, &refusals, answer.errors(), &self.zones);
        locked(&self.obstacles).insert(order.pool.clone(), obstacle.clone());
        Launched { executors, obstacle: Some(obstacle + &then), elsewhere: next.is_some() }
    }

    /// Why nothing is asked for just now.
    fn left_alone(&self, pool: &str, machines: &config::Machines) -> String {
        let reopens = locked(&self.breakers).reopens(machines).unwrap_or_default();
        let at = Timestamp::from_second(reopens.unix().try_into().unwrap_or_default()).unwrap_or_default();
        let why = locked(&self.obstacles).get(pool).cloned().unwrap_or_else(|| "no capacity".to_owned());
        format!("{why}; asking again at {} UTC", at.strftime("%H:%M:%S"))
    }

    /// An error instead of an answer.
    fn failed(&self, choice: &Choice, code: Option<&str>, text: String) -> Failed {
        match code {
            // The first request was done: its instances are listed soon, with their launch.
            Some("IdempotentParameterMismatch") | None => Failed::Unsure(text),
            Some(code) => {
                let (mut breakers, now) = (locked(&self.breakers), self.clock.now());
                for refusal in answer::refusals_of_all(choice, code) {
                    breakers.refused(choice.market, &refusal, now);
                }
                Failed::Refused(text)
            }
        }
    }
}

impl Cloud for Ec2 {
    fn seed(&self, launch: &Launch, at: usize) -> Seed {
        Seed { id: format!("launch-{}-{at}", launch.token), token: None }
    }

    fn settles(&self) -> Duration {
        SETTLES
    }

    fn freshness(&self) -> Duration {
        FRESHNESS
    }

    async fn launch(&self, order: &Order) -> Result<Launched, Failed> {
        let Some(machines) = self.config.machines.get(&order.pool) else {
            return Err(Failed::Refused(format!("pool \"{}\" is not configured any more", order.pool)));
        };
        let Some(choice) = self.choose(order, machines) else {
            return Err(Failed::Refused(self.left_alone(&order.pool, machines)));
        };
        let (token, count) = (&order.launch.token, order.launch.count);
        let request =
            request::create_fleet(&self.config, &order.pool, machines, &choice, token, count, &self.user_data);
        let answered = Box::pin(request.send_with(&self.client)).await;
        let result = match answered {
            Ok(answer) => Ok(self.learn(machines, &choice, order, &answer)),
            Err(error) => {
                let text = format!("cannot launch {count} {} instances: {}", choice.market, reason(&error));
                Err(self.failed(&choice, definite(&error), text))
            }
        };
        if !matches!(result, Err(Failed::Unsure(_))) {
            locked(&self.asked).remove(token);
        }
        result
    }

    async fn list(&self) -> Result<Vec<Instance>, Error> {
        let ours = Filter::builder().name(format!("tag:{}", request::DEPLOYMENT)).values(&self.config.deployment);
        let mut pages = self.client.describe_instances().filters(ours.build()).into_paginator().items().send();
        let mut instances = Vec::new();
        while let Some(reservation) = pages.next().await {
            let reservation =
                reservation.map_err(|why| Error(format!("cannot list the instances of EC2: {}", reason(&why))))?;
            instances.extend(reservation.instances().iter().filter_map(instance));
        }
        Ok(instances)
    }

    async fn terminate(&self, id: &str) -> Result<(), Error> {
        let request = self.client.terminate_instances().instance_ids(id).skip_os_shutdown(true);
        match Box::pin(request.send()).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("InvalidInstanceID.NotFound") => Ok(()),
            Err(error) => Err(Error(format!("cannot terminate instance {id}: {}", reason(&error)))),
        }
    }

    async fn log_tail(&self, id: &str) -> String {
        let request = self.client.get_console_output().instance_id(id).latest(true);
        match Box::pin(request.send()).await {
            Ok(answer) => console(answer.output().unwrap_or_default()),
            Err(error) => format!("(its console cannot be had: {})", reason(&error)),
        }
    }
}

/// Credentials by the SDK's usual chain, and the region; nothing of it hangs for ever.
pub async fn sdk(region: Option<String>) -> Result<SdkConfig, Error> {
    let region = region.map(Region::new);
    let loader = bounded(aws_config::defaults(BehaviorVersion::latest()));
    let sdk = Box::pin(match region {
        Some(region) => loader.region(region).load(),
        None => loader.load(),
    })
    .await;
    if sdk.region().is_none() {
        return Err(Error("no AWS region: set fleet.ec2.region or the environment variable AWS_REGION".to_owned()));
    }
    Ok(sdk)
}

/// Where STS answers: as the environment says, else in the region.
#[must_use]
pub fn sts_endpoint(sdk: &SdkConfig) -> String {
    let region = sdk.region().map(Region::as_ref).unwrap_or_default();
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let set = std::env::var("AWS_ENDPOINT_URL_STS").ok().filter(|url| !url.is_empty());
    set.unwrap_or_else(|| format!("https://sts.{region}.{domain}"))
}

fn bounded(loader: ConfigLoader) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(20))
        .operation_timeout(Duration::from_mins(1));
    loader.timeout_config(timeouts.build())
}

/// The zone of each subnet of the pools.
async fn zones(client: &Client, config: &config::Ec2) -> Result<BTreeMap<String, String>, Error> {
    let subnets: BTreeSet<String> =
        config.machines.values().flat_map(|machines| machines.subnets.iter().cloned()).collect();
    let request = client.describe_subnets().set_subnet_ids(Some(subnets.into_iter().collect()));
    let answer = Box::pin(request.send()).await;
    let answer = answer.map_err(|why| Error(format!("cannot look at the pools' subnets: {}", reason(&why))))?;
    let zone = |subnet: &types::Subnet| {
        Some((subnet.subnet_id()?.to_owned(), subnet.availability_zone().unwrap_or_default().to_owned()))
    };
    Ok(answer.subnets().iter().filter_map(zone).collect())
}

/// The code of an error that says that nothing was done; `None` if that is not sure.
fn definite<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    match error {
        SdkError::ServiceError(answer) if answer.raw().status().is_client_error() => error.code(),
        SdkError::ServiceError(_) => error.code().filter(|code| answer::is_capacity(code)),
        SdkError::ConstructionFailure(_) => Some("ConstructionFailure"),
        _ => None,
    }
}

/// An error in one line: code and message of the answer, else what stood in the way of one.
fn reason<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => DisplayErrorContext(error).to_string().replace('\n', " "),
    }
}

fn instance(instance: &types::Instance) -> Option<Instance> {
    let tag = |key: &str| {
        let mut tags = instance.tags().iter().filter(|tag| tag.key() == Some(key));
        tags.next().and_then(types::Tag::value).map(str::to_owned)
    };
    let status = match instance.state().and_then(types::InstanceState::name) {
        Some(InstanceStateName::Pending | InstanceStateName::Running) => Status::Running,
        Some(InstanceStateName::ShuttingDown | InstanceStateName::Terminated) => Status::Gone,
        _ => Status::Stopped,
    };
    Some(Instance {
        id: instance.instance_id()?.to_owned(),
        pool: tag(request::POOL).unwrap_or_default(),
        launch: tag(request::LAUNCH),
        launched: instance
            .launch_time()
            .map(|at| Time::from_secs(at.secs().try_into().unwrap_or(0)))
            .unwrap_or_default(),
        status,
    })
}

/// The end of a console's output, as it comes in base64.
fn console(output: &str) -> String {
    let bytes = BASE64.decode(output.trim()).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]).into_owned()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `prepare_executor` and `prepare_script`: images, network, volumes, services, helper (protocol §4.1).

use crate::docker::build::Build;
use crate::docker::container::Container;
use crate::docker::network::{self, Network};
use crate::docker::pull::{Asked, Image, Policy, Puller, policies};
use crate::docker::services::{self, Definition, Name, Place, Service, Starter, free_aliases, split_aliases};
use crate::docker::volumes::{self, Plan, Wanted};
use crate::docker::{allow, auth::Logins, helper, sandbox};
use crate::fault::Fault;
use crate::script;
use crate::stage::{Common, Execution, Prepared, sidecar};
use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::sleep;

/// How often preparing is tried, and the pause between (protocol §2.1).
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(3);

/// Makes everything that the job's scripts run in.
pub async fn executor(job: &mut Execution) -> Result<(), Fault> {
    let log = job.log.clone();
    let work = async {
        for _ in 1..ATTEMPTS {
            match prepare(job).await {
                Err(fault) if fault.is_retryable() => {
                    job.log.error(&format!("Preparation failed: {fault}"));
                    job.log.print("Will be retried in 3s ...");
                    sleep(PAUSE).await;
                    start_over(job).await?;
                }
                result => return result,
            }
        }
        prepare(job).await
    };
    let prepared = log.section("prepare_executor", "Preparing the \"docker\" executor", work).await?;
    job.prepared = Some(prepared);
    Ok(())
}

/// Lets the helper container make the job's directories ready.
pub async fn environment(job: &Execution) -> Result<(), Fault> {
    let script = script::prepare(&job.context(), &job.host.name);
    let work = async {
        let prepared = job.in_helper(&script).await;
        job.prepared()?.hidden.iter().for_each(|path| {
            job.log.warn(&format!(
                "{path} is a volume inside the project directory: cache and artifacts do not see its files yet"
            ));
        });
        prepared
    };
    let result = job.log.section("prepare_script", "Preparing environment", work).await;
    result.map_err(|fault| match fault {
        Fault::Exit(_) => Fault::System(format!("prepare environment: {fault}")),
        other => other,
    })
}

async fn start_over(job: &Execution) -> Result<(), Fault> {
    let removed = sandbox::remove_labelled(&job.sandbox.docker, &job.sandbox.identity.filter()).await;
    removed.map_err(|error| Fault::System(format!("{error:#}")))
}

/// Makes everything once.
///
/// 1. The image's name.
/// 2. Volumes and network.
/// 3. The helper starts while services start and answer, and the image comes.
/// 4. The names of the services reach the helper.
async fn prepare(job: &Execution) -> Result<Prepared, Fault> {
    let name = image_name(job)?;
    job.log.print(&format!("Using Docker executor with image {name} ..."));
    let docker = &job.order.settings.docker;
    allow::check("image", &name, &docker.allowed_images, &[job.variables.expand(&docker.image)])?;
    allow::check_user(&job.user(), &docker.user, &docker.allowed_users)?;
    let puller = puller(job);
    let plan = plan(job)?;
    for volume in &plan.named {
        job.sandbox.create_volume(volume, docker).await?;
    }
    let network = network::prepare(&job.sandbox, docker, network_name(job)).await?;
    let mut common = common(job, &plan, &network);
    let (helper, others) = tokio::join!(
        Box::pin(start_helper(job, &puller, &common)),
        Box::pin(others(job, &puller, &plan, &network, &name))
    );
    let ((services, image), helper) = (others?, helper?);
    let names: Vec<_> = services.into_iter().map(|service| (service.aliases, service.addresses)).collect();
    common.hosts = network.hosts(&names);
    // Only now: the helper's system is this machine's own, and not to be written to.
    common.binds.extend_from_slice(sidecar::binds(job));
    furnish(&helper, &plan, &common.hosts).await?;
    let build = build(job, image, name);
    Ok(Prepared { helper, build, common, container: OnceLock::new(), hidden: plan.hidden })
}

/// The job's image, else the runner's.
fn image_name(job: &Execution) -> Result<String, Fault> {
    let wanted = [&job.order.job.image.name, &job.order.settings.docker.image];
    let found = wanted.into_iter().map(|name| job.variables.expand(name)).find(|name| !name.is_empty());
    found.ok_or_else(|| {
        Fault::Configuration(
            "no Docker image specified to run the build in: set `image:` in .gitlab-ci.yml, or one for the runner"
                .to_owned(),
        )
    })
}

fn puller(job: &Execution) -> Puller {
    let variable = Some(job.variables.content("DOCKER_AUTH_CONFIG").to_owned());
    let logins = Logins::new(variable, &job.order.job.credentials);
    Puller { docker: job.sandbox.docker.clone(), log: job.log.clone(), logins }
}

/// The policies for one image of the job.
fn policies_for(job: &Execution, wanted: &[String]) -> Result<Vec<Policy>, Fault> {
    let docker = &job.order.settings.docker;
    policies(&Asked { job: wanted, runner: &docker.pull_policy, allowed: &docker.allowed_pull_policies })
}

fn plan(job: &Execution) -> Result<Plan, Fault> {
    let order = &job.order;
    let docker = &order.settings.docker;
    let volumes = volumes::parse(&docker.volumes, &job.directories.project, |text| job.variables.expand(text))?;
    let temporary = format!("{}-{}", job.sandbox.identity.stem, job.sandbox.identity.random);
    Ok(volumes::plan(&Wanted {
        volumes: &volumes,
        builds: &job.builds,
        project_dir: &job.directories.project,
        reusable: &order.gitlab.volume_prefix,
        temporary: &temporary,
        protected: volumes::protected(&order.job),
        disable_cache: docker.disable_cache,
        cache_dir: &docker.cache_dir,
    }))
}

/// The name of the network to make for this job, if it asks for one.
#[must_use]
pub fn network_name(job: &Execution) -> Option<String> {
    let name = job.variables.get("CI_BUILD_NETWORK_NAME");
    (job.variables.flag("FF_NETWORK_PER_BUILD") && !name.is_empty()).then(|| name.to_owned())
}

fn common(job: &Execution, plan: &Plan, network: &Network) -> Common {
    let identity = &job.sandbox.identity;
    let configured = job.order.settings.docker.hostname.as_str();
    let hostname = if configured.is_empty() { &identity.stem } else { configured };
    Common {
        env: job.variables.container_env(),
        binds: plan.binds.clone(),
        hosts: Vec::new(),
        network_mode: network.mode().to_owned(),
        aliases: network.aliases(&["build".to_owned(), identity.name("build")]),
        hostname: if network.mode() == "host" { String::new() } else { hostname.to_owned() },
    }
}

async fn start_helper(job: &Execution, puller: &Puller, common: &Common) -> Result<Container, Fault> {
    let docker = &job.order.settings.docker;
    let kind = match job.variables.expand(&docker.helper_image).as_str() {
        "" => helper::Kind::Host(job.host.tools.clone()),
        image => helper::Kind::Image(puller.get(image, &policies_for(job, &[])?, "").await?.reference),
    };
    helper::start(&job.sandbox, docker, &kind, common.spec()).await
}

/// Services and the job's image: pulled one after the other, so that the log can be read.
async fn others(
    job: &Execution,
    puller: &Puller,
    plan: &Plan,
    network: &Network,
    image: &str,
) -> Result<(Vec<Service>, Image), Fault> {
    let services = start_services(job, puller, plan, network).await?;
    services::wait_for(&services, wait_limit(job.order.settings.docker.wait_for_services_timeout), &job.log).await;
    let wanted = &job.order.job.image;
    let platform = job.variables.expand(&wanted.executor_opts.docker.platform);
    let image = puller.get(image, &policies_for(job, &wanted.pull_policy)?, &platform).await?;
    Ok((services, image))
}

fn wait_limit(seconds: i64) -> Duration {
    match seconds {
        0 => Duration::from_secs(30),
        seconds => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
    }
}

async fn start_services(
    job: &Execution,
    puller: &Puller,
    plan: &Plan,
    network: &Network,
) -> Result<Vec<Service>, Fault> {
    let binds = [&plan.binds, sidecar::binds(job)].concat();
    let starter = Starter {
        sandbox: &job.sandbox,
        docker: &job.order.settings.docker,
        network,
        binds: &binds,
        health_port: job.variables.get("HEALTHCHECK_TCP_PORT"),
    };
    let mut taken = HashSet::new();
    let mut running = Vec::new();
    for (index, definition) in definitions(job)?.into_iter().enumerate() {
        let name = Name::parse(&definition.name)?;
        let (aliases, refused) = free_aliases(&name, &definition.aliases, &mut taken);
        for alias in refused {
            job.log.warn(&format!("Service {}: alias {alias} is already taken by an earlier service", definition.name));
        }
        if aliases.is_empty() {
            job.log.warn(&format!("Service {} is not started: all its aliases are taken", definition.name));
            continue;
        }
        job.log.print(&format!("Starting service {}:{}...", name.service, name.version));
        let policies = policies_for(job, &definition.pull_policy)?;
        let image = puller.get(&definition.name, &policies, &definition.platform).await?;
        say_entrypoint(job, &definition.entrypoint);
        let service = starter.start(&definition, image, Place { name, aliases, index }).await?;
        if job.settings.debug_services {
            service.follow(&job.sandbox.followers, &job.log);
        }
        running.push(service);
    }
    Ok(running)
}

/// The runner's services, then the job's.
fn definitions(job: &Execution) -> Result<Vec<Definition>, Fault> {
    let expand = |text: &str| job.variables.expand(text);
    let docker = &job.order.settings.docker;
    let own = docker.services.iter().map(|service| Definition {
        name: expand(&service.name),
        aliases: split_aliases(&expand(&service.alias)),
        entrypoint: service.entrypoint.clone(),
        command: service.command.clone(),
        env: job.variables.service_env(&[]).into_iter().chain(service.environment.iter().cloned()).collect(),
        ..Definition::default()
    });
    let own: Vec<_> = own.filter(|service| !service.name.is_empty()).collect();
    let defaults: Vec<String> = own.iter().map(|service| service.name.clone()).collect();
    let mut all = own;
    for service in &job.order.job.services {
        let name = expand(&service.name);
        allow::check("service", &name, &docker.allowed_services, &defaults)?;
        all.push(Definition {
            name,
            aliases: split_aliases(&expand(&service.alias)),
            entrypoint: service.entrypoint.clone(),
            command: service.command.clone(),
            env: job.variables.service_env(&service.variables),
            pull_policy: service.pull_policy.clone(),
            platform: expand(&service.executor_opts.docker.platform),
            user: expand(&service.executor_opts.docker.user),
        });
    }
    let limit = docker.services_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let requested = all.len();
    if requested > limit {
        return Err(Fault::Configuration(format!("too many services requested: {requested}, only {limit} allowed")));
    }
    Ok(all)
}

/// Makes new volumes writable for every user, and tells the helper the names of the services.
async fn furnish(helper: &Container, plan: &Plan, hosts: &[String]) -> Result<(), Fault> {
    let mut nowhere = crate::docker::attach::Sinks { out: std::io::sink(), err: std::io::sink() };
    let volumes: Vec<&str> = plan.named.iter().map(|volume| volume.dest.as_str()).collect();
    if !volumes.is_empty() {
        helper.exec(&[&["chmod", "0777", "--"], &volumes[..]].concat(), "", &mut nowhere).await?;
    }
    if !hosts.is_empty() {
        let lines: Vec<String> = hosts.iter().filter_map(|host| host_line(host)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let command = ["bash", "-c", "printf '%s\\n' \"$@\" >> /etc/hosts", "bash"];
        helper.exec(&[&command, &lines[..]].concat(), "", &mut nowhere).await?;
    }
    Ok(())
}

/// `alias:address` as a line of `/etc/hosts`.
fn host_line(host: &str) -> Option<String> {
    host.split_once(':').map(|(alias, address)| format!("{address}\t{alias}"))
}

fn build(job: &Execution, image: Image, name: String) -> Build {
    let wanted = &job.order.job.image;
    say_entrypoint(job, &wanted.entrypoint);
    let platform = job.variables.expand(&wanted.executor_opts.docker.platform);
    Build { image, name, entrypoint: wanted.entrypoint.clone(), platform }
}

/// Says it where an entrypoint is not what the job asks for.
fn say_entrypoint(job: &Execution, wanted: &[String]) {
    if !wanted.is_empty() && job.order.settings.docker.disable_entrypoint_overwrite {
        job.log.warn("Entrypoint override disabled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_services_is_30_seconds_unless_said_otherwise() {
        assert_eq!(wait_limit(0), Duration::from_secs(30));
        assert_eq!(wait_limit(5), Duration::from_secs(5));
        assert_eq!(wait_limit(-1), Duration::ZERO);
    }

    #[test]
    fn a_host_line_keeps_all_of_an_ipv6_address() {
        assert_eq!(host_line("db:fd00::2").as_deref(), Some("fd00::2\tdb"));
    }
}

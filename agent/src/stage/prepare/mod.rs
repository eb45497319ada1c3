//! `prepare_executor` and `prepare_script`: images, network, volumes, services, helper (protocol §4.1).

mod images;

use crate::docker::build::Build;
use crate::docker::config::Spec;
use crate::docker::container::Container;
use crate::docker::network::{self, Network};
use crate::docker::pull::Image;
use crate::docker::services::{self, Service, Starter};
use crate::docker::view::View;
use crate::docker::volumes::{self, Plan};
use crate::docker::workplace::{Recipe, Workplace};
use crate::docker::{allow, helper, sandbox};
use crate::fault::Fault;
use crate::script;
use crate::stage::{Common, Execution, Prepared, sidecar};
use images::{Coming, Wanted};
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

/// Says where the job runs. In builds that are kept, the helper removes what the job before left for its own stages.
pub async fn environment(job: &Execution) -> Result<(), Fault> {
    let script = script::prepare(&job.context(), &job.host.name);
    let work = async {
        if job.builds.shared {
            return job.in_helper(&script).await;
        }
        let (inside, outside) = (&job.prepared()?.hostname, &job.host.name);
        job.log.print(&format!("Running on {inside} via {outside}..."));
        Ok(())
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
/// 1. The names of the images: all of them begin to come.
/// 2. Volumes and network.
/// 3. The helper starts while services start and answer, and the job's image comes. A pull that fails ends it all.
/// 4. The names of the services reach the helper.
async fn prepare(job: &Execution) -> Result<Prepared, Fault> {
    let name = images::image_name(job)?;
    job.log.print(&format!("Using Docker executor with image {name} ..."));
    let docker = &job.order.settings.docker;
    allow::check_user(&job.user(), &docker.user, &docker.allowed_users)?;
    let mut pulls = images::pulls(job);
    let coming = images::begin(job, &mut pulls, &name)?;
    let plan = plan(job)?;
    for volume in &plan.named {
        job.sandbox.create_volume(volume, docker).await?;
    }
    let network = network::prepare(&job.sandbox, docker, network_name(job)).await?;
    let mut common = common(job, &plan, &network);
    let started = tokio::select! {
        // First: who waits for the image of a failed pull knows less of it.
        biased;
        fault = pulls.failure() => Err(fault),
        started = Box::pin(start(job, coming, &plan, &network, &common)) => started,
    };
    let Started { helper, services, image } = started?;
    let names: Vec<_> = services.into_iter().map(|service| (service.aliases, service.addresses)).collect();
    common.hosts = network.hosts(&names);
    // Only now: the helper's system is this machine's own, and not to be written to.
    common.binds.extend_from_slice(sidecar::binds(job));
    furnish(&helper, &plan, &common.hosts).await?;
    let view = view(job, &helper, &plan).await?;
    let hostname = if common.hostname.is_empty() { job.host.name.clone() } else { common.hostname.clone() };
    let workplace = Workplace::begin(recipe(job, &common, build(job, image, name)));
    Ok(Prepared { helper, hostname, workplace, view })
}

fn recipe(job: &Execution, common: &Common, build: Build) -> Recipe {
    let spec = Spec { aliases: common.aliases.clone(), user: job.user(), ..common.spec() };
    let (sandbox, order, attempts) = (job.sandbox.clone(), job.order.clone(), job.settings.job_section_attempts);
    Recipe { build, spec, sandbox, order, attempts }
}

/// The helper's view of the files, where the host sees others.
async fn view(job: &Execution, helper: &Container, plan: &Plan) -> Result<Option<View>, Fault> {
    if job.builds.host.is_some() && plan.hidden.is_empty() {
        return Ok(None);
    }
    match View::of(helper).await {
        Ok(view) => Ok(Some(view)),
        Err(fault) => job.without_view(&plan.hidden, &fault).map(|()| None),
    }
}

fn plan(job: &Execution) -> Result<Plan, Fault> {
    let order = &job.order;
    let docker = &order.settings.docker;
    let volumes = volumes::parse(&docker.volumes, &job.directories.project, |text| job.variables.expand(text))?;
    let temporary = format!("{}-{}", job.sandbox.identity.stem, job.sandbox.identity.random);
    Ok(volumes::plan(&volumes::Wanted {
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

/// What runs, and what the build container is made of.
struct Started {
    helper: Container,
    services: Vec<Service>,
    image: Image,
}

async fn start(
    job: &Execution,
    coming: Coming,
    plan: &Plan,
    network: &Network,
    common: &Common,
) -> Result<Started, Fault> {
    let Coming { helper, services, image } = coming;
    let kind = match helper {
        None => helper::Kind::Host(job.host.tools.clone()),
        Some(turn) => {
            job.log.print(&format!("Using helper image: {}", images::helper_image(job)));
            helper::Kind::Image(turn.image().await?.reference)
        }
    };
    let others = async {
        let services = start_services(job, services, plan, network).await?;
        let limit = wait_limit(job.order.settings.docker.wait_for_services_timeout);
        services::wait_for(&services, limit, &job.log).await;
        Ok::<_, Fault>((services, image.image().await?))
    };
    let helper = helper::start(&job.sandbox, &job.order.settings.docker, &kind, common.spec());
    let (helper, others) = tokio::join!(Box::pin(helper), Box::pin(others));
    let ((services, image), helper) = (others?, helper?);
    Ok(Started { helper, services, image })
}

async fn start_services(
    job: &Execution,
    wanted: Vec<Wanted>,
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
    let mut running = Vec::new();
    for Wanted { definition, place, refused, image } in wanted {
        for alias in refused {
            job.log.warn(&format!(
                "Skipping alias \"{alias}\" for service \"{}\" (services[{}]): alias is already in use by another service.",
                definition.name, place.index
            ));
        }
        let Some(image) = image else {
            job.log.warn(&format!("Service {} is not started: all its aliases are taken", definition.name));
            continue;
        };
        job.log.print(&format!("Starting service {}...", place.name));
        let image = image.image().await?;
        say_entrypoint(job, &definition.entrypoint);
        let service = starter.start(&definition, image, place).await?;
        if job.settings.debug_services {
            service.follow(&job.sandbox.followers, &job.log);
        }
        running.push(service);
    }
    Ok(running)
}

fn wait_limit(seconds: i64) -> Duration {
    match seconds {
        0 => Duration::from_secs(30),
        seconds => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
    }
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

//! Which images a job needs: its own, its services', the helper's. They are pulled all at once.

use crate::docker::pull::{Asked, Policy, Pulls, Turn, policies};
use crate::docker::services::{Definition, Name, Place, free_aliases, split_aliases};
use crate::docker::{allow, auth::Logins};
use crate::fault::Fault;
use crate::stage::Execution;
use std::collections::HashSet;

/// Images on their way, in the order of the log.
pub(super) struct Coming {
    /// The helper's, where the settings have one.
    pub(super) helper: Option<Turn>,
    pub(super) services: Vec<Wanted>,
    /// The build container's.
    pub(super) image: Turn,
}

/// A service, as far as its image is not needed for it.
pub(super) struct Wanted {
    pub(super) definition: Definition,
    pub(super) place: Place,
    /// Names that an earlier service has.
    pub(super) refused: Vec<String>,
    /// None where the service is left without a name, and is not started.
    pub(super) image: Option<Turn>,
}

/// The job's image, else the runner's.
pub(super) fn image_name(job: &Execution) -> Result<String, Fault> {
    let docker = &job.order.settings.docker;
    let own = job.variables.expand(&docker.image);
    let name = Some(job.variables.expand(&job.order.job.image.name)).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| own.clone());
    if name.is_empty() {
        return Err(Fault::Configuration(
            "no Docker image specified to run the build in: set `image:` in .gitlab-ci.yml, or one for the runner"
                .to_owned(),
        ));
    }
    allow::check("image", &name, &docker.allowed_images, &[own])?;
    Ok(name)
}

/// No pulls yet, but all that they may need to know.
pub(super) fn pulls(job: &Execution) -> Pulls {
    let variable = Some(job.variables.content("DOCKER_AUTH_CONFIG").to_owned());
    let (logins, warnings) = Logins::new(variable, &job.order.job.credentials);
    for warning in warnings {
        job.log.warn(&warning);
    }
    Pulls::new(&job.sandbox.docker, &job.log, logins)
}

/// Begins to pull everything. What the job may not ask for is refused before anything is pulled.
pub(super) fn begin(job: &Execution, pulls: &mut Pulls, image: &str) -> Result<Coming, Fault> {
    let (wanted, helper) = (&job.order.job.image, helper_image(job));
    let policies = policies_for(job, image, &wanted.pull_policy)?;
    let definitions = definitions(job)?;
    let helper = match helper.as_str() {
        "" => None,
        helper => Some(pulls.begin(helper, policies_for(job, helper, &[])?, "")),
    };
    let services = services(job, pulls, definitions)?;
    let platform = job.variables.expand(&wanted.executor_opts.docker.platform);
    Ok(Coming { helper, services, image: pulls.begin(image, policies, &platform) })
}

/// The image of the helper container; empty for the host's tools.
pub(super) fn helper_image(job: &Execution) -> String {
    job.variables.expand(&job.order.settings.docker.helper_image)
}

fn services(job: &Execution, pulls: &mut Pulls, definitions: Vec<Definition>) -> Result<Vec<Wanted>, Fault> {
    let mut taken = HashSet::new();
    let mut services = Vec::with_capacity(definitions.len());
    for (index, definition) in definitions.into_iter().enumerate() {
        let name = Name::parse(&definition.name)?;
        let (aliases, refused) = free_aliases(&name, &definition.aliases, &mut taken);
        let policies = policies_for(job, &definition.name, &definition.pull_policy)?;
        let is_named = !aliases.is_empty();
        let image = is_named.then(|| pulls.begin(&definition.name, policies, &definition.platform));
        services.push(Wanted { definition, place: Place { name, aliases, index }, refused, image });
    }
    Ok(services)
}

/// The policies for one image of the job.
fn policies_for(job: &Execution, image: &str, wanted: &[String]) -> Result<Vec<Policy>, Fault> {
    let docker = &job.order.settings.docker;
    let asked = Asked { job: wanted, runner: &docker.pull_policy, allowed: &docker.allowed_pull_policies };
    policies(&asked).map_err(|why| Fault::Configuration(format!("invalid pull policy for image \"{image}\": {why}")))
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
        return Err(Fault::Refused(format!("too many services requested: {requested}, only {limit} allowed")));
    }
    Ok(all)
}

//! A job from its assignment to its end (protocol §2).

pub mod flow;
pub mod order;
pub mod outcome;
pub mod owner;
pub mod stops;

use crate::docker::labels::Identity;
use crate::docker::network;
use crate::docker::sandbox::Sandbox;
use crate::docker::volumes::{self, Builds, Volume};
use crate::fault::{Fault, causes};
use crate::host::Host;
use crate::log::Log;
use crate::notices::Notices;
use crate::stage::cache::Caches;
use crate::stage::work::Work;
use crate::stage::{Execution, sidecar};
use crate::variables::{Directories, JobSettings, Variables};
use crate::workspace::remove_tree;
use anyhow::{Context, Result};
use order::Order;
use outcome::{Outcome, go_duration};
use owner::Owner;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use stops::{Sources, Stop, Stops};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use warmstart_gitlab::client::Client;
use warmstart_gitlab::flags;
use warmstart_gitlab::mask::Masks;
use warmstart_gitlab::sections::{Level, line};
use warmstart_gitlab::trace::{self, Finished, Trace};
use warmstart_gitlab::update::{FailureReason, Final, State};

/// How a job left this agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// GitLab was told how it ended, or refused to hear it.
    Reported(Final),
    /// GitLab could not be told.
    Unreported(String),
    /// Somebody else has the job now: GitLab was told nothing.
    Lost,
    /// Given up before its script ran: somebody else may run it.
    GivenUp(String),
}

/// Runs a job and reports it to GitLab. Nothing of it is left on this machine when this returns.
pub async fn run(host: &Arc<Host>, order: Order, owner: &Owner, interrupt: &CancellationToken) -> Result<End> {
    let order = Arc::new(order);
    let gitlab = Client::new(&order.gitlab.url, &order.gitlab.options())?;
    let prepared = Prepared::new(host, &order);
    let trace = prepared.open_trace(host, &order, &gitlab)?;
    let signal = trace.signal();
    let log = Log::new(trace, order.job.features.trace_sections);
    owner.follow(log.watch_section());
    header(&log, &order);

    let _telling = AbortOnDropHandle::new(tokio::spawn(tell(log.clone(), host.notices.clone())));
    let stops = Stops::default();
    let sources = Sources {
        signal,
        deadline: order.deadline,
        lost: owner.lost(),
        given_up: owner.given_up(),
        interrupted: interrupt.clone(),
        notices: host.notices.follow(),
        can_give_up: owner.can_give_up(),
    };
    let watching = stops.clone();
    let _watch = AbortOnDropHandle::new(tokio::spawn(async move { watching.watch(sources).await }));
    let sandbox = prepared.sandbox.clone();
    let directory = prepared.own.clone();
    let (verdict, files) = match prepared.execution(host, &order, gitlab, &log, &stops) {
        Ok(execution) => {
            let files = (execution.caches.clone(), execution.work.clone());
            (perform(execution, owner.clone(), &stops).await, Some(files))
        }
        Err(fault) => (Verdict::Ended(fault.into()), None),
    };
    if !matches!(verdict, Verdict::Stopped(Stop::Lost | Stop::GivenUp(_))) {
        sandbox.followers.end().await;
    }
    let clean = clean(&sandbox, files, directory, host);
    let (end, ()) = tokio::join!(conclude(verdict, &log, &order), clean);
    Ok(end)
}

/// Puts notices that this machine will be taken away into the job's log.
async fn tell(log: Log, notices: Notices) {
    let mut notices = notices.follow();
    loop {
        log.warn(&notices.next().await.text());
    }
}

/// What became of the stages.
enum Verdict {
    Ended(Outcome),
    Stopped(Stop),
}

/// Runs the stages on a task of their own: one that panics or has to stop takes nothing else with it.
async fn perform(execution: Execution, owner: Owner, stops: &Stops) -> Verdict {
    let mut stages = AbortOnDropHandle::new(tokio::spawn(flow::run(execution, owner)));
    tokio::select! {
        ended = &mut stages => Verdict::Ended(ended.unwrap_or_else(|error| {
            tracing::error!("job's task failed: {error}");
            Outcome::SystemFailure(FailureReason::RunnerSystemFailure, "the agent failed; see its own log".to_owned())
        })),
        stop = stops.stopped() => {
            stages.abort();
            let _ = stages.await;
            Verdict::Stopped(stop)
        }
    }
}

/// Writes the last line and tells GitLab, unless the job is somebody else's.
async fn conclude(verdict: Verdict, log: &Log, order: &Order) -> End {
    let outcome = match verdict {
        Verdict::Ended(outcome) => outcome,
        Verdict::Stopped(Stop::Lost) => return abandon(log, End::Lost),
        Verdict::Stopped(Stop::GivenUp(why)) => return abandon(log, End::GivenUp(why)),
        Verdict::Stopped(Stop::Canceled | Stop::Aborted) => Outcome::Canceled,
        Verdict::Stopped(Stop::OutOfTime) => Outcome::out_of_time(order.job.timeout()),
        Verdict::Stopped(Stop::Interrupted) => Outcome::SystemFailure(
            FailureReason::RunnerInterrupted,
            "aborted: the runner on this machine was told to stop".to_owned(),
        ),
        Verdict::Stopped(Stop::Reclaimed(why)) => Outcome::SystemFailure(FailureReason::RunnerSystemFailure, why),
    };
    log.end_section();
    if order.stage_times() {
        log.print_times();
    }
    let (level, text) = outcome.last_line();
    log.write(&line(level, &text));
    let report = outcome.report(&order.job.features);
    let Some(trace) = log.close() else { return End::Unreported("the log was closed before".to_owned()) };
    match trace.finish(report).await {
        Ok(Finished::Accepted) => End::Reported(report),
        Ok(Finished::Refused(why)) => {
            tracing::info!("GitLab takes nothing more of the job: {why}");
            End::Reported(report)
        }
        Err(error) => End::Unreported(causes(&error)),
    }
}

/// Stops sending. What is left of the log is not this agent's to send.
fn abandon(log: &Log, end: End) -> End {
    drop(log.close());
    end
}

/// Removes the job's containers, then its files.
async fn clean(sandbox: &Sandbox, files: Option<(Caches, Work)>, directory: PathBuf, host: &Host) {
    sandbox.remove_all().await;
    if let Some((caches, work)) = files {
        tokio::join!(caches.end(), work.end());
    }
    let removing = directory.clone();
    let Ok(Err(why)) = tokio::task::spawn_blocking(move || remove_tree(&removing)).await else { return };
    tracing::debug!("{why}: a container does it as root");
    if let Err(error) = host.tools.empty(&host.docker, &host.executor, &directory).await {
        tracing::warn!("cannot remove the builds in {}: {error:#}", directory.display());
    }
}

/// What a job needs before there is a log, and the trouble with it, if there is any.
struct Prepared {
    directories: Result<Directories, Fault>,
    masks: Vec<String>,
    variables: Option<Variables>,
    sandbox: Sandbox,
    /// The job's directory on this machine.
    own: PathBuf,
    debug: bool,
}

impl Prepared {
    fn new(host: &Host, order: &Order) -> Self {
        let inputs = order.inputs();
        let directories = Directories::resolve(&inputs).map_err(|e| Fault::Configuration(e.to_string()));
        let network = order.flag(flags::NETWORK_PER_BUILD).then(|| {
            let (short, id) = (&order.gitlab.short_token, order.gitlab.concurrent_id);
            network::name(short, order.job.job_info.project_id, id, order.job.id)
        });
        let variables = directories.as_ref().ok().map(|at| Variables::compose(&inputs, at, network.as_deref()));
        let plain = order.job.variables.iter().filter(|v| v.masked && !v.value.is_empty());
        let masks = match &variables {
            Some(variables) => variables.masks(),
            None => plain.map(|variable| variable.value.clone()).collect(),
        };
        let debug = ["CI_DEBUG_TRACE", "CI_DEBUG_SERVICES"].iter().any(|key| order::is_on(&order.job, key));
        let debug = debug && !order.settings.debug_trace_disabled;
        let identity = Identity::new(&host.executor, &order.job, &order.gitlab, &go_duration(order.job.timeout()));
        let identity = identity.with(container_labels(order, variables.as_ref()));
        let own = host.builds.join(format!("{}-{}", order.job.id, identity.random));
        let sandbox = Sandbox::new(host.docker.clone(), identity);
        Self { directories, masks, variables, sandbox, own, debug }
    }

    fn open_trace(&self, host: &Host, order: &Order, gitlab: &Client) -> Result<Trace> {
        let options = trace::Options {
            output_limit: order.settings.output_limit * 1024,
            debug: self.debug,
            timestamps: order.flag(flags::TIMESTAMPS),
            directory: host.tmp.clone(),
            start: order.log_start(),
            masks: Masks::new(&self.masks, &order.job.features.token_mask_prefixes),
        };
        Trace::open(gitlab.job(order.job.id, &order.job.token), options).context("cannot begin the job's log")
    }

    fn execution(
        self,
        host: &Arc<Host>,
        order: &Arc<Order>,
        gitlab: Client,
        log: &Log,
        stops: &Stops,
    ) -> Result<Execution, Fault> {
        if let Some(reason) = order::rejection(&order.job) {
            return Err(Fault::System(reason));
        }
        let directories = self.directories?;
        let variables = self.variables.ok_or_else(|| Fault::System("the job has no variables".to_owned()))?;
        let (mut settings, mut warnings) = JobSettings::read(&variables, &order.job);
        if order.settings.debug_trace_disabled {
            warnings.extend(settings.forbid_debug());
        }
        warnings.iter().chain(&order::not_done(&order.job)).for_each(|line| log.warn(line));
        let volumes = volumes::parse(&order.settings.docker.volumes, &directories.project, |t| variables.expand(t))?;
        let beside = self.own.with_added_extension("caches");
        let builds = builds(&volumes, &directories, self.own)?;
        let seen = volumes::beneath(&volumes, &directories.project).next().is_none();
        let place = builds.host.clone().filter(|_| seen);
        let caches = Caches::new(order, &variables, settings.cache_request_timeout, place, beside);
        let mut execution = Execution {
            host: host.clone(),
            order: order.clone(),
            gitlab,
            directories,
            builds,
            settings,
            variables,
            log: log.clone(),
            sandbox: self.sandbox,
            stops: stops.clone(),
            sidecar: None,
            caches,
            work: Work::default(),
            prepared: None,
        };
        sidecar::offer(&mut execution, &volumes);
        Ok(execution)
    }
}

/// The settings' labels of containers, with the job's variables in them.
fn container_labels(order: &Order, variables: Option<&Variables>) -> BTreeMap<String, String> {
    let expand = |value: &str| variables.map_or_else(|| value.to_owned(), |variables| variables.expand(value));
    order.settings.docker.container_labels.iter().map(|(key, value)| (key.clone(), expand(value))).collect()
}

/// The builds directory: the job's own is made here, writable for every user of its containers.
fn builds(volumes: &[Volume], at: &Directories, own: PathBuf) -> Result<Builds, Fault> {
    let builds = volumes::builds(volumes, &at.builds, own);
    let Some(host) = &builds.host else { return Ok(builds) };
    let open = || -> std::io::Result<()> {
        std::fs::create_dir_all(host)?;
        if !builds.shared {
            std::fs::set_permissions(host, std::fs::Permissions::from_mode(0o777))?;
        }
        Ok(())
    };
    open().map_err(|e| Fault::system(&format!("cannot create the builds directory {}", host.display()), &e))?;
    Ok(builds)
}

/// Says who runs the job.
fn header(log: &Log, order: &Order) {
    let gitlab = &order.gitlab;
    let (name, token, system) = (&gitlab.runner_name, &gitlab.short_token, &gitlab.system_id);
    log.write(&line(Level::Print, &format!("Running with warmstart-agent {}", env!("CARGO_PKG_VERSION"))));
    log.write(&line(Level::Print, &format!("  on {name} {token}, system ID: {system}")));
    let flags = flags::changed(&order.settings.feature_flags, &order.job);
    let flags: Vec<_> = flags.map(|(flag, is_on)| format!("{flag}:{is_on}")).collect();
    if !flags.is_empty() {
        log.write(&line(Level::Print, &format!("  feature flags: {}", flags.join(", "))));
    }
}

impl End {
    /// The state and reason that GitLab was told, in its words.
    #[must_use]
    pub fn reported(&self) -> Option<(&'static str, Option<&'static str>)> {
        match self {
            Self::Reported(report) => {
                let state = if report.state == State::Success { "success" } else { "failed" };
                Some((state, report.reason.map(FailureReason::as_str)))
            }
            _ => None,
        }
    }
}

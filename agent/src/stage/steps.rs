//! The user's scripts, in the build container (protocol §2.1 rows 6 and 7, §2.2, §4.6).

use crate::docker::container::Container;
use crate::fault::Fault;
use crate::job::outcome::go_duration;
use crate::script::{self, StageScript};
use crate::stage::{Execution, exited};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a stopped script may still write.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// Runs the steps in order until one fails. `RUNNER_SCRIPT_TIMEOUT` is for all of them together.
pub async fn steps(job: &Execution) -> Result<(), Fault> {
    let limit = job.settings.script_timeout.map(|limit| Limit::from_now(limit, "RUNNER_SCRIPT_TIMEOUT"));
    for step in job.order.job.steps.iter().filter(|step| step.name != "after_script") {
        let Some(script) = script::step(&job.context(), step) else { continue };
        let name = format!("step_{}", step.name);
        let headline = format!("Executing \"{name}\" stage of the job script");
        job.log.section(&name, &headline, supervised(job, &name, &script, limit.as_ref(), true)).await?;
    }
    Ok(())
}

/// Runs `after_script`, whatever became of the steps; cancelling does not stop it.
///
/// Its failure counts only where the job says so: otherwise it is a warning.
pub async fn after(job: &Execution) -> Result<(), Fault> {
    let Some(script) = script::after_script(&job.context()) else { return Ok(()) };
    let limit = Limit::from_now(job.settings.after_script_timeout, "RUNNER_AFTER_SCRIPT_TIMEOUT");
    let work = supervised(job, "after_script", &script, Some(&limit), false);
    match job.log.section("after_script", "Running after_script", work).await {
        Err(fault) if job.settings.after_script_ignore_errors => {
            job.log.warn(&format!("after_script failed, but job will continue unaffected: {fault}"));
            Ok(())
        }
        result => result,
    }
}

/// A time limit of the job's own.
struct Limit {
    until: Instant,
    time: Duration,
    name: &'static str,
}

impl Limit {
    fn from_now(time: Duration, name: &'static str) -> Self {
        Self { until: Instant::now() + time, time, name }
    }

    fn exceeded(&self) -> Fault {
        Fault::Timeout(format!("script took longer than {} ({})", self.name, go_duration(self.time)))
    }
}

/// Runs a script to its end, to its time limit, or until the user cancels.
async fn supervised(
    job: &Execution,
    name: &str,
    script: &StageScript,
    limit: Option<&Limit>,
    cancelable: bool,
) -> Result<(), Fault> {
    let (container, streams) = job.prepared()?.workplace.open(name, &job.log).await?;
    let mut sinks = job.log.sinks().ok_or(Fault::Canceled)?;
    let mut running = Box::pin(container.talk(streams, script.text(), &mut sinks));
    let fault = tokio::select! {
        ended = &mut running => return exited(ended?),
        () = out_of_time(limit) => limit.map_or(Fault::Canceled, Limit::exceeded),
        () = job.stops.script_canceled(), if cancelable => Fault::Canceled,
    };
    // With the machine's processes before it, the script that ends a job's would end those, too.
    Box::pin(stop(&container, running, job.order.settings.docker.pid_mode.is_empty())).await;
    drop(sinks);
    if let Fault::Timeout(text) = &fault {
        job.log.warn(&format!("{text}: it was stopped before its end"));
    }
    Err(fault)
}

async fn out_of_time(limit: Option<&Limit>) {
    match limit {
        Some(limit) => sleep_until(limit.until).await,
        None => std::future::pending().await,
    }
}

/// Ends a script while its last output is still copied.
async fn stop(container: &Container, running: impl Future, sees_only_its_own: bool) {
    let stopping = container.stop(sees_only_its_own);
    let _ = timeout(LAST_WORDS * 2, async { tokio::join!(stopping, timeout(LAST_WORDS, running)) }).await;
}

impl Execution {
    /// The user of the build container: the settings', else the job's; empty keeps the image's.
    #[must_use]
    pub fn user(&self) -> String {
        match self.order.settings.docker.user.as_str() {
            "" => self.variables.expand(&self.order.job.image.executor_opts.docker.user),
            user => user.to_owned(),
        }
    }
}

//! The order of a job's stages (protocol §2.1).

use crate::fault::Fault;
use crate::job::outcome::Outcome;
use crate::job::owner::Owner;
use crate::stage::{Execution, artifacts, cache, cleanup, download, prepare, sources, steps};

/// Runs the stages of a job.
///
/// 1. Prepare: a failure ends the job at once. Caches are on their way meanwhile.
/// 2. Sources, caches, artifacts of other jobs.
/// 3. The barrier: from here on nobody else may run this job's script.
/// 4. The steps, then `after_script`.
/// 5. Caches and artifacts, in the form that fits the result.
/// 6. The clean-up of files.
pub async fn run(mut job: Execution, owner: Owner) -> Outcome {
    job.caches.begin().await;
    if let Err(fault) = prepare(&mut job).await {
        return fault.into();
    }
    let mut outcome = match bring_in(&job).await {
        Ok(()) => scripts(&mut job, &owner).await,
        Err(fault) => fault.into(),
    };
    if job.stops.is_script_canceled() && outcome.is_success() {
        outcome = Outcome::Canceled;
    }
    job.variables.set("CI_JOB_STATUS", outcome.status());
    let success = outcome.is_success();
    let saved = cache::save(&job, success).await;
    let outcome = outcome.and(saved).and(artifacts::run(&job, success).await);
    cleanup::run(&job).await;
    outcome
}

async fn prepare(job: &mut Execution) -> Result<(), Fault> {
    prepare::executor(job).await?;
    prepare::environment(job).await
}

async fn bring_in(job: &Execution) -> Result<(), Fault> {
    sources::run(job).await?;
    cache::restore(job).await?;
    download::run(job).await
}

/// The user's scripts, behind the barrier. `after_script` runs whatever became of the steps.
async fn scripts(job: &mut Execution, owner: &Owner) -> Outcome {
    owner.barrier(&job.stops).await;
    job.stops.begin_scripting();
    let outcome = Outcome::from(steps::steps(job).await);
    job.variables.set("CI_JOB_STATUS", outcome.status());
    let after = steps::after(job).await;
    outcome.and(after)
}

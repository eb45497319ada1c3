//! `get_sources`: the project's files, by git in the helper container (protocol §3).

use crate::fault::Fault;
use crate::script;
use crate::stage::{Attempts, Execution};

/// Gets the project's files. Before a second attempt the work tree is removed.
pub async fn run(job: &Execution) -> Result<(), Fault> {
    let script = script::get_sources(&job.context()).map_err(Fault::Configuration)?;
    let mut attempts = Attempts::new(&job.log, job.settings.get_sources_attempts);
    loop {
        let work = job.in_helper(&script);
        match job.log.section("get_sources", "Getting source from Git repository", work).await {
            Err(fault) => attempts.another(fault).await?,
            done => return done,
        }
        clear(job).await?;
    }
}

async fn clear(job: &Execution) -> Result<(), Fault> {
    let Some(script) = script::clear_worktree(&job.context()) else { return Ok(()) };
    let headline = "Deleting all tracked and untracked files due to source fetch failure";
    job.log.section("clear_worktree", headline, job.in_helper(&script)).await
}

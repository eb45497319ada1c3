//! `cleanup_file_variables`: nothing of the job's secrets stays in its directories.

use crate::script;
use crate::stage::Execution;

/// Removes what the job's scripts were given as files; builds that are the job's own go as a whole. A failure is the
/// operator's business only.
pub async fn run(job: &Execution) {
    let script = script::cleanup(&job.context());
    let headline = "Cleaning up project directory and file based variables";
    let work = async { if job.builds.shared { job.in_helper(&script).await } else { Ok(()) } };
    let cleaned = job.log.section("cleanup_file_variables", headline, work).await;
    if let Err(fault) = cleaned {
        tracing::warn!("cannot clean up the project directory: {fault}");
    }
}

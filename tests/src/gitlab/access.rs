//! Who may call for a job.

use super::answer;
use super::call::Call;
use super::rules::Rule;
use super::state::{Job, State};
use axum::body::Body;
use axum::http::Response;

/// The job that a call is for. `Err` is the server's refusal: 404 without such a job, 403 with a wrong token
/// (a violation of A4), 403 with `Job-Status` when the job is not active (protocol §1.9).
pub(super) fn active<'a>(state: &'a mut State, call: &Call) -> Result<&'a mut Job, Box<Response<Body>>> {
    let Some(job) = call.target.and_then(|id| state.jobs.get(&id)) else { return Err(Box::new(answer::status_404())) };
    if call.header("job-token") != job.token {
        state.violate(Rule::A4, call, "JOB-TOKEN is not the job's token");
        return Err(Box::new(answer::refusal(403, "403 Forbidden")));
    }
    if !job.state.is_active() {
        return Err(Box::new(answer::with_job(answer::refusal(403, "403 Forbidden - Job is not running"), job.state)));
    }
    let id = job.id;
    state.jobs.get_mut(&id).ok_or_else(|| Box::new(answer::status_404()))
}

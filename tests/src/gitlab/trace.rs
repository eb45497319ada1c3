//! `PATCH /jobs/:id/trace` (protocol §1.7).

use super::call::Call;
use super::job::JobState;
use super::judge::{Found, trace::content_range, when};
use super::options::Options;
use super::rules::Rule;
use super::state::{Job, State};
use super::{access, answer};
use axum::body::Body;
use axum::http::Response;

/// Appends a patch to the job's log.
pub(super) fn patch(state: &mut State, options: &Options, call: &Call) -> Response<Body> {
    let job = match access::active(state, call) {
        Ok(job) => job,
        Err(refusal) => return *refusal,
    };
    let mut found = Found::from_iter(judge_debug(job, call));
    let Some((start, _)) = content_range(call.header("content-range")) else {
        state.violate_all(call, found);
        return answer::refusal(400, "400 Bad request - Missing header Content-Range");
    };
    let response = if start == job.log.len() {
        found.extend(append(job, options, call, start));
        answered(job, options)
    } else {
        found.extend(job.trace.mismatch(start, job.log.len()));
        with_range(answer::status(416), job, options)
    };
    state.violate_all(call, found);
    response
}

fn append(job: &mut Job, options: &Options, call: &Call, start: usize) -> Found {
    if start == 0 {
        job.update.log_resent();
    }
    job.log.extend_from_slice(&call.body);
    if job.log.len() > options.trace_limit {
        job.end(JobState::Failed, Some("trace_size_exceeded"));
    }
    job.trace.accepted(start, &call.body)
}

fn answered(job: &Job, options: &Options) -> Response<Body> {
    if job.state.is_active() {
        return with_range(answer::status(202), job, options);
    }
    answer::with_job(answer::refusal(403, "403 Forbidden - Trace size exceeded"), job.state)
}

fn with_range(response: Response<Body>, job: &Job, options: &Options) -> Response<Body> {
    let response = answer::with(response, "range", &format!("0-{}", job.log.len()));
    let response = answer::with(response, answer::INTERVAL, &options.update_interval.to_string());
    answer::with_job(response, job.state)
}

fn judge_debug(job: &Job, call: &Call) -> Option<(Rule, String)> {
    let is_on = |v: &serde_json::Value| {
        matches!(v["key"].as_str(), Some("CI_DEBUG_TRACE" | "CI_DEBUG_SERVICES")) && v["value"] == "true"
    };
    let debug = job.payload["variables"].as_array().into_iter().flatten().any(is_on);
    let sent = call.parameter("debug_trace");
    when(sent.as_deref() != Some(if debug { "true" } else { "false" }), Rule::A31, || {
        format!("debug_trace is {sent:?} for a job with debug {debug}")
    })
}

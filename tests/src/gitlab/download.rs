//! `GET /jobs/:id/artifacts` and the object storage behind it (protocol §1.11).

use super::answer;
use super::call::Call;
use super::job::{JobId, Upload};
use super::rules::Rule;
use super::state::{Shared, State};
use axum::body::Body;
use axum::http::Response;

/// Gives a dependency's archive to the running job that declared it.
pub(super) fn get(state: &mut State, call: &Call) -> Response<Body> {
    let Some(dependency) = call.target.filter(|id| state.jobs.contains_key(id)) else { return answer::status_404() };
    let Some(job) = call.job.and_then(|id| state.jobs.get_mut(&id)) else {
        state.violate(Rule::A63, call, "JOB-TOKEN is no job's token");
        return answer::refusal(401, "401 Unauthorized");
    };
    if !job.state.is_active() {
        return answer::with_job(answer::refusal(403, "403 Forbidden - Job is not running"), job.state);
    }
    if !declares(&job.payload, dependency) {
        state.violate(Rule::A63, call, format!("job {dependency} is no dependency of the job"));
        return answer::refusal(403, "403 Forbidden");
    }
    let direct = call.parameter("direct_download").is_some_and(|value| value == "true");
    let found = job.artifacts.download(dependency, direct, stages(&job.payload));
    state.violate_all(call, found);
    let archive = state.jobs.get(&dependency).and_then(|job| archive(&job.uploads));
    archive.map_or_else(answer::status_404, send)
}

/// A job's archive among its uploads.
pub(super) fn archive(uploads: &[Upload]) -> Option<&Upload> {
    uploads.iter().find(|upload| upload.kind == "archive")
}

fn send(upload: &Upload) -> Response<Body> {
    let mut response = answer::status(200);
    *response.body_mut() = Body::from(upload.bytes.clone());
    let name = format!("attachment; filename=\"{}\"", upload.filename);
    answer::with(answer::with(response, "content-type", "application/octet-stream"), "content-disposition", &name)
}

fn declares(payload: &serde_json::Value, dependency: JobId) -> bool {
    payload["dependencies"].as_array().into_iter().flatten().any(|entry| entry["id"] == dependency.0)
}

/// How often the whole download stage may run (protocol §2.1).
fn stages(payload: &serde_json::Value) -> u32 {
    let variables = payload["variables"].as_array().into_iter().flatten();
    let attempts = variables.rev().find(|v| v["key"] == "ARTIFACT_DOWNLOAD_ATTEMPTS");
    attempts.and_then(|v| v["value"].as_str()?.parse().ok()).unwrap_or(1)
}

/// Gives an object; whoever knows its address may have it, and nobody shows it a token.
pub(super) fn storage(shared: &Shared, call: &Call) -> Response<Body> {
    let key = call.path.trim_start_matches("/storage/");
    // The storage of the fake is at the server's own address, where the token may stay; another name is another host.
    let host = shared.url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if !call.header("job-token").is_empty() && call.header("host") != host {
        shared.update(|state| state.violate(Rule::A63, call, "the job token is sent to the object storage"));
    }
    let object = shared.read(|state| state.storage.get(key).cloned());
    object.map_or_else(answer::status_404, |bytes| Response::new(Body::from(bytes)))
}

//! `POST /jobs/request` (protocol §1.5): the queue, and holding requests while it does not change.

use super::answer;
use super::call::Call;
use super::job::{JobId, JobState};
use super::runner_endpoints::is_known;
use super::state::{Job, Shared, State};
use axum::body::Body;
use axum::http::Response;
use serde_json::Value;
use std::time::Instant;

/// Answers with a job, or with nothing: at once, or after holding the request.
pub(super) async fn answer(shared: &Shared, call: &Call) -> Response<Body> {
    if call.body.len() > 32 << 10 {
        return answer::refusal(413, "413 Request Entity Too Large");
    }
    if !is_known(shared, call.field("token")) {
        return answer::refusal(403, "403 Forbidden");
    }
    if let Some(payload) = shared.update(|state| take(state, call)) {
        return answer::json(201, &payload);
    }
    let current = shared.read(|state| last_update(state.queue_version));
    if call.field("last_update") != current || shared.options.hold.is_zero() {
        return answer::with(answer::status(204), answer::LAST_UPDATE, &current);
    }
    // Workhorse only watches the value: whether it changed or the time is up, the runner asks again.
    let changed = shared.until(|state| (last_update(state.queue_version) != current).then_some(()));
    let _ = tokio::time::timeout(shared.options.hold, changed).await;
    answer::with(answer::status(204), answer::POLLING, "yes")
}

fn last_update(version: u64) -> String {
    format!("queue-{version}")
}

/// Takes the next job. One whose features the runner lacks is assigned and fails at once (protocol §1.3).
fn take(state: &mut State, call: &Call) -> Option<Value> {
    let features = &call.json["info"]["features"];
    while let Some(id) = state.queue.pop_front() {
        let Some(job) = state.jobs.get_mut(&id).filter(|job| job.state == JobState::Pending) else { continue };
        job.times.picked = Some(Instant::now());
        if required(&job.payload).into_iter().any(|feature| features[feature] != true) {
            job.end(JobState::Failed, Some("runner_unsupported"));
            continue;
        }
        return Some(assign(job, features));
    }
    None
}

fn assign(job: &mut Job, features: &Value) -> Value {
    job.state = JobState::Running;
    job.cancel_gracefully = features["cancel_gracefully"] == true;
    let mut payload = job.payload.clone();
    let waited = job.times.queued.elapsed().as_secs_f64();
    if let Some(info) = payload["job_info"].as_object_mut() {
        info.insert("time_in_queue_seconds".to_owned(), waited.into());
    }
    payload
}

/// The features that a payload needs (protocol §1.3).
fn required(payload: &Value) -> Vec<&'static str> {
    let list = |name: &str| payload[name].as_array().cloned().unwrap_or_default();
    let is_filled = |value: &Value| value.as_array().is_some_and(|items| !items.is_empty());
    let artifacts = list("artifacts");
    let steps = list("steps");
    let mut features = Vec::new();
    if artifacts.iter().any(|entry| entry["artifact_type"] != "archive") {
        features.push("upload_multiple_artifacts");
    }
    if artifacts.iter().any(|entry| is_filled(&entry["exclude"])) {
        features.push("artifacts_exclude");
    }
    if steps.iter().any(|step| step["name"] == "release") {
        features.push("multi_build_steps");
    }
    if list("cache").iter().any(|entry| is_filled(&entry["fallback_keys"])) {
        features.push("fallback_cache_keys");
    }
    features
}

/// Puts a job at the end of the queue.
pub(super) fn queue(state: &mut State, id: JobId) {
    state.queue.push_back(id);
    state.queue_version += 1;
}

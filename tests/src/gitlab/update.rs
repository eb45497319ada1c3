//! `PUT /jobs/:id` (protocol §1.8).

use super::call::Call;
use super::job::JobState;
use super::judge::{Found, log, update::judge_result, when};
use super::options::Options;
use super::rules::Rule;
use super::state::{Job, State};
use super::{access, answer};
use axum::body::Body;
use axum::http::Response;
use serde_json::Value;
use std::time::Instant;

/// Updates without a checksum that are no habit: each process that takes a job's calls over may begin with one.
const UNKNOWING: u32 = 2;

/// Takes a job's update.
pub(super) fn put(state: &mut State, options: &Options, call: &Call) -> Response<Body> {
    let job = match access::active(state, call) {
        Ok(job) => job,
        Err(refusal) => return *refusal,
    };
    let (response, mut found) = match call.field("state") {
        "running" => running(job, options, call),
        "success" => finish(job, options, call, JobState::Success),
        "failed" => finish(job, options, call, JobState::Failed),
        other => {
            (answer::refusal(400, "400 Bad request - Unknown state"), vec![(Rule::A40, format!("state `{other}`"))])
        }
    };
    let lacks = ["info", "output"].into_iter().find(|name| !call.json[*name].is_object());
    found.extend(lacks.map(|name| (Rule::A40, format!("an update without {name}"))));
    state.violate_all(call, found);
    response
}

fn answered(job: &Job, options: &Options) -> Response<Body> {
    let response = answer::with(answer::status(200), answer::INTERVAL, &options.update_interval.to_string());
    answer::with_job(response, job.state)
}

fn running(job: &mut Job, options: &Options, call: &Call) -> (Response<Body>, Found) {
    job.times.started.get_or_insert(call.at);
    let found = judge_keep_alive(job, &call.json["output"]);
    (answered(job, options), found)
}

/// Checksum and size of the log so far: the runner may have more than it has sent (A33).
fn judge_keep_alive(job: &mut Job, output: &Value) -> Found {
    let stored = job.log.len() as u64;
    let (size, checksum) = (output["bytesize"].as_u64(), output["checksum"].as_str());
    let (Some(size), Some(checksum)) = (size, checksum) else {
        let knows = stored > 0 && job.trace.takeovers.is_empty();
        job.update.without_checksum += u32::from(knows);
        let too_often = knows && job.update.without_checksum > UNKNOWING;
        return when(too_often, Rule::A33, || "a keep-alive without checksum or size".to_owned()).into_iter().collect();
    };
    let expected = format!("crc32:{:08x}", crc32fast::hash(&job.log));
    let mut found = Found::new();
    found.extend(when(size < stored, Rule::A33, || format!("a keep-alive says {size} bytes, {stored} are stored")));
    found.extend(when(size == stored && checksum != expected, Rule::A33, || {
        format!("a keep-alive says {checksum}, the stored log has {expected}")
    }));
    found
}

fn finish(job: &mut Job, options: &Options, call: &Call, state: JobState) -> (Response<Body>, Found) {
    if job.trace.truncated && call.json["output"]["bytesize"].as_u64().is_some_and(|size| size > job.log.len() as u64) {
        // The server lost bytes of the log: it wants them again.
        reset_log(job);
        return (answer::with_job(answer::status(412), job.state), Found::new());
    }
    let found = judge_end(job, call, state);
    let state = if job.state == JobState::Canceling { JobState::Canceled } else { state };
    job.end(state, call.json["failure_reason"].as_str());
    job.exit_code = call.json["exit_code"].as_i64();
    (answered(job, options), found)
}

/// What 412 means: the log begins anew, and has to be sent again unless nobody has it any more.
pub(super) fn reset_log(job: &mut Job) {
    if !job.log.is_empty() && job.trace.takeovers.is_empty() {
        job.update.demand_log();
    }
    job.log.clear();
    job.trace.truncated = false;
    job.trace.doubt();
}

fn judge_end(job: &Job, call: &Call, state: JobState) -> Found {
    let accepted = job.payload["features"]["failure_reasons"].as_array().into_iter().flatten();
    let accepted: Vec<String> = accepted.filter_map(|reason| Some(reason.as_str()?.to_owned())).collect();
    let mut found = judge_result(&call.json, &accepted);
    let timed_out = call.json["failure_reason"] == "job_execution_timeout";
    let entries = super::payload::artifact_entries(&job.payload);
    let interrupted = timed_out || job.state == JobState::Canceling;
    found.extend(job.artifacts.judge_when(&entries, state == JobState::Success, interrupted));
    let many = job.trace.pace.verdict();
    found.extend(many.map(|many| (Rule::A32, format!("{many} patches came faster than the interval"))));
    // An aborted job's log ends where it was.
    if job.over.is_none() {
        found.extend(log::judge(job, &call.json["output"]));
    }
    found
}

/// Cancels a job for its user (protocol §1.9).
pub(super) fn cancel(job: &mut Job) {
    match job.state {
        JobState::Running if job.cancel_gracefully => job.state = JobState::Canceling,
        JobState::Pending | JobState::Running => force_cancel(job),
        _ => {}
    }
}

/// Cancels a job for good.
pub(super) fn force_cancel(job: &mut Job) {
    if !job.state.is_final() {
        job.state = JobState::Canceled;
        job.times.finished = Some(Instant::now());
    }
}

//! The way of every request: read, recorded, judged, disturbed by faults, answered, remembered.

use super::call::Call;
use super::connection::Peer;
use super::endpoint::Endpoint;
use super::faults::{Fault, FaultId, Outage};
use super::judge::{Found, calls::Outcome, generic, trace, when};
use super::rules::Rule;
use super::state::{Job, Over, Shared, State, random};
use super::{answer, artifacts, disturb, download, git_http, job_request, pages, runner_endpoints, update};
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::Response;
use std::sync::Arc;
use std::time::Duration;

/// Answers any request.
pub(super) async fn handle(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response<Body> {
    let Ok(mut call) = Call::read(request, peer, &shared.options.relative_root).await else {
        return answer::status(400);
    };
    let trouble = shared.update(|state| arrive(state, &shared, &mut call));
    let mut leaving = Leaving { shared: shared.clone(), endpoint: call.endpoint, gone: true };
    let (response, cut) = answer(&shared, &mut call, trouble).await;
    leaving.gone = false;
    shared.update(|state| leave(state, &call, &response, cut));
    if cut && !call.cut_body {
        call.peer.cut();
    }
    answer::with(response, "x-request-id", &random(32))
}

/// Gives back the slot of a job request whose caller went away.
struct Leaving {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    gone: bool,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.gone && self.endpoint == Endpoint::JobRequest {
            self.shared.update(|state| state.runner.ended(None, false));
        }
    }
}

/// What stands between a request and its answer.
enum Trouble {
    None,
    Outage(Outage),
    Fault(FaultId, Fault),
}

/// Records and judges a request.
fn arrive(state: &mut State, shared: &Shared, call: &mut Call) -> Trouble {
    if call.endpoint == Endpoint::Download {
        call.job = state.job_of_token(call.header("job-token"));
    }
    call.number = state.requests.len();
    state.requests.push(call.record());
    let mut found = generic::judge(call);
    found.extend(state.calls.arrive(call));
    if call.endpoint == Endpoint::JobRequest {
        let running = state.running();
        found.extend(state.runner.request(call, &shared.options, running));
    }
    if let Some(job) = call.job.and_then(|id| state.jobs.get_mut(&id)) {
        found.extend(judge_job(job, shared, call));
    }
    state.violate_all(call, found);
    trouble(state, call)
}

fn trouble(state: &mut State, call: &Call) -> Trouble {
    if call.endpoint == Endpoint::Page {
        return Trouble::None;
    }
    let trouble = match (state.outage, state.faults.hit(call.endpoint, call.job)) {
        (Some(outage), _) => Trouble::Outage(outage),
        (None, Some((id, fault))) => Trouble::Fault(id, fault),
        (None, None) => return Trouble::None,
    };
    if let Some(job) = call.job.and_then(|id| state.jobs.get_mut(&id)) {
        job.trace.pace.disturb();
    }
    trouble
}

/// Judges a job's call by what came before it.
fn judge_job(job: &mut Job, shared: &Shared, call: &Call) -> Found {
    let mut found = Found::from_iter(judge_over(job, shared, call));
    let limit = shared.options.silence + 2 * job.trace.interval.unwrap_or_default();
    let silence = job.trace.pace.contact(call.at, limit).filter(|_| job.update.started && job.state.is_active());
    found.extend(silence.map(|silence| (Rule::A33, format!("no call for {silence:?}"))));
    if !std::mem::replace(&mut job.update.started, true) {
        found.extend(judge_first(call));
    }
    match call.endpoint {
        Endpoint::FinalUpdate => found.extend(job.update.arrive(call)),
        Endpoint::KeepAlive => job.trace.pace.regular(),
        Endpoint::Trace => {
            job.trace.pace.patch(call.at, job.trace.interval.unwrap_or_default());
            found.extend(trace::judge_form(call.header("content-range"), call.body.len()));
        }
        _ => {}
    }
    found
}

fn judge_first(call: &Call) -> Option<(Rule, String)> {
    let is_update = call.endpoint == Endpoint::KeepAlive;
    let is_empty = call.json["output"] == serde_json::json!({});
    when(!is_update, Rule::A28, || format!("the first call is {:?}", call.endpoint))
        .or_else(|| when(!is_empty, Rule::A28, || format!("the first update has output {}", call.json["output"])))
}

/// What may still come when the runner knows that the job is over: after an abort a final update, after a final
/// update nothing.
fn judge_over(job: &Job, shared: &Shared, call: &Call) -> Option<(Rule, String)> {
    let over = job.over.as_ref().filter(|_| !job.loss_expected)?;
    if over.accepted {
        return Some((Rule::A40, format!("{:?} after the final update was accepted", call.endpoint)));
    }
    let late = call.at.duration_since(over.at) > shared.options.abort_grace;
    when(late && call.endpoint != Endpoint::FinalUpdate, Rule::B52, || {
        format!("{:?} after the job was aborted", call.endpoint)
    })
}

/// The answer, and whether the connection is cut instead of sending (all of) it.
async fn answer(shared: &Arc<Shared>, call: &mut Call, trouble: Trouble) -> (Response<Body>, bool) {
    match trouble {
        Trouble::None => (process(shared, call).await, false),
        Trouble::Outage(Outage::Status500) => (answer::refusal(500, "500 Internal Server Error"), false),
        Trouble::Outage(_) => {
            shared.until(|state| state.outage.is_none().then_some(())).await;
            (answer::status(503), true)
        }
        Trouble::Fault(id, fault) => disturb::answer(shared, call, id, fault).await,
    }
}

/// The answer of a server in good health.
pub(super) async fn process(shared: &Arc<Shared>, call: &Call) -> Response<Body> {
    match call.endpoint {
        Endpoint::Verify => runner_endpoints::verify(shared, call),
        Endpoint::Register => runner_endpoints::register(shared, call),
        Endpoint::Unregister => runner_endpoints::unregister(shared, call),
        Endpoint::UnregisterManager => runner_endpoints::unregister_manager(shared, call),
        Endpoint::ResetToken => runner_endpoints::reset_token(shared, call),
        Endpoint::JobRequest => job_request::answer(shared, call).await,
        Endpoint::Trace => shared.update(|state| super::trace::patch(state, &shared.options, call)),
        Endpoint::KeepAlive | Endpoint::FinalUpdate => shared.update(|state| update::put(state, &shared.options, call)),
        Endpoint::Upload => artifacts::upload(shared, call).await,
        Endpoint::Download => shared.update(|state| download::get(state, call)),
        Endpoint::Storage => download::storage(shared, call),
        Endpoint::Git => git_http::answer(shared, call).await,
        Endpoint::Page => pages::answer(shared, call),
        Endpoint::Unknown => answer::refusal(404, "404 Not Found"),
    }
}

/// Remembers how a request ended.
fn leave(state: &mut State, call: &Call, response: &Response<Body>, cut: bool) {
    let status = (!cut).then(|| response.status().as_u16());
    state.requests[call.number].status = status;
    let answered = |status| Outcome::Answered { status, not_before: answer::not_before(response) };
    state.calls.ended(call, status.map_or(Outcome::Cut, answered));
    if call.endpoint == Endpoint::JobRequest {
        state.runner.ended(status, !answer::text(response, answer::POLLING).is_empty());
        let value = answer::text(response, answer::LAST_UPDATE);
        if !cut && !value.is_empty() {
            state.runner.sent_last_update(value);
        }
    }
    if let Some(job) = call.job.and_then(|id| state.jobs.get_mut(&id)) {
        leave_job(job, call, response, status);
    }
}

fn leave_job(job: &mut Job, call: &Call, response: &Response<Body>, status: Option<u16>) {
    let interval = answer::text(response, answer::INTERVAL).parse::<u64>().ok().filter(|seconds| *seconds > 0);
    match call.endpoint {
        Endpoint::Trace => {
            job.trace.pace.answered(status == Some(202));
            if !matches!(status, Some(202 | 416)) {
                job.trace.doubt();
            }
        }
        Endpoint::FinalUpdate => job.update.ended(status, interval.unwrap_or_default()),
        Endpoint::Download if status.is_none_or(|code| code >= 400) => {
            if let Some(dependency) = call.target {
                job.artifacts.download_failed(dependency);
            }
        }
        Endpoint::Upload => job.artifacts.refused |= status.is_none_or(|code| code >= 400),
        _ => {}
    }
    let Some(code) = status else { return };
    if matches!(call.endpoint, Endpoint::Trace | Endpoint::KeepAlive | Endpoint::FinalUpdate) {
        job.trace.interval = interval.map(|seconds| Duration::from_secs(seconds.min(15 * 60))).or(job.trace.interval);
        let accepted = call.endpoint == Endpoint::FinalUpdate && code == 200;
        if job.over.is_none() && (accepted || tells_over(call, response, code)) {
            job.over = Some(Over { at: std::time::Instant::now(), accepted });
        }
    }
}

/// Whether an answer tells the runner to abort (protocol §1.7, §1.8).
fn tells_over(call: &Call, response: &Response<Body>, code: u16) -> bool {
    let word = answer::text(response, answer::JOB_STATUS);
    matches!(word, "canceled" | "failed") || code == 403 || (code == 404 && call.endpoint != Endpoint::Trace)
}

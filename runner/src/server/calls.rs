//! One handler per call: who calls, what the machine says to it, which status that is.

use super::Server;
use super::assign::assignment;
use super::proof::Doubt;
use crate::ownership::{Event, Holder, Reply};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use warmstart_api::{Heartbeat, Holding, Notice, Register, Registered, Release, Released, VERSION};

/// The longest id that an agent may give itself.
const ID: usize = 200;

type Shared = State<Arc<Server>>;

/// The caller, by its session token.
pub(super) struct Caller(Holder);

impl FromRequestParts<Arc<Server>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Response> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let holder = token.and_then(|token| server.sessions.verify(token));
        holder.map(Caller).ok_or_else(|| status(&Reply::Session))
    }
}

pub(super) async fn register(State(server): Shared, Json(request): Json<Register>) -> Response {
    let executor = shown(&request.executor);
    match proven(&server, &request).await {
        Ok(()) => {}
        Err(Doubt::Refused(why)) => {
            tracing::warn!(executor, "refused an agent: {why}");
            return status(&Reply::Refused);
        }
        Err(Doubt::Unknown(why)) => {
            tracing::warn!(executor, "cannot check the proof of an agent: {why}; it tries again");
            return (StatusCode::SERVICE_UNAVAILABLE, "the proof cannot be checked now").into_response();
        }
    }
    let holder = Holder { executor: request.executor, run: request.run_id };
    match server.desk.ask(Event::Register(holder.clone(), request.holding)).await {
        Ok(Reply::Registered(still_holding)) => {
            tracing::info!(executor = holder.executor, version = request.agent_version, still_holding, "agent is here");
            Json(registered(&server, &holder, still_holding)).into_response()
        }
        Ok(reply) => status(&reply),
        Err(error) => unavailable(&error),
    }
}

/// Whether this is an agent that we understand, on the executor that it names.
async fn proven(server: &Server, request: &Register) -> Result<(), Doubt> {
    if request.version > VERSION {
        return Err(Doubt::Refused(format!("its API is of version {}, ours of {VERSION}", request.version)));
    }
    if request.run_id.len() > ID {
        return Err(Doubt::Refused("the id of its run is too long".to_owned()));
    }
    server.prover.check(&server.desk.state(), &server.sessions, request).await
}

/// A text of an agent's for our log.
fn shown(text: &str) -> String {
    text.chars().take(ID).collect()
}

/// The agent's own durations, each a margin within the runner's.
fn registered(server: &Server, holder: &Holder, still_holding: bool) -> Registered {
    let lease = server.desk.state().rules.lease;
    Registered {
        session: server.sessions.issue(holder),
        still_holding,
        heartbeat_ms: millis(lease / 10),
        lease_ms: millis(lease * 4 / 5),
        contact_limit_ms: millis(server.contact_limit),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Waits for a job: asks again whenever something has changed that may concern the caller.
pub(super) async fn next(State(server): Shared, Caller(holder): Caller) -> Response {
    let until = Instant::now() + server.poll;
    let mut changes = server.desk.watch();
    loop {
        changes.mark_unchanged();
        match server.desk.ask(Event::Poll(holder.clone())).await {
            Ok(Reply::Assign(id)) => return assign(&server, id).await,
            Ok(Reply::Nothing) => {}
            Ok(reply) => return status(&reply),
            Err(error) => return unavailable(&error),
        }
        tokio::select! {
            news = changes.wait_for(|state| state.concerns(&holder)) => {
                if news.is_err() {
                    return StatusCode::NO_CONTENT.into_response();
                }
            }
            () = tokio::time::sleep_until(until) => return StatusCode::NO_CONTENT.into_response(),
            () = server.stop.cancelled() => return StatusCode::NO_CONTENT.into_response(),
        }
    }
}

async fn assign(server: &Server, id: u64) -> Response {
    let state = server.desk.state();
    let Some(job) = state.jobs.get(&id) else { return StatusCode::NO_CONTENT.into_response() };
    match assignment(job, server.entries.get(&job.entry).map(Arc::as_ref), &server.system_id, server.clock.now()) {
        Ok(assignment) => Json(assignment).into_response(),
        Err(end) => {
            server.desk.tell(Event::Fail(id, end)).await;
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

pub(super) async fn ack(State(server): Shared, Caller(holder): Caller, Json(holding): Json<Holding>) -> Response {
    answer(&server, Event::Ack(holder, holding)).await
}

pub(super) async fn script(State(server): Shared, Caller(holder): Caller, Json(holding): Json<Holding>) -> Response {
    answer(&server, Event::Script(holder, holding)).await
}

pub(super) async fn heartbeat(State(server): Shared, Caller(holder): Caller, Json(call): Json<Heartbeat>) -> Response {
    answer(&server, Event::Heartbeat(holder, call.holding, call.section)).await
}

pub(super) async fn release(State(server): Shared, Caller(holder): Caller, Json(call): Json<Release>) -> Response {
    let (job, executor) = (call.holding.job, &holder.executor);
    match &call.outcome {
        Released::Finished { state, reason } => {
            tracing::info!(job, executor, reason, "agent has ended the job: {state}");
        }
        Released::GivenUp { reason } => tracing::warn!(job, executor, "agent has given the job up: {reason}"),
    }
    answer(&server, Event::Release(holder, call.holding, call.outcome)).await
}

pub(super) async fn leave(State(server): Shared, Caller(holder): Caller) -> Response {
    answer(&server, Event::Leave(holder)).await
}

pub(super) async fn notice(State(server): Shared, Caller(holder): Caller, Json(call): Json<Notice>) -> Response {
    let (executor, kind, time) = (&holder.executor, shown(&call.kind), shown(&call.time));
    tracing::warn!(executor, kind, time, "the cloud is about to take an executor away");
    answer(&server, Event::Notice(holder)).await
}

async fn answer(server: &Server, event: Event) -> Response {
    match server.desk.ask(event).await {
        Ok(reply) => status(&reply),
        Err(error) => unavailable(&error),
    }
}

fn status(reply: &Reply) -> Response {
    match reply {
        Reply::Done | Reply::Registered(_) => Json(warmstart_api::Empty {}).into_response(),
        Reply::Assign(_) | Reply::Nothing => StatusCode::NO_CONTENT.into_response(),
        Reply::Stale => StatusCode::CONFLICT.into_response(),
        Reply::Session => StatusCode::UNAUTHORIZED.into_response(),
        Reply::Refused => (StatusCode::FORBIDDEN, "this runner does not know that executor").into_response(),
        Reply::Gone => StatusCode::GONE.into_response(),
    }
}

/// The agent asks again: nothing has happened.
fn unavailable(error: &crate::desk::Error) -> Response {
    tracing::error!("{error}; agents try again");
    (StatusCode::SERVICE_UNAVAILABLE, "the runner cannot write its journal").into_response()
}

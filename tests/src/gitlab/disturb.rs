//! Carrying out a fault.

use super::answer;
use super::call::Call;
use super::faults::{Fault, FaultId};
use super::gate::process;
use super::state::{Shared, random};
use axum::body::{Body, to_bytes};
use axum::http::Response;
use bytes::Bytes;
use futures_util::stream;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Answers a request that a fault hits; tells whether the connection is cut.
pub(super) async fn answer(shared: &Arc<Shared>, call: &mut Call, id: FaultId, fault: Fault) -> (Response<Body>, bool) {
    call.lost = matches!(fault, Fault::DropAfter | Fault::CutBody);
    call.cut_body = matches!(fault, Fault::CutBody);
    let response = match fault {
        Fault::DropBefore => answer::status(503),
        Fault::DropAfter => process(shared, call).await,
        Fault::CutBody => cut_body(process(shared, call).await),
        other => return (distort(shared, call, id, other).await, false),
    };
    (response, true)
}

async fn distort(shared: &Arc<Shared>, call: &Call, id: FaultId, fault: Fault) -> Response<Body> {
    match fault {
        Fault::Status { code, headers } => {
            let message = format!("{code}, as the test wants");
            let response = answer::refusal(code, &message);
            headers.iter().fold(response, |response, (name, value)| answer::with(response, name, value))
        }
        Fault::Hang(time) => {
            tokio::time::sleep(time).await;
            process(shared, call).await
        }
        Fault::HangUntilReleased => {
            shared.until(|state| state.faults.is_released(id).then_some(())).await;
            process(shared, call).await
        }
        Fault::SlowBody(pause) => slow_body(process(shared, call).await, pause).await,
        Fault::Truncate(length) => {
            let response = process(shared, call).await;
            truncate(shared, call, length);
            response
        }
        Fault::Accepted202 { interval } => {
            let response = with_state(shared, call, answer::status(202));
            answer::with(response, answer::INTERVAL, &interval.to_string())
        }
        Fault::PreconditionFailed412 => {
            reset_log(shared, call);
            with_state(shared, call, answer::status(412))
        }
        Fault::Redirect307 { location } => {
            let response = answer::status(307);
            location.iter().fold(response, |response, location| answer::with(response, "location", location))
        }
        Fault::RedirectToStorage => redirect(shared, process(shared, call).await).await,
        Fault::TextBody(text) => {
            let (parts, _) = process(shared, call).await.into_parts();
            answer::with(Response::from_parts(parts, Body::from(text)), "content-type", "text/plain")
        }
        Fault::UpdateInterval(text) => answer::with(process(shared, call).await, answer::INTERVAL, &text),
        // Handled by the caller.
        Fault::DropBefore | Fault::DropAfter | Fault::CutBody => answer::status(500),
    }
}

fn with_state(shared: &Shared, call: &Call, response: Response<Body>) -> Response<Body> {
    let state = shared.read(|state| call.job.and_then(|id| state.jobs.get(&id)).map(|job| job.state));
    state.map_or_else(answer::status_404, |state| answer::with_job(response, state))
}

fn truncate(shared: &Shared, call: &Call, length: usize) {
    shared.update(|state| {
        if let Some(job) = call.job.and_then(|id| state.jobs.get_mut(&id)).filter(|job| job.log.len() > length) {
            job.log.truncate(length);
            job.trace.truncated = true;
            job.trace.doubt();
        }
    });
}

/// What a server does that answers 412: it begins the log anew (protocol §1.8).
fn reset_log(shared: &Shared, call: &Call) {
    shared.update(|state| {
        if let Some(job) = call.job.and_then(|id| state.jobs.get_mut(&id)) {
            super::update::reset_log(job);
        }
    });
}

/// The head and the beginning of a body, then an error, which makes the server close the connection.
fn cut_body(response: Response<Body>) -> Response<Body> {
    let (parts, _) = response.into_parts();
    let body = stream::unfold(false, |sent| async move {
        if !sent {
            return Some((Ok(Bytes::from_static(b"{\"id\":1")), true));
        }
        // An error at once would keep the head from leaving.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), true))
    });
    Response::from_parts(parts, Body::from_stream(body))
}

async fn slow_body(response: Response<Body>, pause: Duration) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let size = bytes.len().div_ceil(8).max(1);
    let body = stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(size.min(rest.len()));
        Some((io::Result::Ok(piece), rest))
    });
    Response::from_parts(parts, Body::from_stream(body))
}

/// Puts the answer's body into the object storage and redirects there.
async fn redirect(shared: &Shared, response: Response<Body>) -> Response<Body> {
    if !response.status().is_success() {
        return response;
    }
    let key = random(32);
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
    shared.update(|state| state.storage.insert(key.clone(), bytes));
    answer::with(answer::status(302), "location", &format!("{}/storage/{key}", shared.url))
}

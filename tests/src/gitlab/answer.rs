//! Making answers, and reading what they say.

use super::job::JobState;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};

/// The update interval's header (protocol §1.7).
pub(super) const INTERVAL: &str = "x-gitlab-trace-update-interval";
/// The job's state (protocol §1.7).
pub(super) const JOB_STATUS: &str = "job-status";
/// The opaque state of the queue (protocol §1.5).
pub(super) const LAST_UPDATE: &str = "x-gitlab-last-update";
/// Set on answers that were held (protocol §1.5).
pub(super) const POLLING: &str = "gitlab-ci-builds-polling";

/// An answer with an empty body.
pub(super) fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// A JSON answer.
pub(super) fn json(code: u16, value: &Value) -> Response<Body> {
    let mut response = status(code);
    *response.body_mut() = Body::from(value.to_string());
    with(response, header::CONTENT_TYPE.as_str(), "application/json")
}

/// A refusal with GitLab's `message`.
pub(super) fn refusal(code: u16, message: &str) -> Response<Body> {
    json(code, &serde_json::json!({ "message": message }))
}

/// Adds a header; one that cannot be sent is left out.
pub(super) fn with(mut response: Response<Body>, name: &str, value: &str) -> Response<Body> {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Adds the job's state.
pub(super) fn with_job(response: Response<Body>, state: JobState) -> Response<Body> {
    with(response, JOB_STATUS, state.word())
}

/// A header's text; empty when there is none.
pub(super) fn text<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// When the next attempt may come, by the headers of an answer that leaves now (protocol §1.1).
pub(super) fn not_before(response: &Response<Body>) -> Instant {
    let now = Instant::now();
    if let Some(wait) = until(text(response, "ratelimit-resettime")) {
        return now + wait;
    }
    let seconds = text(response, "retry-after").parse().unwrap_or_default();
    now + Duration::from_secs(seconds)
}

/// The time until an RFC 1123 date, when it lies in the future.
fn until(date: &str) -> Option<Duration> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(date.timestamp().as_second().try_into().ok()?);
    date.duration_since(SystemTime::now()).ok()
}

/// There is no such thing.
pub(super) fn status_404() -> Response<Body> {
    refusal(404, "404 Not Found")
}

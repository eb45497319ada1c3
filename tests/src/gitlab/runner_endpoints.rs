//! Verify, register, unregister (protocol §1.4).

use super::answer;
use super::call::Call;
use super::judge::runner::{is_system_id, judge_registration};
use super::rules::Rule;
use super::state::{Shared, random};
use axum::body::Body;
use axum::http::Response;
use serde_json::json;

/// The registration token that every fake accepts.
pub(super) const REGISTRATION_TOKEN: &str = "GR1348941fakeregistration";
const RUNNER_ID: u64 = 7;

/// Whether a token is one of a runner that exists.
pub(super) fn is_known(shared: &Shared, token: &str) -> bool {
    shared.read(|state| {
        let current = state.renewed.as_ref().unwrap_or(&shared.runner_token);
        token == current || state.registered.iter().any(|known| known == token)
    })
}

/// Tells whether the token is valid.
pub(super) fn verify(shared: &Shared, call: &Call) -> Response<Body> {
    shared.update(|state| {
        let found = state.runner.verify(call, &shared.options);
        state.violate_all(call, found);
    });
    if !is_known(shared, call.field("token")) {
        return answer::refusal(403, "403 Forbidden - invalid token");
    }
    let expires = shared.update(|state| {
        state.expires = state.expires.take().or_else(|| expiry(shared));
        state.expires.clone()
    });
    answer::json(200, &json!({ "id": RUNNER_ID, "token": call.field("token"), "token_expires_at": expires }))
}

/// Exchanges the runner's token for a new one; the old one is worth nothing from then on.
pub(super) fn reset_token(shared: &Shared, call: &Call) -> Response<Body> {
    if !is_known(shared, call.field("token")) {
        return answer::refusal(403, "403 Forbidden");
    }
    let (token, expires) = (format!("glrt-t1_{}", random(20)), expiry(shared));
    shared.update(|state| {
        state.renewed = Some(token.clone());
        state.expires.clone_from(&expires);
    });
    answer::json(201, &json!({ "token": token, "token_expires_at": expires }))
}

/// When a token expires that begins to live now.
fn expiry(shared: &Shared) -> Option<String> {
    let at = jiff::Timestamp::now() + shared.options.token_lifetime?;
    Some(at.to_string())
}

/// Exchanges the registration token for a runner's own.
pub(super) fn register(shared: &Shared, call: &Call) -> Response<Body> {
    shared.update(|state| {
        state.violate_all(call, judge_registration(&call.json));
        if call.field("token") != REGISTRATION_TOKEN {
            return answer::refusal(403, "403 Forbidden - invalid token supplied");
        }
        let token = format!("glrtr-{}", random(20));
        state.registered.push(token.clone());
        answer::json(201, &json!({ "id": RUNNER_ID + 1, "token": token, "token_expires_at": null }))
    })
}

/// Removes a runner; only the old kind is removed this way.
pub(super) fn unregister(shared: &Shared, call: &Call) -> Response<Body> {
    let token = call.field("token");
    shared.update(|state| {
        if token.starts_with("glrt-") {
            state.violate(Rule::A11, call, "DELETE /runners with a glrt- token removes the runner of everybody");
        }
        let known = state.registered.iter().position(|known| known == token);
        match known {
            Some(index) => {
                state.registered.remove(index);
                answer::status(204)
            }
            None if token == shared.runner_token => answer::status(204),
            None => answer::refusal(403, "403 Forbidden"),
        }
    })
}

/// Removes one manager of a runner.
pub(super) fn unregister_manager(shared: &Shared, call: &Call) -> Response<Body> {
    let (token, system_id) = (call.field("token"), call.field("system_id"));
    shared.update(|state| {
        if !token.starts_with("glrt-") {
            state.violate(Rule::A11, call, "DELETE /runners/managers with a token that is no glrt- token");
        }
        if !is_system_id(system_id) {
            state.violate(Rule::A11, call, format!("DELETE /runners/managers with system_id `{system_id}`"));
            return answer::refusal(400, "400 Bad request - system_id is missing");
        }
        if token == shared.runner_token { answer::status(204) } else { answer::refusal(403, "403 Forbidden") }
    })
}

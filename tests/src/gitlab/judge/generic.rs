//! What every request must have (A1 to A4).

use super::{Found, when};
use crate::gitlab::call::Call;
use crate::gitlab::endpoint::Endpoint;
use crate::gitlab::rules::Rule;

/// Judges path, headers and tokens of a request to the API.
pub(in crate::gitlab) fn judge(call: &Call) -> Found {
    if call.endpoint == Endpoint::Unknown {
        return vec![(Rule::A1, format!("{} {} is no call of the protocol", call.method, call.path))];
    }
    if !call.endpoint.is_runner() && !call.endpoint.is_job() {
        return Found::new();
    }
    let mut found = Found::new();
    found.extend(when(call.header("user-agent").is_empty(), Rule::A2, || "User-Agent is missing".to_owned()));
    found.extend(content_type(call));
    found.extend(when(!is_request_id(&call.request_id), Rule::A3, || {
        format!("X-Request-Id is `{}`, not 32 lower-case hex characters", call.request_id)
    }));
    found.extend(if call.endpoint.is_runner() { runner_token(call) } else { job_token(call) });
    found
}

fn content_type(call: &Call) -> Option<(Rule, String)> {
    let kind = call.header("content-type");
    let is_json = kind.split(';').next() == Some("application/json");
    match call.endpoint {
        Endpoint::Trace => when(kind.is_empty() || is_json, Rule::A2, || {
            format!("the trace has content type `{kind}`, not text/plain")
        }),
        Endpoint::Upload => when(!kind.starts_with("multipart/form-data"), Rule::A2, || {
            format!("an upload has content type `{kind}`, not multipart/form-data")
        }),
        Endpoint::Download => None,
        _ => when(!is_json || !call.json.is_object(), Rule::A2, || {
            format!("a body of content type `{kind}` where a JSON object is expected")
        }),
    }
}

fn is_request_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn runner_token(call: &Call) -> Found {
    let (body, header) = (call.field("token"), call.header("runner-token"));
    let mut found = Found::new();
    found.extend(when(body.is_empty(), Rule::A4, || "the body has no token".to_owned()));
    found.extend(when(body != header, Rule::A4, || "RUNNER-TOKEN is missing or not the body's token".to_owned()));
    found.extend(when(!call.header("job-token").is_empty(), Rule::A4, || {
        "a job token is sent to a runner endpoint".to_owned()
    }));
    found
}

fn job_token(call: &Call) -> Found {
    let header = call.header("job-token");
    let is_update = matches!(call.endpoint, Endpoint::KeepAlive | Endpoint::FinalUpdate);
    let mut found = Found::new();
    found.extend(when(header.is_empty(), Rule::A4, || "JOB-TOKEN is missing".to_owned()));
    found.extend(when(is_update && call.field("token") != header, Rule::A4, || {
        "the update's body has another token than JOB-TOKEN".to_owned()
    }));
    found.extend(when(!call.header("runner-token").is_empty(), Rule::A4, || {
        "the runner token is sent to a job endpoint".to_owned()
    }));
    found
}

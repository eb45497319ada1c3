//! A request, read and taken apart.

use super::connection::Peer;
use super::endpoint::Endpoint;
use super::job::JobId;
use super::requests::RecordedRequest;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, request::Parts};
use bytes::Bytes;
use std::time::Instant;

/// More than any test sends.
const BODY_LIMIT: usize = 1 << 30;

/// One request to the server.
#[derive(Debug)]
pub(super) struct Call {
    /// Position in the list of requests.
    pub(super) number: usize,
    pub(super) endpoint: Endpoint,
    /// The job that calls: by the path; for a download the one whose token is sent.
    pub(super) job: Option<JobId>,
    /// The job in the path.
    pub(super) target: Option<JobId>,
    pub(super) method: String,
    /// Without the relative root.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body as JSON; null when it is none.
    pub(super) json: serde_json::Value,
    pub(super) request_id: String,
    pub(super) at: Instant,
    pub(super) peer: Peer,
    /// Whether it is the first on its connection.
    pub(super) first: bool,
    /// The answer will not reach the caller.
    pub(super) lost: bool,
    /// The connection ends within the answer's body, by the body's own error.
    pub(super) cut_body: bool,
}

impl Call {
    /// Reads the whole request; fails when the caller goes away meanwhile.
    pub(super) async fn read(request: Request<Body>, peer: Peer, root: &str) -> Result<Self, axum::Error> {
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let body = to_bytes(body, BODY_LIMIT).await?;
        // Outside the relative root there is nothing: keep the path, which no endpoint then has.
        let path = uri.path().strip_prefix(root).filter(|path| path.starts_with('/')).unwrap_or("//").to_owned();
        let (endpoint, target) = Endpoint::of(&method, &path, &body);
        let json = serde_json::from_slice(&body).unwrap_or_default();
        let request_id = text(&headers, "x-request-id").to_owned();
        let first = peer.is_first();
        let query = uri.query().unwrap_or_default().to_owned();
        let (method, at) = (method.to_string(), Instant::now());
        #[rustfmt::skip]
        let call = Self {
            number: 0, endpoint, job: target, target, method, path, query, headers, body, json, request_id, at, peer, first, lost: false, cut_body: false,
        };
        Ok(call)
    }

    /// A header's text; empty when there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// A query parameter, decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// A text of the JSON body; empty when there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// What is kept of the request.
    pub(super) fn record(&self) -> RecordedRequest {
        let headers = self.headers.iter().filter(|(name, _)| !is_secret(name.as_str()));
        let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let without_token = |pair: &&str| !pair.starts_with("token=");
        RecordedRequest {
            number: self.number,
            endpoint: self.endpoint,
            job: self.job,
            method: self.method.clone(),
            path: self.path.clone(),
            query: self.query.split('&').filter(without_token).collect::<Vec<_>>().join("&"),
            headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
            length: self.body.len(),
            at: self.at,
            status: None,
        }
    }
}

fn is_secret(name: &str) -> bool {
    matches!(name, "authorization" | "job-token" | "runner-token" | "private-token" | "cookie")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

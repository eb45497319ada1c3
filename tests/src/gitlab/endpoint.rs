//! What a request asks for.

use super::job::JobId;
use axum::http::Method;

/// The calls that the fake knows.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Endpoint {
    /// `POST /runners/verify`
    Verify,
    /// `POST /runners`
    Register,
    /// `DELETE /runners`
    Unregister,
    /// `DELETE /runners/managers`
    UnregisterManager,
    /// `POST /runners/reset_authentication_token`
    ResetToken,
    /// `POST /jobs/request`
    JobRequest,
    /// `PATCH /jobs/:id/trace`
    Trace,
    /// `PUT /jobs/:id` with `state=running`
    KeepAlive,
    /// `PUT /jobs/:id` with any other state
    FinalUpdate,
    /// `POST /jobs/:id/artifacts`
    Upload,
    /// `GET /jobs/:id/artifacts`
    Download,
    /// The target of redirected downloads
    Storage,
    /// `/<project>.git/…`
    Git,
    /// The pages for people
    Page,
    /// Anything else
    Unknown,
}

impl Endpoint {
    /// The endpoint of a request and the id in its path. `path` lacks the relative root; `body` tells the two kinds of update apart.
    pub(super) fn of(method: &Method, path: &str, body: &[u8]) -> (Self, Option<JobId>) {
        let Some(rest) = path.strip_prefix("/api/v4/") else { return Self::outside(method, path) };
        let parts: Vec<&str> = rest.split('/').collect();
        let id = || parts.get(1).and_then(|id| id.parse().ok()).map(JobId);
        match (method.as_str(), parts.as_slice()) {
            ("POST", ["runners"]) => (Self::Register, None),
            ("DELETE", ["runners"]) => (Self::Unregister, None),
            ("POST", ["runners", "verify"]) => (Self::Verify, None),
            ("POST", ["runners", "reset_authentication_token"]) => (Self::ResetToken, None),
            ("DELETE", ["runners", "managers"]) => (Self::UnregisterManager, None),
            ("POST", ["jobs", "request"]) => (Self::JobRequest, None),
            ("PUT", ["jobs", _]) => (Self::update(body), id()),
            ("PATCH", ["jobs", _, "trace"]) => (Self::Trace, id()),
            ("POST", ["jobs", _, "artifacts"]) => (Self::Upload, id()),
            ("GET", ["jobs", _, "artifacts"]) => (Self::Download, id()),
            _ => (Self::Unknown, None),
        }
    }

    fn outside(method: &Method, path: &str) -> (Self, Option<JobId>) {
        if path.starts_with("/storage/") {
            (Self::Storage, None)
        } else if path.contains(".git/") {
            (Self::Git, None)
        } else if method == Method::GET && (path == "/" || path.starts_with("/jobs/")) {
            (Self::Page, None)
        } else {
            (Self::Unknown, None)
        }
    }

    fn update(body: &[u8]) -> Self {
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        if json["state"] == "running" { Self::KeepAlive } else { Self::FinalUpdate }
    }

    /// Whether the call is one of the runner's own, with the runner's token.
    pub(super) fn is_runner(self) -> bool {
        matches!(
            self,
            Self::Verify
                | Self::Register
                | Self::Unregister
                | Self::UnregisterManager
                | Self::ResetToken
                | Self::JobRequest
        )
    }

    /// Whether the call belongs to a job and has the job's token.
    pub(super) fn is_job(self) -> bool {
        matches!(self, Self::Trace | Self::KeepAlive | Self::FinalUpdate | Self::Upload | Self::Download)
    }
}

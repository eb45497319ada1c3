//! Every request is kept.

use super::{endpoint::Endpoint, job::JobId};
use std::time::Instant;

/// A request that arrived. Secrets are left out of its headers and query.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// Position in the order of arrival, from 0.
    pub number: usize,
    /// What it asked for.
    pub endpoint: Endpoint,
    /// The job in its path.
    pub job: Option<JobId>,
    /// `GET`, …
    pub method: String,
    /// The path with the relative root.
    pub path: String,
    /// The query without tokens, empty when there is none.
    pub query: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Length of the body in bytes.
    pub length: usize,
    /// When it arrived.
    pub at: Instant,
    /// The status that was answered; none while open, or when the connection was cut instead.
    pub status: Option<u16>,
}

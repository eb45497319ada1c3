//! Scripted misbehaviour of the server.

use super::{endpoint::Endpoint, job::JobId};
use std::time::Duration;

/// What the server does instead of, or besides, answering well.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this status with these headers; the request is not processed.
    Status {
        /// The status code.
        code: u16,
        /// Name and value of each header.
        headers: Vec<(String, String)>,
    },
    /// Processes the request only after this time.
    Hang(Duration),
    /// Processes the request only after [`super::FakeGitlab::release`].
    HangUntilReleased,
    /// Closes the connection without processing the request.
    DropBefore,
    /// Processes the request and closes the connection instead of answering.
    DropAfter,
    /// Processes the request, answers the head, and closes the connection within the body.
    CutBody,
    /// Processes the request and sends the answer's body in eight pieces with this pause before each.
    SlowBody(Duration),
    /// After a trace was acknowledged, forgets all but its first bytes.
    Truncate(usize),
    /// Answers a final update 202 with this `X-GitLab-Trace-Update-Interval` (seconds).
    Accepted202 {
        /// Seconds to wait.
        interval: u64,
    },
    /// Answers a final update 412.
    PreconditionFailed412,
    /// Answers 307 with this `Location`, or without.
    Redirect307 {
        /// The new address; none is a broken redirect.
        location: Option<String>,
    },
    /// Answers a download 302 to the fake's own object storage.
    RedirectToStorage,
    /// Processes the request and answers this text instead of JSON, as old servers do (B45).
    TextBody(String),
    /// Processes the request and puts this text into `X-GitLab-Trace-Update-Interval`.
    UpdateInterval(String),
}

impl Fault {
    /// [`Fault::Status`] without headers.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status { code, headers: Vec::new() }
    }

    /// [`Fault::Status`] with one header.
    #[must_use]
    pub fn status_with(code: u16, name: &str, value: &str) -> Self {
        Self::Status { code, headers: vec![(name.to_owned(), value.to_owned())] }
    }
}

/// Which requests a fault hits.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub(super) endpoint: Endpoint,
    pub(super) job: Option<JobId>,
    pub(super) skip: usize,
    pub(super) times: usize,
}

impl Matcher {
    /// The next request of this kind, once.
    #[must_use]
    pub fn on(endpoint: Endpoint) -> Self {
        Self { endpoint, job: None, skip: 0, times: 1 }
    }

    /// Only requests of this job.
    #[must_use]
    pub fn job(mut self, job: JobId) -> Self {
        self.job = Some(job);
        self
    }

    /// Begins with the nth matching request from now on; the first is 1.
    #[must_use]
    pub fn nth(mut self, nth: usize) -> Self {
        self.skip = nth.saturating_sub(1);
        self
    }

    /// Hits that many requests in a row.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Hits all requests from now on.
    #[must_use]
    pub fn forever(self) -> Self {
        self.times(usize::MAX)
    }
}

/// A fault that was set up; see [`super::FakeGitlab::hits`] and [`super::FakeGitlab::release`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FaultId(pub(super) u64);

/// The server is away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outage {
    /// The ports are closed and all connections cut.
    Refused,
    /// Every request is answered 500.
    Status500,
    /// Requests are accepted and never answered until the recovery, which cuts them.
    Hanging,
}

/// The faults that are set up, and what they hit so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<Active>,
    last: u64,
}

#[derive(Debug)]
struct Active {
    id: FaultId,
    matcher: Matcher,
    fault: Fault,
    hits: usize,
    released: bool,
}

impl Faults {
    pub(super) fn add(&mut self, matcher: Matcher, fault: Fault) -> FaultId {
        self.last += 1;
        let id = FaultId(self.last);
        self.list.push(Active { id, matcher, fault, hits: 0, released: false });
        id
    }

    /// The fault for a request: the first that fits. Each fault that fits but is still to skip counts the request.
    pub(super) fn hit(&mut self, endpoint: Endpoint, job: Option<JobId>) -> Option<(FaultId, Fault)> {
        for active in &mut self.list {
            let matcher = &mut active.matcher;
            let fits = matcher.endpoint == endpoint && (matcher.job.is_none() || matcher.job == job);
            if !fits || matcher.times == 0 {
                continue;
            }
            if matcher.skip > 0 {
                matcher.skip -= 1;
                continue;
            }
            if matcher.times != usize::MAX {
                matcher.times -= 1;
            }
            active.hits += 1;
            return Some((active.id, active.fault.clone()));
        }
        None
    }

    pub(super) fn hits(&self, id: FaultId) -> usize {
        self.list.iter().find(|active| active.id == id).map_or(0, |active| active.hits)
    }

    /// Ends a fault: it hits nothing any more, and what hangs in it goes on.
    pub(super) fn release(&mut self, id: FaultId) {
        for active in self.list.iter_mut().filter(|active| active.id == id) {
            active.released = true;
            active.matcher.times = 0;
        }
    }

    pub(super) fn is_released(&self, id: FaultId) -> bool {
        self.list.iter().any(|active| active.id == id && active.released)
    }
}

//! What a job request answers.

use crate::payload::Job;
use serde_json::value::RawValue;

/// GitLab's answer to a job request, one line of the table in protocol §1.5.
#[derive(Debug)]
pub struct Answer {
    /// The job, if there was one.
    pub acquired: Option<Acquired>,
    /// `X-GitLab-Last-Update`, if the answer had one: to be remembered and sent with the next request.
    pub last_update: Option<String>,
    /// Whether it counts as healthy, for [`super::Health`].
    pub healthy: bool,
    /// Whether GitLab held the request (long polling): then asking again at once is normal.
    pub long_polled: bool,
    /// A line for the log where something is to be said: none after a job or after "no job".
    pub trouble: Option<String>,
}

/// A job that is ours now.
#[derive(Debug)]
pub struct Acquired {
    /// The payload, decoded.
    pub job: Job,
    /// The payload as GitLab sent it.
    pub raw: Box<RawValue>,
    /// The request's id in GitLab's logs; kept for the whole job.
    pub correlation_id: String,
}

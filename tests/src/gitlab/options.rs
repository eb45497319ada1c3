//! How a fake is set up.

use std::net::SocketAddr;
use std::time::Duration;

/// The server's settings; the default suits a test on this machine alone.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The URL the payload names, where containers reach the server by another address; none is the first listen
    /// address. `{port}` in it is replaced by the first address' port.
    pub external_url: Option<String>,
    /// A relative root such as `/gitlab` (B8); empty for none.
    pub relative_root: String,
    /// The runner's token; none is a random one.
    pub runner_token: Option<String>,
    /// How long the runner's token lives, counted from when it is first verified or was reset; none is for ever.
    pub token_lifetime: Option<Duration>,
    /// How long a job request is held while the queue does not change; zero answers 204 at once.
    pub hold: Duration,
    /// Seconds in `X-GitLab-Trace-Update-Interval`.
    pub update_interval: u64,
    /// A log beyond this many bytes fails the job with `trace_size_exceeded`.
    pub trace_limit: usize,
    /// An upload beyond this many bytes is refused with 413.
    pub artifact_limit: usize,
    /// The reasons that the payload says the server accepts.
    pub failure_reasons: Vec<String>,
    /// Judges A22: the shortest time between a 204 given at once and the next request.
    pub check_interval: Option<Duration>,
    /// Judges A22: the most job requests open at once.
    pub request_concurrency: Option<usize>,
    /// Judges A22: the most jobs running at once.
    pub limit: Option<usize>,
    /// Judges B24: no request for this long after three refusals.
    pub unhealthy_interval: Option<Duration>,
    /// Judges A12: whether all calls with the runner token come from one manager.
    pub one_manager: bool,
    /// Judges A33: the longest silence of a running job, besides twice the update interval.
    pub silence: Duration,
    /// Judges B52: how long after an abort log and artifacts may still arrive.
    pub abort_grace: Duration,
    /// How long waiting functions wait before they panic.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            external_url: None,
            relative_root: String::new(),
            runner_token: None,
            token_lifetime: None,
            hold: Duration::from_secs(5),
            update_interval: 1,
            trace_limit: 100 << 20,
            artifact_limit: 100 << 20,
            failure_reasons: FAILURE_REASONS.iter().map(ToString::to_string).collect(),
            check_interval: None,
            request_concurrency: None,
            limit: None,
            unhealthy_interval: None,
            one_manager: true,
            silence: Duration::from_secs(45),
            abort_grace: Duration::from_secs(5),
            patience: Duration::from_mins(4),
        }
    }
}

/// What the newest server accepts (protocol §1.8).
const FAILURE_REASONS: &[&str] = &[
    "unknown_failure",
    "script_failure",
    "api_failure",
    "stuck_or_timeout_failure",
    "runner_system_failure",
    "missing_dependency_failure",
    "runner_unsupported",
    "job_execution_timeout",
    "trace_size_exceeded",
    "job_execution_server_timeout",
    "no_updates_running",
    "no_updates_canceling",
    "server_timeout_running",
    "server_timeout_canceling",
    "runner_configuration_error",
    "runner_external_dependency_failure",
    "runner_interrupted",
];

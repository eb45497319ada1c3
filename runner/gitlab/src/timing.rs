//! All waits and limits of this crate in one place.

use std::time::Duration;

/// How long things wait. The default is GitLab Runner's behaviour where it has one (protocol §1.1, §1.7 to §1.11);
/// a test shortens what it needs and still runs in real time.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Dialling and TLS handshake together (40 s: 30 + 10).
    pub connect: Duration,
    /// Until the head of an answer (10 min): also the longest a job request may be held by GitLab.
    pub response: Duration,
    /// A whole request with its body, artifacts included (60 min).
    pub total: Duration,
    /// A whole trace patch or job update (60 s). GitLab Runner uses `response` and `total`; a shorter one notices
    /// a hanging GitLab while somebody looks at the log.
    pub update: Duration,
    /// Connections are made anew after this time (15 min), so that certificates and load balancers may change.
    pub connection_max_age: Duration,
    /// First wait of the retry layer (100 ms); doubles, with jitter.
    pub retry_min: Duration,
    /// Longest wait that the retry layer chooses by itself (60 s).
    pub retry_max: Duration,
    /// Longest wait that an answer's header can ask of the retry layer (60 min).
    pub retry_header_max: Duration,
    /// Between two patches until GitLab names another interval (3 s); also in the final flush.
    pub trace_interval: Duration,
    /// Longest interval that GitLab can ask for (15 min).
    pub trace_interval_max: Duration,
    /// Silence after which a keep-alive is sent (30 s).
    pub keep_alive: Duration,
    /// How long the rest of the log is sent when a job changes hands (3 s); the next owner sends what is left.
    pub hand_over: Duration,
    /// First wait after a failed round of the final update (1 s); doubles.
    pub final_min: Duration,
    /// Longest wait between two rounds of the final update (60 min).
    pub final_max: Duration,
    /// Rounds of the final update without any progress, in all (10).
    pub final_rounds: usize,
    /// How long 202 (GitLab still persists the log) is waited for (15 min; GitLab itself gives up after 5).
    pub persist: Duration,
    /// How long artifacts are tried again while GitLab is away, whatever the number of tries (5 min).
    pub away: Duration,
    /// First wait between two tries of an upload (1 s); doubles.
    pub upload_min: Duration,
    /// Longest wait between two tries of an upload (5 s).
    pub upload_max: Duration,
    /// Wait between two tries of a download (1 s).
    pub download_pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let minutes = Duration::from_mins;
        Self {
            connect: Duration::from_secs(40),
            response: minutes(10),
            total: minutes(60),
            update: minutes(1),
            connection_max_age: minutes(15),
            retry_min: Duration::from_millis(100),
            retry_max: minutes(1),
            retry_header_max: minutes(60),
            trace_interval: Duration::from_secs(3),
            trace_interval_max: minutes(15),
            keep_alive: Duration::from_secs(30),
            hand_over: Duration::from_secs(3),
            final_min: Duration::from_secs(1),
            final_max: minutes(60),
            final_rounds: 10,
            persist: minutes(15),
            away: minutes(5),
            upload_min: Duration::from_secs(1),
            upload_max: Duration::from_secs(5),
            download_pause: Duration::from_secs(1),
        }
    }
}

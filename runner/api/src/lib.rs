//! The runner's API for its agents: wire types and a small client.
//!
//! An agent dials out, nothing dials in. Every call is a `POST` of JSON below `/v1/`, is idempotent, and carries
//! the session token that `register` answered as `Authorization: Bearer`. Calls about a job name it with its
//! generation ([`Holding`]); a stale generation is answered 409, upon which the agent stops that job, removes its
//! containers and sends nothing more to GitLab.
//!
//! Every call but `register` is answered 401 when the session is unknown or of an earlier run: register again.
//! Ok is 200, or 204 where there is nothing to say.
//!
//! | call | request | 200 | else |
//! |---|---|---|---|
//! | `register` | [`Register`] | [`Registered`] | 403 the proof is wrong, 410 the executor is to end, 503 it cannot be checked now |
//! | `next` | [`Empty`] | [`Assignment`] | 204 nothing yet (long poll), 410 shut down |
//! | `ack` | [`Holding`] | the job is the agent's | 409 |
//! | `script` | [`Holding`] | the barrier is open | 409 |
//! | `heartbeat` | [`Heartbeat`] | the lease goes on | 409 |
//! | `release` | [`Release`] | the executor is free again | 409 |
//! | `leave` | [`Empty`] | no more work: shut down | 409 work is waiting |
//! | `notice` | [`Notice`] | the executor gets no more jobs | 404 a runner that does not know the call |
//!
//! Versions: readers ignore unknown fields; [`VERSION`] is sent at registration.

pub mod assignment;
pub mod client;
pub mod pin;
pub mod proof;
pub mod settings;
pub mod user_data;

use serde::{Deserialize, Serialize};
use warmstart_gitlab::secret::Secret;

pub use assignment::Assignment;

/// The version of this API.
pub const VERSION: u32 = 1;

/// The environment of an executor started by the runner: how its agent finds the runner and proves what it is.
pub mod environment {
    /// The runner's address, `https://host:port`.
    pub const URL: &str = "WARMSTART_RUNNER_URL";
    /// The SHA-256 of the runner's certificate (DER), 64 lower-case hex digits.
    pub const FINGERPRINT: &str = "WARMSTART_RUNNER_FINGERPRINT";
    /// The executor's id.
    pub const EXECUTOR: &str = "WARMSTART_EXECUTOR";
    /// The proof of a `local` executor.
    pub const TOKEN: &str = "WARMSTART_EXECUTOR_TOKEN";
    /// The directory in which the agent keeps builds, logs and temporary files.
    pub const DIRECTORY: &str = "WARMSTART_DIRECTORY";
}

/// No parameters.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Empty {}

/// An agent announces itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Register {
    /// [`VERSION`] of the agent.
    pub version: u32,
    /// The agent's own version, for people.
    pub agent_version: String,
    /// The executor's id, as the cloud knows it.
    pub executor: String,
    /// Drawn by the agent process at its start: another run id on the same executor means that the earlier process is gone.
    pub run_id: String,
    /// What proves that the caller is this executor: for `local` executors the token of their environment, for EC2
    /// instances the JSON of a [`proof::Proof`], signed for this registration.
    pub proof: Secret,
    /// The assignment this same run already holds, when it registers again after losing contact.
    #[serde(default)]
    pub holding: Option<Holding>,
}

/// The answer to [`Register`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Registered {
    /// The session token of all further calls; it survives a restart of the runner.
    pub session: Secret,
    /// Whether the assignment named in `holding` is still the agent's. When false, it must stop that job.
    pub still_holding: bool,
    /// How often to call `heartbeat` while a job is held, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long after the last heartbeat that was answered the agent, still before the barrier, gives up its job, in
    /// milliseconds; a margin before the runner does.
    pub lease_ms: u64,
    /// How long an idle agent goes on without contact before it shuts down, in milliseconds.
    pub contact_limit_ms: u64,
}

/// A job in the hands of an agent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Holding {
    /// GitLab's id of the job.
    pub job: u64,
    /// Rises with every assignment of the job.
    pub generation: u32,
}

/// The agent is alive and has its job.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Heartbeat {
    /// The job.
    #[serde(flatten)]
    pub holding: Holding,
    /// The log section that is open, if one is: who takes the log over from a lost agent has to end it.
    pub section: Option<String>,
}

/// The agent has reported the job's end to GitLab, or given it up before the barrier.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Release {
    /// The job.
    #[serde(flatten)]
    pub holding: Holding,
    /// What became of it.
    pub outcome: Released,
}

/// What became of a released job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Released {
    /// GitLab has the final state (or refused it for good): nothing is left to do for this job.
    Finished {
        /// The state sent: `success` or `failed`.
        state: String,
        /// The failure reason sent, if any.
        reason: Option<String>,
    },
    /// Given up before its script ran; it can be assigned afresh.
    GivenUp {
        /// Why, for people.
        reason: String,
    },
}

/// The cloud is about to take the machine away.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notice {
    /// Which notice it is, for people: `interruption` of a spot instance, or `rebalance`, which says that one is likely.
    pub kind: String,
    /// When the machine goes, or since when it is likely to: RFC 3339, for people.
    pub time: String,
}

//! Where executors come from.

pub mod ec2;
pub mod local;

use crate::clock::Time;
use crate::ownership::Launch;
use std::time::Duration;
use warmstart_gitlab::secret::Secret;

/// An executor to start.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its id, or what it goes by until the cloud has given it one.
    pub id: String,
    /// What will prove that it is this executor, where the cloud has no better proof.
    pub token: Option<Secret>,
}

/// Executors to start, all alike.
#[derive(Clone, Debug)]
pub struct Order {
    /// The request. One with the same token is the same request: it starts nothing more.
    pub launch: Launch,
    /// The pool.
    pub pool: String,
    /// One for each executor that is still missing of it.
    pub seeds: Vec<Seed>,
}

/// What a launch came to.
#[derive(Clone, Debug, Default)]
pub struct Launched {
    /// The ids of all executors that were started by it, now or at an earlier try.
    pub executors: Vec<String>,
    /// Why they are not as many as were asked for.
    pub obstacle: Option<String>,
    /// Whether the rest may be had elsewhere: it is asked for at once.
    pub elsewhere: bool,
}

/// A line of a listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    /// The cloud's id.
    pub id: String,
    /// The pool it was started for.
    pub pool: String,
    /// The token of the launch that it was started by, where the cloud keeps it.
    pub launch: Option<String>,
    /// When it was started.
    pub launched: Time,
    /// What is left of it.
    pub status: Status,
}

/// What is left of an executor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// It runs, or will in a moment.
    Running,
    /// It does not run, and something of it is to be cleaned up.
    Stopped,
    /// It has ended; the cloud only remembers it.
    Gone,
}

/// Why a cloud did not do what it should, in one line: what was attempted, and why it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Why a launch gave no answer that names its executors.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failed {
    /// Nothing was started.
    #[error("{0}")]
    Refused(String),
    /// It may have been done: the same request is made again, or the listing shows what came of it.
    #[error("{0}")]
    Unsure(String),
}

/// Something that runs executors. All calls may be repeated.
pub trait Cloud: Send + Sync + 'static {
    /// What the `at`th executor of a launch goes by.
    fn seed(&self, launch: &Launch, at: usize) -> Seed;

    /// How long after a launch an executor may be missing from the listing.
    fn settles(&self) -> Duration;

    /// How old a listing may be that the fleet is judged by.
    fn freshness(&self) -> Duration;

    /// Starts executors. Fewer than asked for is an answer too.
    fn launch(&self, order: &Order) -> impl Future<Output = Result<Launched, Failed>> + Send;

    /// Lists all executors of this runner, whoever started them.
    fn list(&self) -> impl Future<Output = Result<Vec<Instance>, Error>> + Send;

    /// Ends an executor with all that it started. When this returns, nothing of it runs and it is not listed as
    /// running any more; one that is not there is fine.
    fn terminate(&self, id: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// The end of what it wrote, for people; empty if nothing is known.
    fn log_tail(&self, id: &str) -> impl Future<Output = String> + Send;
}

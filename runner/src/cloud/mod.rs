//! Where executors come from.

pub mod local;

use crate::clock::Time;
use std::time::Duration;
use warmstart_gitlab::secret::Secret;

/// An executor to start.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its id.
    pub id: String,
    /// What will prove that it is this executor.
    pub token: Secret,
}

/// A line of a listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    /// The id it was started with.
    pub id: String,
    /// When it was started.
    pub launched: Time,
    /// Whether it runs. One that does not is listed until it is terminated.
    pub running: bool,
}

/// Why a cloud did not do what it should, in one line: what was attempted, and why it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Something that runs executors. All calls may be repeated.
pub trait Cloud: Send + Sync + 'static {
    /// An id for a new executor.
    fn new_id(&self) -> String;

    /// How long after a launch an executor may be missing from the listing.
    fn settles(&self) -> Duration;

    /// Starts an executor. After an error it may or may not run; the listing tells.
    fn launch(&self, seed: &Seed) -> impl Future<Output = Result<(), Error>> + Send;

    /// Lists all executors of this runner, whoever started them.
    fn list(&self) -> impl Future<Output = Result<Vec<Instance>, Error>> + Send;

    /// Ends an executor with all that it started. When this returns, nothing of it runs and it is not listed any
    /// more; one that is not there is fine.
    fn terminate(&self, id: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// The end of what it wrote, for people; empty if nothing is known.
    fn log_tail(&self, id: &str) -> impl Future<Output = String> + Send;
}

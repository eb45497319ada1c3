//! A whole deployment for a test or the demo: a fake GitLab, the runner and its executors as real processes, the fault
//! proxy between them, and the means to kill any of them.

mod daemon;
mod deployment;
mod executors;
mod machine;
mod process;
mod registry;
mod serve;
mod small_disk;
mod wait;

pub(crate) use daemon::cache;
pub use daemon::{Daemon, Privileged};
pub use deployment::{Deployment, Setup};
pub use executors::Executor;
pub use machine::{BUSYBOX, DEBIAN, DIND, DIND_BY_NAME, binary, containers_labelled, host_for_containers};
pub use process::{Ended, Process};
pub use registry::Registry;
pub(crate) use serve::serve;
pub use small_disk::SmallDisk;
pub use wait::eventually;

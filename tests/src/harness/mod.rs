//! A whole deployment for a test or the demo: a fake GitLab, the runner and its executors as real processes, the fault
//! proxy between them, and the means to kill any of them.

mod deployment;
mod executors;
mod machine;
mod process;
mod small_disk;
mod wait;

pub use deployment::{Deployment, Setup};
pub use executors::Executor;
pub use machine::{BUSYBOX, DEBIAN, binary, containers_labelled, host_for_containers};
pub use process::{Ended, Process};
pub use small_disk::SmallDisk;
pub use wait::eventually;

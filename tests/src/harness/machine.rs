//! What this machine offers: our binaries, the test images, the way from a container to the host.

use super::daemon::Daemon;
use anyhow::{Context, Result, ensure};
use std::net::IpAddr;
use std::path::PathBuf;

/// A busybox, `sh` only; made by `tests/setup/images`.
pub const BUSYBOX: &str = "warmstart-test/busybox:1";
/// A Debian with bash, git and Python; made by `tests/setup/images`.
pub const DEBIAN: &str = "warmstart-test/debian:1";
/// Debian's Docker daemon and its clients, which starts as the official `docker:dind` images do; made by
/// `tests/setup/images` for a daemon that allows privileged containers.
pub const DIND: &str = "warmstart-test/dind:1";
/// The same, by a name as the official images have.
pub const DIND_BY_NAME: &str = "warmstart-test/docker:1-dind";

/// The path of one of our binaries, as `cargo build --workspace --all-targets` leaves it beside what is running now.
pub fn binary(name: &str) -> Result<PathBuf> {
    let running = std::env::current_exe().context("find the running program")?;
    let directory = running.parent().context("the running program has a directory")?;
    let directory = if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory };
    let path = directory.join(name);
    ensure!(path.is_file(), "{} is missing: run `cargo build --workspace --all-targets` first", path.display());
    Ok(path)
}

/// The address under which containers on Docker's default bridge reach servers of this machine.
pub fn host_for_containers() -> Result<IpAddr> {
    Daemon::default().host_for_containers()
}

/// Names of all containers, networks and volumes with a label.
pub fn containers_labelled(label: &str) -> Result<Vec<String>> {
    Daemon::default().containers_labelled(label)
}

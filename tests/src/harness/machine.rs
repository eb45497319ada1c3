//! What this machine offers: our binaries, the test images, the way from a container to the host.

use anyhow::{Context, Result, ensure};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

/// A busybox, `sh` only; made by `tests/setup/images`.
pub const BUSYBOX: &str = "warmstart-test/busybox:1";
/// A Debian with bash, git and Python; made by `tests/setup/images`.
pub const DEBIAN: &str = "warmstart-test/debian:1";

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
    let format = "{{with index .IPAM.Config 0}}{{.Gateway}} {{.Subnet}}{{end}}";
    let text = docker(&["network", "inspect", "bridge", "--format", format])?;
    let (gateway, subnet) = text.trim_end().split_once(' ').unwrap_or_default();
    // Docker does not name the gateway where it chose it itself: the subnet's first address.
    let address = if gateway.is_empty() { subnet.replace(".0/", ".1/") } else { gateway.to_owned() };
    let address = address.split('/').next().unwrap_or_default();
    address.parse().with_context(|| format!("read the gateway of Docker's bridge from {text:?}"))
}

/// Names of all containers, networks and volumes with a label.
pub fn containers_labelled(label: &str) -> Result<Vec<String>> {
    let filter = format!("label={label}");
    let mut names = String::new();
    for command in [
        ["ps", "--all", "--filter", &filter, "--format", "container {{.Names}}"],
        ["network", "ls", "--filter", &filter, "--format", "network {{.Name}}"],
        ["volume", "ls", "--filter", &filter, "--format", "volume {{.Name}}"],
    ] {
        names += &docker(&command)?;
    }
    Ok(names.lines().map(str::to_owned).collect())
}

fn docker(arguments: &[&str]) -> Result<String> {
    let output = Command::new("docker").args(arguments).output().context("run docker")?;
    ensure!(
        output.status.success(),
        "docker {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

//! Docker daemons: the machine's own, and one that allows privileged containers.

use super::machine::BUSYBOX;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where `tests/setup/daemon` answers.
const SOCKET: &str = "/run/warmstart-test/docker.sock";
/// This machine, as the containers of that daemon see it.
const OUTSIDE: [u8; 4] = [10, 231, 0, 1];
/// Its network namespace.
const SPACE: &str = "warmstart-test";

/// Where Docker answers. The default is the machine's own daemon.
#[derive(Clone, Copy, Debug, Default)]
pub struct Daemon {
    private: bool,
}

impl Daemon {
    /// What clients have in their environment to find it.
    #[must_use]
    pub fn environment(self) -> Option<(&'static str, String)> {
        self.private.then(|| ("DOCKER_HOST", format!("unix://{SOCKET}")))
    }

    /// Its socket.
    #[must_use]
    pub fn socket(self) -> &'static str {
        if self.private { SOCKET } else { "/var/run/docker.sock" }
    }

    /// The address under which its containers reach servers of this machine.
    pub fn host_for_containers(self) -> Result<IpAddr> {
        if self.private {
            return Ok(OUTSIDE.into());
        }
        let format = "{{with index .IPAM.Config 0}}{{.Gateway}} {{.Subnet}}{{end}}";
        let text = self.docker(&["network", "inspect", "bridge", "--format", format])?;
        let (gateway, subnet) = text.trim_end().split_once(' ').unwrap_or_default();
        // Docker does not name the gateway where it chose it itself: the subnet's first address.
        let address = if gateway.is_empty() { subnet.replace(".0/", ".1/") } else { gateway.to_owned() };
        let address = address.split('/').next().unwrap_or_default();
        address.parse().with_context(|| format!("read the gateway of Docker's bridge from {text:?}"))
    }

    /// What a command has to begin with to be where its names of AWS are known; nothing for the machine's own.
    #[must_use]
    pub fn inside(self) -> &'static [&'static str] {
        if self.private { &["ip", "netns", "exec", SPACE] } else { &[] }
    }

    /// Names of all containers, networks and volumes with a label.
    pub fn containers_labelled(self, label: &str) -> Result<Vec<String>> {
        let filter = format!("label={label}");
        let mut names = String::new();
        for command in [
            ["ps", "--all", "--filter", &filter, "--format", "container {{.Names}}"],
            ["network", "ls", "--filter", &filter, "--format", "network {{.Name}}"],
            ["volume", "ls", "--filter", &filter, "--format", "volume {{.Name}}"],
        ] {
            names += &self.docker(&command)?;
        }
        Ok(names.lines().map(str::to_owned).collect())
    }

    fn docker(self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("docker");
        let output = command.args(arguments).envs(self.environment()).output().context("run docker")?;
        ensure!(
            output.status.success(),
            "docker {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A daemon that allows privileged containers, as long as this lives: the machine's own where it does, else that of
/// `tests/setup/daemon`.
#[derive(Debug)]
pub struct Privileged {
    /// Where it answers.
    pub daemon: Daemon,
    started: Option<Child>,
}

impl Privileged {
    /// Finds or starts it; while another test has it, waits.
    pub fn daemon() -> Result<Self> {
        let own = Daemon::default();
        if own.docker(&["run", "--rm", "--privileged", BUSYBOX, "true"]).is_ok() {
            return Ok(Self { daemon: own, started: None });
        }
        Self::private()
    }

    /// Starts that of `tests/setup/daemon`, for whom its names of AWS count; while another test has it, waits.
    pub fn private() -> Result<Self> {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("setup/daemon"));
        // A group of its own: it clears away after tests that are killed with all of theirs.
        command.arg(cache()?.join("daemon")).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start tests/setup/daemon")?;
        let mut answer = String::new();
        BufReader::new(child.stdout.take().context("it has an output")?).read_line(&mut answer)?;
        let this = Self { daemon: Daemon { private: true }, started: Some(child) };
        ensure!(answer == "ready\n", "tests/setup/daemon does not start: run the tests as root");
        Ok(this)
    }
}

impl Drop for Privileged {
    fn drop(&mut self) {
        let Some(daemon) = &mut self.started else { return };
        drop(daemon.stdin.take());
        let _ = daemon.wait();
    }
}

/// Where `make setup` keeps what it makes.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    Ok(set.or(home).context("find the user's home")?.join("warmstart"))
}

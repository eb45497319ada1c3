//! Processes, as `/proc` shows them.

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::io;
use std::time::{Duration, Instant};
use warmstart_api::environment;

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Process {
    /// Its pid, which is also the id of its process group.
    pid: u32,
    /// When it was started, in clock ticks since boot.
    started: u64,
}

/// The fields of `/proc/<pid>/stat` that count here.
struct Stat {
    state: char,
    group: u32,
    started: u64,
}

impl Process {
    /// The process that has this pid now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, started: stat.started })
    }

    /// The leader of the process group whose environment names this executor.
    pub(super) fn find(id: &str) -> Option<Self> {
        pids().find(|pid| belongs(*pid, id) && stat(*pid).is_some_and(|stat| stat.group == *pid)).and_then(Self::of)
    }

    /// Whether it runs; a zombie does not.
    pub(super) fn is_running(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && is_alive(stat.state))
    }

    /// Kills the process and its whole group, also what is left of the group after the process itself is gone, and
    /// waits until nothing of it runs. A group of another process that got the same number is left alone: its
    /// members' environment does not name this executor.
    pub(super) async fn kill_group(self, id: &str, limit: Duration) -> io::Result<()> {
        let Some(group) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        let start = Instant::now();
        while self.is_running() || self.members(id) {
            match kill_process_group(group, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
            if start.elapsed() > limit {
                return Err(io::Error::other("it is still there"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn members(self, id: &str) -> bool {
        let member = |pid: u32| stat(pid).is_some_and(|stat| stat.group == self.pid && is_alive(stat.state));
        pids().any(|pid| member(pid) && belongs(pid, id))
    }
}

fn is_alive(state: char) -> bool {
    !matches!(state, 'Z' | 'X' | 'x')
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Reads `/proc/<pid>/stat`. The second field is a name in parentheses that may contain anything.
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn belongs(pid: u32, id: &str) -> bool {
    let wanted = format!("{}={id}", environment::EXECUTOR);
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    fn sleeper(id: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & wait"]).env(environment::EXECUTOR, id).process_group(0);
        let child = command.spawn().expect("sh starts");
        // `spawn` may return a moment before the new program's environment is in place.
        while Process::find(id).is_none() {
            std::thread::yield_now();
        }
        child
    }

    #[tokio::test]
    async fn a_group_is_found_by_its_environment_and_killed_whole() {
        let id = format!("local-test-{}", std::process::id());
        let mut child = sleeper(&id);
        let process = Process::of(child.id()).expect("it runs");
        assert_eq!(Process::find(&id), Some(process));
        let reaper = std::thread::spawn(move || child.wait());
        process.kill_group(&id, Duration::from_secs(20)).await.expect("it can be killed");
        reaper.join().expect("no panic").expect("it is waited for");
        assert!(!process.is_running() && !process.members(&id) && Process::find(&id).is_none());
    }

    #[tokio::test]
    async fn a_reused_pid_is_never_killed() {
        let other = format!("local-other-{}", std::process::id());
        let mut child = sleeper(&other);
        let real = Process::of(child.id()).expect("it runs");
        let stale = Process { started: real.started + 1, ..real };
        assert!(!stale.is_running());
        stale.kill_group("local-mine", Duration::from_secs(20)).await.expect("nothing to do");
        assert!(real.is_running());
        real.kill_group(&other, Duration::ZERO).await.ok();
        child.wait().expect("it is waited for");
    }
}

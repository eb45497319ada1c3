//! Running scripts in containers: a container started anew for each stage, or a command in a running one
//! (protocol §4.6).

use crate::docker::attach::{Sinks, Streams, converse};
use crate::fault::Fault;
use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error as DockerError;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::ExecInspectResponse;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, KillContainerOptions, LogsOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use std::io::Write;
use std::time::Duration;

/// Longest pause between two looks at a command that gives no output.
const LOOK: Duration = Duration::from_millis(500);

/// How long `docker stop` lets a container end by itself, in seconds.
const GRACE: i32 = 10;

/// Sends TERM to everything in the container but its first process and itself; without starting anything.
const TERMINATE: &str = "for d in /proc/[0-9]*; do p=${d#/proc/}; [ \"$p\" = 1 ] || [ \"$p\" = \"$$\" ] || \
                         kill -TERM \"$p\" 2>/dev/null; done";

/// A container of a job.
#[derive(Clone, Debug)]
pub struct Container {
    /// The daemon.
    pub docker: Docker,
    /// Docker's id.
    pub id: String,
}

impl Container {
    /// Starts it.
    pub async fn start(&self) -> Result<(), Fault> {
        let started = self.docker.start_container(&self.id, None::<StartContainerOptions>).await;
        started.map_err(|e| Fault::docker("cannot start container", e))
    }

    /// Starts it, lets its shell run a script to the end, and returns the exit code.
    pub async fn run<W: Write>(&self, script: &str, sinks: &mut Sinks<W>) -> Result<i64, Fault> {
        let streams = self.open().await?;
        self.talk(streams, script, sinks).await
    }

    /// Attaches, so that nothing of the output is missed, then starts it. Its shell waits for a script.
    pub async fn open(&self) -> Result<Streams, Fault> {
        let attach = AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true);
        let attached = self.docker.attach_container(&self.id, Some(attach.build())).await;
        let AttachContainerResults { output, input } =
            attached.map_err(|e| Fault::docker("cannot attach to container", e))?;
        self.start().await?;
        Ok(Streams { output, input })
    }

    /// Writes the script and closes that direction, copies the output until its end, and waits for the exit code.
    pub async fn talk<W: Write>(&self, streams: Streams, script: &str, sinks: &mut Sinks<W>) -> Result<i64, Fault> {
        Box::pin(converse(streams, script, sinks, self.wait())).await
    }

    /// The number of its first process on this machine.
    pub async fn process(&self) -> Result<i64, Fault> {
        let seen = self.docker.inspect_container(&self.id, None).await;
        let state = seen.map_err(|e| Fault::docker("cannot inspect container", e))?.state;
        let process = state.and_then(|state| state.pid).filter(|process| *process > 0);
        process.ok_or_else(|| Fault::System("the container does not run".to_owned()))
    }

    async fn wait(&self) -> Result<i64, Fault> {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let answer = self.docker.wait_container(&self.id, Some(options)).next().await;
        match answer {
            Some(Ok(ended)) => Ok(ended.status_code),
            Some(Err(DockerError::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(Fault::docker("cannot wait for container", error)),
            None => Err(Fault::System("cannot wait for container: no answer from Docker".to_owned())),
        }
    }

    /// Runs a command in the running container, with a script as its standard input, and returns the exit code.
    pub async fn exec<W: Write>(&self, command: &[&str], script: &str, sinks: &mut Sinks<W>) -> Result<i64, Fault> {
        let fault = |e| Fault::docker("cannot run a command in container", e);
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self.docker.create_exec(&self.id, options).await.map_err(fault)?.id;
        match self.docker.start_exec(&exec, None).await.map_err(fault)? {
            StartExecResults::Attached { output, input } => {
                converse(Streams { output, input }, script, sinks, self.exec_ended(&exec)).await
            }
            StartExecResults::Detached => Err(Fault::System("cannot run a command in container: detached".to_owned())),
        }
    }

    /// Docker has no call that waits for a command: looks again and again, quickly at first.
    async fn exec_ended(&self, exec: &str) -> Result<i64, Fault> {
        let mut pause = Duration::from_millis(10);
        loop {
            let seen = self.docker.inspect_exec(exec).await;
            let seen = seen.map_err(|e| Fault::docker("cannot inspect a command in container", e))?;
            if let Some(code) = exit_code(&seen) {
                return Ok(code);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        }
    }

    /// Ends the script that runs: TERM to its processes, where it sees no others, then what `docker stop` does.
    pub async fn stop(&self, sees_only_its_own: bool) {
        let mut nowhere = Sinks { out: std::io::sink(), err: std::io::sink() };
        let terminate = self.exec(&["sh", "-c", TERMINATE], "", &mut nowhere);
        if sees_only_its_own {
            let _ = tokio::time::timeout(Duration::from_secs(10), terminate).await;
        }
        let options = StopContainerOptionsBuilder::default().t(GRACE).build();
        if let Err(error) = self.docker.stop_container(&self.id, Some(options)).await {
            tracing::debug!("container did not stop: {error}");
        }
    }

    /// Ends its processes at once. One that has ended already, or is gone, is fine.
    pub async fn kill(&self) {
        if let Err(error) = self.docker.kill_container(&self.id, None::<KillContainerOptions>).await {
            tracing::debug!("container was not killed: {error}");
        }
    }

    /// The last output of the container, at most `limit` bytes.
    pub async fn last_output(&self, limit: usize) -> String {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("1000").build();
        let mut output = self.docker.logs(&self.id, Some(options));
        let mut bytes = Vec::new();
        while let Some(Ok(piece)) = output.next().await {
            bytes.extend_from_slice(LogOutput::as_ref(&piece));
            if bytes.len() >= limit {
                break;
            }
        }
        bytes.truncate(limit);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The code of a command that has ended.
///
/// Docker answers the start of a command before it starts it: not running and without a code is not yet, not over.
fn exit_code(seen: &ExecInspectResponse) -> Option<i64> {
    seen.exit_code.filter(|_| seen.running == Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_has_not_begun_has_not_ended() {
        let seen = |running, exit_code| ExecInspectResponse { running: Some(running), exit_code, ..Default::default() };
        assert_eq!(exit_code(&seen(false, None)), None);
        assert_eq!(exit_code(&seen(true, None)), None);
        assert_eq!(exit_code(&seen(false, Some(3))), Some(3));
    }
}

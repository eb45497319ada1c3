//! A conversation with a shell in a container: a script goes in, two streams come out, an exit code ends it.

use crate::fault::Fault;
use bollard::container::LogOutput;
use bollard::errors::Error as DockerError;
use futures_util::{Stream, StreamExt};
use std::future::Future;
use std::io::Write;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How long output may stay silent after the shell has ended: a process it left behind can hold the streams open.
const AFTER_EXIT: Duration = Duration::from_secs(2);

/// Both directions of an attached container or exec.
pub struct Streams {
    /// Standard output and standard error, told apart.
    pub output: Pin<Box<dyn Stream<Item = Result<LogOutput, DockerError>> + Send>>,
    /// Standard input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Streams")
    }
}

/// Where a script's output goes.
pub struct Sinks<W> {
    /// Standard output.
    pub out: W,
    /// Standard error.
    pub err: W,
}

/// Feeds `script`, copies the output as it comes, and returns the exit code that `exit` reports.
///
/// The next piece of output is read only after the last one is written, so a job that prints faster than the log
/// is written waits. Output that stays open after the end is left behind after a moment of silence.
pub async fn converse<W: Write>(
    streams: Streams,
    script: &str,
    sinks: &mut Sinks<W>,
    exit: impl Future<Output = Result<i64, Fault>>,
) -> Result<i64, Fault> {
    let Streams { mut output, input } = streams;
    let mut feeding = pin!(feed(input, script));
    let mut exit = pin!(exit);
    let mut fed = false;
    let mut code = None;
    loop {
        tokio::select! {
            biased;
            piece = output.next() => match piece {
                Some(Ok(piece)) => sinks.write(&piece)?,
                // A broken stream says nothing about the script: its exit code does.
                Some(Err(_)) | None => break,
            },
            () = &mut feeding, if !fed => fed = true,
            ended = &mut exit, if code.is_none() => code = Some(ended?),
            () = tokio::time::sleep(AFTER_EXIT), if code.is_some() => break,
        }
    }
    match code {
        Some(code) => Ok(code),
        None => exit.await,
    }
}

impl<W: Write> Sinks<W> {
    fn write(&mut self, piece: &LogOutput) -> Result<(), Fault> {
        let written = match piece {
            LogOutput::StdErr { message } => self.err.write_all(message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => self.out.write_all(message),
            LogOutput::StdIn { .. } => Ok(()),
        };
        written.map_err(|e| Fault::system("cannot write the job's log", &e))
    }
}

/// Writes the script and closes that direction only. A shell that is gone does not read: its exit code tells why.
async fn feed(mut input: Pin<Box<dyn AsyncWrite + Send>>, script: &str) {
    let fed = async {
        input.write_all(script.as_bytes()).await?;
        input.shutdown().await
    };
    if let Err(error) = fed.await {
        tracing::debug!("shell stopped reading its script: {error}");
    }
}

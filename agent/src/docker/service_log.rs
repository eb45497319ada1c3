//! The output of services in the job's log, where `CI_DEBUG_SERVICES` is on (protocol §4.7).

use crate::docker::attach::Sinks;
use crate::docker::container::Container;
use crate::log::Log;
use anyhow::Result;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use warmstart_gitlab::sections::GREY;

/// The end of a line and of its colour.
const ENDED: &[u8] = b"\x1b[0;m\n";

/// How long the last output of services may take once they are ended.
const LAST_OUTPUT: Duration = Duration::from_secs(10);

/// Copies the output of a job's services into its log. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Followers {
    services: Arc<Mutex<Vec<Container>>>,
    copying: TaskTracker,
}

impl Followers {
    /// Copies what a service prints, from its first line to its last. `names` are shown before each.
    pub fn follow(&self, service: &Container, names: &str, log: &Log) {
        let Some(sinks) = log.service_sinks() else { return };
        self.services.lock().unwrap_or_else(PoisonError::into_inner).push(service.clone());
        let (service, names, log) = (service.clone(), names.to_owned(), log.clone());
        self.copying.spawn(async move {
            if let Err(error) = copy(&service, &names, sinks).await {
                log.warn(&format!("cannot show the output of service {names}: {error}"));
            }
        });
    }

    /// Ends the services that are followed, and waits for their last output: only then the log has all of it.
    pub async fn end(&self) {
        self.copying.close();
        let services = std::mem::take(&mut *self.services.lock().unwrap_or_else(PoisonError::into_inner));
        join_all(services.iter().map(Container::kill)).await;
        if timeout(LAST_OUTPUT, self.copying.wait()).await.is_err() {
            tracing::warn!("the output of services did not end within {LAST_OUTPUT:?}");
        }
    }
}

async fn copy<W: Write>(service: &Container, names: &str, mut sinks: Sinks<W>) -> Result<()> {
    let options = LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).timestamps(true).build();
    let mut output = service.docker.logs(&service.id, Some(options));
    let (mut out, mut err) = (Lines::new(names), Lines::new(names));
    while let Some(piece) = output.next().await {
        match piece? {
            LogOutput::StdErr { message } => sinks.err.write_all(&err.push(&message))?,
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                sinks.out.write_all(&out.push(&message))?;
            }
            LogOutput::StdIn { .. } => {}
        }
    }
    sinks.out.write_all(out.end())?;
    sinks.err.write_all(err.end())?;
    Ok(())
}

/// One output of a service: Docker's pieces, each of which begins with a time, become lines of the job's log.
struct Lines {
    prefix: String,
    /// Whether the last piece did not end its line.
    within: bool,
}

impl Lines {
    fn new(names: &str) -> Self {
        Self { prefix: format!("{GREY}[service:{names}] "), within: false }
    }

    /// Docker cuts long lines: only a line's first piece keeps its time, or what is to be masked would be cut too.
    fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let time = piece.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
        let start = if self.within { &piece[time..] } else { piece };
        let line = start.strip_suffix(b"\n");
        let prefix = if self.within { "" } else { &self.prefix };
        let text = [prefix.as_bytes(), line.unwrap_or(start)].concat();
        self.within = line.is_none();
        if self.within { text } else { [&text, ENDED].concat() }
    }

    /// What ends a line that has no end of its own.
    fn end(&self) -> &'static [u8] {
        if self.within { ENDED } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&str]) -> String {
        let mut lines = Lines::new("db-cache");
        let text = pieces.iter().map(|piece| lines.push(piece.as_bytes())).collect::<Vec<_>>().concat();
        String::from_utf8([&text, lines.end()].concat()).expect("UTF-8")
    }

    #[test]
    fn each_line_says_which_services_it_is_and_when_it_came() {
        let text = shown(&["2026-05-05T12:00:00.1Z ready\n", "2026-05-05T12:00:01.2Z \n"]);
        let line = |text| format!("\x1b[0;37m[service:db-cache] 2026-05-05T12:00:0{text}\x1b[0;m\n");
        assert_eq!(text, line("0.1Z ready") + &line("1.2Z "));
    }

    #[test]
    fn a_line_that_docker_cuts_stays_one() {
        let text =
            shown(&["2026-05-05T12:00:00.1Z a sec", "2026-05-05T12:00:00.2Z ret", "2026-05-05T12:00:00.3Z  ends\n"]);
        assert!(text.ends_with("0.1Z a secret ends\x1b[0;m\n"), "{text:?}");
        assert!(shown(&["2026-05-05T12:00:00.1Z no end"]).ends_with("0.1Z no end\x1b[0;m\n"));
        assert_eq!(shown(&[]), "");
    }
}

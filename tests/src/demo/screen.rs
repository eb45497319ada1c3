//! What the demo shows.

use crate::gitlab::JobId;
use crate::gitlab::display::{Terminal, plain};
use crate::gitlab::pipeline::Event;
use std::collections::HashMap;
use std::io::{IsTerminal, Write};

/// Standard output; with colours only on a terminal.
#[derive(Debug)]
pub(super) struct Screen {
    colours: bool,
    logs: HashMap<JobId, Terminal>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colours, logs: HashMap::new() }
    }

    pub(super) fn title(&self, text: &str) {
        Self::text(&format!("\n{}", self.coloured("1;35", &format!("▌ {text}"))));
    }

    pub(super) fn note(text: &str) {
        Self::text(&format!("  {text}"));
    }

    pub(super) fn text(text: &str) {
        let mut out = std::io::stdout().lock();
        // A closed pipe is the reader's wish not to see more.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// Shows an event as GitLab's job page would, whole lines with the job's name before them.
    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::Queued { job, name } => {
                self.logs.insert(*job, Terminal::default());
                self.job_line(name, "queued");
            }
            Event::Log { job, name, bytes } => {
                let lines = self.logs.get_mut(job).map(|log| log.push(bytes)).unwrap_or_default();
                for line in &lines {
                    self.job_line(name, line);
                }
            }
            Event::Finished { job, name, report } => {
                let last = self.logs.remove(job).and_then(|mut log| log.finish());
                if let Some(line) = last {
                    self.job_line(name, &line);
                }
                self.job_line(name, &format!("ended: {}", report.finished.state));
            }
        }
    }

    fn job_line(&self, job: &str, line: &str) {
        let before = self.coloured("2", &format!("{job:>8} │"));
        if self.colours {
            Self::text(&format!("{before} {line}"));
        } else {
            Self::text(&format!("{before} {}", plain(line).trim_end()));
        }
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

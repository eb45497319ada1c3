//! What the demo shows.

use crate::gitlab::pipeline::Event;
use std::io::{IsTerminal, Write};

/// Standard output; with colours only on a terminal.
#[derive(Debug)]
pub(super) struct Screen {
    colours: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    pub(super) fn title(&self, text: &str) {
        if self.colours {
            self.text(&format!("\n\x1b[1;35m▌ {text}\x1b[0m"));
        } else {
            self.text(&format!("\n== {text}"));
        }
    }

    pub(super) fn note(&self, text: &str) {
        self.text(&format!("   {text}"));
    }

    pub(super) fn text(&self, text: &str) {
        self.write(format!("{text}\n").as_bytes());
    }

    /// Shows an event as GitLab's job page would.
    pub(super) fn show(&self, event: &Event) {
        match event {
            Event::Queued { name, .. } => self.title(&format!("job {name}")),
            Event::Log { bytes, .. } => self.write(bytes),
            Event::Finished { name, report, .. } => {
                self.note(&format!("{name}: {}", report.finished.state));
            }
        }
    }

    fn write(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        // A closed pipe is the reader's wish not to see more.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }
}

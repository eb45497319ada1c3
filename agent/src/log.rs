//! The job's log as the stages write it: lines of the runner, sections, and the streams of scripts (protocol §2.7).

use crate::docker::attach::Sinks;
use jiff::Timestamp;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use warmstart_gitlab::sections::{self, Level};
use warmstart_gitlab::trace::{Trace, Writer};

/// A job's log. Clones write to the same one.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    trace: Mutex<Option<Trace>>,
    own: Mutex<Option<Writer>>,
    /// The section that is open: heartbeats tell the runner, so that who takes over can end it.
    section: watch::Sender<Option<String>>,
    /// Whether the server knows sections.
    sections: bool,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// Writes to `trace`, with section markers only where the server knows them.
    #[must_use]
    pub fn new(trace: Trace, sections: bool) -> Self {
        let own = Mutex::new(Some(trace.writer()));
        let shared = Shared { trace: Mutex::new(Some(trace)), own, section: watch::Sender::new(None), sections };
        Self { shared: Arc::new(shared) }
    }

    /// A plain line.
    pub fn print(&self, text: &str) {
        self.line(Level::Print, text);
    }

    /// A green line: what scripts call a notice, too.
    pub fn info(&self, text: &str) {
        self.line(Level::Info, text);
    }

    /// A yellow line that begins with `WARNING: `.
    pub fn warn(&self, text: &str) {
        self.line(Level::Warning, text);
    }

    /// A red line that begins with `ERROR: `.
    pub fn error(&self, text: &str) {
        self.line(Level::Error, text);
    }

    /// A yellow line as scripts write it, without a prefix.
    pub fn caution(&self, text: &str) {
        self.write(&format!("{}{text}{}\n", sections::YELLOW, sections::RESET));
    }

    fn line(&self, level: Level, text: &str) {
        self.write(&sections::line(level, text));
    }

    /// Text as it is.
    pub fn write(&self, text: &str) {
        if let Some(own) = lock(&self.shared.own).as_mut()
            && let Err(error) = own.write_all(text.as_bytes())
        {
            tracing::warn!("cannot write the job's log: {error}");
        }
    }

    /// Does the work of a stage inside its section, which ends whatever the result is.
    pub async fn section<T>(&self, name: &str, headline: &str, work: impl Future<Output = T>) -> T {
        self.open_section(name, headline);
        let result = work.await;
        self.end_section();
        result
    }

    fn open_section(&self, name: &str, headline: &str) {
        self.end_section();
        let start = if self.shared.sections { sections::start(name, now()) } else { String::new() };
        self.write(&format!("{start}{}", sections::headline(headline)));
        self.shared.section.send_replace(Some(name.to_owned()));
    }

    /// Ends the open section, if one is: also that of a stage that was stopped in the middle.
    pub fn end_section(&self) {
        if let Some(name) = self.shared.section.send_replace(None)
            && self.shared.sections
        {
            self.write(&sections::end(&name, now()));
        }
    }

    /// The open section, as it changes.
    #[must_use]
    pub fn watch_section(&self) -> watch::Receiver<Option<String>> {
        self.shared.section.subscribe()
    }

    /// Two new streams for the output of one script. `None` once the log is closed.
    #[must_use]
    pub fn sinks(&self) -> Option<Sinks<Writer>> {
        lock(&self.shared.trace).as_ref().map(|trace| Sinks { out: trace.writer(), err: trace.writer() })
    }

    /// Closes the log for everybody and gives its trace back, once.
    #[must_use]
    pub fn close(&self) -> Option<Trace> {
        if let Some(own) = lock(&self.shared.own).take()
            && let Err(error) = own.close()
        {
            tracing::warn!("cannot write the job's log: {error}");
        }
        lock(&self.shared.trace).take()
    }
}

/// A panic elsewhere must not keep the log from being finished.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

//! The job's log as the stages write it: lines of the runner, sections, and the streams of scripts (protocol §2.7).

use crate::docker::attach::Sinks;
use crate::times::Times;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::watch;
use warmstart_gitlab::sections::{self, Level};
use warmstart_gitlab::trace::{Stream, Trace, Writer};

/// A job's log. Clones write to the same one.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    trace: Mutex<Option<Trace>>,
    own: Mutex<Option<Writer>>,
    section: Mutex<Sections>,
    /// The section that is open in GitLab's part of the log: heartbeats tell the runner, so that who takes over from a
    /// lost agent can end it.
    stored: watch::Sender<Option<String>>,
    /// Whether the server knows sections.
    sections: bool,
    begun: Instant,
}

/// The log's sections here, which are ahead of GitLab's.
#[derive(Default)]
struct Sections {
    /// The open section, and since when it is.
    open: Option<(String, Instant)>,
    /// How long those took that are ended.
    times: Times,
    /// The section that is open in GitLab's part.
    stored: Option<String>,
    /// Where the open section changed, as long as GitLab does not have that part.
    ahead: VecDeque<(u64, Option<String>)>,
}

impl Sections {
    /// Notes how long the open section took. Its name.
    fn close(&mut self) -> Option<String> {
        let (name, since) = self.open.take()?;
        self.times.add(&name, since.elapsed());
        Some(name)
    }

    /// The section that is open in GitLab's part, which is so many bytes now.
    fn catch_up(&mut self, bytes: u64) -> Option<&str> {
        while let Some((_, section)) = self.ahead.pop_front_if(|(at, _)| *at <= bytes) {
            self.stored = section;
        }
        self.stored.as_deref()
    }
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
        let (section, stored) = (Mutex::default(), watch::Sender::new(None));
        let progress = trace.stored();
        let shared =
            Arc::new(Shared { trace: Mutex::new(Some(trace)), own, section, stored, sections, begun: Instant::now() });
        tokio::spawn(follow(Arc::downgrade(&shared), progress));
        Self { shared }
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

    /// A line of that kind.
    pub fn line(&self, level: Level, text: &str) {
        self.write(&sections::line(level, text));
    }

    /// Text of several lines against something, as it is.
    pub fn complain(&self, text: &str) {
        let stream = lock(&self.shared.trace).as_ref().map(|trace| trace.stream(Stream::RunnerError));
        let Some(mut stream) = stream else { return };
        if let Err(error) = stream.write_all(text.as_bytes()).and_then(|()| stream.close()) {
            tracing::warn!("cannot write the job's log: {error}");
        }
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
        self.change_section(Some(name.to_owned()), &format!("{start}{}", sections::headline(headline)));
    }

    /// Writes a change of section and notes where it is: locked, or GitLab could have it before it is noted.
    fn change_section(&self, open: Option<String>, text: &str) {
        let mut section = lock(&self.shared.section);
        section.open = open.clone().map(|name| (name, Instant::now()));
        self.write(text);
        if let Some(trace) = lock(&self.shared.trace).as_ref() {
            section.ahead.push_back((trace.written(), open));
        }
    }

    /// Ends the open section, if one is: also that of a stage that was stopped in the middle.
    pub fn end_section(&self) {
        let Some(name) = lock(&self.shared.section).close() else { return };
        let end = if self.shared.sections { sections::end(&name, now()) } else { String::new() };
        self.change_section(None, &end);
    }

    /// How long each section took that has ended.
    pub fn print_times(&self) {
        let line = lock(&self.shared.section).times.line(self.shared.begun.elapsed());
        if let Some(line) = line {
            self.print(&line);
        }
    }

    /// The section that is open in the part of the log that GitLab has, as it changes.
    #[must_use]
    pub fn watch_section(&self) -> watch::Receiver<Option<String>> {
        self.shared.stored.subscribe()
    }

    /// Two new streams for the output of one script. `None` once the log is closed.
    #[must_use]
    pub fn sinks(&self) -> Option<Sinks<Writer>> {
        lock(&self.shared.trace)
            .as_ref()
            .map(|trace| Sinks { out: trace.stream(Stream::Stdout), err: trace.stream(Stream::Stderr) })
    }

    /// Two new streams for the output of one service. `None` once the log is closed.
    #[must_use]
    pub fn service_sinks(&self) -> Option<Sinks<Writer>> {
        let stream = |trace: &Trace| trace.stream(Stream::Service);
        lock(&self.shared.trace).as_ref().map(|trace| Sinks { out: stream(trace), err: stream(trace) })
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

/// Tells of sections once GitLab has them, until sending ends.
async fn follow(shared: Weak<Shared>, mut progress: watch::Receiver<u64>) {
    while progress.changed().await.is_ok() {
        let stored = *progress.borrow_and_update();
        let Some(shared) = shared.upgrade() else { return };
        let section = lock(&shared.section).catch_up(stored).map(str::to_owned);
        shared.stored.send_if_modified(|told| {
            let news = *told != section;
            *told = section;
            news
        });
    }
}

/// A panic elsewhere must not keep the log from being finished.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_told_once_gitlab_has_its_mark() {
        let mut sections = Sections::default();
        sections.ahead.extend([(10, Some("a".to_owned())), (20, None), (30, Some("b".to_owned()))]);
        for (bytes, section) in [(9, None), (10, Some("a")), (15, Some("a")), (20, None), (40, Some("b"))] {
            assert_eq!(sections.catch_up(bytes), section);
        }
    }
}

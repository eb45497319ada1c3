//! A job that waits for an executor: GitLab is told that it runs, its log says why nothing happens yet, and its
//! cancellation is noticed.

use super::Voice;
use crate::ownership::{Event, Job, Phase, Start, State};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;
use warmstart_gitlab::client::JobClient;
use warmstart_gitlab::mask::Masks;
use warmstart_gitlab::sections::{Level, line};
use warmstart_gitlab::trace::{self, OUTPUT_LIMIT, Signal, Trace};
use warmstart_gitlab::update::{Update, Verdict};

/// How long the hand-over of a log may take; what was not sent then is sent by the agent.
const HAND_OVER: Duration = Duration::from_secs(5);

/// A line more than this is not worth it: an agent is handed at most 64 KiB.
const MOST: usize = 32 * 1024;

/// Speaks for a job until told to detach.
pub(super) async fn attend(voice: Arc<Voice>, job: Job, start: Start, detach: oneshot::Receiver<()>) {
    let span = tracing::info_span!("job", id = job.id, project = job.scope.project);
    match voice.clients.job(&job) {
        Ok(client) => Attendance::new(voice, job, client, start).run(detach).instrument(span).await,
        Err(error) => {
            tracing::error!(job = job.id, "{error}");
            // An agent will meet the same; the job is ended by its timeout at the latest.
            let _ = detach.await;
            voice.desk.tell(Event::Detached(job.id, None)).await;
        }
    }
}

struct Attendance {
    voice: Arc<Voice>,
    job: Job,
    client: JobClient,
    /// The log so far, as long as nobody else wrote to it.
    text: Option<String>,
    /// How the trace is to begin; taken when it is opened.
    start: Start,
    trace: Option<Trace>,
    /// The obstacle that the log told last.
    said: Option<String>,
}

/// Why an attendance goes on or not.
enum Next {
    Go,
    Detach,
    /// GitLab does not want to hear of the job any more, or the runner stops.
    Drop,
}

impl Attendance {
    fn new(voice: Arc<Voice>, job: Job, client: JobClient, start: Start) -> Self {
        let text = match &start {
            Start::Fresh => Some(String::new()),
            Start::Continue(text) => Some(text.clone()),
            Start::TakeOver(_) => None,
        };
        Self { voice, job, client, text, start, trace: None, said: None }
    }

    async fn run(mut self, mut detach: oneshot::Receiver<()>) {
        let mut next = self.report(&mut detach).await;
        if matches!(next, Next::Go) {
            next = self.wait(&mut detach).await;
        }
        let dropped = matches!(next, Next::Drop);
        let text = self.hand_over().await;
        if !dropped {
            self.voice.desk.tell(Event::Detached(self.job.id, text)).await;
        }
    }

    /// Tells GitLab that the job runs, which must come before everything else (protocol §1.5).
    async fn report(&mut self, detach: &mut oneshot::Receiver<()>) -> Next {
        if matches!(self.job.phase, Phase::Waiting { reported: true }) {
            return Next::Go;
        }
        let running = Update::running();
        let answer = tokio::select! {
            _ = &mut *detach => return Next::Detach,
            () = self.voice.stop.cancelled() => return Next::Drop,
            answer = self.client.update(&running) => answer,
        };
        let signal = match answer {
            Ok(answer) if matches!(answer.verdict, Verdict::Refused(_)) => Signal::Aborted,
            Ok(answer) => answer.signal,
            Err(error) => {
                tracing::warn!("cannot tell GitLab that the job runs: {error}; going on");
                Signal::Running
            }
        };
        match self.heed(signal).await {
            Next::Go => self.voice.desk.tell(Event::Reported(self.job.id)).await,
            other => return other,
        }
        Next::Go
    }

    /// Passes on what GitLab wants of the job.
    async fn heed(&self, signal: Signal) -> Next {
        match signal {
            Signal::Running => return Next::Go,
            Signal::Canceling => self.voice.desk.tell(Event::Canceling(self.job.id)).await,
            Signal::Aborted => {
                tracing::info!("GitLab does not want this job any more");
                self.voice.desk.tell(Event::Aborted(self.job.id)).await;
                return Next::Drop;
            }
        }
        // The machine ends the job now, and asks for its log.
        Next::Go
    }

    async fn wait(&mut self, detach: &mut oneshot::Receiver<()>) -> Next {
        let begun = Instant::now();
        let mut lines = 0;
        let mut states = self.voice.desk.watch();
        if self.job.losses > 0 {
            self.say(Level::Warning, "The executor was lost before the script began; the job waits for another one.");
        }
        loop {
            let signal = self.trace.as_ref().map(Trace::signal);
            tokio::select! {
                _ = &mut *detach => return Next::Detach,
                () = self.voice.stop.cancelled() => return Next::Drop,
                signal = changed(signal) => {
                    if let Next::Drop = self.heed(signal).await {
                        return Next::Drop;
                    }
                    // Nothing more to notice but the end.
                    let _ = detach.await;
                    return Next::Detach;
                }
                () = sleep_until(begun + due(lines)) => {
                    lines += 1;
                    self.say_waiting();
                }
                () = other_obstacle(&mut states, &self.job.pool, self.said.as_ref()), if lines > 0 => self.say_waiting(),
            }
        }
    }

    fn say_waiting(&mut self) {
        let state = self.voice.desk.state();
        let waited =
            self.voice.clock.now().since(state.jobs.get(&self.job.id).map_or(self.job.waiting, |job| job.waiting));
        let seconds = waited.as_secs();
        self.said = state.obstacles.get(&self.job.pool).cloned();
        let text = match &self.said {
            Some(obstacle) => format!("Waiting for an executor, {seconds} s so far: {obstacle}"),
            None => format!("Waiting for an executor, {seconds} s so far"),
        };
        self.say(Level::Print, &text);
    }

    /// Writes a line to the log. A log that cannot be opened is tried again with the next line.
    fn say(&mut self, level: Level, text: &str) {
        if self.text.as_ref().is_some_and(|so_far| so_far.len() > MOST) {
            return;
        }
        if self.trace.is_none() {
            self.open();
        }
        let line = line(level, text);
        let Some(trace) = &self.trace else { return };
        let mut writer = trace.writer();
        match writer.write_all(line.as_bytes()).and_then(|()| writer.close()) {
            Ok(()) => self.text = self.text.take().and_then(|_| so_far(trace)),
            Err(error) => {
                tracing::warn!("cannot write the job's log: {error}");
                self.text = None;
            }
        }
    }

    fn open(&mut self) {
        match Trace::open(self.client.clone(), options(&self.voice, &self.job, self.start.clone())) {
            Ok(trace) => self.trace = Some(trace),
            Err(error) => tracing::warn!("cannot open the job's log: {error}"),
        }
    }

    /// Stops writing and gives the log, if only the runner wrote to it.
    async fn hand_over(&mut self) -> Option<String> {
        if let Some(trace) = self.trace.take()
            && tokio::time::timeout(HAND_OVER, trace.detach()).await.is_err()
        {
            tracing::debug!("the end of the runner's part of the log is left to the agent");
        }
        self.text.take()
    }
}

/// The log as it is now, with what it has of its own at the beginning of lines.
fn so_far(trace: &Trace) -> Option<String> {
    let text = trace.so_far().inspect_err(|error| tracing::warn!("{error}")).ok()?;
    String::from_utf8(text).ok()
}

/// When the next line is due: after 3 s, 15 s, 30 s, then every minute.
fn due(lines: u32) -> Duration {
    Duration::from_secs(match lines {
        0 => 3,
        1 => 15,
        2 => 30,
        more => u64::from(more - 2) * 60,
    })
}

/// Waits until something stands in the way of an executor that the log has not told yet.
async fn other_obstacle(states: &mut watch::Receiver<Arc<State>>, pool: &str, said: Option<&String>) {
    let other = |state: &Arc<State>| state.obstacles.contains_key(pool) && state.obstacles.get(pool) != said;
    if states.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn changed(signal: Option<watch::Receiver<Signal>>) -> Signal {
    if let Some(mut signal) = signal
        && let Ok(signal) = signal.wait_for(|signal| *signal != Signal::Running).await
    {
        return *signal;
    }
    std::future::pending().await
}

/// The options of a trace of the runner's own lines.
pub(super) fn options(voice: &Voice, job: &Job, start: Start) -> trace::Options {
    let start = match start {
        Start::Fresh => trace::Start::Fresh,
        Start::Continue(text) => trace::Start::Continue(text.into_bytes()),
        Start::TakeOver(open_section) => trace::Start::TakeOver { open_section },
    };
    let directory = voice.directory.clone();
    trace::Options {
        output_limit: OUTPUT_LIMIT,
        debug: job.debug,
        timestamps: job.timestamps,
        directory,
        start,
        masks: Masks::default(),
    }
}

//! The loop that brings a log to GitLab (protocol §1.7).

use super::position::{Lost, Patch, Position};
use super::{Shared, log};
use crate::client::{JobClient, PatchVerdict};
use crate::update::{LogState, Signal, State, Update, Verdict};
use crate::{Error, Timing};
use bytes::Bytes;
use std::fs::File;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Everything that sending needs; owned by the loop, and by the final update after it.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) client: JobClient,
    shared: Arc<Shared>,
    file: Arc<File>,
    debug: bool,
    pub(super) position: Position,
    pub(super) interval: Duration,
    /// When GitLab last took something.
    last_ok: Option<Instant>,
    signal: watch::Sender<Signal>,
    /// Bytes of the log here that GitLab has.
    stored: watch::Sender<u64>,
    /// Why the log cannot be completed, once that is so.
    pub(super) lost: Option<Lost>,
}

/// What came of an attempt to send a part of the log.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Sent {
    /// There was nothing to send.
    Nothing,
    /// GitLab has it.
    Stored,
    /// GitLab has something else; the position is right now.
    Repaired,
    /// There is no such log at GitLab.
    Missing,
    /// GitLab takes nothing more of this job, or the log is lost.
    Ended,
    /// Not stored. Why, in one line.
    Failed(String),
}

impl Sender {
    pub(super) fn new(client: JobClient, shared: &Arc<Shared>, debug: bool, position: Position) -> Self {
        let file = shared.log.lock().unwrap_or_else(PoisonError::into_inner).file();
        let (signal, _) = watch::channel(Signal::Running);
        let interval = client.client.transport.timing().trace_interval;
        let shared = Arc::clone(shared);
        let stored = watch::Sender::new(position.sent());
        Self { client, shared, file, debug, position, interval, last_ok: None, signal, stored, lost: None }
    }

    pub(super) fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    pub(super) fn stored(&self) -> watch::Receiver<u64> {
        self.stored.subscribe()
    }

    pub(super) fn timing(&self) -> Timing {
        self.client.client.transport.timing().clone()
    }

    /// Sends patches and keep-alives every interval, until `stop` or until GitLab wants nothing more of the job. A
    /// call in flight at `stop` gets a moment to end by itself; cut off, it is repaired by its offset.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Self {
        let moment = self.interval;
        while !self.is_over() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.interval) => {}
            }
            tokio::select! {
                () = self.tick() => {}
                () = async { stop.cancelled().await; tokio::time::sleep(moment).await } => break,
            }
        }
        self
    }

    /// Whether GitLab takes nothing more of this job, or not the log.
    pub(super) fn is_over(&self) -> bool {
        *self.signal.borrow() == Signal::Aborted
    }

    async fn tick(&mut self) {
        let sent = self.send().await;
        if let Sent::Failed(why) = &sent {
            tracing::warn!(job = self.client.id(), "{why}; trying again");
        }
        let silent = self.last_ok.is_none_or(|last| last.elapsed() > self.timing().keep_alive);
        if silent && matches!(sent, Sent::Nothing | Sent::Stored) {
            self.keep_alive().await;
        }
    }

    /// Sends at most one patch.
    pub(super) async fn send(&mut self) -> Sent {
        let (bytes, _) = self.shared.size();
        let Some(patch) = self.position.next(bytes) else { return Sent::Nothing };
        let text = match self.read(&patch) {
            Ok(text) => text,
            Err(error) => return Sent::Failed(error.to_string()),
        };
        let answer = match self.client.patch_trace(patch.offset, text, self.debug).await {
            Ok(answer) => answer,
            Err(error) => return Sent::Failed(error.to_string()),
        };
        self.obey(answer.signal, answer.interval);
        let sent = self.judge(&patch, answer.verdict, bytes);
        self.stored.send_replace(self.position.sent());
        if self.is_over() { Sent::Ended } else { sent }
    }

    fn judge(&mut self, patch: &Patch, verdict: PatchVerdict, bytes: u64) -> Sent {
        match verdict {
            PatchVerdict::Stored => {
                self.position.stored(patch);
                self.last_ok = Some(Instant::now());
                Sent::Stored
            }
            PatchVerdict::Has(stored) => {
                self.last_ok = Some(Instant::now());
                self.position.refused(stored, bytes).map_or_else(|lost| self.lose(lost), |()| Sent::Repaired)
            }
            PatchVerdict::Missing => Sent::Missing,
            PatchVerdict::Failed(why) => Sent::Failed(why),
        }
    }

    /// The log cannot be completed any more: the job must end.
    pub(super) fn lose(&mut self, lost: Lost) -> Sent {
        tracing::error!(job = self.client.id(), "GitLab lost a part of the job's log: {}", lost.0);
        self.lost = Some(lost);
        self.obey(Signal::Aborted, None);
        Sent::Ended
    }

    fn read(&self, patch: &Patch) -> Result<Bytes, Error> {
        let length = usize::try_from(patch.ours.end - patch.ours.start).unwrap_or(usize::MAX);
        log::read(&self.file, patch.ours.start, length)
    }

    async fn keep_alive(&mut self) {
        match self.client.update(&Update { log: self.log_state(), ..Update::running() }).await {
            Ok(answer) => {
                let refused = matches!(answer.verdict, Verdict::Refused(_));
                self.obey(if refused { Signal::Aborted } else { answer.signal }, answer.interval);
                match answer.verdict {
                    Verdict::Done => self.last_ok = Some(Instant::now()),
                    Verdict::Failed(why) | Verdict::Refused(why) => tracing::warn!(job = self.client.id(), "{why}"),
                    Verdict::Persisting | Verdict::LogDiffers => {}
                }
            }
            Err(error) => tracing::warn!(job = self.client.id(), "{error}; trying again"),
        }
    }

    /// What an update says about the log as it is now.
    pub(super) fn log_state(&self) -> LogState {
        let (bytes, checksum) = self.shared.size();
        self.position.log_state(bytes, checksum)
    }

    /// An update of this state, about the log as it is now.
    pub(super) fn update(&self, state: State) -> Update {
        Update { state, log: self.log_state(), ..Update::running() }
    }

    /// Takes what GitLab wants into account. A signal goes forward only.
    pub(super) fn obey(&mut self, signal: Signal, interval: Option<Duration>) {
        self.signal.send_if_modified(|current| {
            let news = signal > *current;
            *current = signal.max(*current);
            news
        });
        if let Some(interval) = interval {
            self.interval = interval.min(self.timing().trace_interval_max);
        }
    }
}

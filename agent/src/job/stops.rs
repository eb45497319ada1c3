//! What can stop a job from outside, and how much of it (protocol §1.9, §2.2, §2.8).

use crate::notices::{Follow, Kind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use warmstart_gitlab::update::Signal;

/// How long before this machine goes a job is stopped: its end has to reach GitLab.
const FAREWELL: Duration = Duration::from_secs(25);

/// Why everything stops at once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stop {
    /// Cancelled by the user before a script ran.
    Canceled,
    /// GitLab takes nothing more of this job.
    Aborted,
    /// The job is not this agent's any more: nothing may be sent to GitLab.
    Lost,
    /// Given up before the barrier: somebody else will run it.
    GivenUp(String),
    /// The job's time is over.
    OutOfTime,
    /// This process was told to end.
    Interrupted,
    /// This machine is being taken away, as the notice says.
    Reclaimed(String),
}

/// The job's stop switch. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    all: CancellationToken,
    script: CancellationToken,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    scripting: bool,
    why: Option<Stop>,
}

/// What is watched while a job runs.
#[derive(Debug)]
pub struct Sources {
    /// What GitLab wants.
    pub signal: watch::Receiver<Signal>,
    /// The end of the job's time.
    pub deadline: Instant,
    /// The runner gave the job to somebody else.
    pub lost: CancellationToken,
    /// No contact with the runner before the barrier.
    pub given_up: CancellationToken,
    /// This process was told to end.
    pub interrupted: CancellationToken,
    /// This machine is about to be taken away.
    pub notices: Follow,
    /// Whether somebody else can run the job as long as its script did not run.
    pub can_give_up: bool,
}

impl Stops {
    /// Stops everything. The first reason counts.
    pub fn stop(&self, why: Stop) {
        self.lock().why.get_or_insert(why);
        self.all.cancel();
    }

    /// From now on a cancellation stops only the script.
    pub fn begin_scripting(&self) {
        self.lock().scripting = true;
    }

    /// Whether the user's script has begun.
    #[must_use]
    pub fn scripting(&self) -> bool {
        self.lock().scripting
    }

    /// The user cancels: the running script, or everything when none has begun.
    pub fn cancel(&self) {
        if self.scripting() { self.script.cancel() } else { self.stop(Stop::Canceled) }
    }

    /// Waits until everything has to stop.
    pub async fn stopped(&self) -> Stop {
        self.all.cancelled().await;
        self.lock().why.clone().unwrap_or(Stop::Aborted)
    }

    /// Waits until the user's script has to stop.
    pub async fn script_canceled(&self) {
        self.script.cancelled().await;
    }

    /// Whether the user's script was cancelled.
    #[must_use]
    pub fn is_script_canceled(&self) -> bool {
        self.script.is_cancelled()
    }

    fn interrupted(&self, can_give_up: bool) -> Stop {
        if can_give_up && !self.scripting() {
            return Stop::GivenUp("this agent was told to stop".to_owned());
        }
        Stop::Interrupted
    }

    /// Waits until this machine is about to go: then a job whose script has not begun is better run elsewhere at once,
    /// and any other has as long as its end can still be reported.
    async fn reclaimed(&self, mut notices: Follow, can_give_up: bool) -> Stop {
        let mut notice = notices.next().await;
        while notice.kind != Kind::Interruption {
            notice = notices.next().await;
        }
        if can_give_up && !self.scripting() {
            return Stop::GivenUp(notice.text());
        }
        sleep(notice.left().saturating_sub(FAREWELL)).await;
        Stop::Reclaimed(notice.text())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the sources say, until the job has to stop. Drop it when the job ends.
    pub async fn watch(&self, mut sources: Sources) {
        let mut open = true;
        let mut reclaimed = std::pin::pin!(self.reclaimed(sources.notices, sources.can_give_up));
        loop {
            tokio::select! {
                () = sources.lost.cancelled() => return self.stop(Stop::Lost),
                () = sources.given_up.cancelled() => {
                    return self.stop(Stop::GivenUp("no contact with the runner".to_owned()));
                }
                () = sources.interrupted.cancelled() => return self.stop(self.interrupted(sources.can_give_up)),
                stop = &mut reclaimed => return self.stop(stop),
                () = sleep_until(sources.deadline) => return self.stop(Stop::OutOfTime),
                changed = sources.signal.changed(), if open => open = changed.is_ok(),
            }
            match *sources.signal.borrow_and_update() {
                Signal::Running => {}
                Signal::Canceling => self.cancel(),
                Signal::Aborted => return self.stop(Stop::Aborted),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notices::{Notice, Notices};
    use jiff::Timestamp;

    #[tokio::test]
    async fn cancelling_stops_everything_before_the_script_and_only_the_script_after() {
        let stops = Stops::default();
        stops.cancel();
        assert_eq!(stops.stopped().await, Stop::Canceled);

        let stops = Stops::default();
        stops.begin_scripting();
        stops.cancel();
        stops.script_canceled().await;
        assert!(!stops.all.is_cancelled());
    }

    #[tokio::test]
    async fn a_cancelled_job_can_still_be_aborted() {
        let stops = Stops::default();
        stops.begin_scripting();
        let (signal, receiver) = watch::channel(Signal::Canceling);
        let sources = Sources {
            signal: receiver,
            deadline: Instant::now() + Duration::from_hours(1),
            lost: CancellationToken::new(),
            given_up: CancellationToken::new(),
            interrupted: CancellationToken::new(),
            notices: Notices::default().follow(),
            can_give_up: false,
        };
        let watching = stops.clone();
        let watch = tokio::spawn(async move { watching.watch(sources).await });
        signal.send_replace(Signal::Canceling);
        stops.script_canceled().await;
        signal.send_replace(Signal::Aborted);
        assert_eq!(stops.stopped().await, Stop::Aborted);
        watch.await.expect("no panic");
    }

    #[tokio::test]
    async fn the_first_reason_counts() {
        let stops = Stops::default();
        stops.stop(Stop::OutOfTime);
        stops.stop(Stop::Lost);
        assert_eq!(stops.stopped().await, Stop::OutOfTime);
    }

    /// A notice that leaves so many seconds.
    fn notice(kind: Kind, seconds: u64) -> Notices {
        let notices = Notices::default();
        notices.add(Notice { kind, time: Timestamp::now() + Duration::from_secs(seconds) });
        notices
    }

    #[tokio::test]
    async fn a_job_on_a_machine_that_goes_is_given_up_before_its_script_and_stopped_in_it_at_the_last_moment() {
        let stops = Stops::default();
        let going = notice(Kind::Interruption, 120);
        assert!(matches!(stops.reclaimed(going.follow(), true).await, Stop::GivenUp(_)));
        stops.begin_scripting();
        let soon = notice(Kind::Interruption, 20);
        assert!(matches!(stops.reclaimed(soon.follow(), true).await, Stop::Reclaimed(_)));
        assert!(futures_util::poll!(std::pin::pin!(stops.reclaimed(going.follow(), true))).is_pending());
        let perhaps = notice(Kind::Rebalance, 0);
        assert!(futures_util::poll!(std::pin::pin!(stops.reclaimed(perhaps.follow(), true))).is_pending());
    }
}

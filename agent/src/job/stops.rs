//! What can stop a job from outside, and how much of it (protocol §1.9, §2.2, §2.8).

use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use warmstart_gitlab::update::Signal;

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

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the sources say, until the job has to stop. Drop it when the job ends.
    pub async fn watch(&self, mut sources: Sources) {
        let mut open = true;
        loop {
            tokio::select! {
                () = sources.lost.cancelled() => return self.stop(Stop::Lost),
                () = sources.given_up.cancelled() => {
                    return self.stop(Stop::GivenUp("no contact with the runner".to_owned()));
                }
                () = sources.interrupted.cancelled() => return self.stop(self.interrupted(sources.can_give_up)),
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
    use std::time::Duration;

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
}

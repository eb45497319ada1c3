//! The lease on one job: heartbeats, the barrier, and what ends both (design: one job, one owner at a time).

use crate::fault::causes;
use crate::job::stops::Stop;
use crate::link::announcement::Announcement;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use warmstart_api::client::Error;
use warmstart_api::{Heartbeat, Holding, Registered};

/// A job that the runner assigned, as long as it is this agent's. Clones share it; heartbeats end with the last.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Fires when the job is somebody else's.
    pub lost: CancellationToken,
    /// Fires when the runner was away for too long before the barrier.
    pub given_up: CancellationToken,
    state: Arc<State>,
    _beating: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct State {
    holding: Holding,
    /// How this run announces itself when the session is lost.
    announcement: Announcement,
    every: Duration,
    lease: Duration,
    /// When the runner may think that this agent is gone.
    until: Mutex<Instant>,
    /// The barrier is open: from now on the job never stops for want of a runner.
    open: AtomicBool,
    section: Mutex<Option<watch::Receiver<Option<String>>>>,
    followed: Notify,
}

impl Lease {
    /// Begins to keep the lease of a job that was just acknowledged.
    #[must_use]
    pub fn begin(announcement: &Announcement, registered: &Registered, holding: Holding) -> Self {
        let lease = Duration::from_millis(registered.lease_ms);
        let state = Arc::new(State {
            holding,
            announcement: announcement.clone(),
            every: Duration::from_millis(registered.heartbeat_ms.max(1)),
            lease,
            until: Mutex::new(Instant::now() + lease),
            open: AtomicBool::new(false),
            section: Mutex::new(None),
            followed: Notify::new(),
        });
        let (lost, given_up) = (CancellationToken::new(), CancellationToken::new());
        let beating = beat(state.clone(), lost.clone(), given_up.clone());
        let beating = Arc::new(AbortOnDropHandle::new(tokio::spawn(beating)));
        Self { lost, given_up, state, _beating: beating }
    }

    /// Lets heartbeats tell which section of the log is open.
    pub fn follow(&self, section: watch::Receiver<Option<String>>) {
        *lock(&self.state.section) = Some(section);
        self.state.followed.notify_one();
    }

    /// Asks the runner to open the barrier, until this agent's own lease is over.
    ///
    /// Fails with what the job becomes: somebody else's, or given up because the runner did not answer in time.
    pub async fn open_barrier(&self) -> Result<(), Stop> {
        loop {
            let left = self.state.left();
            if left.is_zero() {
                return Err(Stop::GivenUp("the runner did not open the barrier in time".to_owned()));
            }
            match self.state.announcement.link.script(self.state.holding, left).await {
                Ok(()) => {
                    self.state.open.store(true, Ordering::SeqCst);
                    return Ok(());
                }
                Err(Error::Stale(_)) => return Err(Stop::Lost),
                Err(Error::Session(_)) => self.state.register_again().await?,
                // Heartbeats that are answered meanwhile move the end of the lease.
                Err(Error::Unreachable { .. }) => {}
                Err(error) => return Err(Stop::GivenUp(causes(&error))),
            }
        }
    }
}

/// Calls again and again; ends when the job is somebody else's, or given up.
async fn beat(state: Arc<State>, lost: CancellationToken, given_up: CancellationToken) {
    loop {
        match state.beat_once().await {
            Err(Stop::Lost) => return lost.cancel(),
            Err(stop) if !state.open.load(Ordering::SeqCst) => {
                tracing::warn!("giving the job up before its script: {stop:?}");
                return given_up.cancel();
            }
            _ => {}
        }
        state.next_beat().await;
    }
}

impl State {
    /// Waits until a heartbeat is due. A new section is told at once: were this agent lost, the runner could not end it.
    async fn next_beat(&self) {
        let section = lock(&self.section).clone();
        let changed = async {
            let told = match section {
                Some(mut section) => section.changed().await.is_ok(),
                None => false,
            };
            if !told {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = sleep(self.every) => {}
            () = self.followed.notified() => {}
            () = changed => {}
        }
    }

    async fn beat_once(&self) -> Result<(), Stop> {
        let section = lock(&self.section).as_mut().and_then(|section| section.borrow_and_update().clone());
        let heartbeat = Heartbeat { holding: self.holding, section };
        let asked = Instant::now();
        let within = if self.open.load(Ordering::SeqCst) { self.lease } else { self.left() };
        match self.announcement.link.heartbeat(&heartbeat, within).await {
            Ok(()) => self.renew(asked),
            Err(Error::Stale(_)) => return Err(Stop::Lost),
            Err(Error::Session(_)) => self.register_again().await?,
            Err(error) => {
                tracing::warn!("heartbeat failed: {}", causes(&error));
                // Nothing is over yet where an answer of another kind came at once.
                if self.left().is_zero() {
                    return Err(Stop::GivenUp("no contact with the runner".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Announces this run again, with the job it holds: a runner that was restarted or replaced wants that.
    async fn register_again(&self) -> Result<(), Stop> {
        let asked = Instant::now();
        let within = if self.open.load(Ordering::SeqCst) { self.lease } else { self.left() };
        match self.announcement.register(Some(self.holding), within).await {
            Ok(answer) if answer.still_holding => self.renew(asked),
            Ok(_) => return Err(Stop::Lost),
            Err(error) => {
                tracing::warn!("cannot register again: {error:#}");
                if self.left().is_zero() {
                    return Err(Stop::GivenUp("no contact with the runner".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// The lease runs from the moment the answered call was made.
    fn renew(&self, asked: Instant) {
        let mut until = lock(&self.until);
        *until = (asked + self.lease).max(*until);
    }

    fn left(&self) -> Duration {
        lock(&self.until).saturating_duration_since(Instant::now())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

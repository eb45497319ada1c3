//! The end of a job at GitLab: the rest of its log, then its final state (protocol §1.8, final update procedure).

use super::position::Lost;
use super::sender::{Sender, Sent};
use crate::Error;
use crate::update::{FailureReason, Final, Signal, State, Update, Verdict};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Instant;

/// How a job ended at GitLab.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finished {
    /// GitLab has the whole log and the final state.
    Accepted,
    /// GitLab takes nothing more of this job (cancelled, deleted, timed out there). Why, in GitLab's words.
    Refused(String),
}

/// What one round of the final update came to.
enum Round {
    Ended(Finished),
    /// To be tried again later. Why, in one line.
    Failed(String),
}

impl Sender {
    /// 1. Sends what is left of the log. 2. Sends the final state. 3. Waits while GitLab persists the log, sends the
    ///    log again if GitLab's differs. 4. What fails is tried again in rounds with growing pauses; a round that got
    ///    on with the log makes the count start again.
    pub(super) async fn finish(mut self, end: Final) -> Result<Finished, Error> {
        self.interval = self.timing().trace_interval;
        let mut pauses = self.pauses();
        loop {
            let before = self.position.sent();
            let why = match self.round(end).await {
                Round::Ended(finished) => {
                    return self.lost.take().map_or(Ok(finished), |Lost(why)| Err(Error::LogLost { why }));
                }
                // A job that GitLab ended itself has little to gain.
                Round::Failed(why) if self.is_over() && self.lost.is_none() => return Ok(Finished::Refused(why)),
                Round::Failed(why) => why,
            };
            if self.position.sent() > before {
                pauses = self.pauses();
            }
            let Some(pause) = pauses.next() else {
                return Err(Error::GaveUp { rounds: self.timing().final_rounds, last: why });
            };
            tracing::warn!(job = self.client.id(), ?pause, "{why}; trying again");
            tokio::time::sleep(self.interval + pause).await;
        }
    }

    fn pauses(&self) -> ExponentialBackoff {
        let timing = self.timing();
        let pauses = ExponentialBuilder::new().with_min_delay(timing.final_min).with_max_delay(timing.final_max);
        pauses.with_factor(2.0).with_max_times(timing.final_rounds.saturating_sub(1)).build()
    }

    async fn round(&mut self, end: Final) -> Round {
        let since = Instant::now();
        for _ in 0..self.timing().final_rounds {
            if let Err(why) = self.flush().await {
                return Round::Failed(why);
            }
            match self.report(end, since).await {
                Verdict::LogDiffers => match self.position.restart() {
                    Ok(()) => self.pause().await,
                    Err(lost) => drop(self.lose(lost)),
                },
                Verdict::Done => return Round::Ended(Finished::Accepted),
                Verdict::Refused(why) => return Round::Ended(Finished::Refused(why)),
                Verdict::Failed(why) => return Round::Failed(why),
                Verdict::Persisting => return Round::Failed("GitLab is still persisting the job's log".into()),
            }
        }
        Round::Failed("GitLab's log of the job keeps differing from ours".into())
    }

    /// Sends the final state, and the same again while GitLab persists the log.
    async fn report(&mut self, end: Final, since: Instant) -> Verdict {
        let update = self.final_update(end);
        loop {
            let answer = match self.client.update(&update).await {
                Ok(answer) => answer,
                Err(error) => return Verdict::Failed(error.to_string()),
            };
            self.obey(Signal::Running, answer.interval);
            if matches!(answer.verdict, Verdict::Refused(_)) && self.is_done(end, answer.job_status.as_deref()) {
                return Verdict::Done;
            }
            if answer.verdict != Verdict::Persisting || since.elapsed() > self.timing().persist {
                return answer.verdict;
            }
            self.pause().await;
        }
    }

    /// Whether GitLab refuses the final state because it has it: the answer to an earlier try was lost.
    fn is_done(&self, end: Final, job_status: Option<&str>) -> bool {
        !self.is_over() && job_status == Some(end.state.as_str())
    }

    /// A job whose log is lost has failed, whatever its script did.
    fn final_update(&self, end: Final) -> Update {
        let end = match self.lost {
            Some(_) => {
                Final { reason: Some(FailureReason::RunnerSystemFailure), exit_code: None, state: State::Failed }
            }
            None => end,
        };
        Update { reason: end.reason, exit_code: end.exit_code, ..self.update(end.state) }
    }

    /// Sends all of the log that GitLab takes; fails with the reason where a later try may help.
    pub(super) async fn flush(&mut self) -> Result<(), String> {
        let mut repairs = 0;
        while !self.is_over() {
            match self.send().await {
                Sent::Stored => {}
                Sent::Repaired if repairs < self.timing().final_rounds => {
                    repairs += 1;
                    self.pause().await;
                }
                Sent::Repaired => return Err("GitLab keeps refusing the job's log at the offset it asked for".into()),
                Sent::Nothing | Sent::Missing | Sent::Ended => break,
                Sent::Failed(why) => return Err(why),
            }
        }
        Ok(())
    }

    async fn pause(&self) {
        tokio::time::sleep(self.interval).await;
    }
}

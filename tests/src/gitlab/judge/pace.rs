//! The pace of a job's patches (A32) and its signs of life (A33).

use std::time::{Duration, Instant};

/// Too close patches that are no repeated habit: the runner flushes its lines when it hands a job over, and the
/// agent begins with its own.
const HANDOVER: usize = 2;

/// The pace so far.
#[derive(Debug, Default)]
pub(in crate::gitlab) struct Pace {
    last: Option<Instant>,
    /// Close patches since the last proper pause: forgiven when the final update follows.
    run: usize,
    early: usize,
    /// A repair is under way: its patches may be close.
    repair: bool,
    contact: Option<Instant>,
    disturbed: bool,
}

impl Pace {
    /// A patch arrived; `interval` is the last one sent.
    pub(in crate::gitlab) fn patch(&mut self, at: Instant, interval: Duration) {
        let allowed = interval.saturating_sub((interval / 4).max(Duration::from_millis(200)));
        let early = self.last.is_some_and(|last| at.duration_since(last) < allowed);
        if early && !self.repair {
            self.run += 1;
        } else if !early {
            self.regular();
        }
        self.last = Some(at);
    }

    /// A patch was answered.
    pub(in crate::gitlab) fn answered(&mut self, accepted: bool) {
        if !accepted {
            self.run = 0;
        }
        self.repair = !accepted;
    }

    /// Something came that does not belong to a final flush; gives how many patches were too close, when too many.
    pub(in crate::gitlab) fn regular(&mut self) {
        self.early += std::mem::take(&mut self.run);
    }

    /// How many patches were too close, when that is a habit. Called with the final update, which forgives the flush.
    pub(in crate::gitlab) fn verdict(&self) -> Option<usize> {
        (self.early > HANDOVER).then_some(self.early)
    }

    /// Any call of the job arrived; gives the silence before it when it was longer than `limit` and the server did
    /// not disturb it.
    pub(in crate::gitlab) fn contact(&mut self, at: Instant, limit: Duration) -> Option<Duration> {
        let silence = self.contact.replace(at).map(|last| at.duration_since(last));
        silence.filter(|silence| !std::mem::take(&mut self.disturbed) && *silence > limit)
    }

    /// The server misbehaved: the next silence is its own fault.
    pub(in crate::gitlab) fn disturb(&mut self) {
        self.disturbed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pauses: &[u64]) -> Pace {
        let mut pace = Pace::default();
        let mut at = Instant::now();
        for pause in pauses {
            at += Duration::from_millis(*pause);
            pace.patch(at, Duration::from_secs(3));
            pace.answered(true);
        }
        pace
    }

    #[test]
    fn patches_at_the_interval_are_clean() {
        assert_eq!(after(&[0, 3000, 2900, 3000]).verdict(), None);
    }

    #[test]
    fn a_flush_before_the_final_update_is_forgiven() {
        assert_eq!(after(&[0, 3000, 5, 5, 5, 5, 5]).verdict(), None);
    }

    #[test]
    fn a_habit_of_close_patches_is_found() {
        assert_eq!(after(&[0, 1000, 1000, 1000, 3000]).verdict(), Some(3));
    }
}

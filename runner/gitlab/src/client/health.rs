//! Whether a runner entry may ask for jobs (protocol §1.5, health).

use std::time::{Duration, Instant};

/// Counts unhealthy answers in a row: after the limit, no poll for the interval, then one with the counter reset.
#[derive(Clone, Debug)]
pub struct Health {
    limit: u32,
    interval: Duration,
    unhealthy: u32,
    last_check: Option<Instant>,
}

impl Default for Health {
    /// GitLab Runner's: 3 answers, 60 minutes.
    fn default() -> Self {
        Self::new(3, Duration::from_hours(1))
    }
}

impl Health {
    /// With `unhealthy_requests_limit` and `unhealthy_interval`.
    #[must_use]
    pub fn new(limit: u32, interval: Duration) -> Self {
        Self { limit, interval, unhealthy: 0, last_check: None }
    }

    /// Takes notice of an answer.
    pub fn observe(&mut self, healthy: bool, now: Instant) {
        if healthy {
            self.unhealthy = 0;
            self.last_check = Some(now);
        } else {
            self.unhealthy += 1;
            self.last_check.get_or_insert(now);
        }
    }

    /// Whether to ask now. Once the interval is over this resets the counter, and asking is a fresh start.
    pub fn may_poll(&mut self, now: Instant) -> bool {
        if self.is_healthy() {
            return true;
        }
        let over = self.last_check.is_none_or(|last| now.duration_since(last) >= self.interval);
        if over {
            self.unhealthy = 0;
            self.last_check = Some(now);
        }
        over
    }

    /// Whether the limit is not reached.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.unhealthy < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_refusals_in_a_row_stop_polling_for_the_interval() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut health = Health::new(3, Duration::from_mins(1));
        for second in 0..3 {
            assert!(health.may_poll(at(second)));
            health.observe(false, at(second));
        }
        assert!(!health.may_poll(at(3)) && !health.may_poll(at(59)));
        assert!(health.may_poll(at(60)), "one forced check");
        health.observe(false, at(60));
        assert!(health.may_poll(at(61)), "with the counter reset");
    }

    #[test]
    fn a_healthy_answer_resets_the_counter() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..10 {
            health.observe(false, now);
            health.observe(false, now);
            health.observe(true, now);
        }
        assert!(health.may_poll(now));
    }
}

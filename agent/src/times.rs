//! How long the stages of a job took.

use std::time::Duration;

/// The time of each stage, in the order of their beginnings.
#[derive(Debug, Default)]
pub struct Times {
    stages: Vec<(String, Duration)>,
}

impl Times {
    /// Adds to a stage's time: one that is tried again has the sum.
    pub fn add(&mut self, stage: &str, time: Duration) {
        match self.stages.iter_mut().find(|(name, _)| name == stage) {
            Some((_, sum)) => *sum += time,
            None => self.stages.push((stage.to_owned(), time)),
        }
    }

    /// One line for the job's log; none when there was no stage.
    #[must_use]
    pub fn line(&self, whole: Duration) -> Option<String> {
        let stages: Vec<_> = self.stages.iter().map(|(name, time)| format!("{name} {}", seconds(*time))).collect();
        (!stages.is_empty()).then(|| format!("Time of each stage: {}; {} in all", stages.join(", "), seconds(whole)))
    }
}

/// `1.2 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_told_in_order_and_attempts_together() {
        let (mut times, ms) = (Times::default(), Duration::from_millis);
        assert_eq!(times.line(ms(5)), None);
        for (stage, time) in
            [("prepare_executor", 1200), ("get_sources", 300), ("step_script", 61_000), ("get_sources", 450)]
        {
            times.add(stage, ms(time));
        }
        let line = "Time of each stage: prepare_executor 1.2 s, get_sources 0.8 s, step_script 61.0 s; 64.0 s in all";
        assert_eq!(times.line(ms(64_000)).as_deref(), Some(line));
    }
}

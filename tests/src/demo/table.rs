//! The comparison of two runs of the same pipeline.

use crate::gitlab::pipeline::JobReport;
use std::fmt::Write as _;

/// What one run of a job spent, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spent {
    waiting: f64,
    preparing: f64,
    cache: f64,
    script: f64,
}

impl Spent {
    fn of(report: &JobReport) -> Self {
        let sections = |names: &[&str]| -> f64 {
            report.sections.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, seconds)| seconds).sum()
        };
        let cache = sections(&["restore_cache", "archive_cache", "archive_cache_on_failure"]);
        let restore = sections(&["restore_cache"]);
        Self {
            waiting: report.waiting,
            preparing: (report.preparing - restore).max(0.0),
            cache,
            script: sections(&["step_script"]),
        }
    }

    fn total(self) -> f64 {
        self.waiting + self.preparing + self.cache + self.script
    }
}

/// One line per job and run: waiting (for the runner), preparing (executor, images, sources), cache (restore and save),
/// script.
pub(super) fn render(cold: &[JobReport], warm: &[JobReport]) -> String {
    let mut table = format!(
        "{:<12} {:<5} {:>8} {:>10} {:>7} {:>8} {:>8}\n",
        "job", "run", "waiting", "preparing", "cache", "script", "total"
    );
    for (cold, warm) in cold.iter().zip(warm) {
        for (run, report) in [("cold", cold), ("warm", warm)] {
            let _ = writeln!(table, "{}", line(&report.name, run, Spent::of(report)));
        }
    }
    let all = |reports: &[JobReport]| -> f64 { reports.iter().map(|report| Spent::of(report).total()).sum() };
    let (cold, warm) = (all(cold), all(warm));
    let _ = write!(table, "\nThe warm pipeline took {warm:.1} s, the cold one {cold:.1} s.");
    table
}

fn line(job: &str, run: &str, spent: Spent) -> String {
    let Spent { waiting, preparing, cache, script } = spent;
    let total = spent.total();
    format!("{job:<12} {run:<5} {waiting:>8.1} {preparing:>10.1} {cache:>7.1} {script:>8.1} {total:>8.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_under_its_heading() {
        let spent = Spent { waiting: 0.1, preparing: 1.25, cache: 0.0, script: 12.34 };
        assert_eq!(line("build", "cold", spent), "build        cold       0.1        1.2     0.0     12.3     13.7");
    }
}

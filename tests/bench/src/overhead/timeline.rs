//! When things happened to a job, by the times of its log's lines.

use anyhow::{Context as _, Result};
use jiff::Timestamp;

/// Seconds from the beginning of a job.
#[derive(Debug)]
pub(super) struct Timeline {
    /// The first line that the script printed.
    pub(super) first: f64,
    /// The beginning of each section, and its end.
    sections: Vec<(String, f64, f64)>,
}

impl Timeline {
    /// Reads a log whose lines have times.
    pub(super) fn read(log: &str, begin: Timestamp, word: &str) -> Result<Self> {
        let (mut first, mut sections) = (None, Vec::new());
        for line in log.lines() {
            let (time, text) = line.split_at_checked(27).context("a line has a time")?;
            let time = time.parse::<Timestamp>().with_context(|| format!("read the time of {line:?}"))?;
            let at = time.duration_since(begin).as_secs_f64();
            for name in markers(text, "section_start:") {
                sections.push((name.to_owned(), at, at));
            }
            for name in markers(text, "section_end:") {
                sections.iter_mut().filter(|(open, ..)| open == name).for_each(|(_, _, end)| *end = at);
            }
            if first.is_none() && text.trim_end().ends_with(&format!(" {word}")) && !text.contains('$') {
                first = Some(at);
            }
        }
        Ok(Self { first: first.context("the script has printed something")?, sections })
    }

    /// The parts that make up the whole, and their seconds.
    pub(super) fn parts(&self, whole: f64) -> Vec<(String, f64)> {
        let mut parts = Vec::new();
        let mut before = 0.0;
        let mut add = |name: &str, until: f64| {
            parts.push((name.to_owned(), until - before));
            before = until;
        };
        for (number, (name, start, end)) in self.sections.iter().enumerate() {
            add(if number == 0 { "until the first section" } else { "between sections" }, *start);
            if (*start..*end).contains(&self.first) {
                add(&format!("{name}, until the first line"), self.first);
                add(&format!("{name}, after it"), *end);
            } else {
                add(name, *end);
            }
        }
        add("until GitLab has the result", whole);
        parts
    }
}

/// The names in markers of a kind.
fn markers<'a>(text: &'a str, kind: &'a str) -> impl Iterator<Item = &'a str> {
    let names = text.split(kind).skip(1).filter_map(|rest| rest.split_once(':'));
    names.map(|(_, rest)| rest.split(['[', '\r']).next().unwrap_or(rest))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_whole() {
        let log = "2026-01-01T00:00:00.500000Z 00O header\n\
                   2026-01-01T00:00:01.000000Z 00O section_start:7:a\r\x1b[0KA\n\
                   2026-01-01T00:00:01.500000Z 00O section_end:7:a\r\x1b[0Ksection_start:7:b[x=y]\r\x1b[0KB\n\
                   2026-01-01T00:00:01.600000Z 01O $ echo word\n\
                   2026-01-01T00:00:01.750000Z 01O word\n\
                   2026-01-01T00:00:02.000000Z 00O section_end:7:b\r\x1b[0K\n";
        let timeline = Timeline::read(log, "2026-01-01T00:00:00Z".parse().unwrap(), "word").unwrap();
        let parts = timeline.parts(2.5);
        let expected = [
            ("until the first section", 1.0),
            ("a", 0.5),
            ("between sections", 0.0),
            ("b, until the first line", 0.25),
            ("b, after it", 0.25),
            ("until GitLab has the result", 0.5),
        ];
        assert_eq!(parts, expected.map(|(name, seconds)| (name.to_owned(), seconds)));
        assert!((timeline.first - 1.75).abs() < 1e-9);
    }
}

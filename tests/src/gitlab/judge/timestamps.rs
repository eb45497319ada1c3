//! The header of each line of a log (A38; protocol §2.7, timestamps).

use crate::gitlab::rules::Rule;
use crate::gitlab::state::Job;

/// `2026-05-05T12:00:00.000000Z 01O ` before a line's text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gitlab) struct Header<'a> {
    /// Number and type of the stream.
    pub(in crate::gitlab) stream: &'a str,
    pub(in crate::gitlab) continues: bool,
    /// What follows it.
    pub(in crate::gitlab) text: &'a str,
}

/// A line's header, if it has one.
pub(in crate::gitlab) fn header(line: &str) -> Option<Header<'_>> {
    let (time, rest) = line.split_at_checked(27)?;
    let (stream, text) = (rest.get(1..4)?, rest.get(5..)?);
    let is_time = time.as_bytes()[10] == b'T' && time.as_bytes()[19] == b'.' && time.ends_with('Z');
    let known = ["00O", "00E", "01O", "01E", "0fO", "0fE"].contains(&stream);
    if !is_time || !known || !rest.starts_with(' ') || time.parse::<jiff::Timestamp>().is_err() {
        return None;
    }
    match rest.as_bytes()[4] {
        b' ' => Some(Header { stream, continues: false, text }),
        b'+' => Some(Header { stream, continues: true, text }),
        _ => None,
    }
}

/// Judges the log of a job that has ended; `cut` where its limit ended it.
pub(in crate::gitlab) fn judge(job: &Job, log: &str, cut: bool) -> Option<(Rule, String)> {
    let what = if is_on(job) { fault(log, &job.trace.takeovers, cut) } else { unwanted(log) };
    what.map(|what| (Rule::A38, what))
}

fn is_on(job: &Job) -> bool {
    let variables = job.payload["variables"].as_array().into_iter().flatten();
    let value = variables.filter(|v| v["key"] == "FF_TIMESTAMPS").filter_map(|v| v["value"].as_str()).next_back();
    !value.is_some_and(|value| ["false", "f", "0"].contains(&value.to_lowercase().as_str()))
}

/// GitLab looks at the first line.
fn unwanted(log: &str) -> Option<String> {
    log.lines().next().and_then(header).map(|_| "the log has timestamps though the job wants none".to_owned())
}

/// The first thing that is wrong. What an executor wrote may be cut where another one took over.
fn fault(log: &str, takeovers: &[usize], cut: bool) -> Option<String> {
    let ends = takeovers.iter().copied().chain([log.len()]).filter(|end| *end <= log.len());
    let mut begin = 0;
    let parts: Vec<&str> = ends.map(|end| &log[std::mem::replace(&mut begin, end)..end]).collect();
    let last = parts.len() - 1;
    let judged = parts.iter().enumerate().map(|(nth, part)| {
        let part = if nth == 0 { part } else { part.strip_prefix('\n').unwrap_or(part) };
        lines(part, nth < last || cut)
    });
    judged.flatten().next()
}

/// GitLab joins a continuation to the line right before it, so that has to be the same stream's.
fn lines(part: &str, cut: bool) -> Option<String> {
    let mut before = None;
    for line in part.split_inclusive('\n') {
        if !line.ends_with('\n') && cut {
            return None;
        }
        let Some(Header { stream, continues, .. }) = header(line) else {
            return Some(format!("a line without a timestamp: {line:?}"));
        };
        if continues && before != Some(stream) {
            return Some(format!("a line of stream {stream} continues one of {before:?}: {line:?}"));
        }
        if !line.ends_with('\n') {
            return Some(format!("the last line does not end: {line:?}"));
        }
        before = Some(stream);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-05-05T12:00:00.000000Z";

    fn log(lines: &[&str]) -> String {
        lines.iter().map(|line| format!("{TIME} {line}\n")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn lines_of_all_streams_and_their_continuations_are_clean() {
        let log = log(&["00O a", "01O 1%\r", "01O+2%", "01E ", "0fO é"]);
        assert_eq!(fault(&log, &[], false), None);
        assert_eq!(fault("", &[], false), None);
    }

    #[test]
    fn every_other_line_is_found() {
        let good = log(&["01O a"]);
        let cases = [
            "hello\n".to_owned(),
            "\n".to_owned(),
            log(&["01O+a"]),
            log(&["00O b", "01O+c"]),
            log(&["02O a"]),
            log(&["01X a"]),
            log(&["01O-a"]),
            log(&["01O"]),
            format!("{TIME} 01O no end"),
            "2026-05-05T12:00:00Z 01O a\n".to_owned(),
            "2026-13-05T12:00:00.000000Z 01O a\n".to_owned(),
            "2026-05-05 12:00:00.000000Z 01O a\n".to_owned(),
        ];
        for bad in cases {
            assert!(fault(&bad, &[], false).is_some(), "{bad:?}");
            assert!(fault(&format!("{good}{bad}"), &[], false).is_some() || bad.contains("01O+a"), "{bad:?}");
        }
    }

    #[test]
    fn where_an_executor_was_lost_a_line_may_be_cut() {
        let (first, second) = (format!("{}{TIME} 0", log(&["01O a"])), format!("\n{}", log(&["00O b"])));
        assert_eq!(fault(&format!("{first}{second}"), &[first.len()], false), None);
        assert!(fault(&format!("{first}{second}"), &[], false).is_some());
        assert_eq!(fault(&first, &[], true), None);
    }
}

//! Where patches start (A30, B34), and what a job's log has seen.

use super::pace::Pace;
use super::{Found, when};
use crate::gitlab::rules::Rule;
use std::time::Duration;

/// What is remembered of a job's patches.
#[derive(Debug, Default)]
pub(in crate::gitlab) struct TraceJudge {
    pub(in crate::gitlab) pace: Pace,
    /// The last `X-GitLab-Trace-Update-Interval` that was sent and can be understood.
    pub(in crate::gitlab) interval: Option<Duration>,
    /// Offsets at which another executor continued the log.
    pub(in crate::gitlab) takeovers: Vec<usize>,
    /// The server forgot bytes that it had acknowledged.
    pub(in crate::gitlab) truncated: bool,
    /// The answer to an earlier patch was lost or an error: the caller cannot know the stored size.
    uncertain: bool,
    /// Wrong starts without an excuse; a taker's first one is forgiven when its first bytes arrive.
    unexplained: Vec<String>,
    /// The stored size that the last 416 told.
    told: Option<usize>,
}

impl TraceJudge {
    /// The caller cannot know what is stored.
    pub(in crate::gitlab) fn doubt(&mut self) {
        self.uncertain = true;
        self.told = None;
    }

    /// A patch starts elsewhere than the log ends and is answered 416.
    pub(in crate::gitlab) fn mismatch(&mut self, start: usize, stored: usize) -> Found {
        let ignored = self.told.filter(|told| *told != start && *told == stored);
        self.told = Some(stored);
        if let Some(told) = ignored {
            return vec![(Rule::B34, format!("after 416 with Range 0-{told} the next patch starts at {start}"))];
        }
        if !self.uncertain {
            self.unexplained.push(format!("a patch starts at {start}, but {stored} bytes are stored"));
        }
        Found::new()
    }

    /// A patch fits and is stored at `start`.
    pub(in crate::gitlab) fn accepted(&mut self, start: usize, body: &[u8]) -> Found {
        self.told = None;
        self.uncertain = false;
        if is_takeover(body) {
            self.takeovers.push(start);
            self.unexplained.clear();
        }
        self.unexplained()
    }

    /// One wrong start is how a new executor learns the size; more are a habit.
    fn unexplained(&mut self) -> Found {
        let found = when(self.unexplained.len() > 1, Rule::A30, || self.unexplained[0].clone());
        if found.is_some() {
            self.unexplained.clear();
        }
        found.into_iter().collect()
    }
}

/// Whether a patch begins as the log of an executor that took over: newline, then colour reset (maybe behind the
/// 32 bytes of a line's timestamp).
fn is_takeover(body: &[u8]) -> bool {
    let Some(line) = body.strip_prefix(b"\n") else { return false };
    let reset = b"\x1b[0;m";
    line.starts_with(reset) || line.get(32..).is_some_and(|text| text.starts_with(reset))
}

/// Start and end of a `Content-Range` of the form `a-b`.
pub(in crate::gitlab) fn content_range(header: &str) -> Option<(usize, usize)> {
    let (start, end) = header.split_once('-')?;
    Some((start.parse().ok()?, end.parse().ok()?))
}

/// Judges a patch's form: range and length (A30).
pub(in crate::gitlab) fn judge_form(header: &str, length: usize) -> Found {
    let mut found = Found::new();
    found.extend(when(length == 0, Rule::A30, || "an empty patch".to_owned()));
    found.extend(when(length > 1 << 20, Rule::A30, || format!("a patch of {length} bytes")));
    let fits = content_range(header).is_some_and(|(start, end)| end + 1 == start + length);
    found.extend(when(!fits && length > 0, Rule::A30, || format!("Content-Range `{header}` for {length} bytes")));
    found
}

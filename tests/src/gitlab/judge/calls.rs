//! Logical calls and their attempts (A3, B5, B6): an X-Request-Id that comes again is a retry.

use super::{Found, when};
use crate::gitlab::call::Call;
use crate::gitlab::endpoint::Endpoint;
use crate::gitlab::job::JobId;
use crate::gitlab::rules::Rule;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// At most that many attempts (protocol §1.1).
const ATTEMPTS: u32 = 5;
/// Two cut connections and a third attempt within this time are a tight loop.
const TIGHT: Duration = Duration::from_millis(250);

/// The logical calls so far.
#[derive(Debug, Default)]
pub(in crate::gitlab) struct Calls {
    by_id: HashMap<String, Logical>,
    cuts: HashMap<(Endpoint, Option<JobId>), Vec<Instant>>,
}

#[derive(Debug)]
struct Logical {
    endpoint: Endpoint,
    job: Option<JobId>,
    attempts: u32,
    digest: u32,
    outcome: Outcome,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::gitlab) enum Outcome {
    /// It has not, or its caller went away.
    Open,
    /// Answered; the next attempt may not come before `not_before`.
    Answered { status: u16, not_before: Instant },
    /// The connection was cut.
    Cut,
}

impl Calls {
    /// Judges an attempt and remembers it.
    pub(in crate::gitlab) fn arrive(&mut self, call: &Call) -> Found {
        let mut found = self.tight_loop(call);
        if call.request_id.is_empty() || !(call.endpoint.is_runner() || call.endpoint.is_job()) {
            return found;
        }
        let (endpoint, job, digest) = (call.endpoint, call.job, digest(call));
        if let Some(logical) = self.by_id.get_mut(&call.request_id) {
            logical.attempts += 1;
            found.extend(logical.judge_retry(call, digest));
            logical.outcome = Outcome::Open;
        } else {
            let logical = Logical { endpoint, job, attempts: 1, digest, outcome: Outcome::Open };
            self.by_id.insert(call.request_id.clone(), logical);
        }
        found
    }

    /// Remembers how an attempt ended.
    pub(in crate::gitlab) fn ended(&mut self, call: &Call, outcome: Outcome) {
        if matches!(outcome, Outcome::Cut) {
            self.cuts.entry((call.endpoint, call.job)).or_default().push(call.at);
        }
        if let Some(logical) = self.by_id.get_mut(&call.request_id) {
            logical.outcome = outcome;
        }
    }

    fn tight_loop(&self, call: &Call) -> Found {
        let cuts = self.cuts.get(&(call.endpoint, call.job));
        let recent = cuts.into_iter().flatten().filter(|cut| call.at.duration_since(**cut) < TIGHT).count();
        let what = || format!("attempt {} within {TIGHT:?} after cut connections", recent + 1);
        when(recent >= 2, Rule::B6, what).into_iter().collect()
    }
}

impl Logical {
    fn judge_retry(&self, call: &Call, digest: u32) -> Option<(Rule, String)> {
        if (self.endpoint, self.job) != (call.endpoint, call.job) {
            return Some((
                Rule::A3,
                format!("the id of a {:?} call is used again for {:?}", self.endpoint, call.endpoint),
            ));
        }
        if let Outcome::Answered { status, not_before } = self.outcome {
            if status < 300 {
                return Some((Rule::A3, format!("the id of a call that was answered {status} is used again")));
            }
            if status >= 400 && !may_be_retried(status) {
                return Some((Rule::B5, format!("retried after {status}")));
            }
            if call.at < not_before {
                let early = not_before - call.at;
                return Some((Rule::B5, format!("retried {early:?} earlier than demanded")));
            }
        }
        when(self.attempts > ATTEMPTS, Rule::B5, || format!("attempt {}", self.attempts))
            .or_else(|| when(self.digest != digest, Rule::B5, || "retried with another body".to_owned()))
    }
}

/// The statuses that the retry layer knows (protocol §1.1).
pub(in crate::gitlab) fn may_be_retried(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504 | 512..)
}

/// The body's checksum; of an upload its content without the boundaries, which may differ.
fn digest(call: &Call) -> u32 {
    let body = &call.body;
    if call.endpoint != Endpoint::Upload {
        return crc32fast::hash(body);
    }
    let start = body.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    let end = body[..body.len().saturating_sub(4)].windows(4).rposition(|four| four == b"\r\n--").unwrap_or(body.len());
    crc32fast::hash(body.get(start..end).unwrap_or_default())
}

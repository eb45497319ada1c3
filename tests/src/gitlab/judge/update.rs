//! The sequence of a job's updates (A28, A40, B42 to B44) and what a final one says (A41).

use super::{Found, when};
use crate::gitlab::call::Call;
use crate::gitlab::rules::Rule;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Rounds after the first (protocol §1.8).
const ROUNDS: u32 = 10;
/// Well below the first pause of the back-off, which is a second.
const PAUSE: Duration = Duration::from_millis(500);
/// The clocks of both sides may round.
const ROUNDING: Duration = Duration::from_millis(20);

/// What is remembered of a job's updates.
#[derive(Debug, Default)]
pub(in crate::gitlab) struct UpdateJudge {
    /// The first call has come.
    pub(in crate::gitlab) started: bool,
    /// Keep-alives without checksum though there is a log.
    pub(in crate::gitlab) without_checksum: u32,
    last: Option<Attempt>,
    failed_rounds: u32,
}

#[derive(Debug)]
struct Attempt {
    request_id: String,
    body: Value,
    /// Status, none when cut; and when.
    ended: Option<(Option<u16>, Instant)>,
    /// Seconds demanded by a 202.
    interval: u64,
    /// The log was empty when 412 was answered, or a taker wrote it: nothing can be resent.
    resent: bool,
    /// Its failure is counted as a round.
    counted: bool,
}

impl UpdateJudge {
    /// Judges a final update by the one before, and remembers it.
    pub(in crate::gitlab) fn arrive(&mut self, call: &Call) -> Found {
        let found = self.last.as_ref().map(|last| last.judge_next(call, self.failed_rounds)).unwrap_or_default();
        let (request_id, body) = (call.request_id.clone(), call.json.clone());
        // A retry below the procedure's rounds is no round of its own.
        let counted = self.last.as_ref().is_some_and(|last| last.counted && last.request_id == request_id);
        self.last = Some(Attempt { request_id, body, ended: None, interval: 0, resent: true, counted });
        found
    }

    /// Remembers the answer to the final update: status (none when it is lost), interval of a 202.
    pub(in crate::gitlab) fn ended(&mut self, status: Option<u16>, interval: u64) {
        let Some(last) = &mut self.last else { return };
        last.ended = Some((status, Instant::now()));
        last.interval = interval;
        match status {
            Some(200 | 202 | 412) => self.failed_rounds = 0,
            _ if last.counted => {}
            _ => {
                last.counted = true;
                self.failed_rounds += 1;
            }
        }
    }

    /// After 412: the log has to come again.
    pub(in crate::gitlab) fn demand_log(&mut self) {
        if let Some(last) = &mut self.last {
            last.resent = false;
        }
    }

    /// The log came from its start.
    pub(in crate::gitlab) fn log_resent(&mut self) {
        if let Some(last) = &mut self.last {
            last.resent = true;
        }
    }
}

impl Attempt {
    fn judge_next(&self, call: &Call, failed_rounds: u32) -> Found {
        let mut found = Found::new();
        let (before, now) = (&self.body["state"], &call.json["state"]);
        found.extend(when(before != now, Rule::A40, || format!("the final state was {before} and is now {now}")));
        if call.request_id == self.request_id {
            return found;
        }
        let pause = self.ended.map(|(status, at)| (status, call.at.duration_since(at)));
        match pause {
            Some((Some(202), pause)) => found.extend(self.after_202(call, pause)),
            Some((Some(412), _)) => {
                found.extend(when(!self.resent, Rule::B43, || "updated again without resending the log".to_owned()));
            }
            Some((Some(200), _)) | None => {}
            Some((_, pause)) => found.extend(after_failure(pause, failed_rounds)),
        }
        found
    }

    fn after_202(&self, call: &Call, pause: Duration) -> Found {
        let demanded = Duration::from_secs(self.interval);
        let mut found = Found::new();
        found.extend(when(pause + ROUNDING < demanded, Rule::B42, || {
            format!("updated {pause:?} after a 202 that asked for {demanded:?}")
        }));
        found.extend(when(self.body != call.json, Rule::B42, || "the update after a 202 has another body".to_owned()));
        found
    }
}

fn after_failure(pause: Duration, failed_rounds: u32) -> Found {
    let mut found = Found::new();
    found.extend(when(pause < PAUSE, Rule::B44, || format!("updated again {pause:?} after a failure")));
    found.extend(when(failed_rounds > ROUNDS, Rule::B44, || format!("round {}", failed_rounds + 1)));
    found
}

/// Judges reason and exit code of a final update; `accepted` are the payload's failure reasons.
pub(in crate::gitlab) fn judge_result(json: &Value, accepted: &[String]) -> Found {
    let reason = json["failure_reason"].as_str().unwrap_or_default();
    let exit_code = json["exit_code"].as_i64();
    let mut found = Found::new();
    if json["state"] == "success" {
        found.extend(when(!reason.is_empty(), Rule::A41, || format!("success with failure_reason {reason}")));
        found.extend(when(!json["exit_code"].is_null(), Rule::A41, || {
            format!("success with exit_code {}", json["exit_code"])
        }));
        return found;
    }
    let base = ["script_failure", "runner_system_failure", "job_execution_timeout", "unknown_failure"];
    let known = base.contains(&reason) || accepted.iter().any(|known| known == reason);
    found.extend(when(!known, Rule::A41, || format!("failure_reason `{reason}` is not one that the server accepts")));
    // Where the server does not know configuration errors they are sent as script failures, without a code.
    let mapped = !accepted.iter().any(|known| known == "runner_configuration_error");
    let lacks_code = exit_code.is_none_or(|code| code == 0) && reason == "script_failure" && !mapped;
    found.extend(when(lacks_code, Rule::A41, || "script_failure without exit_code".to_owned()));
    found
}

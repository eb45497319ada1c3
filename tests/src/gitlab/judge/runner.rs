//! The runner's own calls: their content (A10, A13, A20), system id (A12), last update (A21), pace (A22, B24).

use super::{Found, when};
use crate::gitlab::call::Call;
use crate::gitlab::options::Options;
use crate::gitlab::rules::Rule;
use serde_json::Value;
use std::time::{Duration, Instant};

/// What an implementation must at least say about (protocol §1.3).
const FEATURES: &[&str] = &[
    "variables",
    "image",
    "services",
    "artifacts",
    "cache",
    "fallback_cache_keys",
    "upload_multiple_artifacts",
    "upload_raw_artifacts",
    "refspecs",
    "masking",
    "raw_variables",
    "artifacts_exclude",
    "multi_build_steps",
    "trace_reset",
    "trace_checksum",
    "trace_size",
    "cancelable",
    "return_exit_code",
    "service_variables",
    "service_multiple_aliases",
    "image_executor_opts",
    "service_executor_opts",
    "cancel_gracefully",
];

/// A request that was sent before our last answer arrived may still carry the value before.
const RACE: Duration = Duration::from_secs(1);
const ROUNDING: Duration = Duration::from_millis(50);

/// What is remembered of the runner.
#[derive(Debug, Default)]
pub(in crate::gitlab) struct RunnerJudge {
    system_id: Option<String>,
    last_update: Option<(String, Instant)>,
    last_update_before: Option<String>,
    empty_at: Option<Instant>,
    open: usize,
    refusals: u32,
    refused_at: Option<Instant>,
}

impl RunnerJudge {
    /// Judges a verify call. A runner that verifies has just started and knows no last update.
    pub(in crate::gitlab) fn verify(&mut self, call: &Call, options: &Options) -> Found {
        self.last_update = None;
        let mut found = self.system_id(call, options, Rule::A10);
        let features = &call.json["info"]["features"];
        found.extend(when(!features.is_object(), Rule::A10, || "verify without info.features".to_owned()));
        found
    }

    /// Judges a job request as it arrives; `running` jobs are in the runner's hands.
    pub(in crate::gitlab) fn request(&mut self, call: &Call, options: &Options, running: usize) -> Found {
        self.open += 1;
        let mut found = self.system_id(call, options, Rule::A20);
        found.extend(judge_request_body(call));
        found.extend(self.judge_last_update(call));
        found.extend(self.judge_pace(call, options, running));
        found
    }

    /// A job request ended: its status (none when the caller went away), and whether it was held.
    pub(in crate::gitlab) fn ended(&mut self, status: Option<u16>, held: bool) {
        self.open = self.open.saturating_sub(1);
        self.empty_at = (status == Some(204) && !held).then(Instant::now);
        match status {
            Some(403) => {
                self.refusals += 1;
                self.refused_at = Some(Instant::now());
            }
            Some(_) => self.refusals = 0,
            None => {}
        }
    }

    /// `X-GitLab-Last-Update` was sent in an answer that is not lost.
    pub(in crate::gitlab) fn sent_last_update(&mut self, value: &str) {
        self.last_update_before = self.last_update.take().map(|(value, _)| value);
        self.last_update = Some((value.to_owned(), Instant::now()));
    }

    fn system_id(&mut self, call: &Call, options: &Options, rule: Rule) -> Found {
        let id = call.field("system_id");
        if !is_system_id(id) {
            return vec![(rule, format!("system_id is `{id}`"))];
        }
        let known = self.system_id.get_or_insert_with(|| id.to_owned());
        let changed = options.one_manager && known != id;
        when(changed, Rule::A12, || format!("system_id was {known} and is now {id}")).into_iter().collect()
    }

    fn judge_last_update(&self, call: &Call) -> Option<(Rule, String)> {
        let (value, at) = self.last_update.as_ref()?;
        let sent = call.field("last_update");
        let late = at.elapsed() < RACE && self.last_update_before.as_deref().unwrap_or_default() == sent;
        // On a new connection a runner may have just started.
        let new = sent.is_empty() && call.first;
        when(sent != value && !late && !new, Rule::A21, || {
            format!("last_update is `{sent}`, the last one given was `{value}`")
        })
    }

    fn judge_pace(&self, call: &Call, options: &Options, running: usize) -> Found {
        let mut found = Found::new();
        if let (Some(interval), Some(empty)) = (options.check_interval, self.empty_at) {
            let pause = call.at.duration_since(empty);
            found.extend(when(pause + ROUNDING < interval, Rule::A22, || {
                format!("asked again {pause:?} after an empty answer")
            }));
        }
        let open = self.open;
        let too_many = options.request_concurrency.is_some_and(|most| open > most);
        found.extend(when(too_many, Rule::A22, || format!("{open} job requests are open")));
        let full = options.limit.is_some_and(|limit| running >= limit);
        found.extend(when(full, Rule::A22, || format!("asked for a job while {running} are running")));
        if let (Some(interval), Some(refused), true) = (options.unhealthy_interval, self.refused_at, self.refusals >= 3)
        {
            let pause = call.at.duration_since(refused);
            found.extend(when(pause + ROUNDING < interval, Rule::B24, || {
                format!("asked {pause:?} after refusal {}", self.refusals)
            }));
        }
        found
    }
}

fn judge_request_body(call: &Call) -> Found {
    let info = &call.json["info"];
    let (length, executor) = (call.body.len(), &info["executor"]);
    let is_boolean = |name: &&&str| !info["features"][**name].is_boolean();
    let missing: Vec<&str> = FEATURES.iter().filter(is_boolean).copied().collect();
    let mut found = Found::new();
    found.extend(when(length > 32 << 10, Rule::A20, || format!("a job request of {length} bytes")));
    found.extend(when(*executor != "docker", Rule::A20, || format!("info.executor is {executor}")));
    found.extend(when(!missing.is_empty(), Rule::A20, || format!("info.features lacks {}", missing.join(", "))));
    found
}

/// Judges a legacy registration (A13).
pub(in crate::gitlab) fn judge_registration(json: &Value) -> Found {
    let optional = ["description", "maintenance_note", "tag_list", "access_level", "maximum_timeout"];
    let is_empty = |value: &Value| value.is_null() || *value == "" || *value == 0 || *value == serde_json::json!([]);
    let empty = |name: &&&str| json.get(**name).is_some_and(is_empty);
    let required = ["run_untagged", "locked", "paused", "info"];
    let mut found = Found::new();
    for name in optional.iter().filter(empty) {
        found.push((Rule::A13, format!("{name} is sent though it is empty")));
    }
    for name in required.iter().filter(|name| json.get(**name).is_none()) {
        found.push((Rule::A13, format!("{name} is missing")));
    }
    let is_list = json.get("tag_list").is_some_and(|tags| !tags.is_string());
    found.extend(when(is_list, Rule::A13, || "tag_list is no string".to_owned()));
    found
}

/// `^[sr]_[0-9a-zA-Z]{12}$`
pub(in crate::gitlab) fn is_system_id(text: &str) -> bool {
    let rest = text.strip_prefix("s_").or_else(|| text.strip_prefix("r_"));
    rest.is_some_and(|rest| rest.len() == 12 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

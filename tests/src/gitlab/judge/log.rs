//! A whole log, when its job has ended (A35, B37, A38).

use super::{Found, sections, timestamps, when};
use crate::gitlab::rules::Rule;
use crate::gitlab::state::Job;
use serde_json::Value;

/// Beginnings of tokens that the runner masks besides the payload's (protocol §2.7).
const PREFIXES: &[&str] = &[
    "gloas-",
    "gldt-",
    "glrt-",
    "glcbt-",
    "glrtr-",
    "glptt-",
    "glft-",
    "glimt-",
    "glagent-",
    "glsoat-",
    "glffct-",
    "_gitlab_session=",
    "gltok-",
];
/// Only that many prefixes are used, the shortest.
const MOST_PREFIXES: usize = 15;
const NOTICE: &str = "Job's log exceeded limit of ";

/// Judges the stored log of a job whose final update says `output`.
pub(in crate::gitlab) fn judge(job: &Job, output: &Value) -> Found {
    let mut found = judge_checksum(job, output);
    let Ok(log) = std::str::from_utf8(&job.log) else {
        found.push((Rule::A35, "the log is not valid UTF-8".to_owned()));
        return found;
    };
    found.extend(judge_secrets(job, log));
    let cut = log.rfind(NOTICE);
    found.extend(cut.and_then(|at| judge_notice(log, at)));
    let own = cut.and_then(|at| log[..at].rfind('\n')).map_or(log, |end| &log[..end]);
    found.extend(timestamps::judge(job, own, cut.is_some()));
    if cut.is_none() {
        found.extend(judge_sections(job, log));
    }
    found
}

/// Checksum and size against what is stored. An executor that took over cannot know them.
fn judge_checksum(job: &Job, output: &Value) -> Found {
    let taken_over = !job.trace.takeovers.is_empty();
    let stored = format!("crc32:{:08x}", crc32fast::hash(&job.log));
    let checksum = output["checksum"].as_str().unwrap_or_default();
    let size = output["bytesize"].as_u64().unwrap_or_default();
    if checksum.is_empty() && (taken_over || job.log.is_empty()) {
        return Found::new();
    }
    let length = job.log.len() as u64;
    let mut found = Found::new();
    found.extend(when(size != length, Rule::A40, || {
        format!("{length} bytes of the log are stored, the final update says {size}")
    }));
    found.extend(when(checksum != stored, Rule::A35, || {
        format!("the stored log has {stored}, the final update says `{checksum}`")
    }));
    found
}

fn judge_secrets(job: &Job, log: &str) -> Found {
    let mut found = Found::new();
    for (key, _) in masked(&job.payload).filter(|(_, value)| log.contains(value)) {
        found.push((Rule::A35, format!("the masked value of {key} is in the log")));
    }
    for prefix in prefixes(&job.payload).into_iter().filter(|prefix| has_token(log, prefix)) {
        found.push((Rule::A35, format!("an unmasked token `{prefix}…` is in the log")));
    }
    found
}

/// The masked variables with a value that needs no expansion, trimmed.
fn masked(payload: &Value) -> impl Iterator<Item = (&str, &str)> {
    let variables = payload["variables"].as_array().into_iter().flatten();
    let masked = variables.filter(|v| v["masked"] == true).filter_map(|v| {
        let (key, value) = (v["key"].as_str()?, v["value"].as_str()?.trim());
        let is_final = v["raw"] == true || !value.contains('$');
        is_final.then_some((key, value))
    });
    masked.filter(|(_, value)| !value.is_empty())
}

fn prefixes(payload: &Value) -> Vec<String> {
    let more = payload["features"]["token_mask_prefixes"].as_array().into_iter().flatten();
    let mut all: Vec<String> = more.filter_map(|prefix| Some(prefix.as_str()?.to_owned())).collect();
    all.push("glpat-".to_owned());
    let variables = payload["variables"].as_array().into_iter().flatten();
    let is_off = |v: &Value| v["key"] == "FF_MASK_ALL_DEFAULT_TOKENS" && v["value"] == "false";
    if !variables.into_iter().any(is_off) {
        all.extend(PREFIXES.iter().map(ToString::to_string));
    }
    all.sort_by_key(String::len);
    all.dedup();
    all.truncate(MOST_PREFIXES);
    all
}

fn has_token(log: &str, prefix: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"._=-".contains(&byte);
    log.match_indices(prefix).any(|(at, _)| log.as_bytes().get(at + prefix.len()).copied().is_some_and(is_token))
}

/// The notice stands right behind the limit it names; a character that did not fit may be missing before it.
fn judge_notice(log: &str, at: usize) -> Option<(Rule, String)> {
    let limit: usize = log[at + NOTICE.len()..].split(' ').next()?.parse().ok()?;
    let start = log[..at].rfind('\n')?;
    when(start > limit || start + 4 < limit, Rule::B37, || format!("the notice of the limit {limit} begins at {start}"))
}

fn judge_sections(job: &Job, log: &str) -> Found {
    if job.payload["features"]["trace_sections"] == true {
        let faults = sections::faults(log, &job.trace.takeovers);
        return faults.into_iter().map(|what| (Rule::A35, what)).collect();
    }
    let stage = sections::markers(log).into_iter().find(|marker| sections::stage(&marker.name).is_some());
    let what = |name: String| (Rule::A35, format!("section {name} though the server wants no sections"));
    stage.map(|marker| what(marker.name)).into_iter().collect()
}

use super::*;
use serde_json::{Value, json};

/// The payload of protocol §8.2.
const MINIMAL: &str = include_str!("minimal.json");

fn minimal() -> Value {
    serde_json::from_str(MINIMAL).expect("JSON")
}

fn decode(payload: Value) -> Job {
    serde_json::from_value(payload).expect("decodes")
}

#[test]
fn the_vector_decodes_in_all_its_parts() {
    let job: Job = serde_json::from_str(MINIMAL).expect("decodes");
    assert_eq!((job.id, job.token.expose(), job.allow_git_fetch), (1001, "glcbt-test", true));
    assert_eq!((job.job_info.name.as_str(), job.job_info.project_id), ("build", 42));
    assert!(job.git_info.repo_url.expose().contains("gitlab-ci-token:glcbt-test@"));
    assert_eq!((job.git_info.ref_name.as_str(), job.git_info.depth, job.git_info.protected), ("main", 20, Some(false)));
    assert_eq!(job.git_info.refspecs.len(), 2);
    assert_eq!(job.timeout().as_secs(), 3600);
    assert_eq!(job.variable("CERT"), Some("line1\nline2"));
    let flags: Vec<_> = job.variables.iter().map(|v| (v.public, v.masked, v.file, v.raw)).collect();
    let (t, f) = (true, false);
    assert_eq!(flags, [(t, f, f, f), (f, t, f, f), (f, f, t, f), (t, f, f, t)]);
    assert_eq!(job.steps[0].script, ["echo hello", "test -f \"$CERT\""]);
    assert_eq!((job.steps[1].name.as_str(), job.steps[1].when), ("after_script", When::Always));
    assert_eq!((job.image.name.as_str(), job.services[0].alias.as_str()), ("alpine:3", "cache"));
    assert_eq!((job.artifacts[0].paths.len(), job.artifacts[0].expire_in.as_str()), (1, "1 week"));
    assert_eq!((job.cache[0].key.as_str(), job.cache[0].policy.as_str()), ("default-non_protected", "pull-push"));
    assert_eq!(job.credentials[0].password.expose(), "glcbt-test");
    assert_eq!((job.dependencies[0].id, job.dependencies[0].artifacts_file.size), (1000, 123));
    assert!(job.features.trace_sections && job.features.failure_reasons.len() == 4);
}

#[test]
fn every_field_may_be_null_or_absent() {
    let Value::Object(fields) = minimal() else { panic!("an object") };
    for key in fields.keys() {
        let mut payload = minimal();
        payload[key] = Value::Null;
        decode(payload);
    }
    let nulls: serde_json::Map<_, _> = fields.keys().map(|key| (key.clone(), Value::Null)).collect();
    let job = decode(Value::Object(nulls));
    assert_eq!((job.id, job.timeout().as_secs(), job.image.name.as_str()), (0, 7200, ""));
    let job = decode(json!({}));
    assert_eq!((job.id, job.variables.len(), job.cache.len()), (0, 0, 0));
}

#[test]
fn nulls_deep_in_the_payload_take_their_defaults() {
    let mut payload = minimal();
    payload["variables"] = json!([{"key": "EMPTY", "value": null, "masked": null}]);
    payload["image"] = json!({"name": "a", "entrypoint": null, "executor_opts": {"docker": {"user": null}}});
    payload["dependencies"] = json!([{"id": 7, "artifacts_file": null}]);
    payload["features"] = json!({"token_mask_prefixes": null, "failure_reasons": null});
    payload["cache"] = json!([{"key": null, "paths": null, "when": null, "fallback_keys": null}]);
    payload["artifacts"] = json!([{"paths": null, "when": "on_failure"}]);
    let job = decode(payload);
    assert_eq!(job.variable("EMPTY"), Some(""));
    assert_eq!(job.dependencies[0].artifacts_file.filename, "");
    assert!(job.artifacts[0].when.fits(false) && !job.artifacts[0].when.fits(true));
}

#[test]
fn ids_may_exceed_32_bits_and_unknown_fields_do_no_harm() {
    let mut payload = minimal();
    payload["id"] = json!(9_000_000_000_u64);
    payload["job_info"]["pipeline_id"] = json!(5_000_000_000_u64);
    payload["job_info"]["news"] = json!({"a": [1]});
    payload["news"] = json!(null);
    let job = decode(payload);
    assert_eq!((job.id, job.job_info.pipeline_id), (9_000_000_000, 5_000_000_000));
}

#[test]
fn numbers_where_texts_are_usual_and_odd_numbers_are_taken() {
    let mut payload = minimal();
    payload["image"] = json!({"name": "a", "executor_opts": {"docker": {"user": 1000, "platform": "linux/amd64"}}});
    payload["job_info"]["project_jobs_running_on_instance_runners_count"] = json!(5);
    payload["job_info"]["time_in_queue_seconds"] = json!(3);
    payload["git_info"]["depth"] = json!(-1);
    payload["runner_info"]["timeout"] = json!(0);
    let job = decode(payload);
    assert_eq!(job.image.executor_opts.docker.user, "1000");
    assert_eq!(job.job_info.project_jobs_running_on_instance_runners_count, "5");
    assert_eq!((job.git_info.depth, job.timeout().as_secs()), (0, 7200));
}

#[test]
fn options_of_other_executors_are_kept_to_be_named() {
    let mut payload = minimal();
    payload["image"]["executor_opts"] = json!({"kubernetes": {"user": "1"}, "docker": {}});
    let job = decode(payload);
    assert_eq!(job.image.executor_opts.other.keys().collect::<Vec<_>>(), ["kubernetes"]);
}

#[test]
fn a_payload_does_not_print_its_secrets() {
    let job: Job = serde_json::from_str(MINIMAL).expect("decodes");
    let text = format!("{job:?}");
    assert!(!text.contains("glcbt-test") && !text.contains("s3cr3tvalue") && !text.contains("line1"), "{text}");
}

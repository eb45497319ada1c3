//! The server answers as GitLab does.

use super::client::{Talk, failed, running, success, zip};
use super::judges::{gzip, with_dependency};
use anyhow::{Context, Result};
use serde_json::json;
use std::time::Duration;
use warmstart_tests::gitlab::{ArtifactSpec, CacheSpec, Endpoint, JobId, JobSpec, JobState, Options, TlsFront};

fn spec() -> JobSpec {
    JobSpec::script(["true"])
}

#[tokio::test]
async fn a_payload_says_what_the_spec_wants() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let spec = JobSpec::script(["make", "make test"])
        .name("build")
        .after_script(["echo done"])
        .image("busybox")
        .service("redis:7", "cache")
        .masked("SECRET", "value")
        .file("CERT", "text")
        .cache(CacheSpec::new("deps", ["vendor"]).fallback("main"))
        .artifacts(ArtifactSpec::archive(["out"]).expire_in("1 week"))
        .report("junit", ["junit.xml"])
        .depth(0)
        .set("/image/pull_policy", json!(["never"]))
        .set("/unknown", json!({ "a": 1 }));
    let job = talk.pick(spec).await?;
    let payload: warmstart_gitlab::payload::Job = serde_json::from_value(job.payload.clone())?;
    assert!(payload.id > u64::from(u32::MAX));
    assert_eq!(payload.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["script", "after_script"]);
    assert_eq!(payload.image.pull_policy, ["never"]);
    assert_eq!(payload.cache[0].key, "deps-non_protected");
    assert_eq!(payload.cache[0].fallback_keys, ["main-non_protected"]);
    assert_eq!(
        payload.artifacts.iter().map(|entry| entry.artifact_format.as_str()).collect::<Vec<_>>(),
        ["zip", "gzip"]
    );
    assert_eq!(payload.variable("CI_JOB_NAME"), Some("build"));
    assert_eq!(payload.variable("CI_COMMIT_SHA"), Some(payload.git_info.sha.as_str()));
    let masked: Vec<&str> = payload.variables.iter().filter(|v| v.masked).map(|v| v.key.as_str()).collect();
    assert_eq!(masked, ["CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD", "SECRET"]);
    assert!(payload.git_info.refspecs.contains(&"+refs/heads/*:refs/remotes/origin/*".to_owned()));
    assert_eq!(job.payload["unknown"]["a"], 1);
    Ok(())
}

#[tokio::test]
async fn a_request_is_held_until_the_queue_changes() -> Result<()> {
    let mut talk = Talk::start(Options { hold: Duration::from_hours(1), ..Options::default() }).await?;
    assert_eq!(talk.ask().await?.headers()["x-gitlab-last-update"], "queue-1");
    let body = talk.request_body();
    let held = talk.runner_call(reqwest::Method::POST, "jobs/request", &body);
    let held = tokio::spawn(held.send());
    talk.gitlab.wait_requests(Endpoint::JobRequest, 2).await;
    let id = talk.gitlab.add_job(spec());
    let answer = held.await??;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("gitlab-ci-builds-polling")), (204, true));
    assert_eq!(talk.ask().await?.status(), 201);
    assert_eq!(talk.gitlab.state(id), JobState::Running);
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_wrong_runner_token_gets_no_job() -> Result<()> {
    let talk = Talk::start(Options::default()).await?;
    let mut body = talk.request_body();
    body["token"] = "glrt-wrong".into();
    assert_eq!(talk.post("runners/verify", &body).await?.status(), 403);
    assert_eq!(talk.post("jobs/request", &body).await?.status(), 403);
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_runner_without_a_required_feature_fails_the_job() -> Result<()> {
    let talk = Talk::start(Options::default()).await?;
    let id = talk.gitlab.add_job(spec().report("junit", ["a.xml"]));
    let mut body = talk.request_body();
    body["info"]["features"]["upload_multiple_artifacts"] = false.into();
    assert_eq!(talk.post("jobs/request", &body).await?.status(), 204);
    let finished = talk.gitlab.wait_finished(id).await;
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_unsupported"));
    Ok(())
}

#[tokio::test]
async fn canceling_is_told_and_ends_canceled_whatever_the_runner_says() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(spec()).await?;
    talk.gitlab.cancel(JobId(job.id));
    assert_eq!(talk.update(&job, &running(&job, b"")).await?.headers()["job-status"], "canceling");
    assert_eq!(talk.patch(&job, 0, b"log").await?.headers()["job-status"], "canceling");
    let answer = talk.update(&job, &failed(&job, b"log", "unknown_failure", 1)).await?;
    assert_eq!((answer.status().as_u16(), &answer.headers()["job-status"]), (200, &"canceled".parse()?));
    talk.gitlab.wait_state(JobId(job.id), JobState::Canceled).await;
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_runner_that_cannot_cancel_gracefully_is_refused_at_once() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let id = talk.gitlab.add_job(spec());
    let mut body = talk.request_body();
    body["info"]["features"]["cancel_gracefully"] = false.into();
    assert_eq!(talk.post("jobs/request", &body).await?.status(), 201);
    talk.gitlab.cancel(id);
    assert_eq!(talk.gitlab.state(id), JobState::Canceled);
    assert_eq!(talk.ask().await?.status(), 204);
    Ok(())
}

#[tokio::test]
async fn a_log_beyond_the_servers_limit_fails_the_job() -> Result<()> {
    let mut talk = Talk::start(Options { trace_limit: 4, ..Options::default() }).await?;
    let job = talk.begin(spec()).await?;
    let answer = talk.patch(&job, 0, b"12345").await?;
    assert_eq!((answer.status().as_u16(), &answer.headers()["job-status"]), (403, &"failed".parse()?));
    let finished = talk.gitlab.wait_finished(JobId(job.id)).await;
    assert_eq!(finished.failure_reason.as_deref(), Some("trace_size_exceeded"));
    Ok(())
}

#[tokio::test]
async fn uploads_are_stored_once_and_refused_when_too_large_or_invalid() -> Result<()> {
    let mut talk = Talk::start(Options { artifact_limit: 1000, ..Options::default() }).await?;
    let job = talk.begin(spec().artifact_paths(["out"]).report("dotenv", ["build.env"])).await?;
    let query = "artifact_format=zip&artifact_type=archive";
    let noise: String = (0..500).map(|_| super::client::request_id()).collect();
    assert_eq!(talk.upload(&job, query, "artifacts.zip", &zip(&[("out/a", &noise)])?).await?.status(), 413);
    assert_eq!(talk.upload(&job, query, "artifacts.zip", &zip(&[("out/a", "a")])?).await?.status(), 201);
    let query = "artifact_format=gzip&artifact_type=dotenv";
    assert_eq!(talk.upload(&job, query, ".env.gz", &gzip(b"no assignment")?).await?.status(), 400);
    assert_eq!(talk.upload(&job, query, ".env.gz", &gzip(b"VERSION=1.2\n")?).await?.status(), 201);
    talk.update(&job, &success(&job, b"")).await?;
    let next = talk.pick(spec().needs(JobId(job.id))).await?;
    let variables = next.payload["variables"].as_array().context("no variables")?;
    assert!(variables.iter().any(|v| v["key"] == "VERSION" && v["value"] == "1.2"));
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_dependencys_archive_is_given_to_its_job_only() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let (dependency, job) = with_dependency(&mut talk).await?;
    assert_eq!(job.payload["dependencies"][0]["artifacts_file"]["filename"], "artifacts.zip");
    let archive = talk.download(dependency, &job.token, "?direct_download=true").await?.bytes().await?;
    assert_eq!(archive, zip(&[("out/a", "content")])?);
    talk.gitlab.assert_clean();
    assert_eq!(talk.download(job.id, &job.token, "").await?.status(), 403);
    Ok(())
}

#[tokio::test]
async fn tls_is_spoken_with_a_certificate_of_a_private_authority() -> Result<()> {
    let mut front = TlsFront::bind([127, 0, 0, 1].into()).await?;
    let talk = Talk::start(Options { external_url: Some(front.url()), ..Options::default() }).await?;
    front.serve(&talk.gitlab);
    assert!(talk.http.get(talk.gitlab.url()).send().await.is_err(), "nobody knows the authority");
    let authority = reqwest::Certificate::from_pem(front.authority_pem().as_bytes())?;
    let trusting = reqwest::Client::builder().tls_certs_merge([authority]).build()?;
    assert_eq!(trusting.get(talk.gitlab.url()).send().await?.status(), 200);
    Ok(())
}

#[tokio::test]
async fn the_pages_show_jobs_logs_and_artifacts() -> Result<()> {
    let mut talk = Talk::start(Options { relative_root: "/gitlab".to_owned(), ..Options::default() }).await?;
    let job = talk.begin(spec().artifact_paths(["out"])).await?;
    let archive = zip(&[("out/a", "content")])?;
    talk.upload(&job, "artifact_format=zip&artifact_type=archive", "artifacts.zip", &archive).await?;
    talk.finish(&job, b"section_start:1:get_sources\r\x1b[0Ka < b\nsection_end:1:get_sources\r\x1b[0K").await?;
    let url = talk.gitlab.url();
    assert!(url.ends_with("/gitlab"));
    let list: serde_json::Value = talk.http.get(format!("{url}/?format=json")).send().await?.json().await?;
    assert_eq!((&list["jobs"][0]["state"], &list["violations"]), (&json!("success"), &json!([])));
    let page = talk.http.get(format!("{url}/jobs/{}", job.id)).send().await?.text().await?;
    assert!(page.contains("<pre>a &lt; b\n"), "{page}");
    let stored = talk.http.get(format!("{url}/jobs/{}/artifacts/0", job.id)).send().await?.bytes().await?;
    assert_eq!(stored, archive);
    Ok(())
}

#[tokio::test]
async fn a_live_log_comes_in_pieces_and_ends_with_the_job() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(spec()).await?;
    let mut live = talk.gitlab.subscribe(JobId(job.id));
    talk.patch(&job, 0, b"one ").await?;
    assert_eq!(live.recv().await.as_deref(), Some(&b"one "[..]));
    talk.patch(&job, 4, b"two").await?;
    talk.update(&job, &success(&job, b"one two")).await?;
    assert_eq!(live.recv().await.as_deref(), Some(&b"two"[..]));
    assert_eq!(live.recv().await, None);
    talk.gitlab.wait_log_contains(JobId(job.id), "two").await;
    Ok(())
}

#[tokio::test]
async fn secrets_are_not_kept_in_the_list_of_requests() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(spec()).await?;
    let kept = format!("{:?}", talk.gitlab.requests());
    assert!(!kept.contains(&job.token) && !kept.contains(&talk.gitlab.runner_token()));
    assert_eq!(talk.gitlab.count(Endpoint::KeepAlive), 1);
    Ok(())
}

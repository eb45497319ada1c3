//! The rules of protocol §7.1 to §7.3 and §7.7 that concern the client, judged by the fake GitLab.

mod client_support;

use client_support::{Taken, begin, client, fake, identity, put, quick_fake, request, succeed, timing};
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use warmstart_gitlab::artifacts::{Upload, download, upload};
use warmstart_gitlab::client::{Client, Identity, Options as ClientOptions, Registration};
use warmstart_tests::gitlab::{Endpoint, FakeGitlab, Fault, JobSpec, JobState, Matcher, Options};

#[tokio::test]
async fn verify_and_request_pass_the_judge() {
    let gitlab = quick_fake().await;
    let client = client(&gitlab, timing());
    assert_ne!(client.verify(&identity(&gitlab)).await.expect("verified").id, 0);
    assert!(request(&client, &gitlab).await.acquired.is_none());
    let wrong = Identity { token: "glrt-wrong".into(), ..identity(&gitlab) };
    assert_eq!(client.verify(&wrong).await.expect_err("unknown").status(), Some(403));
    gitlab.assert_clean();
}

#[tokio::test]
async fn a_runner_comes_and_goes() {
    let gitlab = quick_fake().await;
    let client = client(&gitlab, timing());
    let token = gitlab.registration_token().into();
    let registration = Registration { token, run_untagged: true, ..Registration::default() };
    let registered = client.register(&registration).await.expect("registered");
    let legacy = Identity { token: registered.token, ..identity(&gitlab) };
    client.verify(&legacy).await.expect("known");
    client.unregister(&legacy).await.expect("gone");
    client.unregister(&identity(&gitlab)).await.expect("gone");
    gitlab.assert_clean();
}

#[tokio::test]
async fn a_relative_root_and_a_trailing_slash_do_no_harm() {
    let gitlab = fake(Options { relative_root: "/gitlab".into(), hold: Duration::ZERO, ..Options::default() }).await;
    let client = Client::new(&format!("{}/", gitlab.url()), &ClientOptions::default()).expect("a client");
    client.verify(&identity(&gitlab)).await.expect("verified");
    gitlab.assert_clean();
}

#[tokio::test]
async fn rate_limits_are_waited_for_by_every_call() {
    let gitlab = quick_fake().await;
    for endpoint in [Endpoint::JobRequest, Endpoint::Trace, Endpoint::FinalUpdate] {
        gitlab.misbehave(Matcher::on(endpoint), Fault::status_with(429, "Retry-After", "1"));
        gitlab.misbehave(Matcher::on(endpoint).nth(2), Fault::status(503));
    }
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), "hello\n");
    succeed(trace).await;
    assert_eq!(gitlab.wait_finished(taken.id).await.text(), "hello\n");
    gitlab.assert_clean();
}

#[tokio::test]
async fn the_queues_value_goes_back_and_a_long_poll_brings_the_job() {
    let gitlab = fake(Options { hold: Duration::from_secs(30), update_interval: 0, ..Options::default() }).await;
    let client = client(&gitlab, timing());
    let identity = identity(&gitlab);
    let first = client.request_job(&identity, None).await.expect("an answer");
    let value = first.last_update.expect("a value");
    let poll = client.request_job(&identity, Some(&value));
    let queue = async {
        gitlab.wait_requests(Endpoint::JobRequest, 2).await;
        gitlab.add_job(JobSpec::script(["true"]))
    };
    let (polled, id) = tokio::join!(poll, queue);
    let polled = polled.expect("an answer");
    assert!(polled.acquired.is_some() || polled.long_polled);
    if polled.acquired.is_none() {
        let value = polled.last_update.unwrap_or(value);
        assert!(client.request_job(&identity, Some(&value)).await.expect("an answer").acquired.is_some());
    }
    assert_eq!(gitlab.state(id), JobState::Running);
    gitlab.assert_clean();
}

#[tokio::test]
async fn payloads_of_every_shape_are_taken() {
    let gitlab = quick_fake().await;
    let changes: Vec<Vec<(&str, Value)>> = vec![
        vec![("/image", Value::Null), ("/services", Value::Null), ("/artifacts", Value::Null)],
        vec![("/dependencies", Value::Null), ("/hooks", Value::Null), ("/cache", Value::Null)],
        vec![("/features", Value::Null), ("/news", json!({"deep": [1, null]}))],
        vec![("/image", json!({"name": "a", "executor_opts": {"docker": {"user": 1000}}}))],
    ];
    for change in changes {
        let spec = change.iter().fold(JobSpec::script(["true"]), |spec, (at, value)| spec.set(at, value.clone()));
        let taken = Taken::new(&gitlab, spec, timing()).await;
        assert!(taken.job.id > u64::from(u32::MAX));
        succeed(taken.begin().await).await;
    }
    gitlab.assert_clean();
}

#[tokio::test]
async fn jobs_that_need_our_features_are_given_to_us() {
    let gitlab = quick_fake().await;
    let spec = JobSpec::script(["true"]).release(["true"]).report("junit", ["report.xml"]);
    let taken = Taken::new(&gitlab, spec, timing()).await;
    assert_eq!(taken.job.steps.len(), 2);
    assert!(!taken.correlation_id.is_empty());
}

fn zip() -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("out/a.txt", zip::write::SimpleFileOptions::default()).expect("an entry");
    archive.write_all(&[7].repeat(100_000)).expect("content");
    archive.finish().expect("a zip").into_inner()
}

async fn send(taken: &Taken) -> Result<(), warmstart_gitlab::Error> {
    let entry = &taken.job.artifacts[0];
    let upload_ = Upload {
        file_name: "artifacts.zip".into(),
        format: entry.artifact_format.clone(),
        kind: entry.artifact_type.clone(),
        expire_in: entry.expire_in.clone(),
    };
    upload(&taken.client, &upload_, async || Ok(Cursor::new(zip()))).await
}

/// A job with an archive, begun.
async fn with_archive(gitlab: &FakeGitlab) -> Taken {
    let taken = Taken::new(gitlab, JobSpec::script(["true"]).artifact_paths(["out/"]), timing()).await;
    taken.start().await;
    taken
}

#[tokio::test]
async fn artifacts_survive_a_server_that_misbehaves() {
    let gitlab = quick_fake().await;
    let taken = with_archive(&gitlab).await;
    gitlab.misbehave(Matcher::on(Endpoint::Upload).times(5), Fault::status(503));
    gitlab.misbehave(Matcher::on(Endpoint::Upload), Fault::DropBefore);
    gitlab.misbehave(Matcher::on(Endpoint::Upload), Fault::Redirect307 { location: Some(gitlab.url()) });
    send(&taken).await.expect_err("three tries: 503, cut, redirect");
    send(&taken).await.expect("uploaded");
    succeed(taken.open(warmstart_gitlab::trace::Start::Fresh)).await;
    let finished = gitlab.wait_finished(taken.id).await;
    assert_eq!(finished.artifacts[0].bytes, zip());
    gitlab.assert_clean();
}

#[tokio::test]
async fn a_redirected_upload_arrives() {
    let gitlab = quick_fake().await;
    let taken = with_archive(&gitlab).await;
    gitlab.misbehave(Matcher::on(Endpoint::Upload), Fault::Redirect307 { location: Some(gitlab.url() + "/elsewhere") });
    send(&taken).await.expect("uploaded");
    gitlab.assert_clean();
}

#[tokio::test]
async fn an_archive_that_is_too_large_is_refused_once() {
    let gitlab = fake(Options { artifact_limit: 50, update_interval: 0, ..Options::default() }).await;
    let taken = with_archive(&gitlab).await;
    assert_eq!(send(&taken).await.expect_err("too large").status(), Some(413));
    assert_eq!(gitlab.count(Endpoint::Upload), 1);
    gitlab.assert_clean();
}

/// A job that ended with an archive, and one that needs it.
async fn dependent(gitlab: &FakeGitlab) -> Taken {
    let first = with_archive(gitlab).await;
    send(&first).await.expect("uploaded");
    succeed(first.open(warmstart_gitlab::trace::Start::Fresh)).await;
    let second = Taken::new(gitlab, JobSpec::script(["true"]).needs(first.id), timing()).await;
    second.start().await;
    second
}

async fn fetch(gitlab: &FakeGitlab, taken: &Taken) -> Result<Vec<u8>, warmstart_gitlab::Error> {
    let dependency = &taken.job.dependencies[0];
    let from = client(gitlab, timing()).job(dependency.id, &dependency.token);
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().expect("a file"));
    download(&from, &mut file, true).await?;
    let mut content = Vec::new();
    file.read_to_end(&mut content).await.expect("readable");
    Ok(content)
}

#[tokio::test]
async fn a_dependency_is_downloaded_through_errors_and_redirects() {
    let gitlab = quick_fake().await;
    let taken = dependent(&gitlab).await;
    assert_eq!(fetch(&gitlab, &taken).await.expect("downloaded"), zip());
    gitlab.misbehave(Matcher::on(Endpoint::Download), Fault::RedirectToStorage);
    assert_eq!(fetch(&gitlab, &taken).await.expect("downloaded"), zip());
    assert_eq!(gitlab.count(Endpoint::Storage), 1);
    gitlab.misbehave(Matcher::on(Endpoint::Download).times(2), Fault::status(500));
    gitlab.misbehave(Matcher::on(Endpoint::Download), Fault::CutBody);
    assert_eq!(fetch(&gitlab, &taken).await.expect("downloaded"), zip());
    gitlab.assert_clean();
}

#[tokio::test]
async fn a_dependency_that_is_denied_or_gone_is_asked_for_once() {
    let gitlab = quick_fake().await;
    let taken = dependent(&gitlab).await;
    for code in [401, 403, 404] {
        let before = gitlab.count(Endpoint::Download);
        gitlab.misbehave(Matcher::on(Endpoint::Download), Fault::status(code));
        assert_eq!(fetch(&gitlab, &taken).await.expect_err("final").status(), Some(code));
        assert_eq!(gitlab.count(Endpoint::Download), before + 1);
    }
}

//! Artifacts up and down, over real sockets.

mod support;

use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Reply, Seen, Site, answer, json as reply};
use tokio::io::AsyncReadExt;
use warmstart_gitlab::artifacts::{Upload, download, upload};
use warmstart_gitlab::client::{Client, JobClient, Options};
use warmstart_gitlab::{Error, Timing};

const CONTENT: &[u8] = b"not really a zip";

fn entry() -> Upload {
    Upload {
        file_name: "artifacts.zip".into(),
        format: "zip".into(),
        kind: "archive".into(),
        expire_in: "1 week".into(),
    }
}

async fn send(job: &JobClient) -> Result<(), Error> {
    upload(job, &entry(), async || Ok(CONTENT)).await
}

/// The parts of a multipart body: name, file name, content.
async fn parts(seen: &Seen) -> Vec<(String, String, Vec<u8>)> {
    use axum::extract::FromRequest;
    let mut request = axum::http::Request::builder();
    request.headers_mut().expect("headers").extend(seen.headers.clone());
    let request = request.body(axum::body::Body::from(seen.body.clone())).expect("a request");
    let mut form = axum::extract::Multipart::from_request(request, &()).await.expect("multipart");
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.expect("a part") {
        let (name, file) =
            (field.name().unwrap_or_default().to_owned(), field.file_name().unwrap_or_default().to_owned());
        parts.push((name, file, field.bytes().await.expect("content").to_vec()));
    }
    parts
}

#[tokio::test]
async fn an_upload_is_one_part_with_its_parameters() {
    let site = Site::start(|_| answer(201));
    send(&site.job()).await.expect("uploaded");
    let seen = site.seen().pop().expect("a request");
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/api/v4/jobs/1001/artifacts"));
    assert_eq!(seen.query, "artifact_format=zip&artifact_type=archive&expire_in=1+week");
    assert_eq!(seen.header("JOB-TOKEN"), "glcbt-test");
    assert_eq!(seen.header("Transfer-Encoding"), "chunked");
    assert!(seen.header("Content-Type").starts_with("multipart/form-data; boundary="));
    assert_eq!(parts(&seen).await, [("file".into(), "artifacts.zip".into(), CONTENT.to_vec())]);
}

#[tokio::test]
async fn parameters_that_are_empty_are_not_sent() {
    let site = Site::start(|_| answer(201));
    let entry = Upload { file_name: "a.gz".into(), ..Upload::default() };
    upload(&site.job(), &entry, async || Ok(CONTENT)).await.expect("uploaded");
    assert_eq!(site.seen()[0].query, "");
}

#[tokio::test]
async fn a_retry_makes_the_archive_again() {
    let mut left = 2;
    let site = Site::start(move |_| {
        left -= 1;
        answer(if left < 0 { 201 } else { 502 })
    });
    let made = AtomicUsize::new(0);
    let body = async || {
        made.fetch_add(1, Ordering::Relaxed);
        Ok(CONTENT)
    };
    upload(&site.job(), &entry(), body).await.expect("uploaded");
    assert_eq!(made.into_inner(), 3);
    for seen in site.seen() {
        assert_eq!(parts(&seen).await[0].2, CONTENT);
    }
}

#[tokio::test]
async fn each_failure_is_tried_as_often_as_gitlab_does() {
    // status → requests: tries, each over the retry layer's five attempts where that retries
    for (status, requests) in [(403, 1), (413, 1), (400, 3), (405, 3), (500, 15), (503, 30), (307, 3), (200, 3)] {
        let site = Site::start(move |_| answer(status));
        let error = send(&site.job()).await.expect_err("never");
        assert_eq!(error.status(), Some(status));
        assert_eq!(site.seen().len(), requests, "{status}");
    }
    let site = Site::start(|_| Reply::Cut);
    assert!(matches!(send(&site.job()).await, Err(Error::Transport { .. })));
    assert_eq!(site.seen().len(), 3);
}

#[tokio::test]
async fn artifacts_outlast_a_gitlab_that_is_away_for_longer_than_the_tries() {
    for failure in [Reply::Cut, answer(500)] {
        let mut left = 40;
        let site = Site::start(move |_| {
            left -= 1;
            if left > 0 { failure.clone() } else { answer(201) }
        });
        let timing = Timing { away: Duration::from_mins(1), ..support::quick() };
        let client = Client::new(&site.url(), &Options { timing, ..Options::default() }).expect("a client");
        send(&client.job(1001, &"glcbt-test".into())).await.expect("uploaded");
    }
}

#[tokio::test]
async fn an_object_store_that_recovers_gets_the_archive() {
    let mut left = 25;
    let site = Site::start(move |_| {
        left -= 1;
        answer(if left < 0 { 201 } else { 503 })
    });
    send(&site.job()).await.expect("at the sixth try");
}

#[tokio::test]
async fn a_redirected_upload_goes_to_the_other_host_in_the_same_way() {
    let other = Site::start(|_| answer(201));
    let location = format!("{}/ignored/path?ignored", other.url());
    let site = Site::start(move |_| answer(307).with("Location", &location));
    send(&site.job()).await.expect("uploaded there");
    assert_eq!((site.seen().len(), other.seen().len()), (1, 1));
    assert_eq!(other.seen()[0].path, "/api/v4/jobs/1001/artifacts");
    assert_eq!(parts(&other.seen()[0]).await.len(), 1);
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_large_upload_is_understood() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let app = axum::Router::new().fallback(async || axum::http::StatusCode::PAYLOAD_TOO_LARGE); // reads nothing
    tokio::spawn(async move { axum::serve(listener, app).await });
    let options = warmstart_gitlab::client::Options { timing: support::quick(), ..Default::default() };
    let client = warmstart_gitlab::client::Client::new(&url, &options).expect("a client");
    let job = client.job(1001, &"glcbt-test".into());
    let error = upload(&job, &entry(), async || Ok(tokio::io::repeat(7).take(200 << 20))).await.expect_err("refused");
    assert_eq!(error.status(), Some(413), "{error}");
}

#[tokio::test]
async fn an_archive_that_cannot_be_made_is_no_reason_to_try_again() {
    let site = Site::start(|_| answer(201));
    let body = async || Err::<&[u8], _>(std::io::Error::other("disk on fire"));
    let error = upload(&site.job(), &entry(), body).await.expect_err("no body");
    assert_eq!(error.to_string(), "cannot make the body to upload artifacts: disk on fire");
    assert!(site.seen().is_empty());
}

#[tokio::test]
async fn a_gitlab_that_is_away_for_a_while_gets_the_archive() {
    let mut site = Site::start(|_| answer(201));
    let timing = Timing { upload_min: Duration::from_secs(1), ..support::quick() };
    let client = Client::new(&site.url(), &Options { timing, ..Options::default() }).expect("a client");
    site.go_away();
    let job = client.job(1001, &"glcbt-test".into());
    let tried = tokio::sync::Notify::new();
    let body = async || {
        tried.notify_one();
        Ok(CONTENT)
    };
    let back = async {
        tried.notified().await;
        site.come_back().await;
    };
    let entry = entry();
    let (uploaded, ()) = tokio::join!(upload(&job, &entry, body), back);
    uploaded.expect("uploaded");
}

async fn fetch(site: &Site, direct: bool) -> (Result<u64, Error>, Vec<u8>) {
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().expect("a file"));
    let outcome = download(&site.client().job(1000, &"glcbt-dep".into()), &mut file, direct).await;
    let mut content = Vec::new();
    file.read_to_end(&mut content).await.expect("readable");
    (outcome, content)
}

#[tokio::test]
async fn a_download_carries_the_dependencys_token() {
    let site = Site::start(|_| answer(200).body(CONTENT));
    let (outcome, content) = fetch(&site, true).await;
    assert_eq!((outcome.expect("downloaded"), content.as_slice()), (16, CONTENT));
    let seen = site.seen().pop().expect("a request");
    assert_eq!((seen.path.as_str(), seen.query.as_str()), ("/api/v4/jobs/1000/artifacts", "direct_download=true"));
    assert_eq!(seen.header("JOB-TOKEN"), "glcbt-dep");
}

#[tokio::test]
async fn the_token_does_not_follow_to_another_host() {
    let store = Site::start(|_| answer(200).body(CONTENT));
    let location = format!("{}/bucket/x?signature=1", store.url());
    let site = Site::start(move |_| answer(302).with("Location", &location));
    let (outcome, content) = fetch(&site, true).await;
    assert_eq!((outcome.expect("downloaded"), content.as_slice()), (16, CONTENT));
    let seen = store.seen().pop().expect("a request");
    assert_eq!((seen.path.as_str(), seen.query.as_str(), seen.header("JOB-TOKEN")), ("/bucket/x", "signature=1", ""));
}

#[tokio::test]
async fn a_redirect_on_the_same_host_keeps_the_token() {
    let site = Site::start(|seen| {
        if seen.path == "/moved" { answer(200).body(CONTENT) } else { answer(307).with("Location", "/moved") }
    });
    fetch(&site, true).await.0.expect("downloaded");
    assert_eq!(site.seen().pop().expect("a request").header("JOB-TOKEN"), "glcbt-dep");
}

#[tokio::test]
async fn denied_and_missing_are_final() {
    for status in [401, 403, 404] {
        let site = Site::start(move |_| reply(status, &json!({"message": "no"})));
        let error = fetch(&site, true).await.0.expect_err("final");
        assert_eq!((error.status(), site.seen().len()), (Some(status), 1));
    }
}

#[tokio::test]
async fn other_failures_are_tried_three_times_directly_only_at_first() {
    let site = Site::start(|_| answer(400));
    fetch(&site, true).await.0.expect_err("never");
    let queries: Vec<_> = site.seen().iter().map(|seen| seen.query.clone()).collect();
    assert_eq!(queries, ["direct_download=true", "", ""]);
    let site = Site::start(|_| answer(400));
    fetch(&site, false).await.0.expect_err("never");
    assert!(site.seen().iter().all(|seen| seen.query.is_empty()));
}

#[tokio::test]
async fn a_download_that_breaks_off_leaves_no_half() {
    let mut calls = 0;
    let site = Site::start(move |_| {
        calls += 1;
        match calls {
            1 => answer(200).with("Content-Length", 1000).body("a long beginning that breaks off"),
            2 => Reply::Cut,
            _ => answer(200).body(CONTENT),
        }
    });
    let (outcome, content) = fetch(&site, true).await;
    assert_eq!((outcome.expect("downloaded"), content.as_slice()), (16, CONTENT));
}

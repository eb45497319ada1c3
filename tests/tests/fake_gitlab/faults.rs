//! The server misbehaves as told.

use super::client::{Talk, running, success};
use super::judges::with_dependency;
use anyhow::Result;
use std::time::Duration;
use warmstart_tests::gitlab::{Endpoint, Fault, JobId, JobSpec, JobState, Matcher, Options, Outage};

fn spec() -> JobSpec {
    JobSpec::script(["true"])
}

#[tokio::test]
async fn a_fault_hits_the_nth_request_of_its_job_that_many_times() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let (first, second) = (talk.begin(spec()).await?, talk.begin(spec()).await?);
    let matcher = Matcher::on(Endpoint::KeepAlive).job(JobId(first.id)).nth(2).times(2);
    let fault = talk.gitlab.misbehave(matcher, Fault::status(500));
    let mut answers = Vec::new();
    for job in [&first, &second, &first, &first, &first] {
        answers.push(talk.update(job, &running(job, b"")).await?.status().as_u16());
    }
    assert_eq!(answers, [200, 200, 500, 500, 200]);
    assert_eq!(talk.gitlab.hits(fault), 2);
    Ok(())
}

#[tokio::test]
async fn a_dropped_request_is_processed_or_not_as_told() -> Result<()> {
    for (fault, state) in [(Fault::DropBefore, JobState::Running), (Fault::DropAfter, JobState::Success)] {
        let mut talk = Talk::start(Options::default()).await?;
        let job = talk.begin(spec()).await?;
        talk.gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), fault);
        assert!(talk.update(&job, &success(&job, b"")).await.is_err());
        assert_eq!(talk.gitlab.state(JobId(job.id)), state);
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_is_cut_within_its_body() -> Result<()> {
    let talk = Talk::start(Options::default()).await?;
    talk.gitlab.misbehave(Matcher::on(Endpoint::Verify), Fault::CutBody);
    let body = talk.verify_body();
    let answer = talk.post("runners/verify", &body).await?;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_slow_body_arrives_whole() -> Result<()> {
    let talk = Talk::start(Options::default()).await?;
    talk.gitlab.misbehave(Matcher::on(Endpoint::Verify), Fault::SlowBody(Duration::from_millis(5)));
    let body = talk.verify_body();
    let answer: serde_json::Value = talk.post("runners/verify", &body).await?.json().await?;
    assert_eq!(answer["token"], talk.gitlab.runner_token());
    Ok(())
}

#[tokio::test]
async fn an_answer_may_be_plain_text() -> Result<()> {
    let talk = Talk::start(Options::default()).await?;
    talk.gitlab.misbehave(Matcher::on(Endpoint::Verify), Fault::TextBody("200".to_owned()));
    let body = talk.verify_body();
    let answer = talk.post("runners/verify", &body).await?;
    assert_eq!((answer.headers()["content-type"].to_str()?, answer.status().as_u16()), ("text/plain", 200));
    assert_eq!(answer.text().await?, "200");
    Ok(())
}

#[tokio::test]
async fn a_request_hangs_until_it_is_released() -> Result<()> {
    let talk = Talk::start(Options::default()).await?;
    let fault = talk.gitlab.misbehave(Matcher::on(Endpoint::Verify), Fault::HangUntilReleased);
    let body = talk.verify_body();
    let hanging = tokio::spawn(talk.runner_call(reqwest::Method::POST, "runners/verify", &body).send());
    talk.gitlab.wait_hits(fault, 1).await;
    assert!(!hanging.is_finished());
    talk.gitlab.release(fault);
    assert_eq!(hanging.await??.status(), 200);
    Ok(())
}

#[tokio::test]
async fn a_download_is_redirected_to_the_object_storage() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let (dependency, job) = with_dependency(&mut talk).await?;
    talk.gitlab.misbehave(Matcher::on(Endpoint::Download).forever(), Fault::RedirectToStorage);
    let answer = talk.download(dependency, &job.token, "?direct_download=true").await?;
    assert_eq!(answer.status(), 302);
    let location = answer.headers()["location"].to_str()?.to_owned();
    let direct = talk.http.get(&location).send().await?;
    assert_eq!(direct.bytes().await?, super::client::zip(&[("out/a", "content")])?);
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_refusing_server_has_no_open_port_and_comes_back_on_the_same() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(spec()).await?;
    let url = talk.gitlab.url();
    talk.gitlab.outage(Outage::Refused).await;
    let error = match talk.patch(&job, 0, b"log").await {
        Ok(answer) => anyhow::bail!("a closed port answered {}", answer.status()),
        Err(error) => error.downcast::<reqwest::Error>()?,
    };
    assert!(error.is_connect(), "{error:?}");
    talk.gitlab.recover().await;
    assert_eq!(talk.gitlab.url(), url);
    assert_eq!(talk.patch(&job, 0, b"log").await?.status(), 202);
    Ok(())
}

#[tokio::test]
async fn a_hanging_server_cuts_what_hung_when_it_recovers() -> Result<()> {
    let talk = Talk::start(Options::default()).await?;
    talk.gitlab.outage(Outage::Hanging).await;
    let body = talk.verify_body();
    let hanging = tokio::spawn(talk.runner_call(reqwest::Method::POST, "runners/verify", &body).send());
    talk.gitlab.wait_requests(Endpoint::Verify, 1).await;
    talk.gitlab.recover().await;
    assert!(hanging.await?.is_err());
    assert_eq!(talk.post("runners/verify", &body).await?.status(), 200);
    Ok(())
}

#[tokio::test]
async fn several_addresses_reach_one_server() -> Result<()> {
    let listen = vec!["127.0.0.1:0".parse()?, "127.0.0.2:0".parse()?];
    let external_url = Some("http://127.0.0.2:{port}".to_owned());
    let talk = Talk::start(Options { listen, external_url, ..Options::default() }).await?;
    for url in talk.gitlab.urls() {
        assert_eq!(talk.http.get(url + "/").send().await?.status(), 200);
    }
    assert!(talk.gitlab.url().starts_with("http://127.0.0.2:"));
    Ok(())
}

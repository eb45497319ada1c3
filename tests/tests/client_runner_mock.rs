//! Our client against `gitlab-runner-mock`: a second opponent, written independently of this project.

use gitlab_runner_mock::{GitlabRunnerMock, MockJobState};
use std::io::Write;
use std::time::Duration;
use warmstart_gitlab::Timing;
use warmstart_gitlab::artifacts::{Upload, download, upload};
use warmstart_gitlab::client::{Acquired, Client, Identity, JobClient, Options};
use warmstart_gitlab::info::Info;
use warmstart_gitlab::mask::Masks;
use warmstart_gitlab::payload::Features;
use warmstart_gitlab::trace::{self, Finished, OUTPUT_LIMIT, Signal, Start, Trace};
use warmstart_gitlab::update::{FailureReason, Final, Update, Verdict};

fn client(mock: &GitlabRunnerMock) -> Client {
    let timing = Timing { trace_interval: Duration::from_millis(20), ..Timing::default() };
    Client::new(mock.uri().as_str(), &Options { timing, ..Options::default() }).expect("a client")
}

async fn acquire(mock: &GitlabRunnerMock) -> Option<(JobClient, Acquired)> {
    let identity =
        Identity { token: mock.runner_token().into(), system_id: "r_0123456789AB".into(), info: Info::default() };
    let client = client(mock);
    let answer = client.request_job(&identity, None).await.expect("an answer");
    assert!(answer.healthy && answer.trouble.is_none(), "{:?}", answer.trouble);
    let acquired = answer.acquired?;
    Some((client.job(acquired.job.id, &acquired.job.token), acquired))
}

async fn begin(mock: &GitlabRunnerMock) -> Trace {
    let (job, _) = acquire(mock).await.expect("the job");
    assert_eq!(job.update(&Update::running()).await.expect("an answer").verdict, Verdict::Done);
    open(job)
}

fn open(job: JobClient) -> Trace {
    let (directory, masks) = (std::env::temp_dir(), Masks::default());
    let options = trace::Options {
        output_limit: OUTPUT_LIMIT,
        debug: false,
        timestamps: false,
        directory,
        start: Start::Fresh,
        masks,
    };
    Trace::open(job, options).expect("a log")
}

#[tokio::test]
async fn it_gives_us_nothing_and_then_a_job_that_we_understand() {
    let mock = GitlabRunnerMock::start().await;
    mock.set_expected_metadata_platform("linux");
    mock.set_expected_metadata_architecture(warmstart_gitlab::info::architecture());
    assert!(acquire(&mock).await.is_none());
    let job = mock.add_dummy_job("job".into());
    let (_, acquired) = acquire(&mock).await.expect("the job");
    assert_eq!((acquired.job.id, acquired.job.token.expose()), (job.id(), job.token()));
    assert_eq!((acquired.job.job_info.name.as_str(), acquired.job.steps[0].script[0].as_str()), ("job", "dummy"));
    assert_eq!(job.state(), MockJobState::Running);
}

#[tokio::test]
async fn it_takes_our_log_and_our_success() {
    let mock = GitlabRunnerMock::start().await;
    mock.set_update_interval(1);
    let job = mock.add_dummy_job("job".into());
    let trace = begin(&mock).await;
    trace.writer().write_all(b"hello\n").expect("written");
    trace.writer().write_all("wörld\n".as_bytes()).expect("written");
    assert_eq!(trace.finish(Final::success()).await.expect("taken"), Finished::Accepted);
    assert_eq!((job.state(), job.log()), (MockJobState::Success, "hello\nwörld\n".as_bytes().to_vec()));
}

#[tokio::test]
async fn it_takes_our_failure() {
    let mock = GitlabRunnerMock::start().await;
    let job = mock.add_dummy_job("job".into());
    let end = Final::failed(FailureReason::ScriptFailure, Some(3), &Features::default());
    assert_eq!(begin(&mock).await.finish(end).await.expect("taken"), Finished::Accepted);
    assert_eq!(job.state(), MockJobState::Failed);
}

#[tokio::test]
async fn its_cancel_aborts_us() {
    let mock = GitlabRunnerMock::start().await;
    let job = mock.add_dummy_job("job".into());
    let trace = begin(&mock).await;
    job.cancel();
    trace.writer().write_all(b"hello\n").expect("written");
    trace.signal().wait_for(|signal| *signal == Signal::Aborted).await.expect("told");
    assert!(matches!(trace.finish(Final::success()).await, Ok(Finished::Refused(_))));
    assert!(job.log().is_empty());
}

#[tokio::test]
async fn it_takes_our_artifacts_and_denies_those_that_are_not_there() {
    let mock = GitlabRunnerMock::start().await;
    let job = mock.add_dummy_job("job".into());
    let (client, _) = acquire(&mock).await.expect("the job");
    let entry = Upload { file_name: "artifacts.zip".into(), kind: "archive".into(), ..Upload::default() };
    upload(&client, &entry, async || Ok(&b"a zip"[..])).await.expect("uploaded");
    let uploaded = job.uploaded_artifacts().next().expect("an upload");
    assert_eq!((uploaded.filename.as_deref(), uploaded.data.as_slice()), (Some("artifacts.zip"), &b"a zip"[..]));
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().expect("a file"));
    let error = download(&client, &mut file, true).await.expect_err("it knows archives by another name");
    assert_eq!(error.status(), Some(404));
}

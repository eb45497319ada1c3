//! A job in the hands of our client, against the fake GitLab.
#![allow(dead_code, unreachable_pub, clippy::missing_panics_doc, reason = "shared by several test binaries")]

use std::io::Write;
use std::time::Duration;
use warmstart_gitlab::Timing;
use warmstart_gitlab::client::{Acquired, Answer, Client, Identity, JobClient, Options};
use warmstart_gitlab::flags;
use warmstart_gitlab::info::Info;
use warmstart_gitlab::mask::Masks;
use warmstart_gitlab::payload::{Features, Job};
use warmstart_gitlab::trace::{self, Finished, OUTPUT_LIMIT, Start, Trace, Writer};
use warmstart_gitlab::update::{Signal, Update, UpdateAnswer, Verdict};
use warmstart_tests::gitlab::{FakeGitlab, JobId, JobSpec, Options as Fake};

/// Shortened as far as the fake's rules about pauses allow.
pub fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        retry_min: ms(5),
        retry_max: ms(50),
        trace_interval: ms(300),
        final_min: ms(500),
        final_max: ms(1000),
        away: ms(0),
        upload_min: ms(300),
        upload_max: ms(500),
        download_pause: ms(10),
        ..Timing::default()
    }
}

pub async fn fake(options: Fake) -> FakeGitlab {
    FakeGitlab::start(options).await.expect("the fake starts")
}

/// A fake that leaves the pace of patches to the client.
pub async fn quick_fake() -> FakeGitlab {
    fake(Fake { update_interval: 0, hold: Duration::ZERO, ..Fake::default() }).await
}

pub fn client(gitlab: &FakeGitlab, timing: Timing) -> Client {
    Client::new(&gitlab.url(), &Options { timing, ..Options::default() }).expect("a client")
}

pub fn identity(gitlab: &FakeGitlab) -> Identity {
    Identity { token: gitlab.runner_token().into(), system_id: "s_0123456789ab".into(), info: Info::default() }
}

pub async fn request(client: &Client, gitlab: &FakeGitlab) -> Answer {
    client.request_job(&identity(gitlab), None).await.expect("an answer")
}

/// A job that was acquired, not yet begun.
pub struct Taken {
    pub id: JobId,
    pub job: Job,
    pub correlation_id: String,
    pub client: JobClient,
}

impl Taken {
    /// Queues a job whose log has no timestamps, and takes it.
    pub async fn new(gitlab: &FakeGitlab, spec: JobSpec, timing: Timing) -> Self {
        Self::timed(gitlab, spec.without_timestamps(), timing).await
    }

    /// Queues a job and takes it.
    pub async fn timed(gitlab: &FakeGitlab, spec: JobSpec, timing: Timing) -> Self {
        let id = gitlab.add_job(spec);
        let client = client(gitlab, timing);
        let answer = request(&client, gitlab).await;
        let Acquired { job, correlation_id, .. } = answer.acquired.expect("the job");
        Self { id, client: client.job(job.id, &job.token), job, correlation_id }
    }

    pub async fn start(&self) -> UpdateAnswer {
        self.client.update(&Update::running()).await.expect("an answer")
    }

    pub async fn begin(&self) -> Trace {
        let answer = self.start().await;
        assert_eq!((answer.verdict, answer.signal), (Verdict::Done, Signal::Running));
        self.open(Start::Fresh)
    }

    pub fn open(&self, start: Start) -> Trace {
        self.open_limited(start, OUTPUT_LIMIT)
    }

    pub fn open_limited(&self, start: Start, output_limit: u64) -> Trace {
        let debug = self.job.variable("CI_DEBUG_TRACE") == Some("true");
        let timestamps = flags::is_on(flags::TIMESTAMPS, &flags::Configured::new(), &self.job);
        let (directory, masks) = (std::env::temp_dir(), Masks::of_job(&self.job));
        Trace::open(self.client.clone(), trace::Options { output_limit, debug, timestamps, directory, start, masks })
            .expect("a log")
    }

    pub fn features(&self) -> &Features {
        &self.job.features
    }
}

/// Takes a job of one script and begins it.
pub async fn begin(gitlab: &FakeGitlab) -> (Taken, Trace) {
    let taken = Taken::new(gitlab, JobSpec::script(["true"]), timing()).await;
    let trace = taken.begin().await;
    (taken, trace)
}

pub fn put(writer: &mut Writer, text: &str) {
    writer.write_all(text.as_bytes()).expect("the file takes it");
}

pub async fn succeed(trace: Trace) {
    let finished = trace.finish(warmstart_gitlab::update::Final::success()).await.expect("GitLab takes it");
    assert_eq!(finished, Finished::Accepted);
}

//! Upload of artifacts (protocol §1.10).

use crate::artifacts::Tries;
use crate::client::JobClient;
use crate::client::transport::{Call, Transport};
use crate::{Error, Timing};
use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, RequestBuilder, Response, Url};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// One upload, as the payload's entry describes it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Upload {
    /// The archive's file name.
    pub file_name: String,
    /// `zip`, `gzip`, `raw`; not sent when empty.
    pub format: String,
    /// `archive`, `junit`, …; not sent when empty.
    pub kind: String,
    /// Free text such as `1 week`; not sent when empty.
    pub expire_in: String,
}

/// Uploads an archive; `body` makes it anew for each try, and is streamed.
///
/// Fails with the last try's error: 403 and 413 at once, 503 after six tries, others after three; what `body` fails
/// with at once. While GitLab does not answer, or answers 5xx, it is tried on for [`Timing::away`]: GitLab Runner would
/// fail a job whose script succeeded because GitLab was restarted.
pub async fn upload<F, Fut, R>(job: &JobClient, upload: &Upload, body: F) -> Result<(), Error>
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = std::io::Result<R>> + Send,
    R: AsyncRead + Send + 'static,
{
    let mut transport = job.client.transport.clone();
    let mut pauses = pauses(job.client.transport.timing());
    let mut tries = Tries::new(job.client.transport.timing().away);
    loop {
        let call = call(&transport, job, upload);
        let response = send(&transport, &call, job, upload, &body).await;
        let error = match response {
            Ok(response) if response.status() == 201 => return Ok(()),
            Ok(response) => {
                transport = elsewhere(&call, &response).map_or(transport, |url| job.client.transport.redirected(&url));
                call.failure(response).await
            }
            Err(error) => error,
        };
        let pause = pauses.next().filter(|_| tries.go_on(&error, tries_after(&error)));
        let Some(pause) = pause else { return Err(error) };
        tracing::warn!(job = job.id(), ?pause, "{error}; trying again");
        tokio::time::sleep(pause).await;
    }
}

fn call(transport: &Transport, job: &JobClient, upload: &Upload) -> Call {
    let mut call = transport.call("upload artifacts", Method::POST, &format!("jobs/{}/artifacts", job.id()));
    let pairs =
        [("artifact_format", &upload.format), ("artifact_type", &upload.kind), ("expire_in", &upload.expire_in)];
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    if !pairs.is_empty() {
        call.url.query_pairs_mut().extend_pairs(pairs);
    }
    call.response = None; // the body may take long
    call
}

async fn send<F, Fut, R>(
    transport: &Transport,
    call: &Call,
    job: &JobClient,
    upload: &Upload,
    body: F,
) -> Result<Response, Error>
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = std::io::Result<R>> + Send,
    R: AsyncRead + Send + 'static,
{
    let dress = |request: RequestBuilder| {
        let made = body();
        async move {
            let stream = ReaderStream::with_capacity(made.await?, 64 * 1024);
            let part = Part::stream(Body::wrap_stream(stream)).file_name(upload.file_name.clone());
            let part = part.mime_str("application/octet-stream").map_err(std::io::Error::other)?;
            Ok(request.header("JOB-TOKEN", job.token.expose()).multipart(Form::new().part("file", part)))
        }
    };
    transport.send_with(call, dress).await
}

/// Where a 307 sends the next try.
fn elsewhere(call: &Call, response: &Response) -> Option<Url> {
    let location = response.headers().get("Location").filter(|_| response.status() == 307)?;
    call.url.join(location.to_str().ok()?).ok()
}

/// How many tries there are in all, if the last one failed like this.
fn tries_after(error: &Error) -> usize {
    match error {
        Error::Status { status: 403 | 413, .. } | Error::File { .. } | Error::Setup { .. } => 1,
        Error::Status { status: 503, .. } => 6,
        _ => 3,
    }
}

fn pauses(timing: &Timing) -> impl Iterator<Item = std::time::Duration> {
    let pauses = ExponentialBuilder::new().with_min_delay(timing.upload_min).with_max_delay(timing.upload_max);
    pauses.with_factor(2.0).without_max_times().build()
}
